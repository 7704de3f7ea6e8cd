"""Which input size? One checkpoint exported at several, each judged on the same pictures: accuracy against milliseconds.

    python sizes.py DATASET --model best-320.onnx best-416.onnx best-512.onnx best-640.onnx --out output/sizes
"""

import argparse
import json
import pathlib

import metrics
from detector import Onnx
from evaluate import labelled, score


def row(size, r):
    rate = lambda name: f"{100 * r['rates'][name][0]:.1f} %"  # noqa: E731
    return (f"| {size} | {r['milliseconds_median']:.1f} | {rate('accuracy')} | {rate('open missed')} | {rate('closed called open')} | "
            f"{r['map50']:.3f} | {r['map']:.3f} |")  # fmt: skip


def main(opt):
    pictures = labelled(opt.dataset, opt.split)
    found = {}
    for file in opt.model:
        detector = Onnx(file, threads=1)
        size = "x".join(map(str, detector.size))
        found[size], *_ = score(pictures, detector, opt.threshold)
        print(f"{size} done", flush=True)
    lines = [f"{len(pictures)} pictures, confidence threshold {opt.threshold}; milliseconds of ONNX Runtime on one thread, median.", ""]
    lines += ["| input | ms | accuracy | open missed | closed called open | mAP50 | mAP50-95 |", "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [row(size, r) for size, r in found.items()]
    sources = next(iter(found.values()))["prefixes"]
    lines += ["", "Three-state accuracy by source:", "", "| source | pictures | " + " | ".join(found) + " |", "| --- | --- |" + " --- |" * len(found)]
    for name, first in sources.items():
        lines.append(f"| {name} | {first['pictures']} | " + " | ".join(f"{100 * r['prefixes'][name]['accuracy']:.1f} %" for r in found.values()) + " |")
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "sizes.md").write_text("\n".join(lines) + "\n")
    (out / "sizes.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--threshold", type=float, default=metrics.DEFAULT_THRESHOLD)
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
