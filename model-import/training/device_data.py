"""YOLO-format folders as a Pool of tiles on the training device."""

import concurrent.futures

import cv2
import numpy as np

import ellipse
from dataset import CLOSED_NIR_WEIGHT, GENERATED_WEIGHT, LETTERBOX_GRAY, SCENE_WEIGHT, SOURCE_WEIGHTS, folders, prefix, read_labels
from device_augment import Pool

TILE = 448  # pixels; the function's input is 416


def tile(file, labels, side):
    """(tile [side, side], (w, h), ellipses, classes) of a picture scaled to fit."""
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{file} is not a picture")
    rows = read_labels(labels)
    scale = min(1.0, side / max(image.shape))
    if scale < 1:
        h, w = (max(1, min(side, round(v * scale))) for v in image.shape)
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    h, w = image.shape
    canvas = np.full((side, side), LETTERBOX_GRAY, np.uint8)
    canvas[:h, :w] = image
    return canvas, (w, h), ellipse.from_boxes(rows[:, 1:] * [w, h, w, h]), rows[:, 0].astype(np.int64)


def weight(name, classes, thing):
    if thing:
        return SCENE_WEIGHT if prefix(name) == "negobj" else 1.0
    source = prefix(name)
    return SOURCE_WEIGHTS.get(source, GENERATED_WEIGHT) * (CLOSED_NIR_WEIGHT if source == "cnir" and 1 in classes else 1)


def pool(data, things, device, leave_out=frozenset(), side=TILE, split="train", workers=8):
    """All pictures of the folders `data` and, as pictures without eyes, of `things`."""
    found = []
    for roots, thing in ((data, False), (things, True)):
        for root in roots:
            images, labels = folders(root, split)
            found += [(f, labels / f"{f.stem}.txt", thing) for f in sorted(images.iterdir()) if f.stem not in leave_out]
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        decoded = list(executor.map(lambda entry: tile(entry[0], entry[1], side), found))
    most = max(1, max(len(classes) for *_, classes in decoded))
    eyes, states = np.zeros((len(found), most, 4), np.float32), np.full((len(found), most), -1, np.int64)
    eyes[..., 2] = 1
    for i, (_, _, e, c) in enumerate(decoded):
        eyes[i, : len(c)], states[i, : len(c)] = e, c
    if any(thing and (states[i] >= 0).any() for i, (_, _, thing) in enumerate(found)):
        raise SystemExit("a folder of pictures without eyes has labels: give it as training data instead")
    made = Pool(
        np.stack([canvas for canvas, *_ in decoded]),
        np.array([extent for _, extent, *_ in decoded]),
        eyes,
        states,
        [weight(f.stem, decoded[i][3], thing) for i, (f, _, thing) in enumerate(found)],
        [thing for *_, thing in found],
        device,
    )
    made.names = [f.stem for f, *_ in found]
    return made
