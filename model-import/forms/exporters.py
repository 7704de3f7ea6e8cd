"""The forms in which real exporters write a YOLOv5 model, made by those exporters.

`exporters.py OUT --yolov5 CLONE --old PYTHON --new PYTHON [--weights best.pt]` writes every form to OUT/accepted and OUT/refused.
CLONE is a clone of the official YOLOv5 repository with its tags; the two Pythons have PyTorch 1.10 and a current one
(requirements-old.txt, requirements-new.txt). Without --weights, the tiny models of this folder are exported.

`exporters.py OUT --yolov5 CLONE --old PYTHON --scales n s m` writes the official models of these scales to OUT/accepted, with
random weights scaled as the tiny models' are (checkpoint_of.py), as v7.0 and PyTorch 1.10 export them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import forms

HERE = Path(__file__).parent

# Name, YOLOv5's tag, which Python, which exporter of PyTorch, export.py's arguments.
EXPORTS = [
    ("v6.0-torch1.10", "v6.0", "old", "default", []),
    ("v6.0-torch1.10-opset11", "v6.0", "old", "default", ["--opset", "11"]),
    ("v6.0-torch1.10-inplace", "v6.0", "old", "default", ["--inplace"]),
    ("v6.0-torch1.10-dynamic", "v6.0", "old", "default", ["--dynamic"]),
    ("v6.0-torch1.10-simplify", "v6.0", "old", "default", ["--simplify"]),
    ("v6.0-torch1.10-train", "v6.0", "old", "default", ["--train"]),
    ("v6.1-torch1.10", "v6.1", "old", "default", []),
    ("v6.1-torch1.10-inplace", "v6.1", "old", "default", ["--inplace"]),
    ("v6.1-torch1.10-dynamic", "v6.1", "old", "default", ["--dynamic"]),
    ("v6.2-torch1.10", "v6.2", "old", "default", []),
    ("v6.2-torch1.10-inplace", "v6.2", "old", "default", ["--inplace"]),
    ("v7.0-torch1.10", "v7.0", "old", "default", []),
    ("v7.0-torch1.10-dynamic", "v7.0", "old", "default", ["--dynamic"]),
    ("v7.0-torch1.10-simplify", "v7.0", "old", "default", ["--simplify"]),
    ("v7.0-torch2", "v7.0", "new", "torchscript", []),
    ("master-torch2", "HEAD", "new", "torchscript", []),
    ("master-torch2-opset12", "HEAD", "new", "torchscript", ["--opset", "12"]),
    ("master-torch2-dynamic", "HEAD", "new", "torchscript", ["--dynamic"]),
    ("master-torch2-simplify", "HEAD", "new", "torchscript", ["--simplify"]),
    ("master-torch2-dynamo", "HEAD", "new", "dynamo", ["--opset", "18"]),
]
# Exports of the P6 model.
P6 = [("p6-v7.0-torch1.10", "v7.0", "old", "default", []), ("p6-master-torch2", "HEAD", "new", "torchscript", [])]
# Written by something else from this one.
BASE = "master-torch2"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--yolov5", type=Path, required=True)
    arguments.add_argument("--old", required=True)
    arguments.add_argument("--new")
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--scales", nargs="+", choices=["n", "s", "m", "l", "x"], default=[])
    arguments.add_argument("--imgsz", nargs=2, default=["64", "128"])
    arguments = arguments.parse_args()
    accepted, refused = arguments.out / "accepted", arguments.out / "refused"
    for folder in (accepted, refused):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        exporters = Exporters(Path(work), arguments)
        for scale in arguments.scales:
            model = exporters.checkout("v6.0") / f"models/yolov5{scale}.yaml"
            exporters.export(exporters.checkpoint(model, "--textured"), accepted / f"{scale}-v7.0-torch1.10.onnx", "v7.0", "old", "default", [])
        if arguments.scales:
            return
        weights = arguments.weights or exporters.checkpoint(HERE / "tiny.yaml")
        for name, *how in EXPORTS:
            exporters.export(weights, (refused if name.endswith("-train") else accepted) / f"{name}.onnx", *how)
        if not arguments.weights:
            for name, *how in P6:
                exporters.export(exporters.checkpoint(HERE / "tiny-p6.yaml"), accepted / f"{name}.onnx", *how)
        base = accepted / f"{BASE}.onnx"
        if base.exists():
            forms.derive(base, accepted, refused)


class Exporters:
    def __init__(self, work: Path, arguments: argparse.Namespace):
        self.work, self.arguments = work, arguments
        # YOLOv5 downloads a font for plots, which are not drawn here; any file will do.
        self.environment = os.environ | {"YOLOV5_CONFIG_DIR": str(work / "config"), "CUDA_VISIBLE_DEVICES": ""}
        import matplotlib

        font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
        for folder in (work / "config", work / "config/Ultralytics"):
            folder.mkdir()
            shutil.copy(font, folder / "Arial.ttf")

    def checkout(self, tag: str) -> Path:
        folder = self.work / tag
        if not folder.exists():
            folder.mkdir()
            archive = subprocess.run(["git", "-C", self.arguments.yolov5, "archive", tag], check=True, stdout=subprocess.PIPE)
            subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        return folder

    def checkpoint(self, model: Path, *options: str) -> Path:
        path = self.work / f"{model.stem}.pt"
        if not path.exists():
            script = [self.arguments.old, HERE / "checkpoint_of.py", model, path]
            subprocess.run([*script, "--yolov5", self.checkout("v6.0"), *options], check=True, env=self.environment)
        return path

    def export(self, weights: Path, out: Path, tag: str, python: str, exporter: str, options: list[str]) -> None:
        copy = shutil.copy(weights, self.work / "export.pt")
        written = self.work / "export.onnx"
        written.unlink(missing_ok=True)
        command = [getattr(self.arguments, python), HERE / "run_export.py", self.checkout(tag), exporter, "--weights", copy]
        command += ["--imgsz", *self.arguments.imgsz, "--include", "onnx", *options]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if not written.exists():
            print(f"{out.stem}: not exported: {(done.stderr or done.stdout).strip().splitlines()[-1]}", file=sys.stderr)
            return
        forms.strip_comments(written)
        for path in [written, *self.work.glob("export.onnx.*")]:
            shutil.move(path, out.with_name(path.name.replace("export.onnx", out.name)))
        print(out)


if __name__ == "__main__":
    main()
