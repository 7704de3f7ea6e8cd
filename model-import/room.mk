##@ model-import: YOLOv5 to burn code

# The model that the function is built with; every target here takes another as MODEL=path/to/best.onnx.
BUILT_MODEL = $(or $(MODEL),$(firstword $(wildcard model-import/weights/*.onnx)))
IMGSZ ?= 416

.PHONY: inspect check-model export reference-heads
inspect: need-cargo ## print what a model is: scale, input, classes, anchors, cost (MODEL=path/to/best.onnx)
	$(CARGO) run --quiet --release -p model-import -- inspect $(BUILT_MODEL)

check-model: need-cargo ## check that the function can be built with a model (MODEL=path/to/best.onnx)
	$(CARGO) run --quiet --release -p model-import -- check $(BUILT_MODEL)

# The Python environment is the training's; its requirements are pinned there.
-include model-import/training/room.mk

export: $(VENV)/training/.ready ## export a YOLOv5 checkpoint to ONNX beside it: WEIGHTS=best.pt IMGSZ="416" (or "384 640")
	@[ -n "$(WEIGHTS)" ] || { echo "give a checkpoint: make export WEIGHTS=path/to/best.pt" >&2; exit 1; }
	$(VENV)/training/bin/python -W ignore model-import/export/export.py $(WEIGHTS) --imgsz $(IMGSZ)

reference-heads: $(VENV)/training/.ready ## ONNX Runtime's raw outputs that function/tests/network.rs compares with
	$(VENV)/training/bin/python model-import/reference/raw_heads.py $(BUILT_MODEL) > model-import/reference/raw_heads.txt
