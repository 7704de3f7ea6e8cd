##@ model-import/training: the default model, made and measured (Python)

TRAINING     := model-import/training
TRAINING_ENV := $(VENV)/training
TRAINING_PY  := $(TRAINING_ENV)/bin/python -W ignore
# The built-in model unless MODEL= names another.
EVALUATED     = $(BUILT_MODEL)
REFERENCE    := function/tests/reference

$(TRAINING_ENV)/.ready: $(TRAINING)/requirements.txt $(TRAINING)/requirements-nodeps.txt
	@.ci/environment.sh $(TRAINING_ENV)
	$(TRAINING_ENV)/bin/pip install --quiet -r $(TRAINING)/requirements.txt
	$(TRAINING_ENV)/bin/pip install --quiet --no-deps -r $(TRAINING)/requirements-nodeps.txt
	touch $@

.PHONY: reference need-dataset
# Of the model that the function is built with, and of the built-in one in floats.
MAKE_REFERENCE = $(TRAINING_PY) $(REFERENCE)/make_reference.py
reference: $(TRAINING_ENV)/.ready ## reference outputs of ONNX Runtime: samples, and real pictures with DATASET=path
	$(MAKE_REFERENCE) function/samples --model $(call quoted,$(EVALUATED)) --out $(REFERENCE)/samples.json --committed
	$(MAKE_REFERENCE) $(REFERENCE)/pictures --model $(call quoted,$(EVALUATED)) --out $(REFERENCE)/pictures.json --committed
	$(MAKE_REFERENCE) function/samples --model $(call quoted,$(FLOAT_MODEL)) --out $(REFERENCE)/samples-floats.json --committed
	$(MAKE_REFERENCE) $(REFERENCE)/pictures --model $(call quoted,$(FLOAT_MODEL)) --out $(REFERENCE)/pictures-floats.json --committed
ifdef DATASET
	$(MAKE_REFERENCE) $(DATASET) --model $(call quoted,$(EVALUATED)) --out $(REFERENCE)/output/real.json --decoded $(REFERENCE)/output/decoded --command "make reference DATASET=$(DATASET)"
else
	@echo "no DATASET=path given: only the samples were done, no real picture"
endif

need-dataset:
	@[ -n "$(DATASET)" ] || { echo "give a labelled YOLO folder: DATASET=path/to/dataset (images/…, labels/…)" >&2; exit 1; }

# YOLOV5 is a checkout of the official YOLOv5 repository (AGPL-3.0), which is not part of this one.
TRAINING_DATA ?= .work/dataset
TRAINING_RUN  ?= .work/training/run
EVALUATION    ?= .work/evaluation
START         ?= yolov5n.pt
need-yolov5:
	@[ -f "$(YOLOV5)/models/yolo.py" ] || { echo "give a checkout of the official YOLOv5 repository: YOLOV5=path/to/yolov5" >&2; exit 1; }

.PHONY: train train-gpu choose negatives mine start widen narrow average sizes neighbours evaluate audit curves calibrate crosscheck test-training need-yolov5
train: need-dataset need-yolov5 $(TRAINING_ENV)/.ready ## fine-tune from START=yolov5n.pt: DATASET=folder with train.tar, YOLOV5=checkout [ARGS="--minutes 90"]
	$(TRAINING_PY) $(TRAINING)/prepare.py $(DATASET) --out $(TRAINING_DATA)
	$(CARGO) run --release -p night-faces -- generate --count 200 --seed 7 --out $(TRAINING_DATA)/drawn
	$(TRAINING_PY) $(TRAINING)/train.py --yolov5 $(YOLOV5) --data $(TRAINING_DATA) $(TRAINING_DATA)/drawn --out $(TRAINING_RUN) \
		$(if $(wildcard $(TRAINING_RUN)/last.pt),--resume,--weights $(START)) $(ARGS)

train-gpu: need-dataset need-yolov5 $(TRAINING_ENV)/.ready ## the same on one CUDA GPU, ten times as long a training in minutes: DATASET=… YOLOV5=… START=start.pt [THINGS_TRAINED="folders" ARGS="--minutes 8"]
	$(TRAINING_PY) $(TRAINING)/prepare.py $(DATASET) --out $(TRAINING_DATA)
	$(TRAINING_PY) $(TRAINING)/train_gpu.py --yolov5 $(YOLOV5) --data $(TRAINING_DATA) --out $(TRAINING_RUN) --weights $(START) \
		--things $(or $(THINGS_TRAINED),$(wildcard $(NEGATIVES))) $(ARGS)

