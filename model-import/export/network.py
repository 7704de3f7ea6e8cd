"""A YOLOv5 model out of a checkpoint, written as ONNX: what the official exporter writes, layer by layer.

What each layer computes is in its docstring; the names are those of YOLOv5's `models/common.py` and `models/yolo.py`, whose
attributes the checkpoint holds.
"""

import numpy as np
import onnx
from checkpoint import CheckpointError, Inert
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
COLUMNS_BEFORE_CLASSES = 5


def child(module: Inert, name: str):
    """A part, a parameter, a buffer or a plain attribute of a module, as `torch.nn.Module.__getattr__` finds it."""
    for place in ("_modules", "_parameters", "_buffers"):
        if name in (found := module.__dict__.get(place) or {}):
            return found[name]
    return module.__dict__.get(name)


def parts(module: Inert) -> list:
    """The parts of a Sequential or a ModuleList, in order."""
    return list((module.__dict__.get("_modules") or {}).values())


def pair(value) -> list[int]:
    return [int(value)] * 2 if isinstance(value, int) else [int(v) for v in value]


def floats(value) -> np.ndarray:
    return np.asarray(value, dtype=np.float32)


class Network:
    """An ONNX graph that grows layer by layer; `shapes` holds channels, height and width of every map."""

    def __init__(self, height: int, width: int):
        self.nodes, self.constants = [], []
        self.largest = max(height, width)
        self.shapes = {"images": (3, height, width)}

    def node(self, operator: str, inputs: list[str], output: str, shape: tuple, **attributes) -> str:
        if not all(1 <= side <= self.largest for side in shape[1:]):
            raise CheckpointError(f"the layer {output} makes a map of {shape[1:]} cells, larger than the picture or empty")
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self.shapes[output] = shape
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def layer(self, module, x, name: str) -> str:
        """Adds a layer that reads the map `x` (of a Concat: several); returns the map that it makes."""
        write = getattr(self, f"write_{module.name}", None) if isinstance(module, Inert) else None
        if write is None:
            kind = module.kind if isinstance(module, Inert) else type(module).__name__
            raise CheckpointError(
                f"the layer {name} is a {kind}, which this exporter does not know; `make export-official` runs YOLOv5's own"
            )
        return write(module, x, name)

    def write_Conv(self, module, x: str, name: str) -> str:
        """Convolution, batch normalization, activation."""
        weight, bias = fused(child(module, "conv"), child(module, "bn"))
        x = self.convolution(child(module, "conv"), weight, bias, x, name)
        return self.activation(child(module, "act"), x, name)

    write_DWConv = write_Conv

    def write_Conv2d(self, module, x: str, name: str) -> str:
        return self.convolution(module, *fused(module, None), x, name)

    def write_Focus(self, module, x: str, name: str) -> str:
        """Every second pixel four times, then a convolution: the same as one with a window of twice the size."""
        module = child(module, "conv")
        conv = child(module, "conv")
        weight, bias = fused(conv, child(module, "bn"))
        out, channels, height, width = weight.shape
        wide = np.zeros((out, channels // 4, 2 * height, 2 * width), np.float32)
        # The order in which Focus takes them.
        for part, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
            wide[:, :, row::2, column::2] = weight[:, part * channels // 4 : (part + 1) * channels // 4]
        if pair(conv.stride) != [1, 1] or pair(conv.dilation) != [1, 1] or int(conv.groups) != 1:
            raise CheckpointError(f"the layer {name} is a Focus of a kind that no YOLOv5 has")
        padding = [2 * side for side in pair(conv.padding)]
        x = self.window(x, wide, bias, [2, 2], padding, [1, 1], 1, name)
        return self.activation(child(module, "act"), x, name)

    def write_GhostConv(self, module, x: str, name: str) -> str:
        """Half of the channels, and what a cheap convolution makes of them."""
        half = self.layer(child(module, "cv1"), x, f"{name}/cv1")
        return self.concat([half, self.layer(child(module, "cv2"), half, f"{name}/cv2")], name)

    def write_Bottleneck(self, module, x: str, name: str) -> str:
        """cv2(cv1(x)), plus x if `add`."""
        y = self.layer(child(module, "cv1"), x, f"{name}/cv1")
        y = self.layer(child(module, "cv2"), y, f"{name}/cv2")
        return self.node("Add", [x, y], f"{name}/Add", self.shapes[y]) if module.add else y

    write_CrossConv = write_Bottleneck

    def write_C3(self, module, x: str, name: str) -> str:
        """cv3(cat(m(cv1(x)), cv2(x)))."""
        y = self.layer(child(module, "cv1"), x, f"{name}/cv1")
        y = self.layer(child(module, "m"), y, f"{name}/m")
        z = self.layer(child(module, "cv2"), x, f"{name}/cv2")
        return self.layer(child(module, "cv3"), self.concat([y, z], name), f"{name}/cv3")

    write_C3x = write_C3

    def write_SPPF(self, module, x: str, name: str) -> str:
        """cv2 of a map and of three poolings, each of the one before."""
        maps = [self.layer(child(module, "cv1"), x, f"{name}/cv1")]
        for turn in range(3):
            maps.append(self.layer(child(module, "m"), maps[-1], f"{name}/m.{turn}"))
        return self.layer(child(module, "cv2"), self.concat(maps, name), f"{name}/cv2")

    def write_SPP(self, module, x: str, name: str) -> str:
        """cv2 of a map and of poolings of different sizes."""
        x = self.layer(child(module, "cv1"), x, f"{name}/cv1")
        pools = parts(child(module, "m"))
        maps = [x] + [self.layer(pool, x, f"{name}/m.{at}") for at, pool in enumerate(pools)]
        return self.layer(child(module, "cv2"), self.concat(maps, name), f"{name}/cv2")

    def write_Sequential(self, module, x: str, name: str) -> str:
        for at, part in enumerate(parts(module)):
            x = self.layer(part, x, f"{name}.{at}")
        return x

    def write_Identity(self, _module, x: str, _name: str) -> str:
        return x

    def write_MaxPool2d(self, module, x: str, name: str) -> str:
        if module.ceil_mode or pair(module.dilation) != [1, 1]:
            raise CheckpointError(f"the layer {name} is a pooling of a kind that no YOLOv5 has")
        kernel, stride, padding = pair(module.kernel_size), pair(module.stride), pair(module.padding)
        channels, *sides = self.shapes[x]
        sides = [(s + 2 * p - k) // step + 1 for s, k, step, p in zip(sides, kernel, stride, padding, strict=True)]
        attributes = {"kernel_shape": kernel, "strides": stride, "pads": padding * 2}
        return self.node("MaxPool", [x], f"{name}/MaxPool", (channels, *sides), **attributes)

    def write_Upsample(self, module, x: str, name: str) -> str:
        """Nearest neighbour by a whole factor."""
        factor = module.scale_factor if module.size is None else None
        vertical, horizontal = factor if isinstance(factor, (tuple, list)) else (factor, factor)
        if module.mode != "nearest" or factor is None or vertical % 1 or horizontal % 1:
            raise CheckpointError(f"the layer {name} is an Upsample of a kind that no YOLOv5 has")
        channels, height, width = self.shapes[x]
        scales = self.constant(f"{name}/scales", np.array([1, 1, vertical, horizontal], np.float32))
        modes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        shape = (channels, int(height * vertical), int(width * horizontal))
        return self.node("Resize", [x, "", scales], f"{name}/Resize", shape, **modes)

    def write_Concat(self, module, x: list[str], name: str) -> str:
        if int(module.d) != 1:
            raise CheckpointError(f"the layer {name} is a Concat of a kind that no YOLOv5 has")
        return self.concat(x, name)

    def write_Detect(self, module, x: list[str], name: str) -> str:
        """The heads and their decoding to boxes in pixels, objectness and scores: `[1, candidates, 5 + classes]`."""
        strides, anchors = floats(module.stride), floats(child(module, "anchors"))
        rows = []
        for at, (map_, conv) in enumerate(zip(x, parts(child(module, "m")), strict=True)):
            logits = self.layer(conv, map_, f"{name}/m.{at}")
            rows.append(self.decoded(logits, anchors[at] * strides[at], float(strides[at]), f"{name}/{at}"))
        self.nodes.append(helper.make_node("Concat", rows, ["output0"], name=f"{name}/Concat", axis=1))
        return "output0"

    def decoded(self, logits: str, anchors: np.ndarray, stride: float, name: str) -> str:
        """xy = (2σ - 0.5 + cell) · stride, wh = (2σ)² · anchor, the rest σ; anchors `[count, 2]` in pixels."""
        channels, height, width = self.shapes[logits]
        count = len(anchors)
        columns = channels // count

        def add(operator: str, inputs: list[str], output: str, **attributes) -> str:
            return self.node(operator, inputs, f"{name}/{output}", (), **attributes)

        def sizes(values: list[int], output: str) -> str:
            return self.constant(f"{name}/{output}", np.array(values, np.int64))

        def numbers(values, output: str) -> str:
            return self.constant(f"{name}/{output}", floats(values))

        shape = sizes([1, count, columns, height, width], "maps_shape")
        moved = add("Transpose", [add("Reshape", [logits, shape], "maps")], "moved", perm=[0, 1, 3, 4, 2])
        probabilities = add("Sigmoid", [moved], "probabilities")
        xy, wh, scores = (f"{name}/{part}" for part in ("xy", "wh", "scores"))
        split = sizes([2, 2, columns - 4], "split")
        self.nodes.append(helper.make_node("Split", [probabilities, split], [xy, wh, scores], name=f"{name}/Split", axis=4))
        rows, cells = np.indices((height, width))
        grid = np.broadcast_to(np.stack([cells, rows], -1) - 0.5, (1, count, height, width, 2))
        two = numbers(2, "two")
        centre = add("Add", [add("Mul", [xy, two], "xy2"), numbers(grid, "grid")], "xy_cell")
        centre = add("Mul", [centre, numbers(stride, "stride")], "centre")
        wide = np.broadcast_to(anchors[:, None, None], (1, count, height, width, 2))
        size = add("Pow", [add("Mul", [wh, two], "wh2"), two], "wh_squared")
        size = add("Mul", [size, numbers(wide, "anchors")], "size")
        joined = add("Concat", [centre, size, scores], "candidates", axis=4)
        return add("Reshape", [joined, sizes([1, -1, columns], "rows_shape")], "rows")

    def convolution(self, conv, weight: np.ndarray, bias: np.ndarray, x: str, name: str) -> str:
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise CheckpointError(f"the layer {name} is a convolution of a kind that no YOLOv5 has")
        stride, padding, dilation = pair(conv.stride), pair(conv.padding), pair(conv.dilation)
        return self.window(x, weight, bias, stride, padding, dilation, int(conv.groups), name)

    def window(self, x, weight, bias, stride, padding, dilation, groups, name: str) -> str:
        kernel = list(weight.shape[2:])
        windows = zip(self.shapes[x][1:], kernel, stride, padding, dilation, strict=True)
        sides = [(s + 2 * p - d * (k - 1) - 1) // step + 1 for s, k, step, p, d in windows]
        inputs = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        attributes = {"kernel_shape": kernel, "strides": stride, "pads": padding * 2, "dilations": dilation, "group": groups}
        return self.node("Conv", inputs, f"{name}/Conv", (len(weight), *sides), **attributes)

    def activation(self, act, x: str, name: str) -> str:
        shape, kind = self.shapes[x], act.name if isinstance(act, Inert) else "Identity"
        if kind == "SiLU":
            sigmoid = self.node("Sigmoid", [x], f"{name}/Sigmoid", shape)
            return self.node("Mul", [x, sigmoid], f"{name}/Mul", shape)
        if kind == "ReLU":
            return self.node("Relu", [x], f"{name}/Relu", shape)
        if kind == "LeakyReLU":
            return self.node("LeakyRelu", [x], f"{name}/LeakyRelu", shape, alpha=float(act.negative_slope))
        if kind == "Identity":
            return x
        raise CheckpointError(f"the layer {name} has the activation {kind}, which the function has no operator for")

    def concat(self, maps: list[str], name: str) -> str:
        channels = sum(self.shapes[map_][0] for map_ in maps)
        return self.node("Concat", maps, f"{name}/Concat", (channels, *self.shapes[maps[0]][1:]), axis=1)


def fused(conv, norm) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a convolution and the batch normalization behind it, as one convolution."""
    weight = floats(child(conv, "weight"))
    bias = child(conv, "bias")
    bias = np.zeros(len(weight), np.float32) if bias is None else floats(bias)
    if norm is None:
        return weight, bias
    scale = floats(child(norm, "weight")) / np.sqrt(floats(child(norm, "running_var")) + np.float32(norm.eps))
    return weight * scale[:, None, None, None], (bias - floats(child(norm, "running_mean"))) * scale + floats(child(norm, "bias"))


def detection_model(checkpoint) -> Inert:
    """The model in a YOLOv5 checkpoint: the averaged weights if there are any."""
    model = checkpoint
    if isinstance(checkpoint, dict):
        model = checkpoint.get("ema") or checkpoint.get("model")
        if model is None and any(isinstance(value, np.ndarray) for value in checkpoint.values()):
            model = checkpoint
    if isinstance(model, dict):
        raise CheckpointError("it holds weights without the model (a state dict); give the checkpoint that YOLOv5's train.py wrote")
    if not isinstance(model, Inert):
        raise CheckpointError("it holds no model; give the checkpoint that YOLOv5's train.py wrote")
    if model.kind.startswith("ultralytics."):
        raise CheckpointError(
            f"it is a model of the ultralytics package (YOLOv8 or later, YOLOv5u: {model.kind}); the function is built with YOLOv5 models"
        )
    layers = child(model, "model")
    last = parts(layers)[-1] if isinstance(layers, Inert) and parts(layers) else None
    if not isinstance(last, Inert) or last.name != "Detect":
        kind = f"{model.kind} ending in {last.kind}" if isinstance(last, Inert) else model.kind
        raise CheckpointError(f"it is not a YOLOv5 detection model but a {kind}; train one with YOLOv5's train.py")
    return model


def names_of(model: Inert, classes: int) -> dict[int, str]:
    names = child(model, "names")
    names = dict(names) if isinstance(names, dict) else dict(enumerate(names or []))
    if sorted(names) != list(range(classes)):
        raise CheckpointError(f"it has {len(names)} class names for {classes} classes")
    return {int(number): str(name) for number, name in sorted(names.items())}


def stride_of(model: Inert) -> int:
    """The largest stride, which both sides of the input must be multiples of."""
    return int(floats(parts(child(model, "model"))[-1].stride).max())


def to_onnx(model: Inert, height: int, width: int) -> onnx.ModelProto:
    """The model for images `[1, 3, height, width]` with values 0 to 1."""
    network = Network(height, width)
    layers = parts(child(model, "model"))
    detect, maps, x = layers[-1], [], "images"
    for at, layer in enumerate(layers):
        sources = [layer.f] if isinstance(layer.f, int) else list(layer.f)
        read = [x if source == -1 else maps[source] for source in sources]
        x = network.layer(layer, read[0] if isinstance(layer.f, int) else read, f"model.{at}")
        maps.append(x)
    candidates = sum(
        len(anchors) * (height // int(stride)) * (width // int(stride))
        for anchors, stride in zip(floats(child(detect, "anchors")), floats(detect.stride), strict=True)
    )
    columns = COLUMNS_BEFORE_CLASSES + int(detect.nc)
    graph = helper.make_graph(
        network.nodes,
        "yolov5",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, candidates, columns])],
        network.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    written = helper.make_model(graph, producer_name="nv-micro", ir_version=IR_VERSION, opset_imports=[opset])
    helper.set_model_props(written, {"stride": str(stride_of(model)), "names": repr(names_of(model, int(detect.nc)))})
    onnx.checker.check_model(written)
    return written
