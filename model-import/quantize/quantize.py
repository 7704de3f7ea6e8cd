"""Makes the 8-bit form of a YOLOv5 detection model: an ONNX file with QuantizeLinear and DequantizeLinear nodes.

    python quantize.py best.onnx FOLDER --out best-int8.onnx

FOLDER holds pictures like those that the model will see (about a hundred; labels are not needed). Weights become signed 8-bit
integers, symmetric, with a scale for each output channel; what convolutions read becomes unsigned 8-bit integers with one scale a map.
Maps that meet in a concatenation, a resize or a pooling share their scale, so nothing is rescaled there; a map that a head and another
layer read is rounded for each of them. SiLU and the sums of the residual connections are computed on what a convolution gives before
it is rounded. The file runs on every engine that runs ONNX.
"""

import argparse
import pathlib
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import correction
import rounding

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "training"))
from detector import letterbox  # noqa: E402

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PASSES = {"Concat", "Resize", "MaxPool"}  # what changes no value
OPSET = 13  # the first whose QuantizeLinear takes a scale for each channel
ALIAS = ".for_head"  # what a map's second form is called

# Samples of what a layer reads, from each picture: where the model sees something, and anywhere.
SEEN, ANYWHERE = 150, 100
SURE = 0.05  # confidence from which it sees something
SURE_CELL = 0.02  # and a cell of a head counts
AROUND = 1.5  # of a box: what its candidate depends on
SHARE = 6  # one sample of so many is kept for the choice of scales; all count for the weights


class Graph:
    """The network up to its heads: what the decode tail computes stays as it is."""

    def __init__(self, model):
        self.model = model
        self.image = model.graph.input[0].name
        self.size = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][2:]
        self.values = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.convolutions = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in self.constants]
        self.heads = {node.output[0] for node in self.convolutions if not self.leads_on(node)}
        self.give_heads_their_own()
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.parent = {}

    def leads_on(self, node):
        """Whether another convolution reads what comes of this one."""
        reached = set(node.output)
        for other in self.model.graph.node:  # in order
            if reached & set(other.input):
                if other.op_type == "Conv":
                    return True
                reached |= set(other.output)
        return False

    def give_heads_their_own(self):
        """A map that a head and others read gets a second name for the head."""
        nodes = self.model.graph.node
        for head in [node for node in self.convolutions if node.output[0] in self.heads]:
            value = head.input[0]
            if sum(value in node.input for node in nodes) > 1:
                nodes.insert(list(nodes).index(head), helper.make_node("Identity", [value], [value + ALIAS], name=value + ALIAS))
                head.input[0] = value + ALIAS

    def weights(self, node):
        """[outputs, what each reads]"""
        return self.constants[node.input[1]].reshape(len(self.constants[node.input[1]]), -1)

    def bias(self, node):
        return self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(self.weights(node)), np.float32)

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


def places(chosen, random, shape, seen=SEEN, anywhere=ANYWHERE):
    """Rows and columns of a map of `shape`: some of those that are `chosen`, some of all."""
    rows, columns = np.nonzero(chosen)
    at = random.integers(0, len(rows), seen if len(rows) else 0)
    return np.concatenate([np.column_stack([rows[at], columns[at]]), random.integers(0, shape, (anywhere, 2))])


