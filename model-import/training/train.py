"""Fine-tunes a YOLOv5 checkpoint on gray night-vision pictures, on a CPU (bfloat16 where it has it) or one GPU.

YOLOv5's own model, loss and optimizer groups; our own data (dataset.py) and a schedule by time or by pictures:
    python train.py --data data --weights start.pt --out runs/a --minutes 90
    python train.py --data data --out runs/a --resume          # goes on from runs/a/last.pt
"""

import argparse
import json
import math
import pathlib
import random
import time

import cv2
import numpy as np
import torch

import checkpoint
import quantized
import teacher as teaching
import yolov5_code
from dataset import Pictures, Things, TrainingSet, collate, mined, names_in

MOMENTUM, WEIGHT_DECAY, WARMUP_STEPS, EMA_DECAY = 0.937, 5e-4, 150, 0.999
# YOLOv5 scales its class gain by classes/80, to 0.0125 here: too little for what this model is for.
# Box gain up, too.
GAINS = dict(box=0.10, cls=0.15, cls_pw=1.0, obj=1.0, obj_pw=1.0, fl_gamma=0.0, anchor_t=4.0, label_smoothing=0.0)
SIZES = {320: 0.2, 352: 0.1, 416: 0.4, 448: 0.1, 512: 0.2}  # one weight set serves every exported input size


# (until this share of the schedule, share of mosaics, share as the function sees it): the end is
# nearer to the use.
PHASES = ((0.8, 0.2, 0.25), (1.01, 0.08, 0.4))


class Steps(torch.utils.data.Sampler):
    """Endless batches of (seed, size, mosaic, plain); every picture of a batch has the batch's size."""

    def __init__(self, batch, seed, done):
        self.batch, self.rng, self.done = batch, random.Random(seed), done

    def __iter__(self):
        while True:
            size = self.rng.choices(list(SIZES), SIZES.values())[0]
            count = max(8, round(self.batch * (416 / size) ** 2 / 4) * 4)  # about the same work a step
            _, mosaic, plain = next(phase for phase in PHASES if self.done() < phase[0])
            yield [(self.rng.getrandbits(48), size, mosaic, plain) for _ in range(count)]


def progress(opt, state):
    """0..1 through the schedule: by the clock with --minutes, else by pictures."""
    if opt.minutes:
        return min(1.0, state["seconds"] / (60 * opt.minutes))
    return min(1.0, state["pictures"] / opt.pictures)


