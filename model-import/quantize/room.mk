##@ model-import/quantize: models in 8-bit integers (Python)

QUANTIZE_ENV := $(VENV)/quantize
QUANTIZE_PY  := $(QUANTIZE_ENV)/bin/python -W ignore

$(QUANTIZE_ENV)/.ready: model-import/quantize/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

.PHONY: quantize
quantize: $(QUANTIZE_ENV)/.ready ## an 8-bit form beside a model: MODEL=best.onnx PICTURES=folder [OUT=best-int8.onnx]
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make quantize MODEL=best.onnx PICTURES=folder" >&2; exit 1; }
	$(QUANTIZE_PY) model-import/quantize/quantize.py $(BUILT_MODEL) $(PICTURES) $(if $(OUT),--out $(OUT)) $(ARGS)