def windows(node, value, at):
    """What a convolution reads for its outputs at these places: [places, what each reads]"""
    kernel, stride, pads = geometry(node)
    padded = np.pad(value[0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    out = np.empty((len(at), len(padded), *kernel), np.float32)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            out[:, :, y, x] = padded[:, at[:, 0] * stride[0] + y, at[:, 1] * stride[1] + x].T
    return out.reshape(len(at), -1)


def geometry(node):
    found = {a.name: list(a.ints) for a in node.attribute}
    return found["kernel_shape"], found.get("strides", [1, 1]), found.get("pads", [0, 0, 0, 0])


def output_shape(node, value):
    kernel, stride, pads = geometry(node)
    return [(value.shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]


def where_something_is(candidates, size):
    """Of the network's input: the pixels around what it sees."""
    mask = np.zeros(size, bool)
    confidence = candidates[:, 4] * candidates[:, 5:].max(1)
    for x, y, w, h in candidates[confidence > SURE, :4]:
        top, left = max(0, int(y - h * AROUND / 2)), max(0, int(x - w * AROUND / 2))
        mask[top : int(y + h * AROUND / 2) + 1, left : int(x + w * AROUND / 2) + 1] = True
    return mask


def giving(model, values):
    """A session that gives these values of the model."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


class Observed:
    """What the float model's convolutions read, over all pictures."""

    def __init__(self, graph, files):
        answer = graph.model.graph.output[0].name
        wanted = dict.fromkeys([answer, *(node.input[0] for node in graph.convolutions), *graph.heads])
        wanted.pop(graph.image, None)
        session = giving(graph.model, wanted)
        names = [node.output[0] for node in graph.convolutions]
        self.moments, self.means = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        self.samples = {name: [] for name in names}
        self.ranges = {}
        random = np.random.default_rng(0)
        for file in files:
            image = prepared(file, graph.size)
            values = dict(zip(wanted, session.run(list(wanted), {graph.image: image}))) | {graph.image: image}
            mask = where_something_is(values[answer].reshape(-1, graph.values), graph.size)
            for node in graph.convolutions:
                name, value = node.output[0], values[node.input[0]]
                low, high = self.ranges.get(node.input[0], (0.0, 0.0))
                self.ranges[node.input[0]] = min(low, value.min()), max(high, value.max())
                shape = output_shape(node, value)
                step = [whole // part for whole, part in zip(mask.shape, shape)]
                read = windows(node, value, places(mask[:: step[0], :: step[1]][: shape[0], : shape[1]], random, shape))
                self.moments[name] = self.moments[name] + (read.T @ read).astype(np.float64)
                self.means[name] = self.means[name] + read.mean(0) / len(files)
                if name in graph.heads:
                    candidates = 1 / (1 + np.exp(-values[name][0].reshape(-1, graph.values, *shape)))
                    sure = (candidates[:, 4:5] * candidates[:, 5:]).max((0, 1)) > SURE_CELL
                    read = windows(node, value, places(sure, random, shape))
                self.samples[name].append(read[::SHARE])


def scales(graph, observed, groups):
    """Scale and zero point of every group of maps."""
    found = {}
    for group in dict.fromkeys(groups.values()):
        if graph.image in (value for value, of in groups.items() if of == group):
            found[group] = np.float32(1 / 255), 0  # the picture's own levels
            continue
        readers = []
        for node in (node for node in graph.convolutions if graph.root(node.input[0]) == group):
            weights, samples = graph.weights(node), np.concatenate(observed.samples[node.output[0]])
            if node.output[0] in graph.heads:
                readers.append(rounding.Head(weights, graph.bias(node), samples, graph.values))
            else:
                readers.append(rounding.Layer(weights, samples))
        ends = [end for value, end in observed.ranges.items() if graph.root(value) == group]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        found[group] = rounding.map_scale(low, high, lambda stored: sum(reader.error(stored) for reader in readers))
    return found


def rewritten(graph, observed, groups, found):
    """The model with its nodes of quantization."""
    model = onnx.ModelProto.FromString(graph.model.SerializeToString())
    nodes, added = [], {t.name: t for t in model.graph.initializer}

    def constant(name, array):
        added[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def quantization(value):
        scale, zero = found[groups[value]]
        constants = [constant(f"{value}.scale", np.float32(scale)), constant(f"{value}.zero_point", np.uint8(zero))]
        source = value.removesuffix(ALIAS)
        return [
            helper.make_node("QuantizeLinear", [source, *constants], [f"{value}.levels"], name=f"{value}.quantize"),
            helper.make_node("DequantizeLinear", [f"{value}.levels", *constants], [f"{value}.quantized"], name=f"{value}.dequantize"),
        ]

    if graph.image in groups:
        nodes += quantization(graph.image)
    convolutions = {node.output[0]: node for node in graph.convolutions}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.output[0] in convolutions:
            float_node = convolutions[node.output[0]]
            weights, name = graph.weights(float_node), node.input[1]
            levels, scale = rounding.weight_levels(weights, observed.moments[node.output[0]])
            shape = graph.constants[name].shape
            constants = [
                constant(f"{name}.levels", levels.reshape(shape)),
                constant(f"{name}.scale", scale),
                constant(f"{name}.zero_point", np.zeros(len(scale), np.int8)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", constants, [f"{name}.quantized"], name=f"{name}.dequantize", axis=0))
            # What rounding the weights adds on average goes out of the bias.
            shift = (levels * scale[:, None] - weights) @ observed.means[node.output[0]]
            corrected = constant(f"{name}.bias", (graph.bias(float_node) - shift).astype(np.float32))
            del node.input[1:]
            node.input.extend([f"{name}.quantized", corrected])
        for i, value in enumerate(node.input):
            if value in groups:
                node.input[i] = f"{value}.quantized"
        if not node.name.endswith(ALIAS):
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


def shifts(graph, model, files):
    """Of each head, how much the 8-bit `model` moves its values in the mean of each picture in which the float model sees something."""
    heads = sorted(graph.heads)
    exact, rounded = giving(graph.model, heads), giving(model, heads)
    found = {head: [] for head in heads}
    for file in files:
        image = {graph.image: prepared(file, graph.size)}
        for head, *outputs in zip(heads, exact.run(heads, image), rounded.run(heads, image)):
            shift = correction.mean_shift(*(correction.logits(output, graph.values) for output in outputs), SURE_CELL)
            if shift is not None:
                found[head].append(shift)
    return found


def corrected(graph, model, files):
    """The 8-bit `model` with what its roundings shift the heads' values by on average taken out of the heads' biases."""
    found = shifts(graph, model, files)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and found.get(node.output[0]):
            tensor = constants[node.input[2]]
            bias, shift = numpy_helper.to_array(tensor), correction.beyond_chance(found[node.output[0]])
            tensor.CopyFrom(numpy_helper.from_array((bias - np.tile(shift, len(bias) // graph.values)).astype(np.float32), tensor.name))
    return model


def in_32_bits(model):
    """`model` with constants that are stored in another type, such as half precision, and cast to floats, as floats."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    stored, nodes = {tensor.name: tensor for tensor in model.graph.initializer}, []
    for node in model.graph.node:
        wanted = next((a.i for a in node.attribute if a.name == "to"), None)
        if node.op_type == "Cast" and wanted == onnx.TensorProto.FLOAT and node.input[0] in stored:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def quantized(model, files):
    """The 8-bit form of `model`, calibrated on `files`."""
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        sys.exit("the model is quantized already; give the one that it was made from")
    graph = Graph(in_32_bits(model))
    if not graph.convolutions:
        sys.exit("the model has no convolutions with constant weights")
    if not all(graph.size) or not graph.values:
        sys.exit("the model leaves its input's or output's size open: export it for one size")
    groups = graph.maps()
    observed = Observed(graph, files)
    return corrected(graph, rewritten(graph, observed, groups, scales(graph, observed, groups)), files)


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
    parser.add_argument("--count", type=int, default=100, help="pictures taken of the folder, evenly (default 100)")
    main(parser.parse_args())
