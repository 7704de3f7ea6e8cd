"""Labels that a trained model contradicts, for a person to look at: a label that no box meets, in a picture with a box that no label meets.

Labels made by machine are wrong now and then, and a model that has learnt from thousands of right ones shows where (Northcutt et al. 2021,
"Confident Learning"). It is wrong itself about as often, so nothing is left out unseen: left-out.txt holds what was looked at.
    python audit.py data --split train --model best.onnx --out .work/audit
"""

import argparse
import pathlib

import numpy as np

import gallery
from detector import Onnx, overlaps
from evaluate import labelled

SURE = 0.5  # confidence from which a box counts as a contradiction
MEETS = 0.5  # IoU, as in mAP50


def contradicted(truth, rows):
    """Whether sure boxes and labels miss each other; an eye that is only overlooked or only added is the model's affair."""
    sure = rows[rows[:, 4] >= SURE]
    if not len(truth) or not len(sure):
        return False
    iou = np.array([overlaps(label[1:], sure) for label in truth])
    return bool((iou.max(1) < MEETS).any() and (iou.max(0) < MEETS).any())


def main(opt):
    model = Onnx(opt.model)
    figures = []
    pictures = labelled(opt.dataset, opt.split)
    for file, name, shape, truth, _ in pictures:
        rows, _ = model.file(file)
        if contradicted(truth, rows):
            figures.append((file, shape, truth, rows[rows[:, 4] >= SURE], name))
            print(name)
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    title = f"{len(figures)} of {len(pictures)} pictures whose labels {model.label} contradicts"
    gallery.page(title, "Who is right? Names of wrong labels go into left-out.txt.", figures, out / "audit.html")
    print(f"{title}: look at {out}/audit.html (people are recognisable: keep it to yourself)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
