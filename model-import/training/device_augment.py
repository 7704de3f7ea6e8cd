"""The night-vision augmentation of augment.py for a whole batch at once, on the device that trains.

Pictures lie on the device as gray tiles of one size (Pool). A batch is drawn, warped with `grid_sample` and changed by
per-sample masks, so no picture waits for the processor. Coordinates are continuous: pixel i covers i to i + 1.
"""

import math

import torch
import torch.nn.functional as F

from dataset import LETTERBOX_GRAY, WITHOUT_EYES
from ellipse import HALF_HEIGHT, HALF_WIDTH

SMALLEST_EYE = 6  # pixels between the corners: smaller ones cannot be told open from closed
SEEN, HIDDEN = 0.5, 0.02  # of an eye's box: more is labelled, less is not there, between them it is painted over
COVERED, LIT = 0.12, 0.8  # shares of the pictures that something covers, that light and sensor change
ROUND_THINGS = 0.25  # share of the pictures without eyes onto which round things are drawn
MIRRORED_LIGHT = 0.1  # share of pictures of things that are made dark for light
MOTION_TAPS = 15
LOWEST_SIDE = 48  # pixels of a part without eyes


class Pool:
    """Tiles uint8 [n, side, side], extents (w, h) [n, 2], eyes [n, m, 4] (x, y, d, angle), classes [n, m] (-1: none)."""

    def __init__(self, tiles, extents, eyes, classes, weights, things, device):
        self.tiles = torch.as_tensor(tiles).to(device)
        self.extents = torch.as_tensor(extents, dtype=torch.float32).to(device)
        self.eyes = torch.as_tensor(eyes, dtype=torch.float32).to(device)
        self.classes = torch.as_tensor(classes, dtype=torch.long).to(device)
        self.weights = torch.as_tensor(weights, dtype=torch.float32).to(device)
        self.things = torch.as_tensor(things, dtype=torch.bool).to(device)
        self.confidence = torch.zeros(len(self.weights), device=device)  # of the surest eye found in a thing, lately
        self.device = device
        eyeless = self.weights * ((self.classes < 0).all(1) & ~self.things)
        self.donors = eyeless if float(eyeless.sum()) else self.weights * self.things
        if not float(self.donors.sum()):
            self.donors = self.weights

    def draw(self, count, share, silent):
        """Indices of pictures; `share` of them things, the more often the surer the model was of eyes in them."""
        faces = self.weights * ~self.things
        things = self.weights * self.things * (silent + self.confidence)
        chances = faces * ((1 - share) / faces.sum().clamp(min=1e-9)) + things * (share / things.sum().clamp(min=1e-9))
        return torch.multinomial(chances, count, replacement=True)


def uniform(low, high, *shape, device):
    return torch.rand(*shape, device=device) * (high - low) + low


def log_uniform(low, high, *shape, device):
    return torch.exp(uniform(math.log(low), math.log(high), *shape, device=device))


def chance(share, count, device):
    return torch.rand(count, device=device) < share


def boxes_of(eyes):
    """Ellipses [..., 4] -> boxes [..., 4] (x1, y1, x2, y2); ellipse.to_boxes for tensors."""
    x, y, d, angle = eyes.unbind(-1)
    c, s = angle.cos() ** 2, angle.sin() ** 2
    w = d * (HALF_WIDTH**2 * c + HALF_HEIGHT**2 * s).sqrt()
    h = d * (HALF_WIDTH**2 * s + HALF_HEIGHT**2 * c).sqrt()
    return torch.stack([x - w, y - h, x + w, y + h], -1)


def scale_of(matrix):
    """The scale of similarities [n, 2, 3]; the inverse of one's left part is its transpose over the square of this."""
    return (matrix[:, :, 0] ** 2).sum(1).sqrt()


