"""Scores a model on a labelled YOLO folder, through ONNX Runtime or through the running function.

    python evaluate.py DATASET --model best.onnx
    python evaluate.py DATASET --url http://localhost:8080
    python evaluate.py DATASET --model best.onnx --things negatives      # and how often it fires on things

DATASET holds images/val and labels/val (or --split), or images and labels side by side. Writes report.md, report.json,
reliability.png and gallery.html into --out; nothing of the pictures goes anywhere else.
"""

import argparse
import json
import pathlib
import sys

import cv2
import numpy as np

import ellipse
import gallery
import metrics
from dataset import folders, names_in, prefix, read_labels
from detector import Http, Onnx

THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def labelled(root, split, leave_out=frozenset()):
    """[(file, name, image shape, truth rows (class, x1, y1, x2, y2), ellipses)] of a YOLO folder."""
    images, labels = folders(root, split)
    files = sorted(f for f in images.glob("*") if f.suffix.lower() in SUFFIXES and f.stem not in leave_out)
    if not files:
        sys.exit(f"{images} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    out = []
    for file in files:
        h, w = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).shape
        rows = read_labels(labels / f"{file.stem}.txt")
        xywh = rows[:, 1:] * [w, h, w, h]
        boxes = np.column_stack([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2])
        out.append((file, file.stem, (h, w), np.column_stack([rows[:, 0], boxes]), ellipse.from_boxes(xywh)))
    return out


def score(pictures, detector, threshold):
    """Everything the report says, and the rows behind it."""
    rows_of, stats = [], []
    for file, _, _, truth, _ in pictures:
        rows, for_map = detector.file(file)
        rows_of.append(rows)
        stats.append((metrics.match(for_map, truth), for_map[:, 4], for_map[:, 5], truth[:, 0]))
    actual = np.array([metrics.state_of(truth[:, 0]) for _, _, _, truth, _ in pictures])
    join = lambda chosen: metrics.average_precision(*[np.concatenate([stats[i][k] for i in chosen]) for k in range(4)])  # noqa: E731
    everything = np.arange(len(pictures))
    ap = join(everything)
    said = metrics.verdicts(rows_of, threshold)
    result = {
        "model": detector.label,
        "pictures": len(pictures),
        "threshold": threshold,
        "map50": float(np.nanmean(ap[:, 0])),
        "map50_interval": metrics.bootstrap(everything, lambda c: np.nanmean(join(c)[:, 0]), rounds=200),
        "map": float(np.nanmean(ap)),
        "map_interval": metrics.bootstrap(everything, lambda c: np.nanmean(join(c)), rounds=200),
        "ap50": dict(zip(detector.names, ap[:, 0].tolist())),
        "ap": dict(zip(detector.names, ap.mean(1).tolist())),
        "milliseconds_median": float(np.median(detector.milliseconds)),
        "confusion": metrics.confusion(actual, said).tolist(),
        "rates": {},
        "thresholds": {},
        "prefixes": {},
    }
    matrix = metrics.confusion(actual, said)
    for name, value in metrics.rates(matrix).items():
        result["rates"][name] = [value, *metrics.wilson(*metrics.counts(matrix)[name])]
    for t in THRESHOLDS:
        result["thresholds"][t] = metrics.rates(metrics.confusion(actual, metrics.verdicts(rows_of, t)))
    prefixes = np.array([prefix(name) for _, name, *_ in pictures])
    for p in sorted(set(prefixes)):
        here = prefixes == p
        result["prefixes"][p] = {
            "pictures": int(here.sum()),
            "accuracy": float((actual[here] == said[here]).mean()),
            "map50": float(np.nanmean(join(np.nonzero(here)[0])[:, 0])) if (actual[here] < 2).any() else None,
            "confusion": metrics.confusion(actual[here], said[here]).tolist(),
        }
    result["calibration"] = calibration(pictures, rows_of, actual, said, threshold)
    return result, rows_of, actual, said


def false_alarms(files, detector, threshold):
    """Of pictures without eyes (negatives.py's test split): how many are called open or closed, at several thresholds."""
    rows_of = [detector.file(file)[0] for file in files]
    called = {t: metrics.verdicts(rows_of, t) for t in (*THRESHOLDS, threshold)}
    said = called[threshold]
    return {
        "pictures": len(files),
        "called_open": int((said == 0).sum()),
        "called_closed": int((said == 1).sum()),
        "share": [float((said < 2).mean()), *metrics.wilson(int((said < 2).sum()), len(said))],
        "thresholds": {t: float((called[t] < 2).mean()) for t in THRESHOLDS},
        "names": [file.stem for file, state in zip(files, said) if state < 2],
    }


