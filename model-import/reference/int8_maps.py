# make reference-int8
"""ONNX Runtime's levels of every quantized map of an 8-bit model, for one picture in a small size.

ONNX Runtime computes the file's nodes of quantization as they are written, in floats. A test feeds each integer operator what
ONNX Runtime gave it and compares what it gives: no difference of one layer hides behind those before.

Writes MODEL's maps beside this file: `int8_maps.bin` with the values of every map, one after the other, and `int8_maps.txt` with
its name, type (levels or logits), channels, rows and columns.
"""

import hashlib
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from raw_heads import head_convolutions

# Of the network's input: small, no square, and odd numbers of cells at every stride.
HEIGHT, WIDTH = 96, 160


def main() -> None:
    path, picture = Path(sys.argv[1]), sys.argv[2]
    model = onnx.load(path)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    axes[2].dim_value, axes[3].dim_value = HEIGHT, WIDTH
    maps = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            # What a head reads besides others is rounded for it once more; the import calls it the
            # same.
            maps[node.input[0] + (".scale2" if node.input[0] in maps else "")] = node.output[0]
    heads = head_convolutions(model.graph)
    del model.graph.output[:], model.graph.value_info[:]
    names = [*maps.values(), *heads]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    # The decode tail is for the file's own size.
    wanted, kept = set(names), []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.insert(0, node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    options = onnxruntime.SessionOptions()
    # Fused, the pairs would be computed in integers by ONNX Runtime's own rounding.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = cv2.resize(cv2.imread(picture), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    image = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
    values = session.run(names, {session.get_inputs()[0].name: image})

    folder = Path(__file__).parent
    lines = [
        "# How to make this file again: make reference-int8",
        f"# ONNX Runtime {onnxruntime.__version__}; per line: value, type, channels, rows, columns",
        f"version {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}",
    ]
    parts = []
    for name, array in zip([*maps, *heads], values):
        lines.append(f"{name} {'levels' if array.dtype == np.uint8 else 'logits'} {' '.join(map(str, array.shape[1:]))}")
        parts.append(array.tobytes())
    (folder / "int8_maps.txt").write_text("\n".join(lines) + "\n")
    (folder / "int8_maps.bin").write_bytes(b"".join(parts))


if __name__ == "__main__":
    main()
