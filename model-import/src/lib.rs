//! Turns a YOLOv5 detection ONNX into native burn code and weights.