choose: need-dataset need-yolov5 $(TRAINING_ENV)/.ready ## checkpoints and averages of them (a.pt+b.pt), calibrated and compared: DATASET=path YOLOV5=checkout WEIGHTS="a.pt b.pt a.pt+b.pt" [ARGS="--device cpu"]
	$(TRAINING_PY) $(TRAINING)/choose.py $(DATASET) --weights $(WEIGHTS) --yolov5 $(YOLOV5) $(if $(wildcard $(NEGATIVES)/images/dev),--things $(NEGATIVES)) $(ARGS)

# Pictures without eyes: `train` learns from those of images/train with ARGS="--things
# $(NEGATIVES)", `choose` counts false alarms on images/dev, `evaluate` on images/test. `calibrate`
# takes them too with ARGS="--things $(NEGATIVES)"; the model card says at what price.
NEGATIVES ?= .work/negatives
negatives: need-dataset $(TRAINING_ENV)/.ready ## pictures without eyes, split by name: DATASET=folder with negatives.tar [THINGS=folder of categories]
	$(TRAINING_PY) $(TRAINING)/negatives.py $(DATASET) --out $(NEGATIVES) $(if $(THINGS),--things $(THINGS))

mine: $(TRAINING_ENV)/.ready ## which of the negatives a model fires on, for ARGS="--mined file" of train: OUT=mined.txt [MODEL=best.onnx]
	@[ -d "$(NEGATIVES)/images/train" ] && [ -n "$(OUT)" ] || { echo "first make negatives DATASET=path; then make mine OUT=mined.txt" >&2; exit 1; }
	$(TRAINING_PY) $(TRAINING)/mine.py $(NEGATIVES) --model $(call quoted,$(EVALUATED)) --out $(OUT) $(ARGS)

start: need-yolov5 $(TRAINING_ENV)/.ready ## a checkpoint to train on from, out of the built-in model: LENGTHS=yolov5n.pt OUT=start.pt YOLOV5=checkout [MODEL=best.onnx]
	@[ -f "$(LENGTHS)" ] && [ -n "$(OUT)" ] || { echo "give a checkpoint of the same network and a new file: make start LENGTHS=yolov5n.pt OUT=start.pt YOLOV5=path" >&2; exit 1; }
	$(TRAINING_PY) $(TRAINING)/from_onnx.py $(call quoted,$(or $(MODEL),$(FLOAT_MODEL))) --data $(TRAINING_DATA) --lengths $(LENGTHS) --leave-out $(TRAINING)/left-out.txt --out $(OUT) --yolov5 $(YOLOV5)

widen: need-yolov5 $(TRAINING_ENV)/.ready ## a YOLOv5s that computes what a YOLOv5n does: WEIGHTS=n.pt OUT=start.pt YOLOV5=checkout
	@[ -f $(call quoted,$(WEIGHTS)) ] && [ -n "$(OUT)" ] || { echo "give a checkpoint and a new file: make widen WEIGHTS=n.pt OUT=start.pt YOLOV5=path" >&2; exit 1; }
	$(TRAINING_PY) $(TRAINING)/widen.py $(call quoted,$(WEIGHTS)) --out $(call quoted,$(OUT)) --yolov5 $(YOLOV5)

narrow: need-dataset need-yolov5 $(TRAINING_ENV)/.ready ## a start for a network of half the width, out of a trained one: WEIGHTS=n.pt OUT=start.pt DATASET=path YOLOV5=checkout
	@[ -f $(call quoted,$(WEIGHTS)) ] && [ -n "$(OUT)" ] || { echo "give a checkpoint and a new file: make narrow WEIGHTS=n.pt OUT=start.pt DATASET=path YOLOV5=path" >&2; exit 1; }
	$(TRAINING_PY) $(TRAINING)/narrow.py $(call quoted,$(WEIGHTS)) --data $(DATASET) --out $(call quoted,$(OUT)) --yolov5 $(YOLOV5)

average: need-yolov5 $(TRAINING_ENV)/.ready ## the mean of checkpoints' weights: WEIGHTS="a.pt b.pt" OUT=average.pt YOLOV5=checkout
	@[ -n "$(WEIGHTS)" ] && [ -n "$(OUT)" ] || { echo "give checkpoints and a new file: make average WEIGHTS=\"a.pt b.pt\" OUT=average.pt YOLOV5=path" >&2; exit 1; }
	$(TRAINING_PY) $(TRAINING)/average.py $(WEIGHTS) --out $(call quoted,$(OUT)) --yolov5 $(YOLOV5)

evaluate: need-dataset $(TRAINING_ENV)/.ready ## score on a labelled YOLO folder, and on the negatives if there are any: DATASET=path [MODEL=best.onnx | URL=http://localhost:8080]
	$(TRAINING_PY) $(TRAINING)/evaluate.py $(DATASET) $(if $(URL),--url $(URL),--model $(call quoted,$(EVALUATED))) --out $(EVALUATION) \
		$(if $(wildcard $(NEGATIVES)/images/test),--things $(NEGATIVES)) $(ARGS)

