##@ observability: Prometheus, Grafana, traces

# Prometheus and promtool are built from their Go module: distributions carry old versions.
# Service discoveries other than Kubernetes' are left out, which halves the build.
FUNCTION   := $(abspath $(RELEASE_DIR))/eye-state
PROMETHEUS ?= $(TOOLS)/bin/prometheus
PROMTOOL   ?= $(TOOLS)/bin/promtool

verify: observability-rules observability-manifests observability-queries

.PHONY: observability-rules observability-manifests observability-queries dashboards metrics-table observe replay picture demo observability
observability-rules: $(PROMTOOL) $(VENV)/observability.stamp ## check and test every recording rule and alert
	$(PROMTOOL) check config --syntax-only observability/prometheus/prometheus.yaml
	$(PROMTOOL) check rules --lint=all --lint-fatal observability/prometheus/rules/*.yaml
	cd observability/prometheus/tests && $(PROMTOOL) test rules *.yaml
	$(VENV)/bin/python -m pytest -q observability/checks/test_rules.py

observability-manifests: $(KUSTOMIZE) $(VENV)/observability.stamp ## check the manifests of the monitoring
	KUSTOMIZE=$(KUSTOMIZE) $(VENV)/bin/python -m pytest -q observability/checks/test_manifests.py

observability-queries: build-function build-comparison $(PROMETHEUS) $(VENV)/observability.stamp ## run every query of every dashboard against a real Prometheus
	PROMETHEUS=$(PROMETHEUS) PROMTOOL=$(PROMTOOL) EYE_STATE=$(FUNCTION) COMPARISON=$(abspath $(COMPARISON)) $(VENV)/bin/python -m pytest -q \
	  observability/checks/test_generated.py observability/checks/test_queries.py observability/checks/test_replay.py \
	  observability/checks/test_traces.py observability/checks/test_observe.py observability/checks/test_demo.py

dashboards: ## write the dashboards anew from their definition
	python3 -B observability/grafana/generator/generate.py

metrics-table: build-function $(VENV)/observability.stamp ## write docs/metrics.md anew from the running function
	EYE_STATE=$(FUNCTION) $(VENV)/bin/python observability/checks/metrics_table.py

observe: build-function $(PROMETHEUS) $(VENV)/observability.stamp ## the function with Prometheus and Grafana on this machine
	$(VENV)/bin/python observability/checks/observe.py --function $(FUNCTION) --prometheus $(PROMETHEUS)

# A scenario to link to, and a folder of results files: make replay SCENARIO=ramp
# RESULTS=comparison/results/simulated
SCENARIO ?= spike

replay: $(PROMETHEUS) $(PROMTOOL) $(VENV)/observability.stamp ## the recorded runs side by side, without a cluster (SCENARIO=spike RESULTS=folder)
	$(VENV)/bin/python observability/replay/replay.py --prometheus $(PROMETHEUS) --promtool $(PROMTOOL) --results $(RESULTS) --scenario $(SCENARIO)

# The document that shows it is docs/comparison/results.md.
PICTURE ?= docs/comparison/side-by-side.svg

picture: build-comparison $(PROMETHEUS) $(PROMTOOL) $(VENV)/observability.stamp ## the overlay of two recorded runs as an SVG, by the dashboard's queries (SCENARIO=spike PICTURE=file)
	$(VENV)/bin/python observability/replay/picture.py --prometheus $(PROMETHEUS) --promtool $(PROMTOOL) --comparison $(COMPARISON) --results $(RESULTS) --scenario $(SCENARIO) >$(PICTURE)

# Storage of Prometheus' samples: `claim` takes a volume of the default StorageClass, `emptydir`
# the node's disk.
STORAGE ?= claim
# Whether Knative's own metrics and traces are switched on with it, and off when it goes. Knative's
# components and every Knative pod of the cluster restart then.
KNATIVE_TELEMETRY ?= yes

# Missing prerequisites on the cluster are reported before anything is built.
.PHONY: need-prometheus
need-prometheus:
	@$(CLUSTER_ENV) platforms/prerequisites.py check prometheus

demo: need-cluster need-prometheus build-comparison $(KUSTOMIZE) $(VENV)/observability.stamp ## both variants at once on the current cluster, in Grafana: a demonstration, not a measurement (SCENARIO=spike)
	@$(VENV)/bin/python observability/demo/demo.py --kubectl '$(KUBECTL)' --comparison $(COMPARISON) --cluster $(CLUSTER) $(if $(GATEWAY),--gateway $(GATEWAY)) \
	  --scenario $(SCENARIO) --scale $(SCALE) --stretch $(STRETCH)

observability: $(KUSTOMIZE) ## Prometheus, Grafana and traces into the current cluster; restarts Knative's pods with its metrics on (STORAGE=claim|emptydir KNATIVE_TELEMETRY=yes|no)
	@$(CLUSTER_ENV) STORAGE='$(STORAGE)' KNATIVE_TELEMETRY='$(KNATIVE_TELEMETRY)' observability/deploy.sh

.PHONY: undeploy-observability
undeploy-observability: need-cluster ## remove Prometheus, Grafana, traces and the adapter, samples too, and Knative's metrics (KNATIVE_TELEMETRY=no: not those)
	@echo "removing what watches from $$($(KUBECTL) config current-context)"
	@$(CLUSTER_ENV) KNATIVE_TELEMETRY='$(KNATIVE_TELEMETRY)' observability/undeploy.sh

$(TOOLS)/bin/prometheus: $(TOOLS)/bin/promtool

$(TOOLS)/bin/promtool:
	@.ci/need.sh --or "set PROMTOOL and PROMETHEUS to those that you have" go
	@echo "building Prometheus and promtool $(PROMETHEUS_VERSION): takes some minutes, once"
	mkdir -p $(TOOLS)/bin; module=$$(mktemp -d); trap 'rm -rf "$$module"' EXIT; cd "$$module"; \
	  export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off; \
	  go mod init tools && go get github.com/prometheus/prometheus@$(PROMETHEUS_VERSION) && \
	  go build -trimpath -tags remove_all_sd,enable_kubernetes_sd -ldflags "-s -w" -o $(TOOLS)/bin/ \
	    github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool

$(VENV)/observability.stamp: observability/requirements.txt
	@.ci/environment.sh $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	@touch $@
