# make reference-int8
"""ONNX Runtime's levels of every quantized map of an 8-bit model, for a computed image.

ONNX Runtime computes the file's nodes of quantization as they are written, in floats; the integer operators must give the
same levels, but for values that lie between two. The image is the one of raw_heads.py.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from raw_heads import head_convolutions, image

SAMPLES = 40
# A prime: strides through a map without keeping to a row or a channel.
STEP = 7919


def main() -> None:
    path = Path(sys.argv[1])
    model = onnx.load(path)
    maps = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    heads = head_convolutions(model.graph)
    del model.graph.output[:]
    names = [*maps, *heads]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    # Fused, the pairs would be computed in integers by ONNX Runtime's own rounding.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    source = session.get_inputs()[0]
    values = session.run(names, {source.name: image(*source.shape[1:])})

    print("# How to make this file again: make reference-int8")
    print(f"# ONNX Runtime {onnxruntime.__version__}; per line: value, index into its flat map, level or logit")
    print(f"version {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}")
    for name, array in zip(names, values):
        flat = array.ravel()
        for sample in range(SAMPLES):
            index = (sample * STEP + 13) % flat.size
            print(f"{maps.get(name, name)} {index} {flat[index]:.7g}")


if __name__ == "__main__":
    main()
