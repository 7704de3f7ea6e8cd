##@ fuzz: any input, for any time

# Long enough to find again what the first runs found; an hour each for a change of a decoder.
SECONDS_EACH ?= 300
FUZZ_JOBS ?= 2
FUZZ_WORK ?= target/fuzz
# Needs libFuzzer's sources only, which libfuzzer-sys brings, and a C++ compiler.
FUZZ_OWN := multipart negotiation query configuration onnx
# Need nightly and libjpeg-turbo besides.
FUZZ_PICTURES := decode jpeg_differential
CARGO_FUZZ_VERSION := 0.13.2

.PHONY: fuzz fuzz-build fuzz-pictures fuzz-own fuzz-corpus
fuzz: fuzz-build fuzz-corpus ## fuzz every target for SECONDS_EACH (300) seconds, FUZZ_JOBS (2) at a time, and print a summary of each
	python3 fuzz/run.py $(FUZZ_WORK)/bin $(FUZZ_WORK) --seconds $(SECONDS_EACH) --jobs $(FUZZ_JOBS)

fuzz-build: fuzz-pictures fuzz-own

fuzz-pictures: need-cargo
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz@$(CARGO_FUZZ_VERSION)
	@rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	@printf '#include <stdio.h>\n#include <jpeglib.h>\n' | $${CC:-cc} -E - >/dev/null 2>&1 || \
		{ echo "libjpeg-turbo's headers are missing: install them (Debian: apt-get install libjpeg62-turbo-dev, Ubuntu: libjpeg-turbo8-dev)" >&2; exit 1; }
	cp Cargo.lock fuzz/targets/Cargo.lock # the same versions; cargo takes out and adds what differs
	for target in $(FUZZ_PICTURES); do $(CARGO) +nightly fuzz build --fuzz-dir fuzz/targets --target-dir target/fuzz-build $$target; done
	mkdir -p $(FUZZ_WORK)/bin
	cp $(addprefix target/fuzz-build/$$(rustc -vV | sed -n 's/^host: //p')/release/,$(FUZZ_PICTURES)) $(FUZZ_WORK)/bin

fuzz-own: need-cargo
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrument.sh $(CARGO) build --release --workspace --features fuzz/libfuzzer \
		$(addprefix --bin ,$(FUZZ_OWN))
	mkdir -p $(FUZZ_WORK)/bin
	cp $(addprefix $(or $(CARGO_TARGET_DIR),target)/release/,$(FUZZ_OWN)) $(FUZZ_WORK)/bin

fuzz-corpus: ## write seeds, kept inputs and new ones into the targets' corpora
	python3 fuzz/seeds.py $(FUZZ_WORK)/corpus
	python3 fuzz/corpus.py unpack $(FUZZ_WORK)/corpus
	for target in fuzz/found/*; do cp $$target/* $(FUZZ_WORK)/corpus/$$(basename $$target); done
