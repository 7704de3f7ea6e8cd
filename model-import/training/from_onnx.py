"""A checkpoint to train on from, out of an exported model: the built-in one is kept as ONNX only.

    python from_onnx.py model.onnx --data path/to/dataset --out start.pt --yolov5 path/to/yolov5

The exporter folds every batch normalization into its convolution. Here each gets one again that computes the same: its
statistics are those of training pictures, its scale and shift undo them. Filters come back at the length that a checkpoint of
the same network has (`--lengths`), because a step's effect on a normalized filter depends on it.
"""

import argparse

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper

import checkpoint
import yolov5_code
from dataset import Pictures, TrainingSet, collate, names_in

PICTURES, BATCH, SIZE = 512, 16, 416  # enough for statistics: the last layers have 169 places a picture
MOSAICS, UNTURNED = 0.2, 0.25  # as most of a training


def weights_of(file):
    """What an exported model stores, by the names of a checkpoint without normalizations (`model.N.….conv.weight`).

    YOLOv5's exporter keeps those names. This project's leaves out `conv` and puts `/` between a layer and its parts.
    """
    stored = {}
    for tensor in onnx.load(file).graph.initializer:
        value = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        name = tensor.name.replace("/", ".")
        stored[name] = value
        layer, _, kind = name.rpartition(".")
        stored.setdefault(f"{layer}.conv.{kind}", value)
    return stored


def unfold(model, stored):
    """Loads folded weights (`model.N.….conv.weight`, `….conv.bias`); every normalization then only adds its bias."""
    missing = []
    for name, module in model.named_modules():
        kernel = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Conv2d):
            if f"{name}.weight" not in stored or stored[f"{name}.weight"].shape != kernel.shape:
                missing.append(name)
                continue
            kernel.data.copy_(stored[f"{name}.weight"])
            if module.bias is not None:
                module.bias.data.copy_(stored[f"{name}.bias"])
        elif isinstance(module, torch.nn.BatchNorm2d):
            folded = stored.get(f"{name.removesuffix('bn')}conv.bias")
            if folded is None:
                missing.append(name)
                continue
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            module.weight.data.fill_(1)
            module.bias.data.copy_(folded)
    if missing:
        raise SystemExit(f"the file lacks {len(missing)} layers of this network, {missing[0]} among them: not exported from it")


@torch.no_grad()
def restore_statistics(model, batches, lengths=None):
    """Gives every normalization the mean and variance of its input over `batches`; what the model computes stays."""
    convolutions = {name.removesuffix("conv"): module for name, module in model.named_modules() if name.endswith(".conv")}
    normalizations = {name.removesuffix("bn"): module for name, module in model.named_modules() if name.endswith(".bn")}
    sums = {key: [0, 0.0, 0.0] for key in normalizations}

    def watch(key):
        def hook(_, inputs):
            x = inputs[0].double()
            total = sums[key]
            total[0] += x.numel() // x.shape[1]
            total[1] += x.sum((0, 2, 3))
            total[2] += x.square().sum((0, 2, 3))

        return hook

    hooks = [module.register_forward_pre_hook(watch(key)) for key, module in normalizations.items()]
    model.eval()
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    for key, module in normalizations.items():
        count, total, squares = sums[key]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=1e-6)
        kernel = convolutions[key].weight
        factor = torch.ones_like(mean)
        if lengths is not None:
            own = kernel.flatten(1).norm(dim=1).double()
            factor = lengths[f"{key}conv.weight"].flatten(1).norm(dim=1).double() / own.clamp(min=1e-6)
        kernel.mul_(factor[:, None, None, None].float())
        module.bias += mean.float()
        module.running_mean.copy_(mean * factor)
        module.running_var.copy_(variance * factor.square())
        module.weight.copy_((variance * factor.square() + module.eps).sqrt() / factor)


def batches(pictures, count):
    training, rng = TrainingSet(pictures), np.random.default_rng(0)
    for _ in range(0, count, BATCH):
        images, _ = collate([training[(int(rng.integers(2**48)), SIZE, MOSAICS, UNTURNED)] for _ in range(BATCH)])
        yield images.float().div_(255).unsqueeze(1).expand(-1, 3, -1, -1)


def main(opt):
    yolo = yolov5_code.load(opt.yolov5)
    torch.set_num_threads(opt.threads)
    cv2.setNumThreads(0)
    stored = weights_of(opt.model)
    model = checkpoint.build(yolo, opt.lengths)
    lengths = {name: value.clone() for name, value in model.state_dict().items()}
    unfold(model, stored)
    restore_statistics(model, batches(Pictures([opt.data], "train", names_in(opt.leave_out)), PICTURES), lengths)
    torch.save({"model": checkpoint.plain(model), "ema": None}, opt.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="folder with images/train, labels/train")
    parser.add_argument("--lengths", required=True, help="a checkpoint of the same network: COCO's yolov5n.pt or a former model")
    parser.add_argument("--leave-out", required=True, help="names of training pictures that are not used")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    main(parser.parse_args())
