##@ model-runtime: kernels

BENCH_PEERS = model-runtime/bench-peers
BENCH_MODEL = $(or $(MODEL),$(firstword $(wildcard model-import/weights/*.onnx)))
BENCH_FLAGS ?=

bench: bench-inference

.PHONY: bench-inference
bench-inference: need-cargo $(BENCH_PEERS)/.venv/.ready ## one inference on every engine: ONNX Runtime, OpenVINO, tract, plain burn
	$(BENCH_PEERS)/.venv/bin/python $(BENCH_PEERS)/models.py $(BENCH_MODEL) $(BENCH_PEERS)/models
	cd $(BENCH_PEERS) && $(CARGO) build --release
	$(BENCH_PEERS)/.venv/bin/python $(BENCH_PEERS)/bench.py \
		$(or $(CARGO_TARGET_DIR),$(BENCH_PEERS)/target)/release/bench-peers $(BENCH_FLAGS)

$(BENCH_PEERS)/.venv/.ready: $(BENCH_PEERS)/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@
