# make reference-quantizers
"""Small files of other makers' quantizers, and what ONNX Runtime computes from them, for model-import's tests.

    python quantizers.py forms/accepted/master-torch2-simplify.onnx
    python quantizers.py best.onnx --pictures FOLDER --out FOLDER

Calibrates on a computed picture, or on a hundred of FOLDER. Writes into `quantizers/` beside this file, or the folder given:
`onnxruntime.onnx` (quantize_static as it comes), `onnxruntime-per-channel.onnx`,
`onnxruntime-signed.onnx` (symmetric activations), `nncf.onnx` (post-training quantization as it comes) and `nncf-dark.onnx` (of
darker pictures), each with a `.txt` of some logits.
"""

import argparse
import sys
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

from raw_heads import STEP, head_convolutions, image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "quantize"))
import quantize  # noqa: E402

PICTURES, OF_FOLDER = 8, 100
SAMPLES = 300  # of each head
FOLDER = Path(__file__).parent / "quantizers"


def pictures(size: list[int], folder: Path | None) -> list[np.ndarray]:
    """The test's picture, and shifted ones, with black and white in each; or those of a folder."""
    if folder:
        return [quantize.prepared(file, size[1:]) for file in quantize.pictures(folder, OF_FOLDER)]
    first = image(*size)
    return [np.roll(first, 7 * shift, axis=3) for shift in range(PICTURES)]


class Reader(quantization.CalibrationDataReader):
    def __init__(self, name: str, given: list[np.ndarray]):
        self.pictures = iter([{name: picture} for picture in given])

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
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    base, out = given.model, given.out
    out.mkdir(parents=True, exist_ok=True)
    model = onnx.load(base)
    source = model.graph.input[0]
    calibrated_on = pictures([axis.dim_value for axis in source.type.tensor_type.shape.dim][1:], given.pictures)
    for name, options in {
        "onnxruntime": {},
        "onnxruntime-per-channel": {"per_channel": True},
        "onnxruntime-signed": {"extra_options": {"ActivationSymmetric": True}, "activation_type": quantization.QuantType.QInt8},
    }.items():
        quantization.quantize_static(base, out / f"{name}.onnx", Reader(source.name, calibrated_on), **options)
    for name, share in {"nncf": 1, "nncf-dark": 0.8}.items():
        data = nncf.Dataset(calibrated_on, lambda picture: {source.name: picture * np.float32(share)})
        onnx.save(nncf.quantize(model, data, subset_size=len(calibrated_on)), out / f"{name}.onnx")
    for path in sorted(out.glob("*.onnx")):
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
