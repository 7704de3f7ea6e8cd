"""A table of what becomes of every form: `matrix.py FOLDER MODEL_IMPORT [OLDER_MODEL_IMPORT]`.

FOLDER holds accepted/ and refused/, as exporters.py writes them. For each accepted form the network that the code is generated from
(`model-import network`) and the file itself run in ONNX Runtime, and every number of every head is compared.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from forms import image, raw_heads

TOLERANCE = 1e-3


def run(binary: str, command: list[str], size: tuple[int, int]) -> str:
    """The error's text, or nothing; what the file does not say is given as a user would give it."""
    environment = dict(os.environ)
    for _ in range(3):
        done = subprocess.run([binary, *command], env=environment, capture_output=True, text=True, check=False)
        error = done.stderr.strip().removeprefix("error: ")
        names = re.search(r"holds no class names; give all (\d+)", error)
        if names and "MODEL_NAMES" not in environment:
            more = [f"class{number}" for number in range(2, int(names[1]))]
            environment["MODEL_NAMES"] = ",".join(["eye_open", "eye_closed", *more])
            environment.pop("OPEN_CLASSES", None), environment.pop("CLOSED_CLASSES", None)
        elif "set IMGSZ" in error and "IMGSZ" not in environment:
            environment["IMGSZ"] = f"{size[0]} {size[1]}"
        else:
            return error
    return error


def difference(binary: str, path: Path, size: tuple[int, int]) -> float:
    """The largest between the file's heads and the imported network's."""
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.onnx"
        if error := run(binary, ["network", str(path), "--out", str(network)], size):
            raise SystemExit(f"{path.name}: {error}")
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        found = session.run(None, {source.name: image(*source.shape[1:])})
    expected = raw_heads(path, size)
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def short(error: str) -> str:
    return (error[:110] + "…" if len(error) > 110 else error).replace("|", "/") or "imports"


def main() -> None:
    folder, *binaries = sys.argv[1:]
    size = tuple(int(side) for side in os.environ.pop("SIZE", "64 128").split())
    paths = sorted(Path(folder).glob("accepted/*.onnx")) + sorted(Path(folder).glob("refused/*.onnx"))
    print("| form | " + ("before | " if binaries[1:] else "") + "now | largest difference from ONNX Runtime |")
    print("| --- | " + ("--- | " if binaries[1:] else "") + "--- | --: |")
    failed = []
    for path in paths:
        now, *before = (run(binary, ["check", str(path)], size) for binary in binaries)
        worst = None if now else difference(binaries[0], path, size)
        cells = [path.stem, *map(short, before), short(now), "" if worst is None else f"{worst:.1e}"]
        print("| " + " | ".join(cells) + " |", flush=True)
        if bool(now) != (path.parent.name == "refused") or (worst or 0) > TOLERANCE:
            failed.append(path.stem)
    if failed:
        raise SystemExit(f"not as they should be: {', '.join(failed)}")


if __name__ == "__main__":
    main()
