"""A YOLO-format folder as training samples: decoded once, weighted by source, augmented for the night."""

import pathlib

import cv2
import numpy as np
import torch

import augment
import ellipse

LETTERBOX_GRAY = 114
# How often a source is drawn, relative to its number of pictures: real near-infrared, closed eyes
# and pictures without eyes are few in the data set and are what the first model got wrong.
SOURCE_WEIGHTS = {
    "cnir": 3.5, "cnirX": 3.0, "mrl": 2.5, "morph": 1.0, "morphX": 2.0, "mix": 1.5, "cewC": 1.3, "cewT": 1.3,
    "negES": 4.0, "neglow": 6.0, "negocc": 4.0, "negroom": 4.0, "negface": 4.0, "negcoco": 1.5, "negcar": 1.5, "negbg": 1.0,
    "regC": 0.6, "regT": 0.6, "yaw": 0.8, "nuaa": 1.0, "web": 0.8, "aps": 1.2,
}  # fmt: skip
CLOSED_NIR_WEIGHT = 3.0  # on top, for real near-infrared whole faces with a closed eye (there are four)
GENERATED_WEIGHT = 1.5
WITHOUT_EYES = 0.12  # share of faces of which only a part without eyes is taken
# Of pictures of things: the weight of one that a model keeps silent on, against 1 for one that it
# is sure has eyes; and how much more the few of negatives.tar count, which show whole scenes.
SILENT_WEIGHT = 0.15
SCENE_WEIGHT = 4.0


def prefix(stem: str) -> str:
    """`cnirX_0123` -> `cnirX`: the source a picture comes from."""
    head = stem.split("_")[0].split("-")[0]
    return head.rstrip("0123456789") or head


def read_labels(path: pathlib.Path) -> np.ndarray:
    """YOLO label file -> [n, 5] (class, normalised centre x, y, width, height)."""
    text = path.read_text().split() if path.exists() else []
    return np.array(text, np.float64).reshape(-1, 5)


def folders(root, split):
    """(images, labels) of a YOLO folder: with `images/<split>`, or with `images` alone, as the generator writes."""
    root = pathlib.Path(root)
    below = split if (root / "images" / split).is_dir() else ""
    if not (root / "images" / below).is_dir():
        raise SystemExit(f"{root} holds no images/{split}: give a YOLO folder, unpacked (prepare.py does it)")
    return root / "images" / below, root / "labels" / below


def names_in(file):
    """Picture names, one a line; lines that begin with # say why."""
    return {line.strip() for line in pathlib.Path(file).read_text().splitlines() if line.strip() and not line.startswith("#")}


class Pictures:
    """Decoded gray pictures with their eyes, but those named in `leave_out`."""

    def __init__(self, roots, split, leave_out=frozenset()):
        self.images, self.eyes, self.classes, self.names = [], [], [], []
        for root in roots:
            files, labelled = folders(root, split)
            for file in sorted(file for file in files.iterdir() if file.stem not in leave_out):
                image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                labels = read_labels(labelled / f"{file.stem}.txt")
                h, w = image.shape
                self.images.append(image)
                self.classes.append(labels[:, 0].astype(np.int64))
                self.eyes.append(ellipse.from_boxes(labels[:, 1:] * [w, h, w, h]))
                self.names.append(file.stem)

    def __len__(self):
        return len(self.images)

    def weights(self):
        """Sampling weight per picture."""
        out = np.empty(len(self))
        for i, name in enumerate(self.names):
            source = prefix(name)
            out[i] = SOURCE_WEIGHTS.get(source, GENERATED_WEIGHT)
            if source == "cnir" and 1 in self.classes[i]:
                out[i] *= CLOSED_NIR_WEIGHT
        return out


def mined(file):
    """mine.py's file -> {name: confidence of the surest eye that a model found in a picture without any}."""
    lines = [line.split() for line in pathlib.Path(file).read_text().splitlines() if line and not line.startswith("#")]
    return {name: float(confidence) for confidence, name in lines}


class Things:
    """Pictures without eyes, drawn the more often the surer a model was of eyes in them."""

    def __init__(self, pictures: Pictures, confidences):
        if any(len(eyes) for eyes in pictures.eyes):
            raise SystemExit("a folder of pictures without eyes has labels: give it as training data instead")
        self.images = pictures.images
        scenes = np.array([SCENE_WEIGHT if prefix(name) == "negobj" else 1.0 for name in pictures.names])
        weights = scenes * (SILENT_WEIGHT + np.array([confidences.get(name, 0.0) for name in pictures.names]))
        self.cumulative = np.cumsum(weights / weights.sum())

    def draw(self, rng):
        image = self.images[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.images) - 1)]
        return augment.part_of_thing(rng, image)


