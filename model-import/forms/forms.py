"""Forms that other tools make of an export, and what ONNX Runtime computes for each form that is accepted.

`forms.py accepted/ [SAMPLES]` writes the reference of every file in a folder beside it: 60 values a head, or so many.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

sys.path.insert(0, str(Path(__file__).parent.parent / "reference"))
from raw_heads import STEP, head_convolutions, image  # noqa: E402

SAMPLES = 60
# For files that leave it open.
HEIGHT, WIDTH = 64, 128


def strip_comments(path: Path) -> None:
    """Takes stack traces and other comments out of a file: they tell of the machine that it was written on."""
    model = onnx.load(path, load_external_data=False)
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:], model.graph.value_info[:]
    for part in [*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]:
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


def derive(base: Path, accepted: Path, refused: Path) -> None:
    """Half precision, metadata in other words, weights beside the file, padding as Keras writes it; int8 and ONNX Runtime's own."""
    from onnxruntime import quantization
    from onnxruntime.transformers.float16 import convert_float_to_float16

    def save(name: str, change) -> None:
        model = onnx.load(base)
        model = change(model) or model
        onnx.save(model, accepted / f"{name}.onnx")

    save("half", lambda model: convert_float_to_float16(model, keep_io_types=False, disable_shape_infer=True))
    save("half-weights", lambda model: convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True))
    save("json-metadata", json_metadata)
    save("auto-pad", auto_pad)
    save("squeezed", squeezed)
    onnx.save(
        onnx.load(base), accepted / "external.onnx", save_as_external_data=True, location="external.onnx.data", size_threshold=256
    )

    quantization.quantize_dynamic(base, refused / "int8-dynamic.onnx", op_types_to_quantize=["Conv"])
    operators = quantization.QuantFormat.QOperator
    quantization.quantize_static(base, refused / "int8-qoperator.onnx", Pictures(base), quant_format=operators)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(refused / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    onnxruntime.InferenceSession(base, options, providers=["CPUExecutionProvider"])
    for path in refused.glob("*.onnx"):
        strip_comments(path)


class Pictures:
    """What the quantizer calibrates with."""

    def __init__(self, path: Path):
        source = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0]
        self.pictures = iter([{source.name: image(*source.shape[1:])}])

    def get_next(self):
        return next(self.pictures, None)


def json_metadata(model: onnx.ModelProto) -> None:
    onnx.helper.set_model_props(model, {"stride": "[8, 16, 32]", "names": r'{"0": "eye\u005fopen", "1": "eye_closed"}'})


def auto_pad(model: onnx.ModelProto) -> None:
    """Every 3 x 3 convolution padded by SAME_UPPER: with stride 2 at the end only."""
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and list(attributes["kernel_shape"].ints) == [3, 3]:
            node.attribute.remove(attributes["pads"])
            node.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))


def squeezed(model: onnx.ModelProto) -> None:
    """Candidates without the axis for the batch."""
    output = model.graph.output[0]
    shape = [axis.dim_value for axis in output.type.tensor_type.shape.dim][1:]
    axes = numpy_helper.from_array(np.array([0], np.int64), "squeezed.axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(onnx.helper.make_node("Squeeze", [output.name, "squeezed.axes"], ["squeezed"]))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("squeezed", TensorProto.FLOAT, shape))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same in 32-bit floats, as the import reads it: ONNX Runtime would round every layer to half precision."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    del model.graph.value_info[:]
    return model


def raw_heads(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """ONNX Runtime's raw head maps for a computed picture, largest first."""
    model = widened(onnx.load(path))
    heads = head_convolutions(model.graph)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in heads)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    height, width = (side if isinstance(side, int) else given for side, given in zip(source.shape[2:], size, strict=True))
    maps = session.run(None, {source.name: image(3, height, width)})
    return sorted(maps, key=lambda head: -head.shape[2])


def main() -> None:
    samples = int(sys.argv[2]) if sys.argv[2:] else SAMPLES
    for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        lines = [f"# ONNX Runtime {onnxruntime.__version__}; per line: head, index into its flat map, value"]
        for number, head in enumerate(raw_heads(path, (HEIGHT, WIDTH))):
            flat = head.ravel()
            indices = (np.arange(samples) * STEP) % flat.size
            lines += [f"{number} {index} {flat[index]:.7g}" for index in indices]
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
