"""Writes the models to compare with: `models.py MODEL.onnx FOLDER PICTURES`.

From one YOLOv5n export come YOLOv5n and YOLOv5s at every size. The body of the network doesn't depend on the size; the
decode tail's constants (grids, anchors, shapes) are computed anew. YOLOv5s is YOLOv5n with twice the channels: each weight
is repeated 2 x 2 and halved, so the wide network does all of YOLOv5s's work and must return what the narrow one does.

Of each come 8-bit forms: ONNX Runtime's and, for OpenVINO, NNCF's, made as their documentation
says, and this project's at 416 x 416, whose kernels then take any size. All are calibrated on
PICTURES; the time that they take doesn't depend on it.
"""

import sys
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "model-import" / "quantize"))
import quantize  # noqa: E402

SIZES = [(320, 320), (416, 416), (640, 640), (640, 384)]  # width, height
STRIDES = [8, 16, 32]


def resized(model, width, height):
    """The model for another input size."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    old = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][2:]
    cells = {(old[0] // s, old[1] // s): (height // s, width // s) for s in STRIDES}
    counts = {3 * h * w: 3 * new[0] * new[1] for (h, w), new in cells.items()}
    for dim, value in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], (height, width)):
        dim.dim_value = value
    del model.graph.value_info[:]
    output = model.graph.output[0].type.tensor_type.shape.dim
    output[1].dim_value = sum(counts.values())
    # PyTorch's exporter writes such constants as nodes, `make export` as initializers.
    constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    for tensor in [*constants, *model.graph.initializer]:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 5 and value.shape[2:4] in cells:
            h, w = cells[value.shape[2:4]]
            value = grid(value, h, w)
        elif value.dtype == np.int64 and value.ndim == 1 and value.size == 5 and tuple(value[3:]) in cells:
            value = np.array([*value[:3], *cells[tuple(value[3:])]])
        elif value.dtype == np.int64 and value.ndim == 1 and value.size == 3 and value[1] in counts:
            value = np.array([value[0], counts[value[1]], value[2]])
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def grid(value, height, width):
    """A decode constant for other dimensions: cell coordinates, or anchors that are the same for every cell."""
    if (value[:, :, 0, 0] == value[:, :, -1, -1]).all():
        return np.broadcast_to(value[:, :, :1, :1], (*value.shape[:2], height, width, 2)).copy()
    y, x = np.mgrid[:height, :width].astype(value.dtype)
    cell = np.stack([x, y], axis=-1) + value[0, 0, 0, 0]
    return np.broadcast_to(cell, (*value.shape[:2], height, width, 2)).copy()


def widened(model):
    """The model with twice the channels, computing the same."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    heads = {node.input[1] for node in model.graph.node if "model.24/m." in node.name and node.op_type == "Conv"}
    names = {name: i for node in model.graph.node if node.op_type == "Conv" for i, name in enumerate(node.input)}
    del model.graph.value_info[:]
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        is_head = tensor.name in heads or tensor.name.replace("bias", "weight") in heads
        if names.get(tensor.name) == 1:
            inputs = 1 if value.shape[1] == 3 else 2
            value = np.repeat(np.repeat(value, 1 if is_head else 2, axis=0), inputs, axis=1) / np.float32(inputs)
        elif names.get(tensor.name) == 2 and not is_head:
            value = np.repeat(value, 2)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


class Reader(CalibrationDataReader):
    """Pictures as ONNX Runtime's quantizer takes them."""

    def __init__(self, name, images):
        self.images = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.images, None)


def quantized_by_others(path, pictures):
    """ONNX Runtime's and NNCF's 8-bit forms of a model, beside it."""
    model = onnx.load(path)
    name = model.graph.input[0].name
    size = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][2:]
    images = [quantize.prepared(file, size) for file in pictures]
    prepared, target = path.with_suffix(".prepared.onnx"), path.with_suffix("")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), f"{target}-ort-int8.onnx", Reader(name, images), per_channel=True)
    prepared.unlink()
    network, mixed = openvino.Core().read_model(path), nncf.QuantizationPreset.MIXED
    network = nncf.quantize(network, nncf.Dataset(images), preset=mixed)
    openvino.save_model(network, f"{target}-nncf-int8.xml")


def main():
    source, folder = onnx.load(sys.argv[1]), Path(sys.argv[2])
    pictures = sorted(Path(sys.argv[3]).glob("*.jpg"))
    folder.mkdir(parents=True, exist_ok=True)
    nncf.set_log_level("ERROR")
    for scale, model in [("yolov5n", source), ("yolov5s", widened(source))]:
        for width, height in SIZES:
            path = folder / f"{scale}-{width}x{height}.onnx"
            onnx.save(resized(model, width, height), path)
            quantized_by_others(path, pictures)
        path = folder / f"{scale}-416x416"
        onnx.save(quantize.quantized(onnx.load(f"{path}.onnx"), pictures), f"{path}-int8.onnx")
    check(source, folder)


def check(source, folder):
    """The rewritten model must agree with the original at the original's size."""
    import onnxruntime

    dims = [d.dim_value for d in source.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(1).random(dims, dtype=np.float32)
    name = source.graph.input[0].name

    def run(model):
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {name: image}
        )[0]

    expected = run(source)
    for scale in ["yolov5n", "yolov5s"]:
        found = run(onnx.load(folder / f"{scale}-{dims[3]}x{dims[2]}.onnx"))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


if __name__ == "__main__":
    main()
