"""The same service as people build it in Python: Flask, OpenCV, ONNX Runtime. `MODEL=best.onnx gunicorn flask_server:app`

THREADS_PER_INFERENCE (1) is ONNX Runtime's. Every step is the usual one: cv2.imdecode, YOLOv5's letterbox, cv2.dnn's NMS.
"""

import ast
import os

import cv2
import numpy as np
import onnxruntime
from flask import Flask, jsonify, request

# Names and defaults as in the function.
CONFIDENCE_THRESHOLD = float(os.environ.get("CONFIDENCE_THRESHOLD", "0.35"))
IOU_THRESHOLD = float(os.environ.get("IOU_THRESHOLD", "0.45"))
PADDING = 114

cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ.get("THREADS_PER_INFERENCE", "1"))
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
(model_input,) = session.get_inputs()
HEIGHT, WIDTH = model_input.shape[2:]
names = ast.literal_eval(session.get_modelmeta().custom_metadata_map["names"])
STATES = ["open" if "open" in names[i] else "closed" for i in range(len(names))]
session.run(None, {model_input.name: np.zeros((1, 3, HEIGHT, WIDTH), np.float32)})  # warm-up

app = Flask(__name__)


def letterbox(image):
    """The letterboxed picture, and its scale and offsets."""
    height, width = image.shape[:2]
    gain = min(HEIGHT / height, WIDTH / width)
    fit = round(width * gain), round(height * gain)
    if fit != (width, height):
        image = cv2.resize(image, fit, interpolation=cv2.INTER_LINEAR)
    left, top = (WIDTH - fit[0]) / 2, (HEIGHT - fit[1]) / 2
    border = round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1)
    canvas = cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    return canvas, gain, left, top


@app.post("/classify")
def classify():
    image = cv2.imdecode(np.frombuffer(request.get_data(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return jsonify(error="not an image"), 400
    canvas, gain, left, top = letterbox(image)
    tensor = np.ascontiguousarray(canvas.transpose(2, 0, 1)[::-1])[None].astype(np.float32) / 255
    (raw,) = session.run(None, {model_input.name: tensor})
    rows = raw[0]
    rows = rows[rows[:, 4] > CONFIDENCE_THRESHOLD]
    scores = rows[:, 5:] * rows[:, 4:5]
    classes = scores.argmax(1) if len(rows) else np.zeros(0, int)
    confidences = scores.max(1, initial=0)
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]], 1)
    keep = cv2.dnn.NMSBoxesBatched(boxes, confidences, classes, CONFIDENCE_THRESHOLD, IOU_THRESHOLD)
    eyes = []
    for i in np.array(keep, int).ravel():
        x, y, w, h = ((boxes[i] - [left, top, 0, 0]) / gain).tolist()
        state, confidence = STATES[classes[i]], float(confidences[i])
        eyes.append({"state": state, "confidence": confidence, "box": {"x": x, "y": y, "width": w, "height": h}})
    best = {state: max((e["confidence"] for e in eyes if e["state"] == state), default=None) for state in STATES}
    state = next((state for state in ["open", "closed"] if best.get(state)), "no_eyes")
    return jsonify(state=state, confidence=best.get(state), eyes=eyes)
