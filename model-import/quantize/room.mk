##@ model-import/quantize: models in 8-bit integers (Python)

QUANTIZE_ENV := $(VENV)/quantize
QUANTIZE_PY  := $(QUANTIZE_ENV)/bin/python -W ignore
INT8_MODEL   ?= model-import/weights/int8/$(notdir $(BUILT_MODEL))

$(QUANTIZE_ENV)/.ready: model-import/quantize/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

.PHONY: quantize test-quantize reference-int8 reference-quantizers
verify: test-quantize
quantize: $(QUANTIZE_ENV)/.ready ## an 8-bit form beside a model: MODEL=best.onnx PICTURES=folder [OUT=best-int8.onnx]
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make quantize MODEL=best.onnx PICTURES=folder" >&2; exit 1; }
	$(QUANTIZE_PY) model-import/quantize/quantize.py $(BUILT_MODEL) $(PICTURES) $(if $(OUT),--out $(OUT)) $(ARGS)

reference-int8: $(QUANTIZE_ENV)/.ready ## ONNX Runtime's levels that model-import's test compares with
	$(QUANTIZE_PY) model-import/reference/int8_maps.py $(INT8_MODEL) function/samples/open.jpg

test-quantize: $(QUANTIZE_ENV)/.ready ## the quantizer's own tests
	cd model-import/quantize && $(abspath $(QUANTIZE_ENV))/bin/python -m unittest --quiet test_quantize.py

# NNCF is needed for nothing else.
$(VENV)/quantizers/.ready: model-import/reference/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

reference-quantizers: $(VENV)/quantizers/.ready ## small files of ONNX Runtime's quantizer and of NNCF, and ONNX Runtime's answers
	cd model-import/reference && $(abspath $(VENV))/quantizers/bin/python -W ignore quantizers.py ../forms/accepted/master-torch2-simplify.onnx

reference: reference-int8
