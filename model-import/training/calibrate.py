"""Makes a model's confidences probabilities, inside its weights: what it says at 0.8 is right 80 times of 100.

    python calibrate.py DATASET --model raw.onnx --out calibrated.onnx

YOLOv5's confidence is sigmoid(objectness) x sigmoid(class); objectness learns the overlap, so a sure eye gets about 0.85.
Platt scaling of both logits (a x logit + b, the same for every anchor and level) is fitted to "right class, IoU at least
0.5" on DATASET, and on pictures without eyes (`--things`), where no box is right, and folded into the last three convolutions: no step is added anywhere, and every tool that runs the
model gives calibrated values. The error it states is out of sample: fitted on one half of the pictures, measured on the other.
"""

import argparse
import json

import cv2
import numpy as np
import onnx
import scipy.optimize
from onnx import numpy_helper

import ellipse
import metrics
from curves import turned, turning
from detector import DETECT_IOU, Onnx, decode, to_picture
from dataset import folders
from evaluate import SUFFIXES, labelled

FITTED_ABOVE = 0.02  # confidence; below lie only thousands of nothings
PULL = 1e-3  # towards the identity; keeps a scale from running away where classes separate


def observations(pictures, detector):
    """[n, 4]: picture, logit of objectness, logit of class, right or not; of every box that NMS keeps."""
    out = []
    for i, (image, truth) in enumerate(pictures):
        image = image if isinstance(image, np.ndarray) else cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        raw, scale, shift = detector.run(image)
        rows = decode(raw, DETECT_IOU, False, parts=True)
        right = metrics.match(to_picture(rows, scale, shift, image.shape), truth)[:, 0]
        logits = np.log(rows[:, 6:8].clip(1e-7, 1 - 1e-7)) - np.log1p(-rows[:, 6:8].clip(1e-7, 1 - 1e-7))
        out.append(np.column_stack([np.full(len(rows), i), logits, right])[rows[:, 4] > FITTED_ABOVE])
    return np.concatenate(out)


def turned_by(degrees, pictures):
    """(turned picture, truth rows of the turned eyes) of each."""
    for file, _, _, truth, eyes in pictures:
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        matrix, _ = turning(image.shape, degrees)
        boxes = ellipse.to_boxes(ellipse.transform(eyes, matrix)).reshape(-1, 4)
        yield turned(image, degrees), np.column_stack([truth[:, 0], boxes])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def confidence(parameters, seen):
    a, b, c, d = parameters
    return sigmoid(a * seen[:, 1] + b) * sigmoid(c * seen[:, 2] + d)


def fit(seen):
    """(scale, shift) of objectness, (scale, shift) of class, by maximum likelihood."""

    def loss(p):
        q = confidence(p, seen).clip(1e-9, 1 - 1e-9)
        return -np.mean(np.where(seen[:, 3] > 0, np.log(q), np.log1p(-q))) + PULL * np.sum((np.array(p) - [1, 0, 1, 0]) ** 2)

    return scipy.optimize.minimize(loss, [1.0, 0.0, 1.0, 0.0], method="L-BFGS-B", bounds=[(0.2, 6), (-6, 6), (0.2, 6), (-6, 6)]).x


def fold(model, parameters, names):
    """Writes the scaling into the detection head's convolutions (three: one a stride), in place."""
    a, b, c, d = parameters
    stored = {t.name: t for t in model.graph.initializer}
    outputs = 3 * (5 + len(names))  # three anchors of box, objectness and classes; no other convolution has so odd a number
    heads = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in stored and stored[n.input[1]].dims[0] == outputs]
    if len(heads) != 3:
        raise SystemExit(f"{len(heads)} convolutions with {outputs} outputs found, 3 expected: not a YOLOv5 of {len(names)} classes")
    for node in heads:
        weight, bias = (numpy_helper.to_array(stored[name]).copy() for name in node.input[1:3])
        per_anchor = len(bias) // 3
        for channel in range(len(bias)):
            if channel % per_anchor >= 4:
                scale, shift = (a, b) if channel % per_anchor == 4 else (c, d)
                weight[channel] *= scale
                bias[channel] = bias[channel] * scale + shift
        for name, value in zip(node.input[1:3], (weight, bias)):
            stored[name].CopyFrom(numpy_helper.from_array(value, name))


def main(opt):
    upright, detector = labelled(opt.dataset, opt.split), Onnx(opt.model)
    pictures = [(file, truth) for file, _, _, truth, _ in upright]
    for degrees in opt.turned:
        pictures += turned_by(degrees, upright)
    if opt.things:
        # Those of negatives.tar only: the folders of categories are many more, and show one thing
        # each.
        files = sorted(f for f in folders(opt.things, "train")[0].glob("negobj_*") if f.suffix.lower() in SUFFIXES)
        pictures += [(f, np.zeros((0, 5))) for f in files]
    seen = observations(pictures, detector)
    parameters = fit(seen)
    odd = seen[:, 0] % len(upright) % 2 == 1  # a turned picture on the side of the upright one
    crossed = np.empty(len(seen))
    for half in (odd, ~odd):
        crossed[half] = confidence(fit(seen[~half]), seen[half])
    report = {"fitted": dict(zip(("objectness_scale", "objectness_shift", "class_scale", "class_shift"), parameters.tolist()))}
    for name, values in (("before", confidence((1, 0, 1, 0), seen)), ("after, out of sample", crossed)):
        kept = values > opt.threshold
        report[name] = {"boxes": int(kept.sum()), "expected_calibration_error": metrics.reliability(values[kept], seen[kept, 3])[1]}
    model = onnx.load(opt.model)
    parameters[1] += opt.shift
    fold(model, parameters, detector.names)
    onnx.checker.check_model(model)
    onnx.save(model, opt.out)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", required=True)
    parser.add_argument("--turned", type=float, nargs="*", default=[], help="degrees by which every picture is turned, to fit on those as well")
    parser.add_argument("--things", help="folder with images/train of pictures without eyes (negatives.py)")
    parser.add_argument("--shift", type=float, default=0.0, help="added to the logit of objectness after the fit: more is surer, so fewer eyes are missed")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threshold", type=float, default=metrics.DEFAULT_THRESHOLD)
    main(parser.parse_args())
