"""The official YOLOv5 code (AGPL-3.0), which is not part of this repository: a checkout that the user gives."""

import os
import pathlib
import sys
import types

HELP = "checkout of the official YOLOv5 repository (v7.0 or newer); default: $YOLOV5"


def load(path=None) -> types.SimpleNamespace:
    """Imports what is needed from the checkout; its own top-level names (`models`, `utils`, `val`) need sys.path."""
    path = path or os.environ.get("YOLOV5", "")
    if not (pathlib.Path(path) / "models" / "yolo.py").is_file():
        sys.exit(f"no YOLOv5 code at {path!r}: clone the official ultralytics/yolov5 repository and give its folder as YOLOV5=…")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLOv5_AUTOINSTALL", "false")
    sys.path.insert(0, str(path))
    from models.yolo import Model
    from utils.augmentations import letterbox
    from utils.general import non_max_suppression, scale_boxes
    from utils.loss import ComputeLoss
    from utils.metrics import ap_per_class
    from utils.torch_utils import ModelEMA, smart_optimizer
    from val import process_batch

    return types.SimpleNamespace(**{k: v for k, v in locals().items() if k != "path"})
