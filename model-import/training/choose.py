"""Figures of several checkpoints, to choose one: each calibrated on val, then judged upright, turned and on things without eyes.

    python choose.py path/to/dataset --things negatives --weights a.pt b.pt a.pt+b.pt --out chosen.json --yolov5 path/to/yolov5

`a.pt+b.pt` is the average of their weights. Everything runs in batches on --device; what is published is measured by evaluate.py
and curves.py, through ONNX Runtime. The last column is what a change of calibration cannot move: the things taken for eyes where
open eyes of turned faces are missed as often as --missed.
"""

import argparse
import copy
import json

import cv2
import numpy as np
import torch

import average
import calibrate
import checkpoint
import ellipse
import metrics
import yolov5_code
from curves import turned, turning
from dataset import folders
from detector import DETECT_IOU, VAL_IOU, decode, letterbox, to_picture
from evaluate import SUFFIXES, labelled

ANGLES = tuple(range(30, 360, 30))
# Pictures at once. On a processor, larger batches' maps are given back to the kernel after each
# layer and cost as much time again.
BATCH = {"cuda": 128, "cpu": 8}
MISSED = 0.033  # of open eyes on turned pictures: the model of 2026-11-22


def canvases(images, size):
    return torch.from_numpy(np.stack([letterbox(image, (size, size))[0] for image in images]))


@torch.no_grad()
def outputs(model, canvas, device):
    """Raw outputs [n, anchors, 5 + classes] in batches."""
    batch = BATCH[torch.device(device).type]
    for start in range(0, len(canvas), batch):
        x = canvas[start : start + batch].to(device).float().div(255)[:, None].expand(-1, 3, -1, -1)
        out = model(x)
        yield (out[0] if isinstance(out, (tuple, list)) else out).float()


def calibrated(raw, parameters):
    """Objectness and classes with the scaling that calibrate.py folds into the last convolutions."""
    a, b, c, d = parameters
    logit = lambda v: torch.logit(v.clamp(1e-7, 1 - 1e-7))  # noqa: E731
    return torch.cat([raw[..., :4], torch.sigmoid(a * logit(raw[..., 4:5]) + b), torch.sigmoid(c * logit(raw[..., 5:]) + d)], -1)


def surest(raw):
    """[n, 2]: the largest confidence of an open and of a closed eye; suppression of overlaps does not change it."""
    scores = raw[..., 5:] * raw[..., 4:5]
    best = scores.argmax(-1, keepdim=True)
    return torch.where(torch.arange(2, device=raw.device) == best, scores, 0).amax(1)


def states(confidences, threshold):
    return np.where(confidences[:, 0] > threshold, 0, np.where(confidences[:, 1] > threshold, 1, 2))


def judge(model, size, sets, device, fitted_on=("val",)):
    """Figures of one model; `sets`: name -> (canvases, pictures as labelled() gives them or None for things)."""
    val, pictures, images = sets["val"]
    seen, rows_of = [], []

    def observe(name, keep):
        canvas, truths, shapes = sets[name]
        number = 0
        for raw in outputs(model, canvas, device):
            for one in raw.cpu().numpy():
                h, w = shapes[number]
                scale = min(size / h, size / w)
                shift = ((size - w * scale) / 2, (size - h * scale) / 2)
                truth = truths[number]
                rows = decode(one, DETECT_IOU, False, parts=True)
                placed = to_picture(rows, scale, shift, (h, w))
                right = metrics.match(placed, truth)[:, 0]
                logits = np.log(rows[:, 6:8].clip(1e-7, 1 - 1e-7)) - np.log1p(-rows[:, 6:8].clip(1e-7, 1 - 1e-7))
                seen.append(np.column_stack([np.full(len(rows), number), logits, right])[rows[:, 4] > calibrate.FITTED_ABOVE])
                if keep:
                    rows_of.append((one[one[:, 4] > 0.0005], scale, shift, (h, w), truth))
                number += 1

    for name in fitted_on:
        observe(name, name == "val")
    seen = np.concatenate(seen)
    parameters = calibrate.fit(seen)
    kept = calibrate.confidence(parameters, seen)
    error = metrics.reliability(kept[kept > 0.35], seen[kept > 0.35, 3])[1]

    stats = []
    for one, scale, shift, shape, truth in rows_of:
        raw = calibrated(torch.from_numpy(one), parameters).numpy()
        rows = to_picture(decode(raw, VAL_IOU, True), scale, shift, shape)
        stats.append((metrics.match(rows, truth), rows[:, 4], rows[:, 5], truth[:, 0]))
    ap = metrics.average_precision(*[np.concatenate([s[k] for s in stats]) for k in range(4)])
    found = {"parameters": [round(float(p), 3) for p in parameters], "map50": float(np.nanmean(ap[:, 0])), "map": float(np.nanmean(ap)), "calibration": float(error)}
    confidences = {
        name: torch.cat([surest(calibrated(raw, parameters)) for raw in outputs(model, canvas, device)]).cpu().numpy() for name, (canvas, *_) in sets.items()
    }
    actual = {name: np.array([metrics.state_of(t[:, 0]) for t in truths]) for name, (_, truths, _) in sets.items()}
    figures = lambda name, t: metrics.rates(metrics.confusion(actual[name], states(confidences[name], t)))  # noqa: E731
    turned_sets = [name for name in sets if name.startswith("turned")]
    mean = lambda t: {k: float(np.mean([figures(name, t)[k] for name in turned_sets])) for k in figures("val", t)}  # noqa: E731
    fires = lambda name, t: float((states(confidences[name], t) < 2).mean())  # noqa: E731
    things = [name for name in sets if name.startswith("things")]
    for t in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5):
        found[str(t)] = {"val": figures("val", t), "turned": mean(t) if turned_sets else None, **{name: fires(name, t) for name in things}}
    if turned_sets:
        steps = np.linspace(0.02, 0.98, 97)
        fitting = [t for t in steps if mean(t)["open missed"] <= MISSED]
        t = max(fitting) if fitting else steps[0]
        found["equal"] = {"threshold": float(t), "val": figures("val", t), "turned": mean(t), **{name: fires(name, t) for name in things}}
    return found


