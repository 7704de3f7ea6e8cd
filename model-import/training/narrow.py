"""A YOLOv5 checkpoint with the more important half of every layer's channels: a start for a network of half the width.

What a channel is worth is how much the loss would change without it, to first order: the square of the sum of its outputs times
their gradients, over pictures (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771).
Channels that are added to each other are kept or dropped together:
    python narrow.py runs/n/last.pt --data data --out start.pt --yolov5 path/to/yolov5

What it gives has to be trained on (train.py, with --teacher): by itself it finds little.
"""

import argparse

import torch

import checkpoint
import yolov5_code
from dataset import Pictures, TrainingSet, collate
from train import GAINS

SIZE, BATCH, BATCHES = 416, 16, 24


def importances(yolo, model, batches):
    """{name of a convolution with normalization: worth of each of its channels}; `batches` gives (images, targets)."""
    worth, outputs, hooks = {}, {}, []

    def keep(name):
        def hook(module, inputs, out):
            out.retain_grad()
            outputs[name] = out

        return hook

    for name, module in model.named_modules():
        if hasattr(module, "conv") and hasattr(module, "bn"):
            hooks.append(module.register_forward_hook(keep(name)))
    model.hyp = dict(GAINS)
    loss_of = yolo.ComputeLoss(model)
    checkpoint.giving_raw_maps(model)
    for images, targets in batches:
        loss, _ = loss_of(model(images.float().div(255)[:, None].expand(-1, 3, -1, -1)), targets)
        loss.sum().backward()
        for name, out in outputs.items():
            worth[name] = worth.get(name, 0) + (out.detach() * out.grad).sum((2, 3)).square().sum(0)
    for hook in hooks:
        hook.remove()
    return worth


def better_half(worth):
    """Which channels stay, in their order."""
    return torch.topk(worth, len(worth) // 2).indices.sort().values


def kept_channels(model, worth):
    """{name of a convolution: (inputs, outputs) that stay}, for the layers that YOLOv5's own networks have."""
    kept, ends, widths = {}, [], []  # ends: of each layer what stays of its outputs; widths: their number before
    for number, layer in enumerate(model.model):
        path, kind = f"model.{number}", type(layer).__name__
        sources = [layer.f] if isinstance(layer.f, int) else layer.f
        before = [ends[source] for source in sources] if number else [torch.arange(3)]

        def conv(name, inputs, outputs=None):
            outputs = better_half(worth[name]) if outputs is None else outputs
            kept[name] = (inputs, outputs)
            return outputs

        end, width = before[0], widths[sources[0]] if number else 3
        if kind == "Conv":
            end, width = conv(path, end), len(worth[path])
        elif kind == "C3":
            # The bottlenecks' outputs are added to their inputs: one choice for all of them.
            shared = worth[f"{path}.cv1"] + sum(worth[f"{path}.m.{i}.cv2"] for i, m in enumerate(layer.m) if m.add)
            inner = conv(f"{path}.cv1", end, better_half(shared))
            for i, bottleneck in enumerate(layer.m):
                middle = conv(f"{path}.m.{i}.cv1", inner)
                inner = conv(f"{path}.m.{i}.cv2", middle, inner if bottleneck.add else None)
            beside = conv(f"{path}.cv2", end)
            end = conv(f"{path}.cv3", torch.cat([inner, beside + len(shared)]))
            width = len(worth[f"{path}.cv3"])
        elif kind == "SPPF":
            inner, size = conv(f"{path}.cv1", end), len(worth[f"{path}.cv1"])
            end, width = conv(f"{path}.cv2", torch.cat([inner + i * size for i in range(4)])), len(worth[f"{path}.cv2"])
        elif kind == "Concat":
            starts = torch.tensor([0, *(widths[source] for source in sources)]).cumsum(0)
            end, width = torch.cat([part + start for part, start in zip(before, starts)]), int(starts[-1])
        elif kind == "Detect":
            for i, part in enumerate(before):
                kept[f"{path}.m.{i}"] = (part, slice(None))
        elif kind != "Upsample":
            raise SystemExit(f"layer {number} is a {kind}: this takes YOLOv5's own networks (Conv, C3, SPPF, Upsample, Concat, Detect)")
        ends.append(end)
        widths.append(width)
    return kept


def narrow(yolo, model, worth):
    """A model of half the width out of the channels that are worth most."""
    shape = dict(model.yaml, width_multiple=model.yaml["width_multiple"] / 2)
    half = yolo.Model(shape, ch=3, nc=model.yaml["nc"])
    source, state = model.state_dict(), half.state_dict()
    for name, (inputs, outputs) in kept_channels(model, worth).items():
        for key in (key for key in state if key.startswith(f"{name}.")):
            value = source[key]
            if value.dim() == 4:
                value = value[outputs][:, inputs]
            elif value.dim() == 1:
                value = value[outputs]
            state[key] = value
    half.load_state_dict(state)
    half.names = model.names
    return half


def main(opt):
    yolo = yolov5_code.load(opt.yolov5)
    torch.manual_seed(1)
    drawn = TrainingSet(Pictures(opt.data, "train"))
    batches = (collate([drawn[(batch * BATCH + i, SIZE, 0.1, 0.4)] for i in range(BATCH)]) for batch in range(BATCHES))
    model = checkpoint.build(yolo, opt.weights)
    half = narrow(yolo, model, importances(yolo, model, batches))
    torch.save({"model": checkpoint.plain(half), "ema": None}, opt.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="checkpoint of the wide model (YOLOv5n)")
    parser.add_argument("--data", nargs="+", required=True, help="folders with images/train, labels/train")
    parser.add_argument("--out", required=True, help="checkpoint of the narrow one, to start a training from")
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    main(parser.parse_args())
