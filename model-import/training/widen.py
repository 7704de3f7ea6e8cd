"""A YOLOv5 checkpoint twice as wide that computes the same: from a trained YOLOv5n to a YOLOv5s that needs no start from nothing.

Net2WiderNet (Chen, Goodfellow, Shlens, "Net2Net", ICLR 2016, arXiv:1511.05641): every channel is doubled and what reads a
doubled channel splits its weight between the two. The split is uneven by a random amount, so that the two learn differently:
    python widen.py runs/n/last.pt --out runs/s/start.pt
"""

import argparse

import torch

import checkpoint
import yolov5_code

# Spread of the uneven split, as a share of the layer's own: enough that no two channels stay alike,
# and it cancels exactly.
UNEVEN = 0.5


def widened(weight, inputs, outputs, generator):
    """A convolution's weight [out, in, h, w] with doubled inputs and outputs, the two copies of a channel next to each other."""
    if outputs:
        weight = weight.repeat_interleave(2, 0)
    if not inputs:
        return weight
    half = weight / 2
    uneven = torch.randn(half.shape, generator=generator) * (UNEVEN * half.std())
    return torch.stack([half + uneven, half - uneven], 2).flatten(1, 2)


def widen(yolo, model, seed=1):
    """The same function in a model of twice the width; `model` is a float32 YOLOv5 as checkpoint.build makes it."""
    generator = torch.Generator().manual_seed(seed)
    shape = dict(model.yaml, width_multiple=2 * model.yaml["width_multiple"])
    wide = yolo.Model(shape, ch=3, nc=model.yaml["nc"])
    state = {}
    source = model.state_dict()
    for name, expected in wide.state_dict().items():
        value = source[name]
        if value.dim() == 4:
            inputs, outputs = expected.shape[1] != value.shape[1], expected.shape[0] != value.shape[0]
            value = widened(value, inputs, outputs, generator)
        elif value.shape != expected.shape:
            value = value.repeat_interleave(2, 0)  # a batch normalization's four
        state[name] = value
    wide.load_state_dict(state)
    wide.names = model.names
    return wide


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="checkpoint of the narrow model (YOLOv5n)")
    parser.add_argument("--out", required=True, help="checkpoint of the wide one (YOLOv5s), to start a training from")
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    opt = parser.parse_args()
    yolo = yolov5_code.load(opt.yolov5)
    torch.save({"model": checkpoint.plain(widen(yolo, checkpoint.build(yolo, opt.weights))), "ema": None}, opt.out)
