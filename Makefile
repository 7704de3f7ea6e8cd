# nv-micro: every task of the project. Each room keeps its own targets in its `room.mk`;
# `make` alone prints them all.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
VENV  ?= .venv

# Tools that several rooms use. They are set here because make expands the prerequisites of a rule
# when it reads the rule: no room may depend on the order in which the rooms are read.
TOOLS     := $(CURDIR)/.tools
KUSTOMIZE ?= $(TOOLS)/bin/kustomize
KUBECTL   ?= kubectl
include platforms/versions.env

# Where cargo puts what it builds.
RELEASE_DIR := $(or $(CARGO_TARGET_DIR),target)/release

# What clean removes beside cargo's folder. Rooms add what their targets make elsewhere, if it can
# be made again from the repository. Data sets, checkpoints and what fuzzing found are in .work,
# which stays.
CLEAN := $(VENV) .tools

# A path as one word of the shell, whatever is in it: $(call quoted,best (1).onnx)
quoted = '$(subst ','\'',$(1))'

##@ Everyday

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_-]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each room adds its own prerequisites to these in its room.mk.
.PHONY: build run test verify fmt lint bench clean
build: ## build the function with the built-in model (MODEL=path/to/best.onnx for another)
test: ## run every test that needs no cluster
verify: ## check manifests, rules, dashboards, arrows between rooms, licences, the page in a browser
bench: ## benchmarks against named peers

fmt: ## format the Rust code
	$(CARGO) fmt --all

lint: ## rustfmt and clippy, as CI runs them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

clean: ## remove everything that can be built again; data in .work stay
	$(CARGO) clean
	rm -rf $(CLEAN)

.PHONY: need-cargo
need-cargo:
	@.ci/need.sh cargo

include $(sort $(wildcard */room.mk)) .ci/room.mk
