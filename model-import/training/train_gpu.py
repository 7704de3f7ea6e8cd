"""Fine-tunes a YOLOv5 checkpoint on one GPU: every picture lies in its memory, and a batch is drawn, augmented and learned there.

    python train_gpu.py --data data --things negatives --weights start.pt --out runs/a --minutes 8 --yolov5 path/to/yolov5

YOLOv5's model and loss (train.py's, too); millions of augmented pictures instead of a hundred thousand. Pictures of things are
drawn the more often the surer the model was of eyes in them when it last saw them. Snapshots of the averaged weights go to --out.
"""

import argparse
import copy
import json
import math
import pathlib
import time

import torch

import checkpoint
import device_augment
import device_data
import teacher as teaching
import yolov5_code
from dataset import SILENT_WEIGHT, names_in
from train import GAINS, MOMENTUM, PHASES, WARMUP_STEPS

SIZES = {320: 0.2, 416: 0.55, 512: 0.25}  # one set of weights serves every exported input size
LAST_SIZES = {320: 0.15, 416: 0.7, 512: 0.15}  # of the last phase: nearer to the use
LARGEST_GRADIENT = 2.0  # of the mean loss of a picture
WEIGHT_DECAY = 1e-4
FORGETTING = 0.9  # of a thing's confidence, each time that it is drawn
SNAPSHOTS = (0.7, 0.8, 0.9, 1.0)  # shares of the schedule
REPORT_EVERY = 100  # steps


class Average:
    """Exponential moving average of a model's weights, from the start on."""

    def __init__(self, model, decay):
        self.model = copy.deepcopy(model).eval()
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.decay, self.updates = decay, 0
        # Counters of batches are no weights; floating-point values only.
        pairs = [(a, b) for a, b in zip(self.model.state_dict().values(), model.state_dict().values()) if a.is_floating_point()]
        self.own, self.other = [a for a, _ in pairs], [b for _, b in pairs]

    @torch.no_grad()
    def update(self):
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / 200))
        torch._foreach_lerp_(self.own, self.other, 1 - decay)


def scratch(yolo, weights, width, depth):
    """A network of another width and depth, with random weights."""
    yaml = copy.deepcopy(torch.load(weights, map_location="cpu", weights_only=False)["model"].yaml)
    yaml.update(width_multiple=width, depth_multiple=depth)
    return yolo.Model(yaml, ch=3, nc=2).float()


def groups(model, rate):
    """Weights that decay, and those that do not: normalizations and biases."""
    decaying, free = [], []
    for name, parameter in model.named_parameters():
        (decaying if parameter.dim() > 1 else free).append(parameter)
    return torch.optim.SGD([{"params": decaying, "weight_decay": WEIGHT_DECAY}, {"params": free}], lr=rate, momentum=MOMENTUM, nesterov=True)


def surest(maps, where):
    """The largest confidence in each of some pictures of a batch."""
    best = torch.zeros(len(where), device=where.device)
    for m in maps:
        m = m.detach()[where].float().sigmoid()
        best = torch.maximum(best, (m[..., 4] * m[..., 5:].amax(-1)).flatten(1).amax(1))
    return best


