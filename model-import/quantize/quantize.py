"""Makes the 8-bit form of a YOLOv5 detection model: an ONNX file with QuantizeLinear and DequantizeLinear nodes.

    python quantize.py best.onnx FOLDER --out best-int8.onnx

FOLDER holds pictures like those that the model will see (a few hundred; labels are not needed). Weights become signed 8-bit
integers, symmetric, with a scale for each output channel; what convolutions read becomes unsigned 8-bit integers with one scale a map.
Maps that meet in a concatenation, a resize or a pooling share their scale, so nothing is rescaled there. SiLU and the sums of the
residual connections are computed on what a convolution gives before it is rounded. The file runs on every engine that runs ONNX.
"""

import argparse
import pathlib
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "training"))
from detector import letterbox  # noqa: E402

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PASSES = {"Concat", "Resize", "MaxPool"}  # what changes no value
LEVELS = 255
VALUES_A_PICTURE = 4000  # of each map; its largest is always among them
CLIPS = np.linspace(0.4, 1.0, 61)  # of the largest value, tried for the least squared error
WEIGHT_CLIPS = np.linspace(0.7, 1.0, 31)
OPSET = 13  # the first whose QuantizeLinear takes a scale for each channel


class Graph:
    """The network up to its heads: what the decode tail computes stays as it is."""

    def __init__(self, model):
        self.model = model
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.convolutions = [n for n in self.nodes if n.op_type == "Conv" and n.input[1] in self.constants]
        self.parent = {}

    def root(self, value):
        while self.parent.get(value, value) != value:
            value = self.parent[value]
        return value

    def maps(self):
        """The values to quantize, each with the name of the group that it shares its scale with."""
        found, pending = [], [node.input[0] for node in self.convolutions]
        seen = set()
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            node = self.producer.get(value)
            if node is None or node.op_type not in PASSES:
                found.append(value)
                continue
            parts = list(node.input) if node.op_type == "Concat" else [node.input[0]]
            for part in parts:
                self.parent[self.root(part)] = self.root(value)
            pending += parts
        order = {name: i for i, name in enumerate(self.producer)}
        return {value: self.root(value) for value in sorted(found, key=lambda value: order.get(value, -1))}