def moved(eyes, matrix):
    """Ellipses [n, m, 4] through similarities [n, 2, 3]."""
    a = matrix[:, None, :, :2]
    centre = (a @ eyes[..., :2, None]).squeeze(-1) + matrix[:, None, :, 2]
    along = (a @ torch.stack([eyes[..., 3].cos(), eyes[..., 3].sin()], -1)[..., None]).squeeze(-1)
    scale = scale_of(matrix)[:, None]
    return torch.cat([centre, (eyes[..., 2] * scale)[..., None], torch.atan2(along[..., 1], along[..., 0])[..., None]], -1)


def grid(size, device):
    """Middle of each pixel, [size, size] x and y."""
    at = torch.arange(size, device=device, dtype=torch.float32) + 0.5
    return at[None, :].expand(size, size), at[:, None].expand(size, size)


def sources(pool, drawn):
    """The part of each drawn picture that is used [n, 4], and its eyes' classes: all, or a part without eyes."""
    device, n = pool.device, len(drawn)
    w, h = pool.extents[drawn].unbind(1)
    zero = torch.zeros_like(w)
    rect = torch.stack([zero, zero, w, h], 1)
    classes = pool.classes[drawn]
    things = pool.things[drawn]

    # Every second thing: a part, at least a third of each side.
    share = uniform(0.33, 1, n, 2, device=device)
    size = torch.stack([w, h], 1) * share
    corner = torch.rand(n, 2, device=device) * (torch.stack([w, h], 1) - size)
    part = things & chance(0.5, n, device)
    rect = torch.where(part[:, None], torch.cat([corner, corner + size], 1), rect)

    # Of some faces what lies above, below, left or right of the eyes; every second time what lies
    # below.
    real = classes >= 0
    boxes = boxes_of(pool.eyes[drawn])
    margin = 0.15 * (pool.eyes[drawn][..., 2] * real).amax(1)
    far = torch.full_like(boxes, 1e6)
    low = torch.where(real[..., None], boxes, far)[..., :2].amin(1) - margin[:, None]
    high = torch.where(real[..., None], boxes, -far)[..., 2:].amax(1) + margin[:, None]
    parts = torch.stack(
        [
            torch.stack([zero, high[:, 1], w, h], 1),  # below comes first
            torch.stack([zero, zero, w, low[:, 1]], 1),
            torch.stack([zero, zero, low[:, 0], h], 1),
            torch.stack([high[:, 0], zero, w, h], 1),
        ],
        1,
    )
    sides = parts[..., 2:] - parts[..., :2]
    fits = (sides > LOWEST_SIDE).all(-1) & real.any(1)[:, None]
    area = sides.clamp(min=0).prod(-1) * fits
    below = chance(0.5, n, device) & fits[:, 0]
    area = torch.where(below[:, None], torch.tensor([1.0, 0, 0, 0], device=device), area + 1e-9)
    chosen = parts[torch.arange(n, device=device), torch.multinomial(area, 1)[:, 0]]
    eyeless = chance(WITHOUT_EYES, n, device) & fits.any(1)
    usable = eyeless & ((chosen[:, 2:] - chosen[:, :2]) > LOWEST_SIDE).all(1)
    rect = torch.where(usable[:, None], chosen, rect)
    classes = torch.where(usable[:, None], torch.full_like(classes, -1), classes)
    return rect, classes


def angles(n, device):
    """A sleeper's head lies at any angle: three in ten upright, three on a side or upside down, four anywhere."""
    kind = torch.rand(n, device=device)
    upright = torch.randn(n, device=device) * math.radians(8)
    lying = torch.randint(1, 4, (n,), device=device) * (math.pi / 2) + torch.randn(n, device=device) * math.radians(6)
    anywhere = uniform(-math.pi, math.pi, n, device=device)
    return torch.where(kind < 0.3, upright, torch.where(kind < 0.6, lying, anywhere))


