"""Pictures with their boxes on a page of their own, and the reliability diagram."""

import base64
import html

import cv2
import matplotlib
import numpy as np

from metrics import STATES

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the backend is chosen

SIDE = 420  # pixels of a picture in the gallery
COLOURS = ((80, 220, 80), (80, 80, 255))  # BGR: open, closed
STYLE = "body{font:15px sans-serif;background:#181818;color:#ddd}figure{display:inline-block;margin:8px;vertical-align:top;width:420px}"


def drawn(file, shape, truth, rows):
    image = cv2.imread(str(file))
    scale = SIDE / max(shape)
    image = cv2.resize(image, (round(shape[1] * scale), round(shape[0] * scale)), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for c, *box in truth:
        x1, y1, x2, y2 = np.round(np.array(box) * scale).astype(int)
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), (255, 255, 255), 1)
    for row in rows:
        x1, y1, x2, y2 = np.round(row[:4] * scale).astype(int)
        colour = COLOURS[int(row[5])]
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), colour, 1)
        cv2.putText(image, f"{row[4]:.2f}", (int(x1), max(10, int(y1) - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def page(title, note, figures, path):
    """One HTML file; figures are (file, shape, truth, rows, caption). Returns how many there are."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1><p>{html.escape(note)} White: label. Green: open, red: closed.</p>")
    for file, shape, truth, rows, caption in figures:
        data, caption = base64.b64encode(drawn(file, shape, truth, rows)).decode(), html.escape(caption)
        parts.append(f'<figure><img src="data:image/jpeg;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    path.write_text("\n".join(parts))
    return len(figures)


def write(pictures, rows_of, actual, said, threshold, path):
    """Every wrong verdict, worst kind first; returns how many."""
    figures = []
    for i in sorted(np.nonzero(actual != said)[0], key=lambda i: (actual[i], said[i])):
        file, name, shape, truth, _ = pictures[i]
        caption = f"{name}: {STATES[actual[i]]}, called {STATES[said[i]]}"
        figures.append((file, shape, truth, rows_of[i][rows_of[i][:, 4] > threshold], caption))
    return page(f"{len(figures)} wrong verdicts of {len(pictures)}", "", figures, path)


def reliability_plot(calibration, path):
    figure, axes = plt.subplots(1, len(calibration), figsize=(9, 4.2))
    for axis, (name, found) in zip(axes, calibration.items()):
        rows = [row for row in found["bins"] if row[0]]
        axis.plot([0, 1], [0, 1], ":", color="gray")
        axis.plot([r[1] for r in rows], [r[2] for r in rows], "o-")
        for count, confidence, right in rows:
            axis.annotate(str(count), (confidence, right), textcoords="offset points", xytext=(4, -11), fontsize=8)
        axis.set(title=f"{name}: ECE {found['expected_calibration_error']:.3f}", xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
