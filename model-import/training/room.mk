##@ model-import/training: the default model, made and measured (Python)

TRAINING     := model-import/training
TRAINING_ENV := $(VENV)/training
TRAINING_PY  := $(TRAINING_ENV)/bin/python -W ignore
# The built-in model unless MODEL= names another.
EVALUATED     = $(or $(MODEL),$(firstword $(wildcard model-import/weights/*.onnx)))
REFERENCE    := function/tests/reference

$(TRAINING_ENV)/.ready: $(TRAINING)/requirements.txt $(TRAINING)/requirements-nodeps.txt
	python3 -m venv $(TRAINING_ENV)
	$(TRAINING_ENV)/bin/pip install --quiet -r $(TRAINING)/requirements.txt
	$(TRAINING_ENV)/bin/pip install --quiet --no-deps -r $(TRAINING)/requirements-nodeps.txt
	touch $@

.PHONY: reference need-dataset
reference: $(TRAINING_ENV)/.ready ## reference outputs of ONNX Runtime: samples, and real pictures with DATASET=path
	$(TRAINING_PY) $(REFERENCE)/make_reference.py function/samples --model $(EVALUATED) --out $(REFERENCE)/samples.json --committed
ifdef DATASET
	$(TRAINING_PY) $(REFERENCE)/make_reference.py $(DATASET) --model $(EVALUATED) --out $(REFERENCE)/output/real.json --command "make reference DATASET=$(DATASET)"
else
	@echo "no DATASET=path given: only the samples were done, no real picture"
endif

need-dataset:
	@[ -n "$(DATASET)" ] || { echo "give a labelled YOLO folder: DATASET=path/to/dataset (images/…, labels/…)" >&2; exit 1; }
