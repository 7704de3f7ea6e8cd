##@ function: the HTTP function

# The whole workspace chooses the dependencies' features, so that tests need no second build of
# burn.
.PHONY: build-function
build: build-function
build-function: need-cargo
	$(CARGO) build --release --workspace --bin eye-state

run: build-function ## build and serve with the built-in model on PORT (8080)
	@SOURCE_URL='$(SOURCE_URL)' exec $(RELEASE_DIR)/eye-state

# Floats first: what is left in the target folder is the function that `make build` makes.
test: test-floats test-rust

.PHONY: test-rust test-floats
test-rust: need-cargo ## run the Rust tests of every room
	$(CARGO) test --release --workspace

# Compiles the function once more, not its dependencies.
test-floats: need-cargo ## test the function with the built-in model in floats against ONNX Runtime
	MODEL=$(FLOAT_MODEL) $(CARGO) test --release --workspace --test network --test reference_outputs --test loading

.PHONY: measure
measure: build-function ## start, answers, throughput and memory of the built function, as a table
	@.ci/need.sh python3
	python3 function/measure.py $(RELEASE_DIR)/eye-state function/samples/open.jpg

verify: test-page test-loom test-clients

.PHONY: test-loom test-clients
test-loom: need-cargo ## run the hand-off to the inference threads through every interleaving
	cd function/loom && $(CARGO) test --quiet

test-clients: build-function ## run Python, curl and Node against the function: refused early, half closed, thousands at once
	@.ci/need.sh python3 curl node
	python3 function/tests/clients.py $(RELEASE_DIR)/eye-state function/samples/open.jpg

verify: test-protocols test-examples
.PHONY: test-protocols test-examples openapi
test-protocols: build-function $(VENV)/protocols/.ready ## run tritonclient, kserve, cloudevents and schemathesis against the function
	$(VENV)/protocols/bin/python function/tests/foreign.py $(RELEASE_DIR)/eye-state function/samples

# A separate environment: these clients and other checks need different versions of packages.
$(VENV)/protocols/.ready: function/tests/requirements.txt
	@.ci/environment.sh $(@D)
	$(VENV)/protocols/bin/python -m pip install --quiet --requirement $<
	@touch $@

test-examples: build-function ## run the example clients, the camera with a video (installs ffmpeg on Debian as root)
	@.ci/need.sh python3 curl node
	@.ci/need.sh ffmpeg 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null; } || \
		.ci/need.sh ffmpeg
	python3 function/tests/examples.py $(RELEASE_DIR)/eye-state function/samples

# Compiling Kubernetes' client takes two minutes of both CPUs the first time, seconds after that.
verify: test-eventing
.PHONY: test-eventing
test-eventing: build-function ## deliver events to the function by Knative Eventing's own dispatcher (needs Go)
	@.ci/need.sh go
	@mkdir -p $(TOOLS)/bin
	cd function/tests/eventing && go build -o $(TOOLS)/bin/eventing .
	$(TOOLS)/bin/eventing $(abspath $(RELEASE_DIR))/eye-state function/samples

openapi: need-cargo ## write function/openapi.json anew from the types and routes
	UPDATE=1 $(CARGO) test --release --workspace --lib http::openapi::document

# An hour by default; CI runs the short form. At the smallest limit that a platform gives (192 MiB),
# less the memory that a pod uses besides.
SOAK_SECONDS   ?= 3600
SOAK_LIMIT_MIB ?= 192
.PHONY: soak soak-short
soak: build-function ## hostile, slow, aborting and valid clients at once within a memory limit (SOAK_SECONDS, SOAK_LIMIT_MIB)
	@.ci/need.sh python3
	python3 function/soak.py $(RELEASE_DIR)/eye-state --seconds $(SOAK_SECONDS) --limit-mib $(SOAK_LIMIT_MIB)

verify: soak-short
soak-short:
	@$(MAKE) --no-print-directory soak SOAK_SECONDS=25

BROWSER_TESTS := function/tests/browser
CLEAN += function/loom/target $(BROWSER_TESTS)/node_modules $(BROWSER_TESTS)/screenshots
.PHONY: test-page need-chromium
# Other rooms test pages in it, too.
need-chromium:
	@.ci/need.sh chromium 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
		.ci/need.sh chromium

test-page: build-function need-chromium ## test the page in a headless Chromium (installs it on Debian as root)
	@.ci/need.sh node npm
	cd $(BROWSER_TESTS) && npm ci --silent && EYE_STATE_BIN=$(abspath $(RELEASE_DIR))/eye-state npm test
