##@ model-import: YOLOv5 to burn code

# The model that the function is built with: the 8-bit form of FLOAT_MODEL. Every target here takes
# another as MODEL=path/to/best.onnx.
FLOAT_MODEL := $(firstword $(wildcard model-import/weights/*.onnx))
INT8_MODEL  := $(firstword $(wildcard model-import/weights/int8/*.onnx))
BUILT_MODEL  = $(or $(MODEL),$(INT8_MODEL))
IMGSZ ?= 416
MODEL_IMPORT = $(RELEASE_DIR)/model-import

.PHONY: inspect check-model model-import-cli export export-official need-weights reference-heads
inspect: model-import-cli ## describe a model: scale, input, classes, anchors, cost (MODEL=path/to/best.onnx)
	$(MODEL_IMPORT) inspect $(call quoted,$(BUILT_MODEL))

check-model: model-import-cli ## check that the function can be built with a model (MODEL=path/to/best.onnx)
	$(MODEL_IMPORT) check $(call quoted,$(BUILT_MODEL))

# With the whole workspace's choice of features, burn is the one that the tests build, not one more.
model-import-cli: need-cargo
	$(CARGO) build --quiet --release --workspace --bin model-import

# Each has a Python environment of its own; the requirements are pinned there.
include model-import/training/room.mk
include model-import/quantize/room.mk

EXPORT_ENV := $(VENV)/export
$(EXPORT_ENV)/.ready: model-import/export/requirements.txt
	@.ci/environment.sh $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

export: need-weights $(EXPORT_ENV)/.ready ## export a YOLOv5 checkpoint to ONNX beside it, without PyTorch: WEIGHTS=best.pt IMGSZ="416" (or "384 640")
	@$(EXPORT_ENV)/bin/python model-import/export/export.py $(call quoted,$(WEIGHTS)) --imgsz $(IMGSZ)

export-official: need-weights $(TRAINING_ENV)/.ready ## the same by YOLOv5's own exporter; it runs the code in the checkpoint: WEIGHTS=best.pt IMGSZ=416
	$(TRAINING_ENV)/bin/python -W ignore model-import/export/official.py $(call quoted,$(WEIGHTS)) --imgsz $(IMGSZ)

need-weights:
	@[ -n $(call quoted,$(WEIGHTS)) ] || { echo "give a checkpoint: make export WEIGHTS=path/to/best.pt" >&2; exit 1; }

SEEN := function/tests/reference/pictures/open.png
reference-heads: $(QUANTIZE_ENV)/.ready ## ONNX Runtime's raw outputs that function/tests/network.rs compares with
	$(QUANTIZE_PY) model-import/reference/raw_heads.py $(call quoted,$(BUILT_MODEL)) $(SEEN) > model-import/reference/raw_heads.txt
	$(QUANTIZE_PY) model-import/reference/raw_heads.py $(call quoted,$(FLOAT_MODEL)) $(SEEN) > model-import/reference/raw_heads-floats.txt

reference: reference-heads

# Exports of every kind (model-import/forms): made by real exporters, imported, compared with ONNX
# Runtime.
FORMS := model-import/forms
FORMS_OUT ?= .work/forms
PYTHON_OLD ?= python3.9
$(VENV)/forms-old/.ready: $(FORMS)/requirements-old.txt
	@command -v $(PYTHON_OLD) >/dev/null || { echo "$(PYTHON_OLD) is missing: PyTorch 1.10 needs it (pyenv install 3.9, or PYTHON_OLD=path)" >&2; exit 1; }
	@.ci/environment.sh $(@D) $(PYTHON_OLD)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@
$(VENV)/forms-new/.ready: $(FORMS)/requirements-new.txt $(FORMS)/requirements-new-nodeps.txt
	@.ci/environment.sh $(@D)
	$(@D)/bin/pip install --quiet --requirement $(FORMS)/requirements-new.txt
	$(@D)/bin/pip install --quiet --no-deps --requirement $(FORMS)/requirements-new-nodeps.txt
	touch $@

.PHONY: exports-matrix exports-scales verify-export need-yolov5-clone
exports-matrix: need-yolov5-clone $(VENV)/forms-old/.ready $(VENV)/forms-new/.ready model-import-cli ## every form by real exporters, as a table: YOLOV5=clone [WEIGHTS=yolov5n.pt OPEN_CLASSES=person CLOSED_CLASSES=dog BEFORE=older-model-import]
	$(VENV)/forms-new/bin/python $(FORMS)/exporters.py $(FORMS_OUT) --yolov5 $(YOLOV5) --old $(abspath $(VENV))/forms-old/bin/python \
	  --new $(abspath $(VENV))/forms-new/bin/python $(if $(WEIGHTS),--weights $(call quoted,$(WEIGHTS)) --imgsz 320 320)
	SIZE='$(if $(WEIGHTS),320 320,64 128)' $(VENV)/forms-new/bin/python $(FORMS)/matrix.py $(FORMS_OUT) $(MODEL_IMPORT) $(BEFORE)

# As large as users' models are; nothing of them is kept in the repository.
SCALES ?= n s m
exports-scales: need-yolov5-clone $(VENV)/forms-old/.ready $(VENV)/forms-new/.ready model-import-cli ## the official models in SCALES with random weights, imported and in the kernels, against ONNX Runtime: YOLOV5=clone
	$(VENV)/forms-new/bin/python $(FORMS)/exporters.py $(FORMS_OUT)/scales --yolov5 $(YOLOV5) --old $(abspath $(VENV))/forms-old/bin/python \
	  --scales $(SCALES) --imgsz 416 416
	$(VENV)/forms-new/bin/python $(FORMS)/forms.py $(FORMS_OUT)/scales/accepted 2000
	SIZE='416 416' $(VENV)/forms-new/bin/python $(FORMS)/matrix.py $(FORMS_OUT)/scales $(MODEL_IMPORT)
	FORMS_FOLDER=$(abspath $(FORMS_OUT))/scales/accepted $(CARGO) test --release --workspace --test forms -- --nocapture

need-yolov5-clone:
	@[ -d "$(YOLOV5)/.git" ] || [ -d "$(YOLOV5)/objects" ] || { echo "give a clone of the official YOLOv5 repository with its tags: YOLOV5=path/to/yolov5" >&2; exit 1; }

verify: verify-export
verify-export: $(EXPORT_ENV)/.ready ## the exporter's tests: its output equals the official exporter's, and nothing in a checkpoint is executed
	cd model-import/export && $(abspath $(EXPORT_ENV))/bin/python -m unittest -q test_export
