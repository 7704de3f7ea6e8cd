##@ The repository itself

ACTIONLINT ?= $(TOOLS)/bin/actionlint
# By its path, since `cargo deny` takes one in cargo's own folder first.
CARGO_DENY := $(TOOLS)/bin/cargo-deny

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

deny: $(CARGO_DENY) ## run cargo-deny, with advisories (takes a network; builds cargo-deny once)
	$(CARGO_DENY) deny --workspace check

scheduled-targets: ## print the names of the weekly checks, as JSON
	@for target in $(SCHEDULED); do $(MAKE) --dry-run $$target >/dev/null 2>&1 && echo $$target || true; done \
	  | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().split()))'

release-prepare: need-cargo ## write version RELEASE=X.Y.Z everywhere and date the changelog's Unreleased
	@python3 .ci/release.py prepare $(RELEASE)

release-notes: ## print the changelog's section of RELEASE=X.Y.Z, or of the newest one
	@python3 .ci/release.py notes $(RELEASE)

release-check: ## check that TAG=v… is this version and has a section in the changelog
	@python3 .ci/release.py check $(TAG)

$(CARGO_DENY):
	@.ci/need.sh cargo
	$(CARGO) install --locked --root $(TOOLS) cargo-deny@$(CARGO_DENY_VERSION)

$(TOOLS)/bin/actionlint:
	@.ci/need.sh --or "set ACTIONLINT to one that you have" go
	GOBIN=$(TOOLS)/bin go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
