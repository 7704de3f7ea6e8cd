##@ night-faces: drawn faces

.PHONY: samples
samples: need-cargo ## draw the sample pictures again (function/samples)
	$(CARGO) run --release -p night-faces -- samples
