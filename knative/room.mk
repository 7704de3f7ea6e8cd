##@ knative: the Knative variant

.PHONY: deploy-knative
deploy-knative: deploy-shared ## only the Knative Service
	@$(call apply,the Knative variant,knative)
	@$(KUBECTL) wait --namespace eye-state --for condition=Ready --timeout 180s services.serving.knative.dev/eye-state-knative
