"""Exports a YOLOv5 checkpoint to ONNX with the official exporter (as packaged on PyPI: `yolov5`).

The package is of 2024; what newer PyTorch does otherwise by default is set here, nothing else.
A checkpoint is a pickle: loading one runs its code. Export only what you trained or trust.
"""

import argparse
import functools
import sys
from pathlib import Path

import torch
import yolov5.export
import yolov5.models.experimental


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("weights", type=Path, help="the checkpoint, for example runs/train/exp/weights/best.pt")
    arguments.add_argument("--imgsz", type=int, nargs="+", default=[416], help="height and width, or one for both")
    arguments = arguments.parse_args()
    if not arguments.weights.is_file():
        raise SystemExit(f"there is no checkpoint {arguments.weights}: give one as WEIGHTS=path/to/best.pt")
    size = (arguments.imgsz * 2)[:2]

    # Checkpoints hold whole modules (PyTorch 2.6 made weights_only the default).
    torch.load = functools.partial(torch.load, weights_only=False)
    # The TorchScript exporter, whose graphs model-import knows (PyTorch 2.9 made dynamo the
    # default).
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    # The file is here; the package would ask a model hub first.
    yolov5.models.experimental.attempt_download = lambda weights, **_: str(weights)

    # A checkpoint of the official repository names its classes `models.yolo.…`. Loaded as a second
    # copy of the package's modules, they would be neither fused nor told that they are exported,
    # and the file would get three outputs too many.
    for name in [name for name in sys.modules if name.startswith(("yolov5.models", "yolov5.utils"))]:
        sys.modules[name.removeprefix("yolov5.")] = sys.modules[name]

    yolov5.export.run(weights=arguments.weights, imgsz=size, include=("onnx",), opset=17, device="cpu")
    print(arguments.weights.with_suffix(".onnx"))


if __name__ == "__main__":
    main()
