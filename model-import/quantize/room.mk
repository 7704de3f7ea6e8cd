##@ model-import/quantize: models in 8-bit integers (Python)

QUANTIZE_ENV := $(VENV)/quantize
QUANTIZE_PY  := $(QUANTIZE_ENV)/bin/python -W ignore

$(QUANTIZE_ENV)/.ready: model-import/quantize/requirements.txt
	@.ci/environment.sh $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

.PHONY: quantize weights-int8 test-quantize reference-int8 reference-quantizers other-quantizers
verify: test-quantize
quantize: $(QUANTIZE_ENV)/.ready ## an 8-bit form beside a model: MODEL=best.onnx PICTURES=folder [OUT=best-int8.onnx]
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make quantize MODEL=best.onnx PICTURES=folder" >&2; exit 1; }
	$(QUANTIZE_PY) model-import/quantize/quantize.py $(call quoted,$(or $(MODEL),$(FLOAT_MODEL))) $(call quoted,$(PICTURES)) $(if $(OUT),--out $(call quoted,$(OUT))) $(ARGS)

weights-int8: $(QUANTIZE_ENV)/.ready ## the built-in model's 8-bit form anew, after the one in floats: PICTURES=folder; then make reference
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make weights-int8 PICTURES=folder" >&2; exit 1; }
	$(QUANTIZE_PY) model-import/quantize/quantize.py $(FLOAT_MODEL) $(call quoted,$(PICTURES)) --out model-import/weights/int8/$(notdir $(FLOAT_MODEL)) $(ARGS)
	for folder in model-import/weights model-import/weights/int8; do (cd $$folder && sha256sum *.onnx > SHA256SUMS) || exit 1; done

reference-int8: $(QUANTIZE_ENV)/.ready ## ONNX Runtime's levels that model-import's test compares with
	$(QUANTIZE_PY) model-import/reference/int8_maps.py $(INT8_MODEL) function/samples/open.jpg

test-quantize: $(QUANTIZE_ENV)/.ready ## the quantizer's own tests
	cd model-import/quantize && $(abspath $(QUANTIZE_ENV))/bin/python -m unittest --quiet test_quantize.py

# NNCF is needed for nothing else.
$(VENV)/quantizers/.ready: model-import/reference/requirements.txt
	@.ci/environment.sh $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

other-quantizers: $(VENV)/quantizers/.ready need-cargo ## a model's files by ONNX Runtime's quantizer and by NNCF, imported and held against ONNX Runtime: PICTURES=folder [MODEL=best.onnx]
	@[ -d "$(PICTURES)" ] || { echo "give a folder of pictures to calibrate on: make other-quantizers PICTURES=folder" >&2; exit 1; }
	$(VENV)/quantizers/bin/python -W ignore model-import/reference/quantizers.py $(call quoted,$(or $(MODEL),$(FLOAT_MODEL))) \
		--pictures $(call quoted,$(PICTURES)) --out .work/quantizers
	QUANTIZERS=$(CURDIR)/.work/quantizers $(CARGO) test --release --workspace --lib other_quantizers -- --nocapture

reference-quantizers: $(VENV)/quantizers/.ready ## small files of ONNX Runtime's quantizer and of NNCF, and ONNX Runtime's answers
	cd model-import/reference && $(abspath $(VENV))/quantizers/bin/python -W ignore quantizers.py ../forms/accepted/master-torch2-simplify.onnx

reference: reference-int8