def calibration(pictures, rows_of, actual, said, threshold):
    """Of boxes (right class, IoU 0.5 or more) and of verdicts (the deciding eye's confidence against a right verdict)."""
    boxes, verdicts = [], []
    for (_, _, _, truth, _), rows, a, s in zip(pictures, rows_of, actual, said):
        kept = rows[rows[:, 4] > threshold]
        boxes += list(zip(kept[:, 4], metrics.match(kept, truth)[:, 0]))
        if s < 2:
            verdicts.append((kept[kept[:, 5] == s, 4].max(), a == s))
    out = {}
    for name, pairs in (("boxes", boxes), ("verdicts", verdicts)):
        pairs = np.array(pairs, float).reshape(-1, 2)
        table, error = metrics.reliability(pairs[:, 0], pairs[:, 1])
        out[name] = {"expected_calibration_error": float(error), "bins": table}
    return out


def markdown(r):
    """The report, for a model card."""
    percent = lambda v: f"{100 * v:.1f} %"  # noqa: E731
    ci = lambda v: f"{percent(v[0])} ({100 * v[1]:.1f}–{100 * v[2]:.1f})"  # noqa: E731
    line = [f"Model {r['model']}, {r['pictures']} pictures, confidence threshold {r['threshold']}; 95 % intervals over pictures as if independent: Wilson's for shares, a bootstrap for mAP.", ""]
    line += ["| class | mAP50 | mAP50-95 |", "| --- | --- | --- |"]
    a, b = r["map50_interval"], r["map_interval"]
    line += [f"| both | {r['map50']:.3f} ({a[0]:.3f}–{a[1]:.3f}) | {r['map']:.3f} ({b[0]:.3f}–{b[1]:.3f}) |"]
    line += [f"| {n} | {r['ap50'][n]:.3f} | {r['ap'][n]:.3f} |" for n in r["ap50"]]
    line += ["", "| truth \\ verdict | open | closed | no_eyes |", "| --- | --- | --- | --- |"]
    line += [f"| {s} | " + " | ".join(map(str, row)) + " |" for s, row in zip(metrics.STATES, r["confusion"])]
    line += ["", "| | share of pictures |", "| --- | --- |"] + [f"| {n} | {ci(v)} |" for n, v in r["rates"].items()]
    line += ["", "| threshold | accuracy | open missed | closed called open | no eyes called open |", "| --- | --- | --- | --- | --- |"]
    line += [f"| {t} | " + " | ".join(percent(v[n]) for n in r["rates"]) + " |" for t, v in r["thresholds"].items()]
    line += ["", "| source prefix | pictures | three-state accuracy | mAP50 |", "| --- | --- | --- | --- |"]
    for p, v in r["prefixes"].items():
        line.append(f"| {p} | {v['pictures']} | {percent(v['accuracy'])} | " + (f"{v['map50']:.3f} |" if v["map50"] is not None else "– |"))
    ece = {n: v["expected_calibration_error"] for n, v in r["calibration"].items()}
    line += ["", f"Expected calibration error: boxes {ece['boxes']:.3f}, verdicts {ece['verdicts']:.3f} (10 bins)."]
    if things := r.get("things"):
        line += ["", f"Of {things['pictures']} pictures of things {ci(things['share'])} are said to have eyes: "
                 f"{things['called_open']} called open, {things['called_closed']} closed.", ""]  # fmt: skip
        line += ["| threshold | " + " | ".join(map(str, things["thresholds"])) + " |", "| --- |" + " --- |" * len(things["thresholds"])]
        line += ["| things with eyes | " + " | ".join(map(percent, things["thresholds"].values())) + " |"]
    return "\n".join(line) + "\n"


def main(opt):
    detector = Http(opt.url) if opt.url else Onnx(opt.model)
    pictures = labelled(opt.dataset, opt.split, names_in(opt.leave_out) if opt.leave_out else frozenset())
    result, rows_of, actual, said = score(pictures, detector, opt.threshold)
    if opt.things:
        files = sorted(f for f in folders(opt.things, "test")[0].iterdir() if f.suffix.lower() in SUFFIXES)
        result["things"] = false_alarms(files, detector, opt.threshold)
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(result, indent=1))
    (out / "report.md").write_text(markdown(result))
    gallery.reliability_plot(result["calibration"], out / "reliability.png")
    shown = gallery.write(pictures, rows_of, actual, said, opt.threshold, out / "gallery.html")
    print(markdown(result))
    print(f"{out}/report.md, report.json, reliability.png, gallery.html ({shown} failures; people are recognisable: keep it to yourself)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model")
    parser.add_argument("--url", help="of the running function; instead of --model")
    parser.add_argument("--things", help="folder with images/test of pictures without eyes (negatives.py): false alarms on them")
    parser.add_argument("--leave-out", help="file with names of pictures that do not count (left-out.txt: wrong labels)")
    parser.add_argument("--threshold", type=float, default=metrics.DEFAULT_THRESHOLD, help="the function's default; the tables show others")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    if not options.model and not options.url:
        parser.error("give --model or --url")
    main(options)
