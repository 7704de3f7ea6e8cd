"""Which integers stand for a layer's weights, and which scale for what it reads: by what the layer then gives.

A value's own error says little: weights that read the same channels can make up for each other, and a large value that no output
depends on needs no room. So both are chosen by the error of the layer's outputs on samples of what it reads.
"""

import numpy as np

LEVELS = 255
MOST = 127  # of signed levels, so that there are as many above zero as below
WEIGHT_CLIPS = np.linspace(0.7, 1.0, 16)  # of a channel's largest weight
MAP_CLIPS = np.geomspace(0.08, 1.0, 26)  # of a map's largest value
DAMPING = 0.01  # of the mean square input, added to each: what the samples do not show is not taken for zero


def weight_levels(weights, moment):
    """Signed levels and a scale for each output channel; `moment` is the sum of x·xᵀ over samples x of what the layer reads.

    Levels are rounded one input after the other, and what each rounding changes in the outputs is taken up by the inputs that are
    left, as far as they vary with it (GPTQ, arXiv:2210.17323). Inputs with the most power come first.
    """
    weights = weights.astype(np.float64)
    inputs = weights.shape[1]
    moment = moment + np.eye(inputs) * DAMPING * np.mean(np.diag(moment))
    largest = np.maximum(np.abs(weights).max(1), 1e-8)
    scale, least = None, np.full(len(weights), np.inf)
    for clip in WEIGHT_CLIPS:
        tried = largest * clip / MOST
        error = np.clip(np.round(weights / tried[:, None]), -MOST, MOST) * tried[:, None] - weights
        error = np.einsum("oi,oi->o", error @ moment, error)
        scale = tried if scale is None else np.where(error < least, tried, scale)
        least = np.minimum(error, least)
    scale = scale.astype(np.float32)
    order = np.argsort(-np.diag(moment), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(moment[np.ix_(order, order)])).T
    left, levels = weights[:, order], np.zeros(weights.shape, np.int8)
    for i, at in enumerate(order):
        chosen = np.clip(np.round(left[:, i] / scale), -MOST, MOST)
        levels[:, at] = chosen
        left[:, i + 1 :] -= np.outer((left[:, i] - chosen * scale) / upper[i, i], upper[i, i + 1 :])
    return levels, scale


def map_scale(low, high, errors):
    """Scale and zero point of unsigned levels for values from `low` to `high`: those with the least sum of `errors(round)`.

    `round` is what storing does to values.
    """
    low, high = min(0.0, float(low)), max(1e-6, float(high))
    best = None
    for clip in MAP_CLIPS:
        scale = np.float32((high * clip - low) / LEVELS)
        zero = int(np.clip(round(-low / scale), 0, LEVELS))
        error = errors(lambda x, scale=scale, zero=zero: (np.clip(np.round(x / scale) + zero, 0, LEVELS) - zero) * scale)
        if best is None or error < best[0]:
            best = error, scale, zero
    return best[1:]


class Layer:
    """Samples of what a convolution reads, and how far its outputs move when those are rounded, as a share of how they vary."""

    def __init__(self, weights, inputs):
        self.weights, self.inputs = weights, inputs
        outputs = (inputs - inputs.mean(0)) @ weights.T
        self.power = max(float(outputs.var(0).sum()), 1e-12)

    def error(self, stored):
        moved = (stored(self.inputs) - self.inputs) @ self.weights.T
        return float((moved**2).sum(1).mean()) / self.power


class Head:
    """The same of a head: what its logits become, boxes and confidences, counts by how sure a candidate is."""

    def __init__(self, weights, bias, inputs, values):
        self.weights, self.bias, self.inputs, self.values = weights, bias, inputs, values
        self.exact = self.candidates(inputs)
        sure = self.confidences(self.exact).max(2, keepdims=True)
        self.total = max(float(sure.sum()), 1e-6)
        self.sure = sure / self.total
        mean = (self.sure * self.exact).sum((0, 1))
        self.spread = np.maximum((self.sure * (self.exact - mean) ** 2).sum((0, 1))[:4], 1e-9)

    def candidates(self, inputs):
        """[cells, anchors, 5 + classes]"""
        logits = inputs @ self.weights.T + self.bias
        return (1 / (1 + np.exp(-logits))).reshape(len(inputs), -1, self.values)

    @staticmethod
    def confidences(candidates):
        return candidates[..., 4:5] * candidates[..., 5:]

    def error(self, stored):
        found = self.candidates(stored(self.inputs))
        boxes = (self.sure * (found - self.exact) ** 2).sum((0, 1))[:4] / self.spread
        moved = ((self.confidences(found) - self.confidences(self.exact)) ** 2).sum() / self.total
        return float(boxes.mean() + moved)
