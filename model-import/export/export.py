"""Exports a YOLOv5 checkpoint (n to x, P6 too) to ONNX, without PyTorch and without running what is in the file."""

import argparse
import math
import sys
from pathlib import Path

import onnx
from checkpoint import CheckpointError, read
from network import detection_model, stride_of, to_onnx


def export(weights: Path, sides: list[int], out: Path) -> tuple[int, int]:
    """Writes the ONNX file; returns the height and width that it is for: `sides`, rounded up to the stride."""
    checkpoint = read(weights)
    try:
        model = detection_model(checkpoint)
        stride = stride_of(model)
        height, width = (math.ceil(side / stride) * stride for side in (sides * 2)[:2])
        written = to_onnx(model, height, width)
    except CheckpointError as error:
        raise CheckpointError(f"{weights}: {error}") from None
    except Exception as error:  # attributes of unexpected types can raise any error
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise CheckpointError(f"{weights} is not a YOLOv5 checkpoint of a known form ({reason})") from None
    unfinished = out.with_name(out.name + ".part")
    onnx.save(written, unfinished)
    unfinished.replace(out)
    return height, width


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("weights", type=Path, help="the checkpoint, for example runs/train/exp/weights/best.pt")
    arguments.add_argument("--imgsz", type=int, nargs="+", default=[416], help="height and width, or one for both")
    arguments.add_argument("--out", type=Path, help="the ONNX file; default: beside the checkpoint")
    arguments = arguments.parse_args()
    out = arguments.out or arguments.weights.with_suffix(".onnx")
    if not 1 <= len(arguments.imgsz) <= 2 or min(arguments.imgsz) < 1:
        raise SystemExit('error: --imgsz takes one size, or height and width: IMGSZ=416 or IMGSZ="384 640"')
    try:
        size = export(arguments.weights, arguments.imgsz, out)
    except CheckpointError as error:
        raise SystemExit(f"error: {error}") from None
    if list(size) != (arguments.imgsz * 2)[:2]:
        print(f"rounded up to a multiple of the stride: {size[0]} {size[1]}", file=sys.stderr)
    print(out)


if __name__ == "__main__":
    main()
