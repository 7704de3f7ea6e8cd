##@ observability: Prometheus, Grafana, traces

# Prometheus and promtool are built from their Go module: distributions carry old versions.
# Service discoveries other than Kubernetes' are left out, which halves the build.
PROMETHEUS_VERSION := v0.314.0# the module of Prometheus 3.14.0, as in prometheus/kustomization.yaml
PROMETHEUS ?= $(TOOLS)/bin/prometheus
PROMTOOL   ?= $(TOOLS)/bin/promtool

verify: observability-rules

.PHONY: observability-rules
observability-rules: $(PROMTOOL) $(VENV)/observability.stamp ## check and test every recording rule and alert
	$(PROMTOOL) check rules --lint=all --lint-fatal observability/prometheus/rules/*.yaml
	cd observability/prometheus/tests && $(PROMTOOL) test rules *.yaml
	$(VENV)/bin/python -m pytest -q observability/checks/test_rules.py

$(TOOLS)/bin/prometheus: $(TOOLS)/bin/promtool

$(TOOLS)/bin/promtool:
	@command -v go >/dev/null || { echo "go is missing: promtool is built with it; install Go, or set PROMTOOL and PROMETHEUS to those that you have" >&2; exit 1; }
	@echo "building Prometheus and promtool $(PROMETHEUS_VERSION): takes some minutes, once"
	module=$$(mktemp -d); trap 'rm -rf "$$module"' EXIT; cd "$$module"; \
	  export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off; \
	  go mod init tools && go get github.com/prometheus/prometheus@$(PROMETHEUS_VERSION) && \
	  go build -trimpath -tags remove_all_sd,enable_kubernetes_sd -ldflags "-s -w" -o $(TOOLS)/bin/ \
	    github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool

$(VENV)/observability.stamp: observability/requirements.txt
	@test -x $(VENV)/bin/python || python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	@touch $@