class TrainingSet(torch.utils.data.Dataset):
    """Item: (seed, size, share of mosaics, share unturned) -> image uint8 [size, size], targets [n, 6] (0, class, normalised xywh).

    `share` of the drawn pictures come from `things`.
    """

    def __init__(self, pictures: Pictures, things: Things | None = None, share=0.0):
        self.pictures, self.things, self.share = pictures, things, share
        weights = pictures.weights()
        self.cumulative = np.cumsum(weights / weights.sum())
        self.eyeless = [i for i, eyes in enumerate(pictures.eyes) if not len(eyes)]

    def draw(self, rng):
        """(picture, its eyes, their classes)."""
        if self.things is not None and rng.random() < self.share:
            return self.things.draw(rng), ellipse.from_boxes(np.zeros((0, 4))), np.zeros(0, np.int64)
        i = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.pictures) - 1)
        return self.pictures.images[i], self.pictures.eyes[i], self.pictures.classes[i]

    def donor(self, rng):
        return self.pictures.images[self.eyeless[rng.integers(len(self.eyeless))]] if self.eyeless else None

    def place(self, rng, canvas, rect, plain):
        """Warps one drawn picture into `rect` of the canvas; returns its eyes there."""
        image, eyes, classes = self.draw(rng)
        if len(eyes) and rng.random() < WITHOUT_EYES:
            part = augment.without_eyes(rng, image, eyes)
            if part is not None:
                image, eyes, classes = part, eyes[:0], classes[:0]
        matrix = augment.placement(rng, image.shape, eyes, rect, plain)
        x1, y1, x2, y2 = rect
        shift = matrix - np.array([[0, 0, x1], [0, 0, y1]])
        view = canvas[y1:y2, x1:x2]
        fill = rng.random()
        if plain or fill < 0.5:
            border = dict(borderMode=cv2.BORDER_CONSTANT, borderValue=LETTERBOX_GRAY)
        elif fill < 0.75:
            border = dict(borderMode=cv2.BORDER_CONSTANT, borderValue=int(rng.integers(0, 256)))
        else:
            view[:] = augment.texture(rng, view.shape, self.donor(rng))
            border = dict(borderMode=cv2.BORDER_TRANSPARENT, dst=view.copy())
        view[:] = cv2.warpAffine(image, shift, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR, **border)
        eyes = ellipse.transform(eyes, matrix)
        boxes = ellipse.to_boxes(eyes)
        clipped = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
        seen = np.prod(clipped[:, 2:] - clipped[:, :2], 1) / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], 1), 1e-9)
        keep = seen > 0.5
        for x, y, d, angle in eyes[(seen > 0.02) & ~keep]:  # half an eye at the edge is neither: hide it
            cv2.ellipse(canvas, (int(x), int(y)), (int(d * 0.8) + 1, int(d * 0.6) + 1), np.degrees(angle), 0, 360, LETTERBOX_GRAY, -1)
        return eyes[keep], classes[keep]

    def __getitem__(self, item):
        seed, size, mosaic, as_seen = item
        rng = np.random.default_rng(seed)
        canvas = np.full((size, size), LETTERBOX_GRAY, np.uint8)
        if rng.random() < mosaic:
            cx, cy = (rng.uniform(0.35, 0.65, 2) * size).astype(int)
            rects = [(0, 0, cx, cy), (cx, 0, size, cy), (0, cy, cx, size), (cx, cy, size, size)]
            parts = [self.place(rng, canvas, rect, False) for rect in rects]
            eyes, classes = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        else:
            eyes, classes = self.place(rng, canvas, (0, 0, size, size), rng.random() < as_seen)
        if rng.random() < 0.12:
            canvas, eyes, classes = augment.cover(rng, canvas, eyes, classes, self.donor(rng))
        if rng.random() < 0.8:
            canvas = augment.photometric(rng, canvas, eyes)
        boxes = np.clip(ellipse.to_boxes(eyes), 0, size) / size
        targets = np.zeros((len(boxes), 6), np.float32)
        targets[:, 1] = classes
        targets[:, 2:4] = (boxes[:, :2] + boxes[:, 2:]) / 2
        targets[:, 4:6] = boxes[:, 2:] - boxes[:, :2]
        return torch.from_numpy(canvas), torch.from_numpy(targets)


def collate(batch):
    images, targets = zip(*batch)
    for i, t in enumerate(targets):
        t[:, 0] = i
    return torch.stack(images), torch.cat(targets)
