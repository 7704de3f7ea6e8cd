##@ k8s-autoscalers: the HPA and VPA variant

.PHONY: deploy-k8s-autoscalers
deploy-k8s-autoscalers: $(KUSTOMIZE) ## only the Deployment with HPA and VPA
	@$(CLUSTER_ENV) platforms/deploy.sh k8s-autoscalers