def main(opt):
    yolo = yolov5_code.load(opt.yolov5)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    upright = labelled(opt.dataset, "val")
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file, *_ in upright]
    sets = {"val": (canvases(images, opt.size), [truth for _, _, _, truth, _ in upright], [i.shape for i in images])}
    for degrees in opt.angles:
        changed, truths = [], []
        for image, (_, _, _, truth, eyes) in zip(images, upright):
            matrix, _ = turning(image.shape, degrees)
            changed.append(turned(image, degrees))
            truths.append(np.column_stack([truth[:, 0], ellipse.to_boxes(ellipse.transform(eyes, matrix)).reshape(-1, 4)]))
        sets[f"turned {degrees}"] = (canvases(changed, opt.size), truths, [i.shape for i in changed])
    for root in opt.things or ():
        for split in ("dev", "scenes"):
            folder = folders(root, split)[0]
            if folder.name == split:
                pictures = [cv2.imread(str(f), cv2.IMREAD_GRAYSCALE) for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES]
                sets[f"things {split}"] = (canvases(pictures, opt.size), [np.zeros((0, 5))] * len(pictures), [i.shape for i in pictures])
    everything = {}
    percent = lambda v: f"{100 * v:5.1f}"  # noqa: E731
    print("acc  open-missed closed->open | map50 map ece | turned: acc open-missed closed->open | things | at equal misses: threshold, acc, open missed, things", flush=True)
    for name in opt.weights:
        models = [checkpoint.build(yolo, file) for file in name.split("+")]
        model = (average.average(models) if len(models) > 1 else copy.deepcopy(models[0])).fuse().eval().to(opt.device)
        for fitted_on in [("val",), ("val", *[f"turned {d}" for d in opt.fit_turned])] if opt.fit_turned else [("val",)]:
            found = judge(model, opt.size, sets, opt.device, fitted_on)
            everything[f"{name} {len(fitted_on)}"] = found
            v, t, e = found["0.35"]["val"], found["0.35"]["turned"] or {}, found.get("equal")
            cells = [percent(v[k]) for k in ("accuracy", "open missed", "closed called open")] + ["|", f"{found['map50']:.4f} {found['map']:.4f} {found['calibration']:.3f} |"]
            cells += [percent(t[k]) for k in ("accuracy", "open missed", "closed called open") if t] + ["|"] + [percent(v) for k, v in found["0.35"].items() if k.startswith("things")]
            if e:
                cells += [f"| {e['threshold']:.2f}", percent(e["val"]["accuracy"]), percent(e["val"]["open missed"])] + [percent(v) for k, v in e.items() if k.startswith("things")]
            print(*cells, name, len(fitted_on), flush=True)
    if opt.out:
        with open(opt.out, "w") as file:
            json.dump(everything, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder with images/val, labels/val")
    parser.add_argument("--weights", nargs="+", required=True, help="checkpoints, and averages of them as a.pt+b.pt")
    parser.add_argument("--things", nargs="*", help="folders with images/dev (negatives.py); those of the test are left to evaluate.py")
    parser.add_argument("--angles", type=int, nargs="*", default=ANGLES)
    parser.add_argument("--fit-turned", type=int, nargs="*", default=[], help="calibrate a second time, on val and on these angles, too")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out")
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    main(parser.parse_args())
