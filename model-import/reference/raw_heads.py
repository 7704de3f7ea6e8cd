# make reference-heads
"""ONNX Runtime's raw head maps for a picture of the tests: what the generated network must give, too.

    raw_heads.py MODEL PICTURE

Of each map some hundred values. The network sees something in the picture, so that rounding costs what it costs on pictures: on noise,
values between two levels that are rounded the other way make differences that grow from layer to layer. Other references here take
the formula `image`.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "quantize"))

SAMPLES = 200
# A prime: strides through a map without keeping to a row or a channel.
STEP = 7919


def image(channels: int, height: int, width: int) -> np.ndarray:
    """Bands and texture with values 0 to 1, nearly noise; the tests compute the same."""
    c, y, x = np.indices((channels, height, width))
    return (((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) / 255).astype(np.float32)[None]


def head_convolutions(graph: onnx.GraphProto) -> list[str]:
    """The convolutions nearest to the first output."""
    producers = {name: node for node in graph.node for name in node.output}
    pending, seen, heads = [graph.output[0].name], set(), []
    while pending:
        node = producers.get(pending.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type == "Conv":
            heads.append(node.output[0])
        else:
            pending.extend(node.input)
    return heads


def main() -> None:
    # Those who import this have other environments.
    from quantize import prepared

    path = Path(sys.argv[1])
    model = onnx.load(path)
    heads = head_convolutions(model.graph)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in heads)
    options = onnxruntime.SessionOptions()
    # Fused, pairs of quantization would be computed in integers by ONNX Runtime's own rounding.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    maps = session.run(None, {source.name: prepared(sys.argv[2], source.shape[2:])})
    maps.sort(key=lambda head: -head.size // head.shape[1])

    print("# How to make this file again: make reference-heads")
    print(f"# ONNX Runtime {onnxruntime.__version__}; per line: head, index into its flat map, value")
    print(f"version {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}")
    for number, head in enumerate(maps):
        flat = head.ravel()
        print(f"shape {number} {' '.join(map(str, head.shape))}")
        for sample in range(SAMPLES):
            index = sample * STEP % flat.size
            print(f"{number} {index} {flat[index]:.7g}")


if __name__ == "__main__":
    main()