def frozen(model, layers):
    """The first `layers` of the network stay as they are, their normalizations' statistics, too."""
    for layer in model.model[:layers]:
        layer.eval()
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def main(opt):
    if opt.only_taught and not opt.teacher:
        raise SystemExit("--only-taught needs --teacher checkpoint.pt")
    yolo = yolov5_code.load(opt.yolov5)
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(opt.seed)
    device = torch.device(opt.device)
    bf16 = device.type == "cpu" and not opt.float32
    if device.type == "cpu":
        torch.set_num_threads(opt.threads)

    resume = torch.load(out / "last.pt", map_location="cpu", weights_only=False) if opt.resume else None
    model = checkpoint.build(yolo, opt.weights if resume is None else out / "last.pt", key="model").to(device)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    model.hyp = dict(GAINS)
    compute_loss = yolo.ComputeLoss(model)
    teacher = teaching.load(yolo, opt.teacher, device) if opt.teacher else None
    optimizer = yolo.smart_optimizer(model, "SGD", opt.lr, MOMENTUM, WEIGHT_DECAY * opt.batch / 64)
    ema = yolo.ModelEMA(model, decay=EMA_DECAY, tau=200)
    state = {"steps": 0, "pictures": 0, "seconds": 0.0, "rounds": 0}
    if resume is not None:
        optimizer.load_state_dict(resume["optimizer"])
        ema.ema.load_state_dict(resume["ema"].float().state_dict())
        ema.updates, state = resume["updates"], resume["state"]
        if bool(opt.quantized) != state.get("quantized", False):
            raise SystemExit(f"{out / 'last.pt'} was trained with{'out' if opt.quantized else ''} --quantized: resume it in the same way")
    state["quantized"] = bool(opt.quantized)
    if opt.quantized:  # after the moving average took its copy, which stays as it is
        quantized.attach(model, opt.quantized)

    things = Things(Pictures(opt.things, "train"), mined(opt.mined) if opt.mined else {}) if opt.things else None
    training = TrainingSet(Pictures(opt.data, "train", names_in(opt.leave_out)), things, opt.things_share)
    validation = Pictures(opt.data[:1], "val")
    count = len(things.images) if things else 0
    print(f"{len(training.pictures)} training pictures, {count} of things, {len(validation)} validation pictures", flush=True)
    cv2.setNumThreads(0)
    loader = iter(torch.utils.data.DataLoader(
        training, batch_sampler=Steps(opt.batch, opt.seed + state["steps"], lambda: progress(opt, state)),
        num_workers=opt.workers, collate_fn=collate, prefetch_factor=4 if opt.workers else None,
    ))  # fmt: skip

    model.train()
    frozen(model, opt.freeze)
    sums, since = np.zeros(3), state["pictures"]
    clock = time.monotonic()
    while True:
        done = progress(opt, state)
        if done >= 1:
            break
        images, targets = next(loader)
        size = images.shape[-1]
        rate = opt.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))) * min(1, (state["steps"] + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        compute_loss.hyp["obj"] = GAINS["obj"] * (size / 640) ** 2
        x = images.to(device).float().div_(255).unsqueeze(1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16 or device.type != "cpu"):
            maps = model(x)
            with torch.no_grad():
                taught = teacher(x) if teacher else None
        loss, items = compute_loss([m.float() for m in maps], targets.to(device))
        if teacher:  # that loss is the sum over the batch
            away = len(images) * teaching.distance(maps, taught, compute_loss.hyp)
            loss = away if opt.only_taught else loss + away
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        sums = 0.98 * sums + 0.02 * items.cpu().numpy()
        state["steps"] += 1
        state["pictures"] += len(images)
        now = time.monotonic()
        state["seconds"] += now - clock
        clock = now
        if state["steps"] % 50 == 0:
            print(f"step {state['steps']}  pictures {state['pictures']}  {state['seconds']:.0f} s  lr {rate:.5f}  "
                  f"box {sums[0]:.4f} obj {sums[1]:.4f} cls {sums[2]:.4f}", flush=True)  # fmt: skip
        if state["pictures"] - since >= opt.round or progress(opt, state) >= 1:
            since = state["pictures"]
            state["rounds"] += 1
            checkpoint.save(out / "last.pt", model, ema, optimizer, state)
            if state["rounds"] % opt.validate_every == 0 or progress(opt, state) >= 1:
                figures = checkpoint.validate(yolo, ema.ema, validation, 416, bf16)
                with open(out / "rounds.jsonl", "a") as log:
                    log.write(json.dumps({**state, "lr": rate, **figures}) + "\n")
                print(json.dumps(figures), flush=True)
                model.train()
                frozen(model, opt.freeze)
            state["seconds"] += time.monotonic() - clock
            clock = time.monotonic()
    print("done", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders with images/train, labels/train; the first also with val")
    parser.add_argument("--leave-out", default=pathlib.Path(__file__).with_name("left-out.txt"), help="names of training pictures with wrong labels")
    parser.add_argument("--weights", help="checkpoint to start from (COCO's yolov5n.pt or a former model)")
    parser.add_argument("--things", nargs="*", default=[], help="folders with images/train of pictures without eyes (negatives.py)")
    parser.add_argument("--things-share", type=float, default=0.3, help="share of those among the drawn pictures")
    parser.add_argument("--mined", help="what a model fired on among them (mine.py): drawn more often")
    parser.add_argument("--freeze", type=int, default=0, help="first layers of the network that stay as they are")
    parser.add_argument("--teacher", help="checkpoint whose outputs are learned, too")
    parser.add_argument("--only-taught", action="store_true", help="learn the teacher's outputs alone, no labels: with --quantized, a form that rounding changes less")
    parser.add_argument("--quantized", help="8-bit file of the same network (make quantize): trained with its rounding")
    parser.add_argument("--out", required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--minutes", type=float, help="length of the schedule by the clock")
    parser.add_argument("--pictures", type=int, default=140_000, help="length of the schedule without --minutes")
    parser.add_argument("--round", type=int, default=6000, help="pictures between checkpoints")
    parser.add_argument("--validate-every", type=int, default=2, help="rounds between validations")
    # Every step's gradient is clipped, so steps of 16 take a fourth of the rate that YOLOv5 uses
    # for its 64. 0.008 was tried: it undid what the start knew (mAP50 on val 0.96 -> 0.55 after
    # 30,000 pictures).
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--batch", type=int, default=16, help="pictures a step at 416 px")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 on the CPU")
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    main(parser.parse_args())
