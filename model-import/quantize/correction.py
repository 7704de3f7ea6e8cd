"""What rounding shifts a head's logits by on average, and how it goes out of the head's bias (empirical bias correction: Nagel et al.
2019, arXiv:1906.04721, section 4.2; there layer by layer, here at the end, where a threshold decides).

The errors of single maps nearly cancel out on average, but not quite, and the logits of objectness take what is left: on the built-in
model +0.1 to +0.2, so that things that are nearly an eye passed the threshold.
"""

import numpy as np


def logits(output, values):
    """A head's output [1, anchors × values, height, width] as [anchors × height × width, values]."""
    return output[0].reshape(-1, values, *output.shape[2:]).transpose(0, 2, 3, 1).reshape(-1, values)


def mean_shift(exact, rounded, sure):
    """Of one picture's logits, the mean change of each value where the exact ones are at least as confident as `sure`; None if nowhere."""
    seen = 1 / (1 + np.exp(-exact[:, 4:]))
    seen = seen[:, 0] * seen[:, 1:].max(1) >= sure
    return (rounded - exact)[seen].mean(0) if seen.any() else None


def beyond_chance(shifts):
    """The mean over pictures [pictures, values], shrunk by what chance explains of it: 0 where it is within its standard error."""
    shifts = np.asarray(shifts, np.float64)
    if len(shifts) < 2:
        return np.zeros(shifts.shape[1:])
    mean, chance = shifts.mean(0), shifts.var(0, ddof=1) / len(shifts)
    return mean * np.clip(1 - chance / np.maximum(mean**2, 1e-12), 0, 1)
