"""Night-vision augmentation: what a sleeper's camera does to a picture, on gray images with eye ellipses."""

import cv2
import numpy as np

import ellipse

ROUND_THINGS = 0.2  # share of pictures of things onto which round ones are drawn, which a model takes for eyes most often

def blob(shape, centre, radii, angle):
    """Soft 0..1 Gaussian spot, float32 [H, W]."""
    yy, xx = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    xx, yy = xx - centre[0], yy - centre[1]
    c, s = np.cos(angle), np.sin(angle)
    return np.exp(-0.5 * (((xx * c + yy * s) / radii[0]) ** 2 + ((yy * c - xx * s) / radii[1]) ** 2))


def texture(rng, shape, donor):
    """Cloth-, hand- or wall-like filling [H, W] uint8: part of an eyeless picture, or smooth noise."""
    h, w = shape
    if donor is not None and rng.random() < 0.5:
        dh, dw = donor.shape
        ch, cw = int(dh * rng.uniform(0.2, 1)), int(dw * rng.uniform(0.2, 1))
        y, x = rng.integers(0, dh - ch + 1), rng.integers(0, dw - cw + 1)
        return cv2.resize(donor[y : y + ch, x : x + cw], (w, h))
    cells = int(rng.integers(2, 12))
    coarse = rng.normal(rng.uniform(20, 220), rng.uniform(0, 40), (cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        smooth = smooth + rng.normal(0, rng.uniform(1, 15), shape).astype(np.float32)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def random_angle(rng):
    """A sleeper's head lies at any angle: three in ten upright, three on a side or upside down, four anywhere."""
    kind = rng.random()
    if kind < 0.3:
        return rng.normal(0, np.radians(8))
    if kind < 0.6:
        return rng.integers(1, 4) * np.pi / 2 + rng.normal(0, np.radians(6))
    return rng.uniform(-np.pi, np.pi)


def placement(rng, shape, ellipses, rect, plain):
    """2 x 3 similarity that puts an image of `shape` into `rect` (x1, y1, x2, y2) of the canvas."""
    h, w = shape
    x1, y1, x2, y2 = rect
    scale = min((x2 - x1) / w, (y2 - y1) / h)
    angle = random_angle(rng)
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    if not plain:
        zoom = np.exp(rng.uniform(np.log(0.35), np.log(1.5))) if rng.random() < 0.55 else rng.normal(1, 0.08)
        if len(ellipses):  # eyes under 6 px between the corners cannot be told open from closed
            zoom = max(zoom, 6 / (ellipses[:, 2].min() * scale))
        scale *= np.clip(zoom, 0.25, 2.0)
        cx += rng.uniform(-0.12, 0.12) * (x2 - x1)
        cy += rng.uniform(-0.12, 0.12) * (y2 - y1)
    else:
        angle = rng.normal(0, np.radians(3)) if rng.random() < 0.5 else 0.0
    mirror = -1 if rng.random() < 0.5 else 1
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    a = np.array([[c * mirror, -s], [s * mirror, c]])
    return np.column_stack([a, np.array([cx, cy]) - a @ np.array([w / 2, h / 2])])


def cover(rng, image, ellipses, classes, donor):
    """Blankets, hands, arms: over the eyes (their labels go) or beside them (labels stay)."""
    h, w = image.shape
    if not len(ellipses):
        return image, ellipses, classes
    mask = np.zeros((h, w), np.uint8)
    keep = np.ones(len(ellipses), bool)
    kind = rng.random()
    if kind < 0.45:  # a band or cloth over every eye
        for x, y, d, angle in ellipses:
            along = np.array([np.cos(angle), np.sin(angle)])
            across = np.array([-along[1], along[0]])
            left, right, up, down = d * rng.uniform([1.0, 1.0, 0.65, 0.65], [2.2, 2.2, 1.6, 1.8])
            corners = [along * sx + across * sy for sx, sy in ((-left, -up), (right, -up), (right, down), (-left, down))]
            corners = np.array([x, y]) + np.array(corners) + rng.normal(0, 0.05 * d, (4, 2))
            cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
        keep[:] = False
    elif kind < 0.6:  # a hand over one eye
        i = rng.integers(len(ellipses))
        x, y, d, angle = ellipses[i]
        axes = (int(d * rng.uniform(0.95, 1.5)) + 1, int(d * rng.uniform(0.8, 1.4)) + 1)
        cv2.ellipse(mask, (int(x), int(y)), axes, np.degrees(angle) + rng.uniform(-40, 40), 0, 360, 255, -1)
        inside = [mask[min(h - 1, max(0, int(e[1]))), min(w - 1, max(0, int(e[0])))] > 0 for e in ellipses]
        keep = ~np.array(inside)
    else:  # a blanket, pillow or fringe that ends clear of the eyes
        x, y = ellipses[:, :2].mean(0)
        d, angle = ellipses[:, 2].max(), ellipses[0, 3]
        angle += rng.normal(0, 0.2) + (np.pi if rng.random() < 0.3 else 0)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        spread = np.abs((ellipses[:, :2] - [x, y]) @ across).max() + rng.uniform(0.6, 1.6) * d
        far = 3.0 * max(h, w)
        edge = np.array([x, y]) + across * spread
        corners = np.array([edge - along * far, edge + along * far, edge + along * far + across * far, edge - along * far + across * far])
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    if rng.random() < 0.7:
        k = 2 * int(rng.integers(0, 4)) + 1
        mask = cv2.GaussianBlur(mask, (k, k), 0)
    if not keep.any() and rng.random() < 0.15:  # mosaicked or smeared faces
        small = cv2.resize(image, (max(1, w // 24), max(1, h // 24)), interpolation=cv2.INTER_AREA)
        fill = cv2.resize(small, (w, h), interpolation=int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_CUBIC])))
    else:
        fill = texture(rng, (h, w), donor)
    alpha = mask.astype(np.float32) / 255
    image = (image * (1 - alpha) + fill * alpha).astype(np.uint8)
    return image, ellipses[keep], classes[keep]


def photometric(rng, image, ellipses):
    """Light, lens and sensor. `image` uint8 [H, W] -> uint8 [H, W]."""
    h, w = image.shape
    d = max(5.0, float(ellipses[:, 2].min())) if len(ellipses) else 30.0
    im = image.astype(np.float32)
    if rng.random() < 0.5:
        im = 255 * (im / 255) ** np.exp(rng.uniform(-0.6, 0.6))
    if rng.random() < 0.5:
        im = (im - 128) * rng.uniform(0.5, 1.4) + 128 + rng.uniform(-40, 40)
    if rng.random() < 0.12:  # infrared hot spot of the lamp
        centre = rng.uniform([0, 0], [w, h])
        im += rng.uniform(40, 220) * blob(im.shape, centre, rng.uniform(0.06, 0.4, 2) * w, rng.uniform(0, np.pi))
    if rng.random() < 0.12:  # fall-off of the lamp
        centre = rng.uniform([0.2 * w, 0.2 * h], [0.8 * w, 0.8 * h])
        im *= 0.15 + 0.85 * blob(im.shape, centre, rng.uniform(0.25, 0.8, 2) * w, 0)
    if len(ellipses) and rng.random() < 0.12:  # reflections on glasses
        for x, y, dd, angle in ellipses:
            for _ in range(int(rng.integers(1, 3))):
                offset, turn = dd * rng.uniform(0.25, 0.9), rng.uniform(0, 2 * np.pi)
                centre = (x + offset * np.cos(turn), y + offset * np.sin(turn))
                radii = np.maximum(dd * rng.uniform(0.04, 0.16, 2), 0.7)
                im += rng.uniform(80, 255) * blob(im.shape, centre, radii, rng.uniform(0, np.pi))
    im = np.clip(im, 0, 255)
    if rng.random() < 0.15:  # motion of at most a third of an eye
        length = int(min(15, max(3, rng.uniform(0.05, 0.3) * d)))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1
        turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        im = cv2.filter2D(im, -1, kernel / max(kernel.sum(), 1e-6))
    elif rng.random() < 0.15:
        im = cv2.GaussianBlur(im, (0, 0), rng.uniform(0.3, max(0.5, min(4.0, 0.06 * d))))
    if rng.random() < 0.08 and d > 12:  # a worse camera
        f = rng.uniform(max(0.3, 8 / d), 1)
        im = cv2.resize(cv2.resize(im, (int(w * f), int(h * f)), interpolation=cv2.INTER_AREA), (w, h))
    if rng.random() < 0.15:  # little light: few photons, then gain
        level = rng.uniform(0.08, 0.5)
        photons = rng.uniform(150, 900)
        im = im * level
        im = im + rng.normal(0, 1, im.shape).astype(np.float32) * np.sqrt(np.maximum(im, 0) * 255 / photons + rng.uniform(0, 9))
        if rng.random() < 0.6:
            im = im * rng.uniform(1, 1 / level)
    elif rng.random() < 0.4:
        im = im + rng.normal(0, np.exp(rng.uniform(0, np.log(30))), im.shape).astype(np.float32)
    im = np.clip(im, 0, 255).astype(np.uint8)
    if rng.random() < 0.05:
        im = cv2.createCLAHE(rng.uniform(1, 4), (8, 8)).apply(im)
    if rng.random() < 0.15:
        im = cv2.imdecode(cv2.imencode(".jpg", im, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))])[1], 0)
    return im


