"""What rotation, resolution and noise do to a model: accuracy of the verdict as curves.

    python curves.py DATASET --model best.onnx --out output/curves

Every picture is turned (about its middle, on a canvas that holds all of it), shrunk, or made noisy, and judged again.
"""

import argparse
import json
import pathlib

import cv2
import matplotlib
import numpy as np

import metrics
from detector import Onnx
from evaluate import labelled

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the backend is chosen

CURVES = {
    "rotation (degrees)": list(range(0, 360, 30)),
    "longest side (pixels)": [640, 480, 320, 240, 160, 120, 80],
    "noise (sigma, gray levels)": [0, 5, 10, 20, 30, 45],
}


def turning(shape, degrees):
    """2 x 3 matrix about the middle of a picture [h, w], onto a canvas (w, h) that holds all of it."""
    h, w = shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1)
    new_w, new_h = (int(round(v)) for v in np.abs(matrix[:, :2]) @ [w, h])
    matrix[:, 2] += (new_w - w) / 2, (new_h - h) / 2
    return matrix, (new_w, new_h)


def turned(image, degrees):
    matrix, size = turning(image.shape, degrees)
    return cv2.warpAffine(image, matrix, size, borderValue=114)


def shrunk(image, side):
    scale = side / max(image.shape)
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def noisy(image, sigma):
    rng = np.random.default_rng(0)
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def main(opt):
    detector = Onnx(opt.model)
    pictures = labelled(opt.dataset, opt.split)[:: opt.every]
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file, *_ in pictures]
    actual = np.array([metrics.state_of(truth[:, 0]) for _, _, _, truth, _ in pictures])
    found = {"model": detector.label, "pictures": len(pictures), "threshold": opt.threshold, "curves": {}}
    for (name, values), change in zip(CURVES.items(), (turned, shrunk, noisy)):
        points = []
        for value in values:
            said = metrics.verdicts([detector.detect(change(image, value)) for image in images], opt.threshold)
            points.append({"value": value, **metrics.rates(metrics.confusion(actual, said))})
            print(name, json.dumps(points[-1]), flush=True)
        found["curves"][name] = points
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "curves.json").write_text(json.dumps(found, indent=1))
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    for axis, (name, points) in zip(axes, found["curves"].items()):
        for key in ("accuracy", "open missed", "closed called open"):
            axis.plot([p["value"] for p in points], [100 * p[key] for p in points], "o-", label=key, markersize=3)
        axis.set(xlabel=name, ylabel="% of pictures", ylim=(0, 101))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threshold", type=float, default=metrics.DEFAULT_THRESHOLD)
    parser.add_argument("--every", type=int, default=1, help="only every n-th picture, to save time")
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
