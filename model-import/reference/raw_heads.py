# make reference-heads
"""ONNX Runtime's raw head maps for a computed image: what the generated network must give, too.

The image is a formula, so that nothing but numbers needs to be kept; of each map, some hundred values.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

SAMPLES = 200
# A prime: strides through a map without keeping to a row or a channel.
STEP = 7919


def image(channels: int, height: int, width: int) -> np.ndarray:
    """Bands and texture with values 0 to 1; function/tests computes the same."""
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
    path = Path(sys.argv[1])
    model = onnx.load(path)
    heads = head_convolutions(model.graph)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in heads)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    maps = session.run(None, {source.name: image(*source.shape[1:])})
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
