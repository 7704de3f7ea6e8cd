# Image, clusters and deployment. The two variants' own targets are in knative/room.mk and
# k8s-autoscalers/room.mk.

# The one place for the version is the workspace; platforms/check/test_version.py holds the
# manifests to it.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

# What to deploy and where: make deploy PLATFORM=gke SETTINGS=defaults IMAGE=registry/eye-state:tag
IMAGE    ?= dev.local/eye-state:$(VERSION)
SETTINGS ?= defaults
PLATFORM ?= $(if $(filter kind-%,$(shell $(KUBECTL) config current-context 2>/dev/null)),kind,cluster)
OVERLAY   = $(shell platforms/overlay.sh '$(PLATFORM)' '$(SETTINGS)')
DEFAULT_IMAGE := dev.local/eye-state:$(VERSION)
# Where the source of what runs is: the page links to it. The address of this clone unless given.
SOURCE_URL ?= $(shell platforms/image/source-url.sh)

##@ Image

# Where the binary comes from: `build` compiles inside the build, `prebuilt` takes `make static`'s.
BINARY ?= build
ARCH   ?= $(subst x86_64,amd64,$(subst aarch64,arm64,$(shell uname -m)))
CONTAINER_TOOL ?= $(shell platforms/image/tool.sh)

.PHONY: version static image image-test image-load
version: ## print the version, which stands in Cargo.toml
	@echo $(VERSION)

static: need-cargo ## the static binary, its list of parts and their licences, in target/image/ARCH
	SOURCE_URL='$(SOURCE_URL)' platforms/image/build-static.sh $(ARCH) target/image/$(ARCH)

# IMGSZ has a default for `make export`; a build takes it only from who asks for it.
IMAGE_SIZE = $(if $(filter command environment,$(firstword $(origin IMGSZ))),$(IMGSZ))
# What the image says of the model that is in it. Another model travels into the build in
# target/image/model.
IMAGE_MODEL = $(if $(MODEL),target/image/model/$(shell basename -- $(call quoted,$(MODEL))))
metadata = $(shell MODEL=$(call quoted,$(MODEL)) MODEL_LICENSE='$(MODEL_LICENSE)' platforms/image/metadata.sh 2>/dev/null | sed -n 's/^$(1)=//p')

image: $(if $(filter prebuilt,$(BINARY)),static) ## build the image with docker, podman or buildah (BINARY=prebuilt needs no registry; MODEL= MODEL_LICENSE=)
	@[ -n "$(CONTAINER_TOOL)" ] || { echo "no container tool: install podman, buildah or docker and run this again" >&2; exit 1; }
	@MODEL=$(call quoted,$(MODEL)) MODEL_LICENSE='$(MODEL_LICENSE)' platforms/image/metadata.sh >/dev/null
	@rm -rf target/image/model
	@$(if $(MODEL),mkdir -p target/image/model && for file in $(call quoted,$(MODEL)) $(call quoted,$(MODEL).license); do \
	  [ ! -e "$$file" ] || cp -- "$$file" target/image/model/; done)
	$(CONTAINER_TOOL) build --file function/Containerfile --platform linux/$(ARCH) --tag $(IMAGE) \
	  $(if $(filter docker,$(CONTAINER_TOOL)),,--ignorefile function/Containerfile.dockerignore --format docker) \
	  --build-arg BINARY=$(BINARY) --build-arg TARGETARCH=$(ARCH) --build-arg VERSION=$(VERSION) \
	  --build-arg MODEL=$(call quoted,$(IMAGE_MODEL)) --build-arg MODEL_LICENSE='$(MODEL_LICENSE)' --build-arg IMGSZ='$(if $(MODEL),$(IMAGE_SIZE))' \
	  --build-arg MODEL_NAMES='$(MODEL_NAMES)' --build-arg OPEN_CLASSES='$(OPEN_CLASSES)' --build-arg CLOSED_CLASSES='$(CLOSED_CLASSES)' \
	  --build-arg MODEL_NAME='$(call metadata,MODEL_NAME)' --build-arg MODEL_VERSION='$(call metadata,MODEL_VERSION)' \
	  --build-arg LICENSES='$(call metadata,LICENSES)' --build-arg SOURCE_URL='$(SOURCE_URL)' \
	  --build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) .

image-load: ## bring the image onto the nodes of kind, k3d or minikube without a registry; says how elsewhere
	@KUBECTL='$(KUBECTL)' CONTAINER_TOOL='$(CONTAINER_TOOL)' platforms/image/load.sh $(IMAGE)

.PHONY: image-index image-push image-sign need-manifest-lists
# The manifest lists of podman and buildah take images of both architectures without a registry;
# docker's take what a registry has.
need-manifest-lists:
	@case '$(notdir $(CONTAINER_TOOL))' in podman | buildah) ;; \
	  *) echo "needs podman or buildah: CONTAINER_TOOL=podman" >&2; exit 1 ;; esac

ARCHITECTURES := amd64 arm64
image-index: need-manifest-lists ## build the image for amd64 and arm64, as one (podman or buildah)
	for arch in $(ARCHITECTURES); do $(MAKE) image ARCH=$$arch IMAGE=$(IMAGE)-$$arch; done
	-$(CONTAINER_TOOL) manifest rm $(IMAGE) 2>/dev/null
	$(CONTAINER_TOOL) manifest create $(IMAGE)
	for arch in $(ARCHITECTURES); do $(CONTAINER_TOOL) manifest add $(IMAGE) containers-storage:$(IMAGE)-$$arch; done