def placements(rect, into, eyes, classes, plain):
    """Similarities [n, 2, 3] that put the parts `rect` of pictures into the rectangles `into` of the canvas."""
    n, device = len(rect), rect.device
    size = rect[:, 2:] - rect[:, :2]
    room = into[:, 2:] - into[:, :2]
    fit = (room / size).amin(1)
    wide = log_uniform(0.35, 1.5, n, device=device)
    zoom = torch.where(chance(0.55, n, device), wide, 1 + 0.08 * torch.randn(n, device=device))
    least = torch.where(classes >= 0, eyes[..., 2], torch.full_like(eyes[..., 2], 1e6)).amin(1)
    zoom = torch.maximum(zoom, SMALLEST_EYE / (least * fit)).clamp(0.25, 2.0)
    shift = uniform(-0.12, 0.12, n, 2, device=device) * room
    turn = angles(n, device)
    slight = torch.randn(n, device=device) * math.radians(3) * chance(0.5, n, device)
    scale = torch.where(plain, fit, fit * zoom)
    turn = torch.where(plain, slight, turn)
    shift = torch.where(plain[:, None], torch.zeros_like(shift), shift)
    mirror = torch.where(chance(0.5, n, device), -1.0, 1.0)
    c, s = scale * turn.cos(), scale * turn.sin()
    a = torch.stack([torch.stack([c * mirror, -s], 1), torch.stack([s * mirror, c], 1)], 1)
    middle = (into[:, :2] + into[:, 2:]) / 2 + shift
    source = (rect[:, :2] + rect[:, 2:]) / 2
    return torch.cat([a, (middle - (a @ source[..., None]).squeeze(-1))[..., None]], 2)


def smoothing(n, sigma, device):
    """Matrices [k, n, n] that blur a line of n pixels by a Gaussian, each with its own sigma [k]."""
    at = torch.arange(n, device=device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * ((at[None] - at[:, None])[None] / sigma.clamp(min=0.05)[:, None, None]) ** 2)
    return kernel / kernel.sum(2, keepdim=True)


def blurred(x, sigma):
    """Gaussian blur of [n, 1, h, w], each picture with its own sigma [n]; as products of matrices, whose sizes never change."""
    rows, columns = (smoothing(side, sigma, x.device) for side in x.shape[-2:])
    return (rows @ x[:, 0] @ columns.transpose(1, 2))[:, None]


def streaked(x, length, angle, xx, yy):
    """Motion blur of [n, 1, size, size] along lines of some length [n] in pixels."""
    size, total = x.shape[-1], 0.0
    for tap in torch.linspace(-0.5, 0.5, MOTION_TAPS):
        dx, dy = (float(tap) * length * f for f in (angle.cos(), angle.sin()))
        where = torch.stack([xx + dx[:, None, None], yy + dy[:, None, None]], -1) * (2 / size) - 1
        total = total + F.grid_sample(x, where, mode="bilinear", padding_mode="border", align_corners=False)
    return total / MOTION_TAPS