def without_eyes(rng, image, ellipses):
    """A part of a face picture without its eyes: every second time what lies below them (mouths and nostrils look most
    like eyes), else above, below or beside, the larger the likelier."""
    h, w = image.shape
    boxes = ellipse.to_boxes(ellipses)
    x1, y1 = boxes[:, :2].min(0) - 0.15 * ellipses[:, 2].max()
    x2, y2 = boxes[:, 2:].max(0) + 0.15 * ellipses[:, 2].max()
    parts = [(0, 0, w, y1), (0, y2, w, h), (0, 0, x1, h), (x2, 0, w, h)]
    below = parts[1]
    parts = [p for p in parts if p[2] - p[0] > 48 and p[3] - p[1] > 48]
    if not parts:
        return None
    if below in parts and rng.random() < 0.5:
        parts = [below]
    parts = [tuple(int(v) for v in p) for p in parts]
    area = np.array([(p[2] - p[0]) * (p[3] - p[1]) for p in parts], float)
    p = parts[rng.choice(len(parts), p=area / area.sum())]
    return image[p[1] : p[3], p[0] : p[2]]


def part_of_thing(rng, image):
    """Half of the time a part of a picture of things, at least a third of each side; now and then dark for light."""
    if rng.random() < 0.5:
        h, w = image.shape
        part_h, part_w = int(h * rng.uniform(0.33, 1)), int(w * rng.uniform(0.33, 1))
        y, x = rng.integers(0, h - part_h + 1), rng.integers(0, w - part_w + 1)
        image = image[y : y + part_h, x : x + part_w]
    if rng.random() < ROUND_THINGS:
        image = round_things(rng, image)
    return 255 - image if rng.random() < 0.1 else image


