"""The data set's box rule, and its inverse: an eye is an ellipse, its box is that ellipse's bounding box.

`SOURCES.md` of the data set: width 1.45 d, height 0.95 d (d = distance between the corners of the eye), turned with
the eye. Turning an axis-aligned box by its corners makes it too large (41 % at 45 degrees), so augmentation turns the
ellipse instead and boxes stay exact at every angle.
"""

import numpy as np

HALF_WIDTH, HALF_HEIGHT = 1.45 / 2, 0.95 / 2  # in units of d


def from_boxes(xywh: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] (centre x, y, width, height in pixels) -> ellipses [n, 4] (centre x, y, d, angle in radians).

    A box gives |angle| only; its sign comes from the line to the nearest other eye of similar size (faces have two).
    """
    xywh = np.asarray(xywh, np.float64).reshape(-1, 4)
    x, y, w, h = xywh.T
    d = np.sqrt((w**2 + h**2) / 4 / (HALF_WIDTH**2 + HALF_HEIGHT**2))
    cos2 = (w**2 - h**2) / 4 / np.maximum(d, 1e-9) ** 2 / (HALF_WIDTH**2 - HALF_HEIGHT**2)
    angle = np.arccos(np.clip(cos2, -1, 1)) / 2  # 0..pi/2
    for i in range(len(xywh)):
        others = [j for j in range(len(xywh)) if j != i and 0.5 < d[j] / d[i] < 2]
        if others:
            j = min(others, key=lambda j: np.hypot(x[j] - x[i], y[j] - y[i]))
            line = np.arctan2(y[j] - y[i], x[j] - x[i])
            if abs(np.sin(-angle[i] - line)) < abs(np.sin(angle[i] - line)):
                angle[i] = -angle[i]
    return np.stack([x, y, d, angle], 1)


def to_boxes(ellipses: np.ndarray) -> np.ndarray:
    """Ellipses [n, 4] -> boxes [n, 4] (x1, y1, x2, y2)."""
    x, y, d, angle = np.asarray(ellipses, np.float64).reshape(-1, 4).T
    c, s = np.cos(angle) ** 2, np.sin(angle) ** 2
    w = d * np.sqrt(HALF_WIDTH**2 * c + HALF_HEIGHT**2 * s)
    h = d * np.sqrt(HALF_WIDTH**2 * s + HALF_HEIGHT**2 * c)
    return np.stack([x - w, y - h, x + w, y + h], 1)


def transform(ellipses: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Moves ellipses through a similarity (2 x 3: rotation, uniform scale, shift, perhaps a mirror)."""
    ellipses = np.asarray(ellipses, np.float64).reshape(-1, 4)
    a = matrix[:, :2]
    centre = ellipses[:, :2] @ a.T + matrix[:, 2]
    along = np.stack([np.cos(ellipses[:, 3]), np.sin(ellipses[:, 3])], 1) @ a.T
    scale = np.sqrt(abs(np.linalg.det(a)))
    return np.column_stack([centre, ellipses[:, 2] * scale, np.arctan2(along[:, 1], along[:, 0])])
