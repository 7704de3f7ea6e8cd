"""A network that rounds as its 8-bit form does, so that training makes up for it (Jacob et al. 2018, arXiv:1712.05877).

Maps are rounded with the scales of an 8-bit file of the same network (`make export`, `make quantize`), weights by the largest of each
output channel, normalizations folded in with their statistics as they are. (The file's own weights are chosen with more care, and in
bfloat16 a map is kept to half a level.) Gradients pass the rounding unchanged, and not what it clips.
"""

import types

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

MOST = 127  # of a weight's signed levels, as in quantize/rounding.py
LEVELS = 255  # of a map's unsigned levels
FOR_HEAD = ".for_head"  # as quantize.py calls a map's second form


def constants(file):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}


def map_scales(found):
    """Of a file's constants: name of a map -> (scale, zero point)."""
    ends = (".scale", ".zero_point")
    names = [name.removesuffix(ends[0]) for name in found if name.endswith(ends[0]) and not name.endswith(".weight.scale")]
    return {name: tuple(torch.tensor(float(found[name + end])) for end in ends) for name in names}


def rounded(value, scale, zero):
    """`value` as it is after it was stored in unsigned levels; gradients pass where nothing is clipped."""
    levels = torch.clamp(value.float() / scale, -zero, LEVELS - zero)
    return ((levels + (levels.round() - levels).detach()) * scale).to(value.dtype)


# In one pass each: eager PyTorch takes four times as long for them.
stored_map = torch.compile(rounded, dynamic=True)
stored_activation = torch.compile(lambda value, scale, zero: rounded(F.silu(value.float()), scale, zero).to(value.dtype), dynamic=True)


def stored_weights(weights):
    """The same of a convolution's weights, with a scale for each output channel."""
    scale = weights.detach().flatten(1).abs().amax(1).clamp(min=1e-8) / MOST
    return torch.fake_quantize_per_channel_affine(weights, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -MOST, MOST)


def convolve(convolution, value, weights, bias):
    return F.conv2d(value, stored_weights(weights), bias, convolution.stride, convolution.padding, convolution.dilation, convolution.groups)


def folded(self, value):
    """`forward` of YOLOv5's Conv up to its activation: a convolution, and its normalization with the statistics as they are."""
    factor = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
    weights = self.conv.weight * factor[:, None, None, None]
    return convolve(self.conv, value, weights, self.bn.bias - self.bn.running_mean * factor)


def biased(self, value):
    """`forward` of a head's convolution."""
    return convolve(self, value, self.weight, self.bias)


def attach(model, file):
    """Makes `model` round its maps as the 8-bit `file` does, and its weights; `checkpoint.plain` gives a copy without that."""
    found, device = constants(file), next(model.parameters()).device
    scales = {name: tuple(value.to(device) for value in pair) for name, pair in map_scales(found).items()}
    modules = dict(model.named_modules())
    detect = model.model[-1]
    exact = {}  # of maps that a head reads with a scale of its own: before they are rounded for the others

    def rounding(module, name):
        """`forward` of a Conv whose output is the map `name`; without one it is not stored."""

        def forward(value):
            value = folded(module, value)
            if name and name + FOR_HEAD not in scales and isinstance(module.act, torch.nn.SiLU):
                return stored_activation(value, *scales[name])
            value = module.act(value)
            if not name:
                return value
            if name + FOR_HEAD in scales:
                exact[name] = value
            return stored_map(value, *scales[name])

        return forward

    def storing(name):
        return lambda module, inputs, value: stored_map(value, *scales[name])

    def reading(heads):
        def hook(module, inputs):
            return ([stored_map(exact.pop(name), *scales[name + FOR_HEAD]) if name + FOR_HEAD in scales else value for name, value in zip(heads, inputs[0])],)

        return hook

    owned = {name.rpartition("/")[0].replace("/", "."): name for name in scales if name.endswith(("/Mul", "/Add"))}
    shapes = {name.removesuffix(".weight.levels").replace("/", "."): value.shape for name, value in found.items() if name.endswith(".weight.levels")}
    own = {path.removesuffix(".conv"): module.weight.shape for path, module in modules.items() if isinstance(module, torch.nn.Conv2d)}
    heads = [f"model.{layer}.cv3" for layer in detect.f]
    if shapes != own or not set(heads) <= owned.keys() <= modules.keys():
        raise SystemExit(f"{file} is no 8-bit form of this network: make export WEIGHTS=start.pt, then make quantize MODEL=start.onnx PICTURES=folder")
    for path, module in modules.items():
        if hasattr(module, "conv") and hasattr(module, "bn"):
            module.forward = rounding(module, owned.get(path))
        elif path in owned:
            module.register_forward_hook(storing(owned[path]))
    detect.register_forward_pre_hook(reading([owned[head] for head in heads]))
    for head in detect.m:
        head.forward = types.MethodType(biased, head)
