##@ comparison: KPA against HPA + VPA

COMPARISON := target/release/comparison
# What to compare: make compare SCENARIOS=spike,ramp VARIANTS=knative CONFIGURATIONS=tuned REPEATS=3 SCALE=5 STRETCH=1
SCENARIOS      ?=
VARIANTS       ?= knative,k8s-autoscalers
CONFIGURATIONS ?= defaults,tuned
REPEATS        ?= 3
SCALE          ?= 5
STRETCH        ?= 1
# Seconds watched after the load: what is kept running costs too
TAIL           ?= 120
CLUSTER        ?= comparison/cluster.toml
RESULTS        ?= comparison/results

build: build-comparison

.PHONY: build-comparison compare simulate report
build-comparison: need-cargo
	$(CARGO) build --release --workspace --bin comparison

compare: build-comparison ## load both variants on the current cluster and record what happens (resumes where it stopped)
	$(COMPARISON) run --cluster $(CLUSTER) --kubectl $(KUBECTL) --results $(RESULTS) $(if $(SCENARIOS),--only $(SCENARIOS)) \
	  --variants $(VARIANTS) --configurations $(CONFIGURATIONS) --repeats $(REPEATS) --scale $(SCALE) --stretch $(STRETCH) --tail $(TAIL) \
	  --commit $$(git rev-parse --short HEAD)

simulate: build-comparison ## the same scenarios through the autoscaler simulator (no cluster; labelled simulated)
	$(COMPARISON) simulate --results $(RESULTS)/simulated $(if $(SCENARIOS),--only $(SCENARIOS)) \
	  --variants $(VARIANTS) --configurations $(CONFIGURATIONS) --repeats $(REPEATS) --scale $(SCALE) --stretch $(STRETCH) --tail $(TAIL)

report: build-comparison ## results files to one HTML page and a Markdown table (RESULTS=folder)
	$(COMPARISON) report --results $(RESULTS) --out $(RESULTS) \
	  --command "make compare CLUSTER=$(CLUSTER) SCALE=$(SCALE) STRETCH=$(STRETCH) TAIL=$(TAIL) REPEATS=$(REPEATS) && make report"