def round_things(rng, image):
    """Draws what is round and no eye onto a picture without eyes: knobs, buttons, lenses, wheels, clocks, one to six of a kind."""
    h, w = image.shape
    image = image.copy()
    rings = [(1.0, int(rng.integers(0, 256)))]
    for _ in range(int(rng.integers(1, 5))):
        rings.append((rings[-1][0] * rng.uniform(0.35, 0.9), int(rng.integers(0, 256))))
    squash, angle = rng.uniform(0.6, 1), rng.uniform(0, 360)
    spokes, holes = (int(rng.integers(3, 13)), 0) if rng.random() < 0.3 else (0, int(rng.choice([0, 0, 2, 3, 4])))
    gray, glint = int(rng.integers(0, 256)), rng.random() < 0.4
    radius = min(h, w) * np.exp(rng.uniform(np.log(0.03), np.log(0.25)))
    x, y = rng.uniform([0.1 * w, 0.1 * h], [0.9 * w, 0.9 * h])
    step = radius * rng.uniform(2.2, 6) * np.array([np.cos(turn := rng.uniform(0, 2 * np.pi)), np.sin(turn)])
    for _ in range(int(rng.integers(1, 7))):
        for share, value in rings:
            axes = (max(1, round(radius * share)), max(1, round(radius * share * squash)))
            cv2.ellipse(image, (round(x), round(y)), axes, angle, 0, 360, value, -1, cv2.LINE_AA)
        around = np.radians(angle) + np.arange(max(spokes, holes)) * 2 * np.pi / max(spokes, holes, 1)
        for a in around:
            end = (round(x + 0.85 * radius * squash * np.cos(a)), round(y + 0.85 * radius * squash * np.sin(a)))
            if spokes:
                cv2.line(image, (round(x), round(y)), end, gray, max(1, round(radius * 0.06)), cv2.LINE_AA)
            else:
                middle = (round((x + end[0]) / 2), round((y + end[1]) / 2))
                cv2.circle(image, middle, max(1, round(radius * 0.13)), gray, -1, cv2.LINE_AA)
        if glint:
            cv2.circle(image, (round(x - radius * 0.2), round(y - radius * 0.25)), max(1, round(radius * 0.1)), 255, -1, cv2.LINE_AA)
        x, y = x + step[0], y + step[1]
    return image
