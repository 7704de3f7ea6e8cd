"""A checkpoint with random weights for a YOLOv5 model file, scaled so that every head's logits move by several units.

Runs inside a checkout of YOLOv5 (v6.0: later ones read what it writes). With initial weights as they come, logits hardly change
from picture to picture, and a wrong network would pass for a right one.
"""

import argparse
import os
import sys

import torch

# Standard deviation of the logits over pictures and cells.
SPREAD = 3.0
PICTURES = 8


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("cfg")
    arguments.add_argument("out")
    arguments.add_argument("--yolov5", required=True)
    arguments.add_argument("--classes", type=int, default=2)
    arguments.add_argument("--seed", type=int, default=19)
    arguments.add_argument("--textured", action="store_true", help="pictures like the reference's, which is all edges")
    arguments = arguments.parse_args()
    cfg, out = os.path.abspath(arguments.cfg), os.path.abspath(arguments.out)
    os.chdir(arguments.yolov5)
    sys.path.insert(0, arguments.yolov5)
    from models.yolo import Model

    torch.manual_seed(arguments.seed)
    model = Model(cfg, ch=3, nc=arguments.classes)
    names = ["eye_open", "eye_closed", *(f"class{number}" for number in range(2, arguments.classes))]
    model.nc, model.names = arguments.classes, names
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = None  # the mean over all that is seen
        norm.reset_running_stats()
    generator = torch.Generator().manual_seed(arguments.seed)
    # Coarse patterns: single noisy pixels would average out.
    coarse = torch.rand(PICTURES, 3, 12, 16, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=(192, 256), mode="bilinear", align_corners=False)
    if arguments.textured:
        # The picture of reference/raw_heads.py, moved: a deep network that has seen smooth ones
        # only gives logits of hundreds.
        c, y, x = torch.meshgrid(torch.arange(3), torch.arange(192), torch.arange(256))
        bands = ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) / 255
        for number in range(PICTURES):
            pictures[number] = bands.roll((37 * number, 53 * number), dims=(1, 2))
    with torch.no_grad():
        model.train()
        for _ in range(2):
            model(pictures)
        for norm in norms:
            norm.momentum = 0.03
        model.eval()
        maps = []
        detect = model.model[-1]
        hooks = [conv.register_forward_hook(lambda _m, _i, output: maps.append(output)) for conv in detect.m]
        model(pictures)
        for conv, logits in zip(detect.m, maps):
            conv.weight *= SPREAD / logits.std(dim=(0, 2, 3)).clamp(min=1e-3)[:, None, None, None]
        maps.clear()
        model(pictures)
        print("spread of the logits:", [round(float(logits.std(dim=0).mean()), 2) for logits in maps], file=sys.stderr)
        for hook in hooks:
            hook.remove()
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None}, out)


if __name__ == "__main__":
    main()
