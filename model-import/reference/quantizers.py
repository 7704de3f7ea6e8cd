# make reference-quantizers
"""Small files of other makers' quantizers, and what ONNX Runtime computes from them, for model-import's tests.

    python quantizers.py forms/accepted/master-torch2-simplify.onnx

Writes into `quantizers/` beside this file: `onnxruntime.onnx` (quantize_static as it comes), `onnxruntime-per-channel.onnx`,
`onnxruntime-signed.onnx` (symmetric activations) and `nncf.onnx` (post-training quantization as it comes), each with a `.txt` of some logits.
"""

import sys
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

from raw_heads import STEP, head_convolutions, image

PICTURES = 8
SAMPLES = 300  # of each head
FOLDER = Path(__file__).parent / "quantizers"


def pictures(size: list[int]) -> list[np.ndarray]:
    """The test's picture, and shifted ones; with black and white in each."""
    first = image(*size)
    return [np.roll(first, 7 * shift, axis=3) for shift in range(PICTURES)]


class Reader(quantization.CalibrationDataReader):
    def __init__(self, name: str, size: list[int]):
        self.pictures = iter([{name: picture} for picture in pictures(size)])

    def get_next(self):
        return next(self.pictures, None)


def logits(path: Path) -> list[np.ndarray]:
    """ONNX Runtime's raw head maps, every node of quantization computed as it is written."""
    model = onnx.load(path)
    heads = head_convolutions(model.graph)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in heads)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    return session.run(None, {source.name: image(*source.shape[1:])})


def main() -> None:
    base = Path(sys.argv[1])
    FOLDER.mkdir(exist_ok=True)
    model = onnx.load(base)
    source = model.graph.input[0]
    size = [axis.dim_value for axis in source.type.tensor_type.shape.dim][1:]
    for name, options in {
        "onnxruntime": {},
        "onnxruntime-per-channel": {"per_channel": True},
        "onnxruntime-signed": {"extra_options": {"ActivationSymmetric": True}, "activation_type": quantization.QuantType.QInt8},
    }.items():
        quantization.quantize_static(base, FOLDER / f"{name}.onnx", Reader(source.name, size), **options)
    data = nncf.Dataset(pictures(size), lambda picture: {source.name: picture})
    onnx.save(nncf.quantize(model, data, subset_size=PICTURES), FOLDER / "nncf.onnx")
    for path in sorted(FOLDER.glob("*.onnx")):
        model = onnx.load(path)
        for part in [model, model.graph, *model.graph.node]:
            part.doc_string = ""
        del model.graph.value_info[:]
        onnx.save(model, path)
        lines = [f"# ONNX Runtime {onnxruntime.__version__}; per line: head's output, index into its flat map, logit, logit of the float model"]
        for name, head, exact in zip(head_convolutions(model.graph), logits(path), logits(base), strict=True):
            flat, exact = head.ravel(), exact.ravel()
            indices = sorted(set(np.arange(SAMPLES) * STEP % flat.size))
            lines += [f"{name} {index} {flat[index]:.7g} {exact[index]:.7g}" for index in indices]
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