def main(opt):
    yolo = yolov5_code.load(opt.yolov5)
    out = pathlib.Path(opt.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(opt.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device(opt.device)
    pool = device_data.pool(opt.data, opt.things, device, names_in(opt.leave_out))
    share = opt.things_share if bool(pool.things.any()) else 0.0
    print(f"{len(pool.names)} pictures, {int(pool.things.sum())} of things", flush=True)

    model = scratch(yolo, opt.weights, opt.width, opt.depth) if opt.width else checkpoint.build(yolo, opt.weights)
    model = model.to(device).train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    model.hyp = dict(GAINS)
    compute_loss = yolo.ComputeLoss(model)
    optimizer = groups(model, opt.lr)
    average = Average(model, opt.average)
    teacher = teaching.load(yolo, opt.teacher, device) if opt.teacher else None

    def step(size, count, mosaic, plain, rate):
        with torch.no_grad():
            images, targets, (where, which) = device_augment.batch(pool, count, size, mosaic, plain, share, SILENT_WEIGHT)
        for group in optimizer.param_groups:
            group["lr"] = rate
        compute_loss.hyp["obj"] = GAINS["obj"] * (size / 640) ** 2
        x = (images / 255).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=not opt.float32):
            maps = model(x)
            with torch.no_grad():
                taught = teacher(x) if teacher else None
        loss, items = compute_loss([m.float() for m in maps], targets)
        loss = loss / len(images)
        if teacher:
            loss = loss + teaching.distance(maps, taught, compute_loss.hyp)
        loss.sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        if len(where):
            pool.confidence[which] = torch.maximum(surest(maps, where), FORGETTING * pool.confidence[which])
        return items, norm

    def progress():
        return min(1.0, (time.monotonic() - start) / (60 * opt.minutes) if opt.minutes else pictures / opt.pictures)

    for size in SIZES:  # memory and kernels are there before the clock starts; a rate of 0 changes no weight
        step(size, counts(opt.batch, size), 0.2, 0.25, 0.0)
    start, steps, pictures, left = time.monotonic(), 0, 0, list(SNAPSHOTS)
    generator = torch.Generator().manual_seed(opt.seed)
    while True:
        done = progress()
        while left and done >= left[0]:
            save(out / f"{round(100 * left.pop(0))}.pt", average.model)
        if done >= 1:
            break
        _, mosaic, plain = next(phase for phase in PHASES if done < phase[0])
        sizes = SIZES if done < PHASES[0][0] else LAST_SIZES
        size = list(sizes)[int(torch.multinomial(torch.tensor(list(sizes.values())), 1, generator=generator))]
        rate = opt.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))) * min(1, (steps + 1) / opt.warmup)
        count = counts(opt.batch, size)
        items, norm = step(size, count, mosaic, plain, rate)
        steps, pictures = steps + 1, pictures + count
        if steps % opt.report == 0:
            seconds = time.monotonic() - start
            sure = pool.confidence[pool.things]
            line = {"step": steps, "pictures": pictures, "seconds": round(seconds), "per_second": round(pictures / seconds), "lr": round(rate, 5),
                    "box": round(float(items[0]), 4), "obj": round(float(items[1]), 4), "cls": round(float(items[2]), 4), "gradient": round(float(norm), 2),
                    "things": round(float((sure > 0.35).float().mean()), 3) if len(sure) else None}  # fmt: skip
            print(json.dumps(line), flush=True)
    (out / "done.json").write_text(json.dumps({"pictures": pictures, "steps": steps, "seconds": time.monotonic() - start, **vars(opt)}, default=str))
    things = sorted(zip(pool.confidence[pool.things].tolist(), [n for n, t in zip(pool.names, pool.things.tolist()) if t]), reverse=True)
    (out / "mined.txt").write_text("".join(f"{c:.3f} {n}\n" for c, n in things))
    print(f"done: {pictures} pictures", flush=True)


def counts(batch, size):
    """Pictures a step: about the same work at every size."""
    return max(8, round(batch * (416 / size) ** 2 / 8) * 8)


def save(file, model):
    torch.save({"model": checkpoint.plain(model), "ema": None}, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders with images/train, labels/train")
    parser.add_argument("--things", nargs="*", default=[], help="folders with images/train of pictures without eyes (negatives.py)")
    parser.add_argument("--things-share", type=float, default=0.3, help="share of those among the drawn pictures")
    parser.add_argument("--leave-out", default=pathlib.Path(__file__).with_name("left-out.txt"), help="names of training pictures with wrong labels")
    parser.add_argument("--weights", required=True, help="checkpoint to start from; with --width only its anchors and layers are taken")
    parser.add_argument("--width", type=float, help="width of a new network (YOLOv5n: 0.25)")
    parser.add_argument("--depth", type=float, default=0.33, help="its depth")
    parser.add_argument("--teacher", help="checkpoint whose outputs are learned, too")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, help="length of the schedule by the clock")
    parser.add_argument("--pictures", type=int, default=1_000_000, help="length of the schedule without --minutes")
    parser.add_argument("--lr", type=float, default=0.1, help="of the mean loss of a picture; batches of train.py's 16 take the sum")
    parser.add_argument("--warmup", type=int, default=WARMUP_STEPS, help="steps in which the rate grows")
    parser.add_argument("--batch", type=int, default=128, help="pictures a step at 416 px")
    parser.add_argument("--average", type=float, default=0.995, help="decay of the moving average of the weights: it looks back 1 / (1 - decay) steps, a small share of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=int, default=REPORT_EVERY, help="steps between lines of the log")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--float32", action="store_true", help="no bfloat16")
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    main(parser.parse_args())
