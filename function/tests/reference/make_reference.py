"""make reference DATASET=path/to/dataset   (makes these reference outputs again)

What YOLOv5 and ONNX Runtime say to a folder of pictures, as JSON for the function's tests: decoded by OpenCV, prepared
by YOLOv5's own `letterbox`, run by ONNX Runtime, and reduced by YOLOv5's own `non_max_suppression` and `scale_boxes`
with detect.py's settings. Nothing here reimplements any of these steps. README.md beside this file documents the JSON.
"""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import sys
import tarfile

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from yolov5.utils.augmentations import letterbox
from yolov5.utils.general import non_max_suppression, scale_boxes

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm"}
PACKAGES = ("yolov5", "onnxruntime", "opencv-python-headless", "numpy", "torch", "torchvision")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pictures_in(source: pathlib.Path, unpacked: pathlib.Path) -> pathlib.Path:
    """The folder with pictures: `source`, its `images/val`, or its `val.tar` unpacked beside the output."""
    if not source.is_dir():
        sys.exit(f"{source} is not a folder: give one with pictures, with images/val, or with val.tar")
    if (source / "images" / "val").is_dir():
        return source / "images" / "val"
    if (source / "val.tar").is_file():
        with tarfile.open(source / "val.tar") as tar:
            tar.extractall(unpacked, filter="data")
        return unpacked / "images" / "val"
    return source


class Reference:
    def __init__(self, model: pathlib.Path, confidence: float, iou: float, max_det: int):
        data = model.read_bytes()
        stored = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
        self.names = {int(k): v for k, v in eval(stored["names"], {"__builtins__": {}}).items()}
        self.settings = {"confidence_threshold": confidence, "iou_threshold": iou, "max_det": max_det}
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.size = tuple(self.input.shape[2:])  # height, width
        self.model = {"file": model.name, "sha256": sha256(data), "input": list(self.size), "names": list(self.names.values())}

    def __call__(self, file: pathlib.Path, name: str):
        image = cv2.imread(str(file))  # BGR, 8 bit, EXIF orientation applied
        if image is None:
            sys.exit(f"{file}: OpenCV cannot read it")
        canvas = letterbox(image, self.size, auto=False)[0]  # gray border 114, bilinear, scaled up if smaller
        tensor = np.ascontiguousarray(canvas.transpose(2, 0, 1)[::-1])[None].astype(np.float32) / 255
        raw = self.session.run(None, {self.input.name: tensor})[0]
        found = non_max_suppression(
            torch.from_numpy(raw), self.settings["confidence_threshold"], self.settings["iou_threshold"], max_det=self.settings["max_det"]
        )[0]
        found[:, :4] = scale_boxes(self.size, found[:, :4], image.shape)
        boxes = [
            {"xyxy": [round(v, 4) for v in row[:4]], "confidence": round(row[4], 6), "class": self.names[int(row[5])]}
            for row in found.tolist()
        ]
        state, confidence = verdict(boxes)
        entry = {
            "path": name,
            "sha256": sha256(file.read_bytes()),
            "width": image.shape[1],
            "height": image.shape[0],
            "letterbox_sha256": sha256(canvas.tobytes()),
            "state": state,
            "confidence": confidence,
            "boxes": boxes,
        }
        return entry, image, canvas, raw


def verdict(boxes):
    """The design's rule: open if any eye is open, else closed if any eye is closed, else no_eyes."""
    for name, state in (("eye_open", "open"), ("eye_closed", "closed")):
        confidences = [box["confidence"] for box in boxes if box["class"] == name]
        if confidences:
            return state, max(confidences)
    return "no_eyes", None


def main(opt):
    out = pathlib.Path(opt.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    source = pictures_in(pathlib.Path(opt.pictures), out.parent / "dataset")
    files = sorted(f for f in source.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        sys.exit(f"{source} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    reference = Reference(pathlib.Path(opt.model), opt.confidence, opt.iou, opt.max_det)
    entries = []
    for file in files:
        name = file.relative_to(source).as_posix()
        entry, image, canvas, raw = reference(file, name)
        entries.append(entry)
        if opt.decoded:  # lossless pixels, for a test that must not depend on the JPEG decoder
            target = pathlib.Path(opt.decoded) / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if opt.arrays:
            target = pathlib.Path(opt.arrays) / f"{name}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(target, letterbox=canvas, output=raw)
    head = {
        "made_by": opt.command,
        "pictures": None if opt.committed else str(source.resolve()),
        "decoded": str(pathlib.Path(opt.decoded).resolve()) if opt.decoded else None,
        "model": reference.model,
        "settings": reference.settings,
        "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
    }
    with open(out, "w") as text:  # first line: how to make it again; one line an image, so that changes read well
        text.write("{" + ",\n ".join(f'"{k}": {json.dumps(v)}' for k, v in head.items()))
        text.write(',\n "images": [\n  ' + ",\n  ".join(json.dumps(e) for e in entries) + "\n ]}\n")
    states = [e["state"] for e in entries]
    print(f"{out}: {len(entries)} pictures, " + ", ".join(f"{states.count(s)} {s}" for s in ("open", "closed", "no_eyes")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="folder of pictures, data set with images/val, or folder with val.tar")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--confidence", type=float, default=0.35, help="the function's default")
    parser.add_argument("--iou", type=float, default=0.45, help="detect.py's default")
    parser.add_argument("--max-det", type=int, default=300)
    parser.add_argument("--committed", action="store_true", help="leave out where the pictures lie on this machine")
    parser.add_argument("--command", default="make reference", help="what the first line of the JSON says")
    parser.add_argument("--decoded", help="folder for the decoded pixels as PNG")
    parser.add_argument("--arrays", help="folder for .npz with the letterboxed canvas and the raw output, for debugging")
    main(parser.parse_args())
