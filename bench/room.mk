##@ bench: peers of the kernels and of the server

BENCH_PYTHON = bench/.venv/bin/python
BENCH_BINARY = $(or $(CARGO_TARGET_DIR),bench/target)/release/bench-peers
# models.py quantizes a model in floats itself.
BENCH_MODEL = $(or $(MODEL),$(FLOAT_MODEL))
CLEAN += bench/.venv bench/models bench/target
BENCH_FLAGS ?=
BENCH_HTTP_FLAGS ?=

bench: bench-inference bench-http

.PHONY: bench-inference bench-http bench-build
bench-inference: bench-build ## one inference on every engine: ONNX Runtime, OpenVINO, tract, plain burn
	$(BENCH_PYTHON) bench/bench.py $(BENCH_BINARY) $(BENCH_FLAGS)

bench-http: bench-build build-function ## the function over HTTP against Flask with ONNX Runtime and OpenCV
	$(BENCH_PYTHON) bench/serve_bench.py $(RELEASE_DIR)/eye-state $(call quoted,$(BENCH_MODEL)) function/samples \
		--bench-peers $(BENCH_BINARY) --engine $(if $(MODEL),kernels,kernels-int8) $(BENCH_HTTP_FLAGS)

bench-build: need-cargo bench/.venv/.ready
	$(BENCH_PYTHON) bench/models.py $(call quoted,$(BENCH_MODEL)) bench/models function/samples
	cd bench && $(CARGO) build --release

bench/.venv/.ready: bench/requirements.txt
	@.ci/environment.sh $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

verify: verify-bench

# Compiling the peers takes minutes (burn again, with other features, and tract): `make bench` does.
# The API that they call is the one that the function compiles against.
.PHONY: verify-bench
verify-bench: need-cargo
	cd bench && $(CARGO) update --quiet --workspace --locked
	python3 -m py_compile bench/*.py
