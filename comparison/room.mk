##@ comparison: KPA, HPA + VPA, KEDA

COMPARISON := $(RELEASE_DIR)/comparison
# What to compare: make compare SCENARIOS=spike,ramp ARMS=kpa,hpa-vpa+vpa-floor REPEATS=6 SCALE=5
# STRETCH=1. comparison/arms.toml lists the arms and the ablations that may follow after a plus
# sign.
SCENARIOS      ?=
ARMS           ?=
REPEATS        ?= 3
SCALE          ?= 5
STRETCH        ?= 1
# Seconds watched after the load, at least: a run continues until its arm is at rest
TAIL           ?= 30
CLUSTER        ?= comparison/cluster.toml
# The gateway as reached from here, http://ADDRESS:PORT, where it is not CLUSTER's: make addresses
GATEWAY        ?=
RESULTS        ?= comparison/results
# Where make compare writes if RESULTS is not given: comparison/results holds the first recordings.
RUNS            = $(if $(filter file,$(origin RESULTS)),comparison/runs,$(RESULTS))

build: build-comparison

.PHONY: build-comparison compare compare-plan compare-calibrate simulate report load-check
build-comparison: need-cargo
	$(CARGO) build --release --workspace --bin comparison

# Minutes that a session may take: make compare MINUTES=100, again and again
MINUTES        ?=
# BEGIN_AGAIN=1 voids a block that was begun on another machine or at another speed, and begins it
# again
BEGIN_AGAIN    ?=

# What a rate of 1 stands for as a share of what one pod carries, which is measured first; in the
# place of SCALE
POD_LOAD ?=
RUN_OPTIONS = --cluster $(CLUSTER) $(if $(GATEWAY),--gateway $(GATEWAY)) --kubectl $(KUBECTL) --results $(RUNS) $(if $(SCENARIOS),--only $(SCENARIOS)) \
  $(if $(ARMS),--arms $(ARMS)) --repeats $(REPEATS) --scale $(SCALE) $(if $(POD_LOAD),--pod-load $(POD_LOAD)) \
  --stretch $(STRETCH) --tail $(TAIL) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(BEGIN_AGAIN),--begin-again) --commit $$(git rev-parse --short HEAD)

compare: build-comparison ## load every arm on the current cluster and record what happens (resumes where it stopped)
	@$(COMPARISON) plan $(RUN_OPTIONS)
	$(COMPARISON) run $(RUN_OPTIONS)
	@echo "its report: make report RESULTS=$(RUNS)"

compare-plan: build-comparison ## the plan of make compare: its runs, their duration, and what they could show
	@$(COMPARISON) plan $(RUN_OPTIONS)

compare-calibrate: build-comparison ## measure the capacity of one pod on the current cluster, within the objective
	$(COMPARISON) calibrate $(RUN_OPTIONS)

# What a simulated pod is like: --plant FILE (from comparison fit), --platform NAME; see comparison
# simulate --help
PLANT ?=

simulate: build-comparison ## the same scenarios through the autoscaler simulator (no cluster; labelled simulated)
	$(COMPARISON) simulate --results $(RESULTS)/simulated $(if $(SCENARIOS),--only $(SCENARIOS)) \
	  $(if $(ARMS),--arms $(ARMS)) --repeats $(REPEATS) --scale $(SCALE) --stretch $(STRETCH) --tail $(TAIL) $(PLANT)

report: build-comparison ## results files to one page, a table and a chart (RESULTS=folder TABLE=file.md CHART=file.svg)
	$(COMPARISON) report --results $(RESULTS) --out $(RESULTS) $(if $(TABLE),--table $(TABLE)) $(if $(CHART),--chart $(CHART))

# The simulator knows no files, no network, no clock and no threads: it must compile where there are
# none.
WASM_TARGET := wasm32-unknown-unknown

verify: verify-simulator

.PHONY: verify-simulator oracles
oracles: need-cargo ## the simulator's decisions against the real autoscalers' code (needs Go; CASES=300 for more of them)
	@.ci/need.sh go
	comparison/simulator/oracles/run.sh $(if $(CASES),compare)

verify-simulator: need-cargo ## the simulator compiles to WebAssembly and decides as the oracles do (make rooms checks its imports)
	@.ci/need.sh rustup
	rustup target add $(WASM_TARGET)
	$(CARGO) check --release -p simulator --lib --target $(WASM_TARGET)
	if .ci/need.sh go; then comparison/simulator/oracles/run.sh; else echo "the oracles were not asked again"; fi

# One file that needs no server: open it in a browser, or put it anywhere.
CALCULATOR ?= target/calculator/index.html
# What the page exports in its tests.
EXPORTS := target/calculator/exports
CLEAN += comparison/calculator/tests/browser/node_modules

verify: test-calculator

.PHONY: calculator test-calculator
calculator: need-cargo ## the simulator as a page: one HTML file, without a server (CALCULATOR=path for another place)
	@.ci/need.sh rustup
	rustup target add $(WASM_TARGET)
	comparison/calculator/build.py $(CALCULATOR)

test-calculator: calculator need-chromium $(KUSTOMIZE) $(VENV)/manifests.stamp ## test the calculator's page in a headless Chromium, and what it exports with kustomize
	@.ci/need.sh node npm
	node --test comparison/calculator/tests/units.test.mjs
	rm -rf $(EXPORTS)
	cd comparison/calculator/tests/browser && npm ci --silent && CALCULATOR=$(abspath $(CALCULATOR)) EXPORTS=$(abspath $(EXPORTS)) npm test
	KUSTOMIZE=$(KUSTOMIZE) EXPORTS=$(abspath $(EXPORTS)) $(VENV)/bin/python -m pytest -q -p no:cacheprovider comparison/calculator/tests/test_exported.py

load-check: build-comparison ## the load generator against oha, an independent one, on a constant rate (cargo install oha)
	$(CARGO) build --release --workspace --example constant_server
	RELEASE_DIR=$(RELEASE_DIR) comparison/load-check.sh