def pictures(folder, count):
    files = sorted(f for f in pathlib.Path(folder).rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        sys.exit(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    # Spread over the whole folder, the same ones every time.
    return [files[i] for i in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]


def prepared(file, size):
    image = cv2.imread(str(file))
    if image is None:
        sys.exit(f"{file} is not a picture")
    canvas, _, _ = letterbox(image, size)
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255


def observe(model, values, files):
    """Of each value, over all pictures: a sample, and the mean of each channel."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    image = model.graph.input[0]
    size = [d.dim_value for d in image.type.tensor_type.shape.dim][2:]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values if value != image.name)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    samples, means = {value: [] for value in values}, {value: 0.0 for value in values}
    random = np.random.default_rng(0)
    for file in files:
        tensor = prepared(file, size)
        for name, array in [(image.name, tensor), *zip(names, session.run(names, {image.name: tensor}))]:
            if name not in samples:
                continue
            flat = array.ravel()
            chosen = flat[random.integers(0, flat.size, VALUES_A_PICTURE)]
            samples[name].append(np.append(chosen, [flat.min(), flat.max()]))
            means[name] = means[name] + array.mean((0, 2, 3)) / len(files)
    return {value: np.concatenate(parts) for value, parts in samples.items()}, means


def map_scale(sample):
    """Scale and zero point of unsigned levels with the least squared error."""
    low, high = min(0.0, float(sample.min())), max(1e-6, float(sample.max()))
    best = None
    for clip in CLIPS:
        scale = np.float32((high * clip - low) / LEVELS)
        zero = int(np.clip(round(-low / scale), 0, LEVELS))
        levels = np.clip(np.round(sample / scale) + zero, 0, LEVELS)
        error = float(np.mean(((levels - zero) * scale - sample) ** 2))
        if best is None or error < best[0]:
            best = error, scale, zero
    return best[1:]


def weight_scale(weight):
    """Signed levels and a scale for each output channel, with the least squared error."""
    rows = weight.reshape(len(weight), -1)
    largest = np.maximum(np.abs(rows).max(1), 1e-8)
    scale, least = None, np.full(len(rows), np.inf)
    for clip in WEIGHT_CLIPS:
        tried = (largest * clip / 127).astype(np.float32)
        levels = np.clip(np.round(rows / tried[:, None]), -127, 127)
        error = ((levels * tried[:, None] - rows) ** 2).sum(1)
        scale = tried if scale is None else np.where(error < least, tried, scale)
        least = np.minimum(error, least)
    levels = np.clip(np.round(rows / scale[:, None]), -127, 127).astype(np.int8)
    return levels.reshape(weight.shape), scale


def scales(graph, samples, groups):
    """Scale and zero point of every group of maps."""
    found = {}
    image = graph.model.graph.input[0].name
    for group in dict.fromkeys(groups.values()):
        members = [value for value, of in groups.items() if of == group]
        if image in members:
            found[group] = np.float32(1 / 255), 0  # the picture's own levels
        else:
            found[group] = map_scale(np.concatenate([samples[value] for value in members]))
    return found


def channel_means(graph, value, means):
    """The mean of each channel of what a convolution reads."""
    node = graph.producer.get(value)
    if node is None or node.op_type not in PASSES:
        return np.asarray(means[value])
    if node.op_type == "Concat":
        return np.concatenate([channel_means(graph, part, means) for part in node.input])
    return channel_means(graph, node.input[0], means)


def rewritten(graph, groups, found, means):
    """The model with its nodes of quantization."""
    model = onnx.ModelProto.FromString(graph.model.SerializeToString())
    nodes, added = [], {t.name: t for t in model.graph.initializer}

    def constant(name, array):
        added[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def quantization(value):
        scale, zero = found[groups[value]]
        constants = [constant(f"{value}.scale", np.float32(scale)), constant(f"{value}.zero_point", np.uint8(zero))]
        return [
            helper.make_node("QuantizeLinear", [value, *constants], [f"{value}.levels"], name=f"{value}.quantize"),
            helper.make_node("DequantizeLinear", [f"{value}.levels", *constants], [f"{value}.quantized"], name=f"{value}.dequantize"),
        ]

    image = model.graph.input[0].name
    if image in groups:
        nodes += quantization(image)
    convolutions = {node.output[0] for node in graph.convolutions}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.output[0] in convolutions:
            weight = graph.constants[node.input[1]]
            levels, scale = weight_scale(weight)
            name = node.input[1]
            constants = [constant(f"{name}.levels", levels), constant(f"{name}.scale", scale), constant(f"{name}.zero_point", np.zeros(len(scale), np.int8))]
            nodes.append(helper.make_node("DequantizeLinear", constants, [f"{name}.quantized"], name=f"{name}.dequantize", axis=0))
            # What rounding the weights adds on average goes out of the bias.
            error = levels * scale.reshape(-1, 1, 1, 1) - weight
            shift = np.einsum("oikl,i->o", error, channel_means(graph, node.input[0], means))
            bias = graph.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(scale), np.float32)
            corrected = constant(f"{name}.bias", (bias - shift).astype(np.float32))
            del node.input[1:]
            node.input.extend([f"{name}.quantized", corrected])
        for i, value in enumerate(node.input):
            if value in groups:
                node.input[i] = f"{value}.quantized"
        nodes.append(node)
        for value in node.output:
            if value in groups:
                nodes += quantization(value)
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    model.graph.initializer.extend(tensor for name, tensor in added.items() if name in read)
    model.producer_name, model.producer_version = "nv-micro quantize.py", ""
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < OPSET:
            model = onnx.version_converter.convert_version(model, OPSET)
            break
    onnx.checker.check_model(model)
    return model


def quantized(model, files):
    """The 8-bit form of `model`, calibrated on `files`."""
    graph = Graph(model)
    if not graph.convolutions:
        sys.exit("the model has no convolutions with constant weights")
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes):
        sys.exit("the model is quantized already; give the one that it was made from")
    groups = graph.maps()
    samples, means = observe(model, list(groups), files)
    return rewritten(graph, groups, scales(graph, samples, groups), means)


def main(opt):
    files = pictures(opt.pictures, opt.count)
    model = quantized(onnx.load(opt.model), files)
    out = opt.out or str(pathlib.Path(opt.model).with_suffix("")) + "-int8.onnx"
    onnx.save(model, out)
    print(f"{out}, calibrated on {len(files)} pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("pictures", help="folder of pictures to calibrate on")
    parser.add_argument("--out", help="default: beside the model, -int8 added to its name")
    parser.add_argument("--count", type=int, default=300, help="pictures taken of the folder, evenly (default 300)")
    main(parser.parse_args())
