##@ model-import/quantize: models in 8-bit integers (Python)

QUANTIZE_ENV := $(VENV)/quantize
QUANTIZE_PY  := $(QUANTIZE_ENV)/bin/python -W ignore
INT8_MODEL   ?= model-import/weights/int8/$(notdir $(BUILT_MODEL))

$(QUANTIZE_ENV)/.ready: model-import/quantize/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

.PHONY: quantize reference-int8
quantize: $(QUANTIZE_ENV)/.ready ## an 8-bit form beside a model: MODEL=best.onnx PICTURES=folder [OUT=best-int8.onnx]
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make quantize MODEL=best.onnx PICTURES=folder" >&2; exit 1; }
	$(QUANTIZE_PY) model-import/quantize/quantize.py $(BUILT_MODEL) $(PICTURES) $(if $(OUT),--out $(OUT)) $(ARGS)

reference-int8: $(QUANTIZE_ENV)/.ready ## ONNX Runtime's levels that model-import's test compares with
	$(QUANTIZE_PY) model-import/reference/int8_maps.py $(INT8_MODEL) function/samples/open.jpg

reference: reference-int8
