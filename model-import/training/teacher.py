"""A trained model whose raw outputs another one learns, besides the labels (Hinton, Vinyals, Dean 2015, arXiv:1503.02531)."""

import torch
import torch.nn.functional as F

import checkpoint

# Beside the loss on labels, which has the same gains.
OBJECTNESS, CLASSES, BOXES = 2, 4, 10


def load(yolo, file, device):
    """A checkpoint as a function from a batch to its raw maps; nothing in it changes."""
    model = checkpoint.giving_raw_maps(checkpoint.build(yolo, file).to(device))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return model


def distance(maps, taught, gains):
    """How far raw maps are from a teacher's: its objectness everywhere, its boxes and classes where it sees something."""
    loss = 0.0
    for own, other in zip(maps, taught):
        own, sure = own.float(), torch.sigmoid(other[..., 4:5].float())
        target = torch.sigmoid(other.float())
        # As YOLOv5's loss: a mean over places for objectness, over what is there for the rest.
        loss = loss + OBJECTNESS * gains["obj"] * F.binary_cross_entropy_with_logits(own[..., 4], target[..., 4])
        there = sure / sure.sum().clamp(min=1)
        loss = loss + CLASSES * gains["cls"] * (F.binary_cross_entropy_with_logits(own[..., 5:], target[..., 5:], reduction="none") * there).sum()
        loss = loss + BOXES * gains["box"] * ((torch.sigmoid(own[..., :4]) - target[..., :4]).abs() * there).sum()
    return loss
