"""Checkpoints in YOLOv5's own format (a pickled model under `model` and `ema`), and the check after a round."""

import copy

import numpy as np
import torch

import ellipse


def build(yolo, file, key=None):
    """A float32 model from a checkpoint; `key` picks `model` or `ema` (default: ema if there is one, as export.py)."""
    stored = torch.load(file, map_location="cpu", weights_only=False)
    source = stored[key] if key else stored.get("ema") or stored["model"]
    names = {0: "eye_open", 1: "eye_closed"}
    model = yolo.Model(source.yaml, ch=3, nc=len(names))
    own = model.state_dict()
    fitting = {k: v.float() for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)  # a COCO checkpoint lacks only its last layer
    model.names, model.nc = names, len(names)
    model.class_weights = torch.ones(len(names))
    return model.float()


def giving_raw_maps(model):
    """In training mode, in which YOLOv5 gives raw maps, but with the statistics of its normalizations as they are."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return model


def plain(model):
    """A copy as the exporter wants it: float32, weights in PyTorch's usual order (training has them channels-last).

    Hooks and methods that are set on its layers, as quantized.py does, are not part of it.
    """
    copied = copy.deepcopy(model).float().cpu().to(memory_format=torch.contiguous_format)
    for module in copied.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module.__dict__.pop("forward", None)
    return copied


def save(file, model, ema, optimizer, state):
    stored = {
        "model": plain(model),
        "ema": plain(ema.ema),
        "updates": ema.updates,
        "optimizer": optimizer.state_dict(),
        "state": dict(state),
    }
    partial = file.with_suffix(".part")  # a stop in the middle of writing must not cost the last good one
    torch.save(stored, partial)
    partial.replace(file)


@torch.no_grad()
def validate(yolo, model, pictures, size, bf16):
    """YOLOv5's metrics and the three-state accuracy at some thresholds, as a training log wants them."""
    model.eval()
    iou = torch.linspace(0.5, 0.95, 10)
    stats, verdicts = [], {t: np.zeros((3, 3), int) for t in (0.25, 0.35, 0.5, 0.6)}
    for image, eyes, classes in zip(pictures.images, pictures.eyes, pictures.classes):
        canvas = yolo.letterbox(image[..., None].repeat(3, 2), (size, size), auto=False, scaleup=True)[0]
        x = torch.from_numpy(canvas.transpose(2, 0, 1).copy()).float().div_(255)[None]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            out = model(x)
        out = (out[0] if isinstance(out, (tuple, list)) else out).float()
        found = yolo.non_max_suppression(out, 0.001, 0.6, multi_label=True, max_det=300)[0]
        found[:, :4] = yolo.scale_boxes((size, size), found[:, :4], image.shape)

        truth = torch.from_numpy(np.column_stack([classes, ellipse.to_boxes(eyes)])).float()
        correct = yolo.process_batch(found, truth, iou) if len(truth) else torch.zeros(len(found), 10, dtype=torch.bool)
        stats.append((correct, found[:, 4], found[:, 5], truth[:, 0]))
        actual = 0 if (classes == 0).any() else 1 if (classes == 1).any() else 2
        for t, matrix in verdicts.items():
            kept = found[found[:, 4] > t, 5]
            matrix[actual, 0 if (kept == 0).any() else 1 if (kept == 1).any() else 2] += 1
    _, _, p, r, _, ap, _ = yolo.ap_per_class(*[torch.cat(s).numpy() for s in zip(*stats)], names=model.names)
    figures = {"map50": ap[:, 0].mean(), "map": ap.mean(), "ap50": ap[:, 0].tolist(), "ap": ap.mean(1).tolist(), "p": p.mean(), "r": r.mean()}
    figures = {k: np.round(v, 4).tolist() for k, v in figures.items()}
    for t, matrix in verdicts.items():
        figures[f"state@{t}"] = {"accuracy": round(matrix.trace() / matrix.sum(), 4), "matrix": matrix.tolist()}
    return figures