image-push: need-manifest-lists ## push what image-index built; its digest goes to target/image/digest (PUSH_FLAGS=)
	@mkdir -p target/image && rm -f target/image/digest
	$(CONTAINER_TOOL) manifest push --all --digestfile target/image/digest $(PUSH_FLAGS) $(IMAGE) docker://$(IMAGE)
	@# buildah 1.28 ends with 0 when it did not reach the registry; it writes no digest then.
	@[ -s target/image/digest ] || { echo "$(IMAGE) was not pushed: does the registry answer, and are you logged in?" >&2; exit 1; }
	@echo "pushed $(IMAGE), $$(cat target/image/digest)"

COSIGN ?= $(TOOLS)/bin/cosign
image-sign: $(COSIGN) ## sign the pushed image and attach each architecture's list of parts (COSIGN_FLAGS='--key …')
	COSIGN=$(COSIGN) CONTAINER_TOOL=$(CONTAINER_TOOL) platforms/image/sign.sh $(IMAGE)

$(TOOLS)/bin/cosign:
	@.ci/need.sh --or "set COSIGN to one that you have" go
	GOBIN=$(TOOLS)/bin go install github.com/sigstore/cosign/v2/cmd/cosign@$(COSIGN_VERSION)

image-test: ## run the image with the cluster's restrictions, and classify an image
	CONTAINER_TOOL=$(CONTAINER_TOOL) platforms/image/test.sh $(IMAGE)

##@ Manifests

verify: manifests

.PHONY: manifests render
manifests: $(KUSTOMIZE) $(VENV)/manifests.stamp ## render and check every variant and overlay: schemas and invariants
	KUSTOMIZE=$(KUSTOMIZE) $(VENV)/bin/python -m pytest -q platforms/check

render: $(KUSTOMIZE) ## print what deploy would apply
	@$(KUSTOMIZE) build $(OVERLAY) | sed 's#image: $(DEFAULT_IMAGE)#image: $(IMAGE)#'

$(TOOLS)/bin/kustomize:
	@.ci/need.sh --or "set KUSTOMIZE to the path of one that you have" go
	GOBIN=$(TOOLS)/bin go install sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION)

$(VENV)/manifests.stamp: platforms/check/requirements.txt
	@.ci/environment.sh $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	@touch $@

##@ Clusters

# What the scripts below are told of the choices above.
export KUBERNETES_PLATFORM = $(PLATFORM)
CLUSTER_ENV = KUBECTL='$(KUBECTL)' KUSTOMIZE='$(KUSTOMIZE)' SETTINGS='$(SETTINGS)' IMAGE='$(IMAGE)'

.PHONY: doctor cluster cluster-down deploy undeploy status addresses logs metrics-adapter need-cluster
doctor: ## list what is missing on this machine and in the current cluster, with the command that helps
	@$(CLUSTER_ENV) platforms/doctor.sh

cluster: $(KUSTOMIZE) ## a kind cluster with Knative, Kourier, metrics-server, VPA and prometheus-adapter
	@KUSTOMIZE=$(KUSTOMIZE) platforms/kind/cluster.sh up

cluster-down: ## remove the kind cluster
	@platforms/kind/cluster.sh down

deploy: $(KUSTOMIZE) ## both variants into the current context (PLATFORM=cluster|gke|kind|two-cores SETTINGS=defaults|tuned IMAGE=…)
	@$(CLUSTER_ENV) platforms/deploy.sh knative k8s-autoscalers

undeploy: $(KUSTOMIZE) need-cluster ## remove both variants and their namespace
	@echo "removing both variants from $$($(KUBECTL) config current-context)"
	@$(MAKE) --no-print-directory render | awk -v components='$(HERE)' -f platforms/select.awk \
	  | $(KUBECTL) delete --ignore-not-found --wait -f -

metrics-adapter: $(KUSTOMIZE) ## install prometheus-adapter with the function's rule (after make observability)
	@$(CLUSTER_ENV) platforms/prerequisites.py check prometheus no-other-adapter
	@$(KUSTOMIZE) build k8s-autoscalers/metrics | KUBECTL='$(KUBECTL)' platforms/apply.sh "prometheus-adapter"
	@$(KUBECTL) rollout status --namespace monitoring --timeout 120s deployment/prometheus-adapter
	@$(KUBECTL) wait --for condition=Available --timeout 60s apiservice/v1beta2.custom.metrics.k8s.io
	@echo "the HPA can read the function's concurrency now; next: make deploy"

status: need-cluster ## the state of both variants and their autoscalers
	@platforms/status.sh

addresses: need-cluster ## the addresses of both variants: gateway, Host header, a command to try
	@$(CLUSTER_ENV) platforms/prerequisites.py addresses

logs: need-cluster ## follow the function's log lines of both variants
	$(KUBECTL) logs --namespace eye-state --selector app.kubernetes.io/name=eye-state --container eye-state \
	  --prefix --tail 20 --max-log-requests 40 --follow

.PHONY: cluster-test
cluster-test: need-cluster $(VENV)/manifests.stamp ## on a real cluster: deploy twice, scale, resize, update, evict, cordon and drain nodes of it, with GATEWAY=http://…
	$(MAKE) --no-print-directory deploy
	$(MAKE) --no-print-directory deploy
	KUBECTL='$(KUBECTL)' $(VENV)/bin/python -m pytest -v --capture=no platforms/live

need-cluster:
	@$(CLUSTER_ENV) platforms/prerequisites.py check cluster

# What of it this cluster knows the kinds of.
HERE = shared|k8s-autoscalers|node-monitoring$(if $(shell $(KUBECTL) get crd services.serving.knative.dev --output name 2>/dev/null),|knative|kourier-route)
