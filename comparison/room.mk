##@ comparison: KPA against HPA + VPA

build: build-comparison

.PHONY: build-comparison
build-comparison: need-cargo
	$(CARGO) build --release -p comparison
