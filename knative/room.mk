##@ knative: the Knative variant

.PHONY: deploy-knative
deploy-knative: $(KUSTOMIZE) ## only the Knative Service
	@$(CLUSTER_ENV) platforms/deploy.sh knative
