"""What is counted: average precision as YOLOv5's val.py does, three-state verdicts, calibration, intervals."""

import numpy as np

from detector import overlaps

IOUS = np.linspace(0.5, 0.95, 10)
STATES = ("open", "closed", "no_eyes")
DEFAULT_THRESHOLD = 0.35  # the function's, DEFAULT_CONFIDENCE_THRESHOLD


def match(rows, truth):
    """[rows, 10] correct at each IoU threshold; truth rows (class, x1, y1, x2, y2). val.py's greedy one-to-one rule."""
    correct = np.zeros((len(rows), len(IOUS)), bool)
    if not len(rows) or not len(truth):
        return correct
    iou = np.stack([overlaps(t[1:], rows) for t in truth])  # [truth, rows]
    same = truth[:, :1] == rows[:, 5]
    for k, threshold in enumerate(IOUS):
        t, r = np.nonzero((iou >= threshold) & same)
        if len(t):
            pairs = np.column_stack([t, r])[np.argsort(-iou[t, r], kind="stable")]
            pairs = pairs[np.unique(pairs[:, 1], return_index=True)[1]]
            pairs = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
            correct[pairs[:, 1], k] = True
    return correct


def average_precision(correct, confidence, classes, truth_classes, count=2):
    """[classes, 10]: area under the precision envelope, 101 points, as YOLOv5 integrates it."""
    order = np.argsort(-confidence, kind="stable")
    correct, classes = correct[order], classes[order]
    ap = np.full((count, len(IOUS)), np.nan)
    grid = np.linspace(0, 1, 101)
    for c in range(count):
        labels, chosen = int((truth_classes == c).sum()), classes == c
        if not labels:
            continue
        ap[c] = 0
        if not chosen.any():
            continue
        hits = correct[chosen].cumsum(0)
        recall = hits / (labels + 1e-16)
        precision = hits / np.arange(1, len(hits) + 1)[:, None]
        for k in range(len(IOUS)):
            r = np.concatenate([[0.0], recall[:, k], [1.0]])
            p = np.concatenate([[1.0], precision[:, k], [0.0]])
            p = np.flip(np.maximum.accumulate(np.flip(p)))
            ap[c, k] = np.trapezoid(np.interp(grid, r, p), grid)
    return ap


def state_of(classes):
    """Index into STATES by the verdict rule; class 0 is open."""
    classes = np.asarray(classes)
    return 0 if (classes == 0).any() else 1 if (classes == 1).any() else 2


def verdicts(rows_of, threshold):
    return np.array([state_of(rows[rows[:, 4] > threshold, 5]) for rows in rows_of])


def confusion(actual, said):
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (actual, said), 1)
    return matrix


def counts(matrix):
    """The figures that matter, from a confusion matrix (rows: truth): how many of how many."""
    return {
        "accuracy": (int(matrix.trace()), int(matrix.sum())),
        "open missed": (int(matrix[0, 1:].sum()), int(matrix[0].sum())),
        "closed called open": (int(matrix[1, 0]), int(matrix[1].sum())),
        "no eyes called open": (int(matrix[2, 0]), int(matrix[2].sum())),
    }


def rates(matrix):
    """The same as shares; none of nothing."""
    return {name: part / whole if whole else float("nan") for name, (part, whole) in counts(matrix).items()}


def wilson(part, whole):
    """Wilson's 95 % interval of a share (1927), for independent pictures. A bootstrap of two events of 183 begins at none."""
    if not whole:
        return float("nan"), float("nan")
    z2, share = 1.959964**2, part / whole
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * whole)) / whole) / (1 + z2 / whole)
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def bootstrap(values, statistic, rounds=1000, seed=0):
    """95 % percentile interval of statistic(values[sample]) over pictures."""
    rng = np.random.default_rng(seed)
    values = np.asarray(values)
    drawn = [statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(rounds)]
    return tuple(float(v) for v in np.nanpercentile(drawn, [2.5, 97.5]))


def reliability(confidence, correct, bins=10):
    """Rows (count, mean confidence, share correct) per equal-width bin, and the expected calibration error."""
    edges = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for b in range(bins):
        here = edges == b
        rows.append((int(here.sum()), float(confidence[here].mean()) if here.any() else 0.0, float(correct[here].mean()) if here.any() else 0.0))
    total = max(1, len(confidence))
    return rows, sum(n / total * abs(c - a) for n, c, a in rows)
