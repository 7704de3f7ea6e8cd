"""Which pictures without eyes a model fires on: hard negatives, for train.py to draw more often.

    python mine.py path/to/negatives --model best.onnx --out mined.txt

Each picture is judged as it is and as some parts of it, turned and scaled as in training. Lines: confidence of the surest eye, name.
"""

import argparse
import pathlib

import cv2
import numpy as np

import augment
from dataset import LETTERBOX_GRAY, folders
from detector import Onnx


def view(rng, image, size):
    """A part of the picture on a canvas of the model's input size."""
    part = augment.part_of_thing(rng, image)
    matrix = augment.placement(rng, part.shape, np.zeros((0, 4)), (0, 0, size[1], size[0]), False)
    return cv2.warpAffine(part, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderValue=LETTERBOX_GRAY)


def surest(detector, image):
    rows = detector.detect(image)
    return rows[:, 4].max() if len(rows) else 0.0


def main(opt):
    detector = Onnx(opt.model)
    found = []
    for number, file in enumerate(sorted(folders(opt.negatives, "train")[0].iterdir())):
        image, rng = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.random.default_rng([opt.seed, number])
        views = [image, *(view(rng, image, detector.size) for _ in range(opt.views))]
        found.append((max(surest(detector, v) for v in views), file.stem))
    found.sort(reverse=True)
    header = f"# {detector.label}, {1 + opt.views} views of each picture, seed {opt.seed}\n"
    pathlib.Path(opt.out).write_text(header + "".join(f"{confidence:.3f} {name}\n" for confidence, name in found))
    over = sum(confidence > opt.threshold for confidence, _ in found)
    print(f"{over} of {len(found)} pictures without eyes reach {opt.threshold} in one of {1 + opt.views} views")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("negatives", help="folder with images/train (negatives.py)")
    parser.add_argument("--model", required=True)
    parser.add_argument("--views", type=int, default=2, help="random views of each picture besides itself")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=0.35)
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