audit: need-dataset $(TRAINING_ENV)/.ready ## labels that a model contradicts, to look at: DATASET=path [MODEL=best.onnx ARGS="--split val"]
	$(TRAINING_PY) $(TRAINING)/audit.py $(DATASET) --model $(call quoted,$(EVALUATED)) --out $(EVALUATION) $(ARGS)

curves: need-dataset $(TRAINING_ENV)/.ready ## accuracy against rotation, resolution and noise: DATASET=path [MODEL=best.onnx]
	$(TRAINING_PY) $(TRAINING)/curves.py $(DATASET) --model $(call quoted,$(EVALUATED)) --out $(EVALUATION) $(ARGS)

# In a shell loop over sizes: WEIGHTS exported for $$size, to sizes/$$size.onnx.
EXPORT_SIZE = cp $(call quoted,$(WEIGHTS)) $(EVALUATION)/sizes/$$size.pt && $(TRAINING_PY) model-import/export/export.py $(EVALUATION)/sizes/$$size.pt --imgsz $$size
SIZES ?= 320 416 512 640
sizes: need-dataset $(TRAINING_ENV)/.ready ## a checkpoint exported at several sizes, each judged: DATASET=path WEIGHTS=best.pt [SIZES="320 416 512 640"]
	@[ -f $(call quoted,$(WEIGHTS)) ] || { echo "give a checkpoint: make sizes WEIGHTS=path/to/best.pt DATASET=path" >&2; exit 1; }
	mkdir -p $(EVALUATION)/sizes
	for size in $(SIZES); do $(EXPORT_SIZE) || exit 1; done
	$(TRAINING_PY) $(TRAINING)/sizes.py $(DATASET) --model $(SIZES:%=$(EVALUATION)/sizes/%.onnx) --out $(EVALUATION)/sizes $(ARGS)

# The sizes on both sides of the built-in one; the model card has their figures.
NEIGHBOURS ?= 320 512
neighbours: need-dataset $(TRAINING_ENV)/.ready ## a checkpoint at other sizes, calibrated, in weights/neighbours: DATASET=path WEIGHTS=best.pt [NEIGHBOURS="320 512"]
	@[ -f $(call quoted,$(WEIGHTS)) ] || { echo "give a checkpoint: make neighbours WEIGHTS=path/to/best.pt DATASET=path" >&2; exit 1; }
	mkdir -p $(EVALUATION)/sizes model-import/weights/neighbours
	for size in $(NEIGHBOURS); do raw=$(EVALUATION)/sizes/$$size && $(EXPORT_SIZE) && \
	  $(TRAINING_PY) $(TRAINING)/calibrate.py $(DATASET) --model $$raw.onnx $(ARGS) --out $$raw-calibrated.onnx && \
	  $(TRAINING_PY) $(TRAINING)/halve.py $$raw-calibrated.onnx --out model-import/weights/neighbours/eye-state-yolov5n-$$size.onnx || exit 1; done
	cd model-import/weights/neighbours && sha256sum *.onnx > SHA256SUMS

calibrate: need-dataset $(TRAINING_ENV)/.ready ## fold probabilities into a model: DATASET=path MODEL=raw.onnx OUT=calibrated.onnx [ARGS="--turned 60 150 270"]
	$(TRAINING_PY) $(TRAINING)/calibrate.py $(DATASET) --model $(call quoted,$(MODEL)) $(ARGS) --out $(call quoted,$(OUT))

crosscheck: need-dataset need-yolov5 $(TRAINING_ENV)/.ready ## the same figures from YOLOv5's own val.py: DATASET=path YOLOV5=checkout
	mkdir -p $(EVALUATION)
	printf 'path: %s\ntrain: images/val\nval: images/val\nnames: [eye_open, eye_closed]\n' "$(abspath $(DATASET))" > $(EVALUATION)/val.yaml
	# val.py wants to download a font for its plots; matplotlib has one
	mkdir -p $(EVALUATION)/config && cp $(TRAINING_ENV)/lib/python3*/site-packages/matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf $(EVALUATION)/config/Arial.ttf
	YOLOV5_CONFIG_DIR=$(abspath $(EVALUATION)/config) $(abspath $(TRAINING_ENV))/bin/python -W ignore $(YOLOV5)/val.py --data $(EVALUATION)/val.yaml --weights $(call quoted,$(EVALUATED)) \
		--imgsz $(or $(IMGSZ),416) --batch-size 1 --device cpu --workers 0 --project $(abspath $(EVALUATION)) --name val-py --exist-ok

test-training: $(TRAINING_ENV)/.ready ## the pipeline's own tests, against YOLOv5's code
	$(TRAINING_PY) $(TRAINING)/test_training.py