def warped(pool, drawn, matrix, size, rect, xx, yy):
    """Pictures on canvases [n, 1, size, size], and where they lie on them (bool)."""
    a = matrix[:, :, :2].transpose(1, 2) / scale_of(matrix)[:, None, None] ** 2
    t = -(a @ matrix[:, :, 2:]).squeeze(-1)
    sx = a[:, 0, 0, None, None] * xx + a[:, 0, 1, None, None] * yy + t[:, 0, None, None]
    sy = a[:, 1, 0, None, None] * xx + a[:, 1, 1, None, None] * yy + t[:, 1, None, None]
    tiles = pool.tiles[drawn][:, None].float()
    # What shrinks is smoothed first, as a camera that stands farther away does.
    scale = scale_of(matrix)
    shrunk = (scale < 0.8).nonzero()[:, 0]
    if len(shrunk):
        tiles[shrunk] = blurred(tiles[shrunk], 0.45 * (1 / scale[shrunk] ** 2 - 1).clamp(min=0).sqrt().clamp(max=2.5))
    side = tiles.shape[-1]
    image = F.grid_sample(tiles, torch.stack([sx, sy], -1) * (2 / side) - 1, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (sx >= rect[:, 0, None, None]) & (sx < rect[:, 2, None, None]) & (sy >= rect[:, 1, None, None]) & (sy < rect[:, 3, None, None])
    return image, inside[:, None]


def textures(pool, count, size):
    """Cloth-, hand- or wall-like fillings [count, 1, size, size]: parts of eyeless pictures, or smooth noise."""
    device = pool.device
    cells = int(torch.randint(2, 13, (1,)))
    coarse = uniform(20, 220, count, 1, 1, 1, device=device) + uniform(0, 40, count, 1, 1, 1, device=device) * torch.randn(count, 1, cells, cells, device=device)
    smooth = F.interpolate(coarse, (size, size), mode="bicubic")
    grain = uniform(1, 15, count, 1, 1, 1, device=device) * chance(0.5, count, device)[:, None, None, None]
    smooth = smooth + grain * torch.randn_like(smooth)
    drawn = torch.multinomial(pool.donors, count, replacement=True)
    extent = pool.extents[drawn]
    share = extent * uniform(0.2, 1, count, 2, device=device)
    corner = torch.rand(count, 2, device=device) * (extent - share)
    at = torch.linspace(0, 1, size, device=device)
    sx = corner[:, 0, None] + share[:, 0, None] * at
    sy = corner[:, 1, None] + share[:, 1, None] * at
    side = pool.tiles.shape[-1]
    where = torch.stack([sx[:, None, :].expand(-1, size, -1), sy[:, :, None].expand(-1, -1, size)], -1) * (2 / side) - 1
    donor = F.grid_sample(pool.tiles[drawn][:, None].float(), where, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(chance(0.5, count, device)[:, None, None, None], donor, smooth).clamp(0, 255)


def inside_ellipse(xx, yy, centre, radii, angle):
    """Squared distance from the middle in units of the radii, [n, size, size]."""
    x, y = xx - centre[:, 0, None, None], yy - centre[:, 1, None, None]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return ((x * c + y * s) / radii[:, 0, None, None]) ** 2 + ((y * c - x * s) / radii[:, 1, None, None]) ** 2


def round_things(image, xx, yy):
    """Draws what is round and no eye: knobs, buttons, lenses, wheels, clocks, holes; one to six of a kind a picture."""
    n, size, device = len(image), image.shape[-1], image.device
    radius = size * log_uniform(0.015, 0.2, n, device=device)
    centre = uniform(0.1, 0.9, n, 2, device=device) * size
    squash = torch.where(chance(0.4, n, device), torch.ones(n, device=device), uniform(0.45, 1, n, device=device))
    angle = uniform(0, math.pi, n, device=device)
    turn = uniform(0, 2 * math.pi, n, device=device)
    step = (radius * uniform(2.2, 6, n, device=device))[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
    rings = torch.cumprod(torch.cat([torch.ones(n, 1, device=device), uniform(0.35, 0.9, n, 4, device=device)], 1), 1)
    grays = uniform(0, 255, n, 5, device=device)
    count = torch.randint(1, 6, (n, 1), device=device)
    spokes = torch.where(chance(0.3, n, device), torch.randint(3, 13, (n,), device=device), 0)
    holes = torch.where((spokes == 0) & chance(0.5, n, device), torch.randint(2, 5, (n,), device=device), 0)
    detail = uniform(0, 255, n, device=device)
    glint = chance(0.4, n, device)
    copies = torch.randint(1, 7, (n,), device=device)
    soft = uniform(0.5, 2.0, n, device=device)
    for copy in range(6):
        there = (copies > copy)[:, None, None]
        if copy and not bool(there.any()):
            break
        radii = torch.stack([radius, radius * squash], 1)
        distance = inside_ellipse(xx, yy, centre, radii, angle).sqrt()
        paint = torch.zeros_like(distance)
        for ring in range(5):
            drawn = ((rings[:, ring, None, None] - distance) * (radius / soft)[:, None, None]).clamp(0, 1) * (count > ring)[:, :, None]
            paint = paint * (1 - drawn) + grays[:, ring, None, None] * drawn
        x, y = xx - centre[:, 0, None, None], yy - centre[:, 1, None, None]
        around = torch.atan2(y, x) - angle[:, None, None]
        if bool((spokes > 0).any()):
            beam = (around * spokes[:, None, None] / 2).sin().abs() * distance < 0.12 * spokes[:, None, None] / 4
            paint = torch.where(beam & (distance < 0.85) & (spokes > 0)[:, None, None], detail[:, None, None], paint)
        for hole in range(4):
            at = angle + hole * 2 * math.pi / holes.clamp(min=1)
            where = centre + (0.42 * radius * squash)[:, None] * torch.stack([at.cos(), at.sin()], 1)
            open_ = inside_ellipse(xx, yy, where, (0.13 * radius)[:, None].expand(-1, 2).clamp(min=0.7), angle) < 1
            paint = torch.where(open_ & (holes > hole)[:, None, None], detail[:, None, None], paint)
        shine = inside_ellipse(xx, yy, centre - radius[:, None] * 0.22, (0.1 * radius)[:, None].expand(-1, 2).clamp(min=0.7), angle) < 1
        paint = torch.where(shine & glint[:, None, None], torch.full_like(paint, 255), paint)
        alpha = ((1 - distance) * (radius / soft)[:, None, None]).clamp(0, 1) * there
        image = image * (1 - alpha)[:, None] + (paint * alpha)[:, None]
        centre = centre + step
    return image


def composed(pool, drawn, size, into, plain):
    """Drawn pictures, each in its rectangle `into` of a canvas: canvases [n, 1, size, size], eyes there, classes."""
    device, n = pool.device, len(drawn)
    xx, yy = grid(size, device)
    rect, classes = sources(pool, drawn)
    matrix = placements(rect, into, pool.eyes[drawn], classes, plain)
    image, inside = warped(pool, drawn, matrix, size, rect, xx, yy)
    things = pool.things[drawn]
    dark = things & chance(MIRRORED_LIGHT, n, device)
    image = torch.where(dark[:, None, None, None], 255 - image, image)

    kind = torch.rand(n, device=device)
    gray = torch.where(plain | (kind < 0.5), torch.full((n,), float(LETTERBOX_GRAY), device=device), uniform(0, 255, n, device=device))
    fill = gray[:, None, None, None].expand_as(image).clone()
    textured = (~plain & (kind > 0.75)).nonzero()[:, 0]
    if len(textured):
        fill[textured] = textures(pool, len(textured), size)
    image = torch.where(inside, image, fill)

    rounded = (things & chance(ROUND_THINGS, n, device)).nonzero()[:, 0]
    if len(rounded):
        image[rounded] = round_things(image[rounded], xx, yy)

    eyes = moved(pool.eyes[drawn], matrix)
    boxes = boxes_of(eyes)
    clipped = torch.stack([boxes[..., k].clamp(into[:, k % 2, None], into[:, 2 + k % 2, None]) for k in range(4)], -1)
    area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])  # noqa: E731
    seen = area(clipped) / area(boxes).clamp(min=1e-6)
    half = (classes >= 0) & (seen > HIDDEN) & (seen <= SEEN)
    for slot in range(half.shape[1]):  # half an eye at the edge is neither
        some = half[:, slot].nonzero()[:, 0]
        if len(some):
            eye = eyes[some, slot]
            radii = torch.stack([eye[:, 2] * 0.8 + 1, eye[:, 2] * 0.6 + 1], 1)
            image[some] = torch.where(inside_ellipse(xx, yy, eye[:, :2], radii, eye[:, 3])[:, None] < 1, float(LETTERBOX_GRAY), image[some])
    return image, eyes, torch.where(seen > SEEN, classes, torch.full_like(classes, -1))


def cover(pool, image, eyes, classes):
    """Blankets, hands, arms: over the eyes (their labels go) or beside them (labels stay)."""
    device, n, size = pool.device, len(image), image.shape[-1]
    xx, yy = grid(size, device)
    real = classes >= 0
    kind = torch.rand(n, device=device)
    band, hand = kind < 0.45, (kind >= 0.45) & (kind < 0.6)
    mask = torch.zeros(n, size, size, device=device, dtype=torch.bool)
    reach = uniform(0, 1, n, 4, device=device) * torch.tensor([1.2, 1.2, 0.95, 1.15], device=device) + torch.tensor([1.0, 1.0, 0.65, 0.65], device=device)
    tilt = 0.08 * torch.randn(n, device=device)
    which = torch.multinomial(real.float() + 1e-9, 1)[:, 0]
    axes = uniform(0, 1, n, 2, device=device) * torch.tensor([0.55, 0.6], device=device) + torch.tensor([0.95, 0.8], device=device)
    bent = uniform(-0.7, 0.7, n, device=device)
    for slot in range(classes.shape[1]):
        there = real[:, slot]
        if not bool(there.any()):
            continue
        x, y, d, angle = eyes[:, slot].unbind(1)
        turn = angle + tilt
        c, s = turn.cos()[:, None, None], turn.sin()[:, None, None]
        u = ((xx - x[:, None, None]) * c + (yy - y[:, None, None]) * s) / d[:, None, None]
        v = ((yy - y[:, None, None]) * c - (xx - x[:, None, None]) * s) / d[:, None, None]
        r = reach[:, :, None, None]
        mask |= (u > -r[:, 0]) & (u < r[:, 1]) & (v > -r[:, 2]) & (v < r[:, 3]) & (band & there)[:, None, None]
        oval = inside_ellipse(xx, yy, eyes[:, slot, :2], axes * d[:, None] + 1, angle + bent) < 1
        mask |= oval & (hand & (which == slot) & there)[:, None, None]
    # A blanket, pillow or fringe that ends clear of the eyes.
    blanket = ~band & ~hand
    total = real.sum(1).clamp(min=1)
    middle = (eyes[..., :2] * real[..., None]).sum(1) / total[:, None]
    largest = (eyes[..., 2] * real).amax(1)
    first = eyes[torch.arange(n, device=device), real.float().argmax(1), 3]
    turn = first + 0.2 * torch.randn(n, device=device) + math.pi * chance(0.3, n, device)
    across = torch.stack([-turn.sin(), turn.cos()], 1)
    offset = (((eyes[..., :2] - middle[:, None]) * across[:, None]).sum(-1).abs() * real).amax(1) + uniform(0.6, 1.6, n, device=device) * largest
    depth = (xx - middle[:, 0, None, None]) * across[:, 0, None, None] + (yy - middle[:, 1, None, None]) * across[:, 1, None, None]
    mask |= (depth > offset[:, None, None]) & blanket[:, None, None]

    at = eyes[..., :2].long().clamp(0, size - 1)
    under = mask[torch.arange(n, device=device)[:, None], at[..., 1], at[..., 0]]
    keep = torch.where(band[:, None], torch.zeros_like(real), torch.where(hand[:, None], ~under, torch.ones_like(real)))
    fill = textures(pool, n, size)
    small = F.interpolate(F.adaptive_avg_pool2d(image, max(1, size // 24)), (size, size), mode="bilinear", align_corners=False)
    fill = torch.where((band & chance(0.15, n, device))[:, None, None, None], small, fill)
    alpha = blurred(mask[:, None].float(), uniform(0.05, 1.5, n, device=device))
    return image * (1 - alpha) + fill * alpha, torch.where(keep, classes, torch.full_like(classes, -1))


def blob(xx, yy, centre, radii, angle):
    return torch.exp(-0.5 * inside_ellipse(xx, yy, centre, radii, angle))


def jpeg(image, quality):
    """What JPEG's quantization does to [n, 1, h, w] (sides multiples of 8), each with its own quality [n]."""
    device, n = image.device, len(image)
    k = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * torch.where(k == 0, math.sqrt(1 / 8), 0.5)[:, None]
    # The luminance table of the standard's annex K, approximated by its growth along both
    # frequencies.
    table = 10 + 5.2 * (k[None] + k[:, None]) + 0.55 * (k[None] ** 2 + k[:, None] ** 2)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    q = (table[None] * factor[:, None, None]).clamp(1, 255).round()
    h, w = image.shape[-2:]
    blocks = image.reshape(n, h // 8, 8, w // 8, 8).permute(0, 1, 3, 2, 4) - 128
    c = basis @ blocks @ basis.T
    c = (c / q[:, None, None]).round() * q[:, None, None]
    return (basis.T @ c @ basis + 128).permute(0, 1, 3, 2, 4).reshape(n, 1, h, w)


def photometric(image, eyes, classes):
    """Light, lens and sensor of [n, 1, size, size] in 0..255."""
    n, device, size = len(image), image.device, image.shape[-1]
    xx, yy = grid(size, device)
    lit = chance(LIT, n, device)
    column = lambda v: v[:, None, None, None]  # noqa: E731
    some = lambda share: (lit & chance(share, n, device))  # noqa: E731
    real = classes >= 0
    d = torch.where(real, eyes[..., 2], torch.full_like(eyes[..., 2], 1e6)).amin(1)
    d = torch.where(d > 1e5, torch.full_like(d, 30.0), d).clamp(min=5)

    gamma = torch.where(some(0.5), uniform(-0.6, 0.6, n, device=device).exp(), torch.ones(n, device=device))
    image = 255 * (image.clamp(0, 255) / 255) ** column(gamma)
    on = some(0.5)
    gain = torch.where(on, uniform(0.5, 1.4, n, device=device), torch.ones(n, device=device))
    offset = torch.where(on, uniform(-40, 40, n, device=device), torch.zeros(n, device=device))
    image = (image - 128) * column(gain) + 128 + column(offset)

    at = some(0.12).nonzero()[:, 0]  # hot spot of the lamp
    if len(at):
        k = len(at)
        spot = blob(xx, yy, uniform(0, size, k, 2, device=device), uniform(0.06, 0.4, k, 2, device=device) * size, uniform(0, math.pi, k, device=device))
        image[at] += (uniform(40, 220, k, 1, 1, device=device) * spot)[:, None]
    at = some(0.12).nonzero()[:, 0]  # its fall-off
    if len(at):
        k = len(at)
        spot = blob(xx, yy, uniform(0.2, 0.8, k, 2, device=device) * size, uniform(0.25, 0.8, k, 2, device=device) * size, torch.zeros(k, device=device))
        image[at] *= (0.15 + 0.85 * spot)[:, None]
    at = (some(0.12) & real.any(1)).nonzero()[:, 0]  # reflections on glasses
    for slot in range(classes.shape[1]) if len(at) else ():
        here = at[real[at, slot]]
        k = len(here)
        for again in range(2 if k else 0):
            x, y, width, _ = eyes[here, slot].unbind(1)
            off, turn = width * uniform(0.25, 0.9, k, device=device), uniform(0, 2 * math.pi, k, device=device)
            centre = torch.stack([x + off * turn.cos(), y + off * turn.sin()], 1)
            radii = (width[:, None] * uniform(0.04, 0.16, k, 2, device=device)).clamp(min=0.7)
            bright = uniform(80, 255, k, 1, 1, device=device) * (chance(0.5, k, device) if again else torch.ones(k, device=device))[:, None, None]
            image[here] += (bright * blob(xx, yy, centre, radii, uniform(0, math.pi, k, device=device)))[:, None]
    image = image.clamp(0, 255)

    kind = torch.rand(n, device=device)
    at = (lit & (kind < 0.15)).nonzero()[:, 0]  # motion of at most a third of an eye
    if len(at):
        length = (uniform(0.05, 0.3, len(at), device=device) * d[at]).clamp(3, 15)
        image[at] = streaked(image[at], length, uniform(0, math.pi, len(at), device=device), xx, yy)
    at = (lit & (kind >= 0.15) & (kind < 0.28)).nonzero()[:, 0]
    if len(at):
        most = (0.06 * d[at]).clamp(0.5, 4.0)
        image[at] = blurred(image[at], 0.3 + torch.rand(len(at), device=device) * (most - 0.3))
    at = (some(0.08) & (d > 12)).nonzero()[:, 0]  # a worse camera
    if len(at):
        f = float(uniform(max(0.3, 8 / float(d[at].min())), 1, 1, device="cpu")) if float(d[at].min()) > 8 else 1.0
        small = F.interpolate(image[at], scale_factor=f, mode="area") if f < 0.99 else image[at]
        image[at] = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)

    kind = torch.rand(n, device=device)
    dim = lit & (kind < 0.15)  # few photons, then gain
    level = torch.where(dim, uniform(0.08, 0.5, n, device=device), torch.ones(n, device=device))
    photons = uniform(150, 900, n, device=device)
    image = image * column(level)
    variance = column(dim.float()) * (image.clamp(min=0) * 255 / column(photons) + column(uniform(0, 9, n, device=device)))
    read = torch.where(lit & (kind >= 0.15) & (kind < 0.5), log_uniform(1, 30, n, device=device), torch.zeros(n, device=device))
    image = image + torch.randn_like(image) * (variance + column(read) ** 2).sqrt()
    again = torch.where(dim & chance(0.6, n, device), 1 + torch.rand(n, device=device) * (1 / level - 1), torch.ones(n, device=device))
    image = (image * column(again)).clamp(0, 255)
    at = some(0.15).nonzero()[:, 0]
    if len(at):
        image[at] = jpeg(image[at], uniform(25, 92, len(at), device=device))
    return image.clamp(0, 255).round()


def batch(pool, count, size, mosaic, plain, share, silent):
    """Images [count, 1, size, size] in 0..255, targets [n, 6] as YOLOv5 wants them, and (where, which) of lone things.

    `mosaic`, `plain`: shares of mosaics and of pictures as the function sees them; `share` of the drawn ones are things.
    """
    device = pool.device
    mosaics = int(count * mosaic + float(torch.rand(1)))
    singles = count - mosaics
    drawn = pool.draw(singles + 4 * mosaics, share, silent)
    whole = torch.tensor([0.0, 0.0, size, size], device=device).expand(singles, 4)
    cut = uniform(0.35, 0.65, mosaics, 2, device=device).mul(size).floor()
    zero, full = torch.zeros(mosaics, device=device), torch.full((mosaics,), float(size), device=device)
    cx, cy = cut.unbind(1)
    quarters = torch.stack(
        [
            torch.stack([zero, zero, cx, cy], 1),
            torch.stack([cx, zero, full, cy], 1),
            torch.stack([zero, cy, cx, full], 1),
            torch.stack([cx, cy, full, full], 1),
        ],
        1,
    ).reshape(-1, 4)
    as_seen = torch.cat([chance(plain, singles, device), torch.zeros(4 * mosaics, dtype=torch.bool, device=device)])
    image, eyes, classes = composed(pool, drawn, size, torch.cat([whole, quarters]), as_seen)
    slots = classes.shape[1]
    if mosaics:
        four = image[singles:].reshape(mosaics, 4, 1, size, size)
        xx, yy = grid(size, device)
        quarter = (xx[None] >= cx[:, None, None]).long() + 2 * (yy[None] >= cy[:, None, None]).long()
        joined = torch.gather(four, 1, quarter[:, None, None]).squeeze(1)
        image = torch.cat([image[:singles], joined])
        pad = lambda v, value: torch.cat([v, v.new_full((singles, 3 * slots, *v.shape[2:]), value)], 1)  # noqa: E731
        eyes = torch.cat([pad(eyes[:singles], 1.0), eyes[singles:].reshape(mosaics, 4 * slots, 4)])
        classes = torch.cat([pad(classes[:singles], -1), classes[singles:].reshape(mosaics, 4 * slots)])
    covered = (chance(COVERED, count, device) & (classes >= 0).any(1)).nonzero()[:, 0]
    if len(covered):
        image[covered], classes[covered] = cover(pool, image[covered], eyes[covered], classes[covered])
    image = photometric(image, eyes, classes)
    where, slot = (classes >= 0).nonzero(as_tuple=True)
    boxes = boxes_of(eyes[where, slot]).clamp(0, size) / size
    targets = torch.stack([where.float(), classes[where, slot].float(), *((boxes[:, :2] + boxes[:, 2:]) / 2).unbind(1), *(boxes[:, 2:] - boxes[:, :2]).unbind(1)], 1)
    lone = pool.things[drawn[:singles]].nonzero()[:, 0]
    return image, targets, (lone, drawn[lone])
