##@ The repository itself

ACTIONLINT_VERSION := v1.7.12
CARGO_DENY_VERSION := 0.20.2
ACTIONLINT ?= $(TOOLS)/bin/actionlint

verify: rooms lines rows workflows

# Weekly checks: too slow for every change, or independent of changes.
SCHEDULED := deny asan miri neon fuzz

.PHONY: rooms lines rows workflows deny scheduled-targets release-prepare release-notes release-check
rooms: need-cargo ## check which crate imports which, and licences and sources of all others
	python3 .ci/rooms.py

lines: ## check that no line of Markdown or comment is over 100 characters
	python3 .ci/lines.py

rows: ## check that the rows of docs/hostile-input.md name tests that exist
	python3 .ci/rows.py

workflows: $(ACTIONLINT) ## check the GitHub workflows
	$(ACTIONLINT)
	python3 -m unittest discover --start-directory .ci --quiet

deny: need-cargo ## run cargo-deny, with advisories (takes a network; builds cargo-deny once)
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny@$(CARGO_DENY_VERSION)
	$(CARGO) deny --workspace check

scheduled-targets: ## print the names of the weekly checks, as JSON
	@for target in $(SCHEDULED); do $(MAKE) --dry-run $$target >/dev/null 2>&1 && echo $$target || true; done \
	  | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().split()))'

release-prepare: need-cargo ## write version RELEASE=X.Y.Z everywhere and date the changelog's Unreleased
	@python3 .ci/release.py prepare $(RELEASE)

release-notes: ## print the changelog's section of RELEASE=X.Y.Z, or of the newest one
	@python3 .ci/release.py notes $(RELEASE)

release-check: ## check that TAG=v… is this version and has a section in the changelog
	@python3 .ci/release.py check $(TAG)

$(TOOLS)/bin/actionlint:
	@command -v go >/dev/null || { echo "go is missing: actionlint is built with it; install Go, or set ACTIONLINT to one that you have" >&2; exit 1; }
	GOBIN=$(TOOLS)/bin go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
