##@ fuzz: any input, for any time

# Long enough to find again what the first runs found; an hour each for a change of a decoder.
SECONDS_EACH ?= 300
FUZZ_JOBS ?= 2
# Corpora that grow, failures and the record of runs: hours of CPU time, which clean leaves.
FUZZ_WORK ?= .work/fuzz
FUZZ_BIN := target/fuzz/bin
# Needs libFuzzer's sources only, which libfuzzer-sys brings, and a C++ compiler.
FUZZ_OWN := multipart negotiation query configuration onnx
# Need nightly and libjpeg-turbo besides.
FUZZ_PICTURES := decode jpeg_differential
# By its path, since `cargo fuzz` takes one in cargo's own folder first.
CARGO_FUZZ := $(TOOLS)/bin/cargo-fuzz
CLEAN += fuzz/targets/target fuzz/targets/Cargo.lock

.PHONY: fuzz fuzz-build fuzz-pictures fuzz-own fuzz-corpus need-fuzz
fuzz: fuzz-build fuzz-corpus ## fuzz every target for SECONDS_EACH (300) seconds, FUZZ_JOBS (2) at a time, and print a summary of each
	python3 fuzz/run.py $(FUZZ_BIN) $(FUZZ_WORK) --seconds $(SECONDS_EACH) --jobs $(FUZZ_JOBS)

fuzz-build: fuzz-pictures fuzz-own

need-fuzz:
	@.ci/need.sh rustup nightly libjpeg

fuzz-pictures: need-fuzz $(CARGO_FUZZ)
	cp Cargo.lock fuzz/targets/Cargo.lock # the same versions; cargo takes out and adds what differs
	for target in $(FUZZ_PICTURES); do RUSTUP_TOOLCHAIN=nightly $(CARGO_FUZZ) fuzz build --fuzz-dir fuzz/targets --target-dir target/fuzz-build $$target; done
	mkdir -p $(FUZZ_BIN)
	cp $(addprefix target/fuzz-build/$$(rustc -vV | sed -n 's/^host: //p')/release/,$(FUZZ_PICTURES)) $(FUZZ_BIN)

fuzz-own: need-cargo
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrument.sh $(CARGO) build --release --workspace --features fuzz/libfuzzer \
		$(addprefix --bin ,$(FUZZ_OWN))
	mkdir -p $(FUZZ_BIN)
	cp $(addprefix $(RELEASE_DIR)/,$(FUZZ_OWN)) $(FUZZ_BIN)

fuzz-corpus: ## write seeds, kept inputs and new ones into the targets' corpora
	python3 fuzz/seeds.py $(FUZZ_WORK)/corpus
	python3 fuzz/corpus.py unpack $(FUZZ_WORK)/corpus
	for target in fuzz/found/*; do cp $$target/* $(FUZZ_WORK)/corpus/$$(basename $$target); done

$(CARGO_FUZZ):
	@.ci/need.sh cargo
	$(CARGO) install --locked --root $(TOOLS) cargo-fuzz@$(CARGO_FUZZ_VERSION)
