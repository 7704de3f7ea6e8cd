##@ model-import: YOLOv5 to burn code

# The model that the function is built with; every target here takes another as MODEL=path/to/best.onnx.
BUILT_MODEL = $(or $(MODEL),$(firstword $(wildcard model-import/weights/*.onnx)))
IMGSZ ?= 416
MODEL_IMPORT = $(or $(CARGO_TARGET_DIR),target)/release/model-import

.PHONY: inspect check-model model-import-cli export export-official need-weights reference-heads
inspect: model-import-cli ## print what a model is: scale, input, classes, anchors, cost (MODEL=path/to/best.onnx)
	$(MODEL_IMPORT) inspect $(call quoted,$(BUILT_MODEL))

check-model: model-import-cli ## check that the function can be built with a model (MODEL=path/to/best.onnx)
	$(MODEL_IMPORT) check $(call quoted,$(BUILT_MODEL))

# With the whole workspace's choice of features, burn is the one that the tests build, not one more.
model-import-cli: need-cargo
	$(CARGO) build --quiet --release --workspace --bin model-import

# The Python environment is the training's; its requirements are pinned there.
include model-import/training/room.mk

EXPORT_ENV := $(VENV)/export
$(EXPORT_ENV)/.ready: model-import/export/requirements.txt
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer with venv (Debian: apt-get install python3-venv)" >&2; exit 1; }
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

export: need-weights $(EXPORT_ENV)/.ready ## export a YOLOv5 checkpoint to ONNX beside it, without PyTorch: WEIGHTS=best.pt IMGSZ="416" (or "384 640")
	@$(EXPORT_ENV)/bin/python model-import/export/export.py $(call quoted,$(WEIGHTS)) --imgsz $(IMGSZ)

export-official: need-weights $(TRAINING_ENV)/.ready ## the same by YOLOv5's own exporter; it runs the code in the checkpoint: WEIGHTS=best.pt IMGSZ=416
	$(TRAINING_ENV)/bin/python -W ignore model-import/export/official.py $(call quoted,$(WEIGHTS)) --imgsz $(IMGSZ)

need-weights:
	@[ -n $(call quoted,$(WEIGHTS)) ] || { echo "give a checkpoint: make export WEIGHTS=path/to/best.pt" >&2; exit 1; }

reference-heads: $(TRAINING_ENV)/.ready ## ONNX Runtime's raw outputs that function/tests/network.rs compares with
	$(TRAINING_ENV)/bin/python model-import/reference/raw_heads.py $(call quoted,$(BUILT_MODEL)) > model-import/reference/raw_heads.txt

reference: reference-heads

include model-import/quantize/room.mk
