"""A picture in, eyes out: through ONNX Runtime, or through the running function over HTTP.

Both give rows (x1, y1, x2, y2, confidence, class) in pixels of the picture, surest first, down to a confidence of 0.001.
"""

import ast
import hashlib
import json
import pathlib
import time
import urllib.request

import cv2
import numpy as np

LOWEST = 0.001  # val.py's threshold for precision-recall curves
DETECT_IOU, VAL_IOU, MAX_DET = 0.45, 0.6, 300  # detect.py's and val.py's defaults
NMS_INPUT = 3000  # the surest candidates that NMS looks at
CONTENT_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp"}


def letterbox(image, size):
    """Scales to fit `size` (height, width), border 114: YOLOv5's letterbox with auto=False. -> canvas, scale, shift

    `shift` is scale_boxes' way back, (size - scaled) / 2, which may be half a pixel from where the pixels were put.
    """
    h, w = image.shape[:2]
    scale = min(size[0] / h, size[1] / w)
    new_w, new_h = round(w * scale), round(h * scale)
    if (new_w, new_h) != (w, h):
        image = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    left, top = round((size[1] - new_w) / 2 - 0.1), round((size[0] - new_h) / 2 - 0.1)
    bottom, right = size[0] - new_h - top, size[1] - new_w - left
    canvas = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114,) * 3)
    return canvas, scale, ((size[1] - w * scale) / 2, (size[0] - h * scale) / 2)


def overlaps(box, boxes):
    """IoU of one box with many, xyxy."""
    size = np.clip(np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    shared = size[:, 0] * size[:, 1]
    area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])  # noqa: E731
    return shared / np.maximum(area(box) + area(boxes) - shared, 1e-9)


def nms(rows, iou):
    """Greedy, class-wise, on rows (x1, y1, x2, y2, confidence, class, anything)."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][:NMS_INPUT]
    kept = []
    while len(rows) and len(kept) < MAX_DET:
        best, rows = rows[0], rows[1:]
        kept.append(best)
        rows = rows[(rows[:, 5] != best[5]) | (overlaps(best, rows) <= iou)]
    return np.array(kept).reshape(-1, rows.shape[1])


def decode(output, iou, multi_label, parts=False):
    """Exporter's output [anchors, 5 + classes] (decoded xywh, objectness, class probabilities) -> kept rows.

    With `parts`, rows go on with the objectness and the class probability that the confidence is the product of.
    """
    output = output[output[:, 4] > LOWEST]
    xywh, scores = output[:, :4].astype(np.float64), output[:, 5:] * output[:, 4:5]
    boxes = np.column_stack([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2])
    if multi_label:
        i, j = np.nonzero(scores > LOWEST)
    else:
        i, j = np.arange(len(scores)), scores.argmax(1) if len(scores) else np.zeros(0, int)
        sure = scores[i, j] > LOWEST
        i, j = i[sure], j[sure]
    rows = np.column_stack([boxes[i], scores[i, j], j])
    return nms(np.column_stack([rows, output[i, 4], output[i, 5 + j]]) if parts else rows, iou)


def to_picture(rows, scale, shift, shape):
    """Canvas pixels -> pixels of the picture, clipped to it."""
    rows = rows.copy()
    rows[:, :4] = (rows[:, :4] - [*shift, *shift]) / scale
    rows[:, [0, 2]] = rows[:, [0, 2]].clip(0, shape[1])
    rows[:, [1, 3]] = rows[:, [1, 3]].clip(0, shape[0])
    return rows


class Onnx:
    def __init__(self, file, threads=0):
        import onnxruntime  # here, so that evaluation over HTTP needs none

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.size = tuple(self.input.shape[2:])
        self.names = list(ast.literal_eval(self.session.get_modelmeta().custom_metadata_map["names"]).values())
        digest = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
        self.label = f"{pathlib.Path(file).name} ({digest[:12]})"
        self.milliseconds = []

    def run(self, image):
        """(raw output [anchors, 5 + classes], scale, shift) for a picture, gray or BGR."""
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        canvas, scale, shift = letterbox(image, self.size)
        tensor = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        start = time.perf_counter()
        output = self.session.run(None, {self.input.name: tensor})[0][0]
        self.milliseconds.append(1000 * (time.perf_counter() - start))
        return output, scale, shift

    def detect(self, image, for_map=False):
        """Rows as detect.py gives them; with `for_map` (those, val.py's rows) from one run."""
        output, scale, shift = self.run(image)
        rows = to_picture(decode(output, DETECT_IOU, False), scale, shift, image.shape)
        if not for_map:
            return rows
        return rows, to_picture(decode(output, VAL_IOU, True), scale, shift, image.shape)

    def file(self, path):
        return self.detect(cv2.imread(str(path)), for_map=True)


class Http:
    """The function's own answer; its boxes serve for mAP, too (it keeps one class a box, val.py may keep both)."""

    names = ["eye_open", "eye_closed"]

    def __init__(self, url):
        self.url = url.rstrip("/") + f"/classify?confidence_threshold={LOWEST}&iou_threshold={DETECT_IOU}"
        self.label, self.milliseconds = url, []

    def file(self, path):
        kind = CONTENT_TYPES.get(pathlib.Path(path).suffix.lower(), "application/octet-stream")
        request = urllib.request.Request(self.url, pathlib.Path(path).read_bytes(), {"Content-Type": kind}, method="POST")
        start = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        self.milliseconds.append(1000 * (time.perf_counter() - start))
        self.label = f"{found['model']['name']} {found['model']['version']} over HTTP"
        rows = []
        for eye in found["eyes"]:
            box = eye["box"]
            x, y = box["x"], box["y"]
            rows.append([x, y, x + box["width"], y + box["height"], eye["confidence"], eye["state"] != "open"])
        rows = np.array(rows, np.float64).reshape(-1, 6)
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return rows, rows
