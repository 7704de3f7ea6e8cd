##@ k8s-autoscalers: the HPA and VPA variant

.PHONY: deploy-k8s-autoscalers
deploy-k8s-autoscalers: deploy-shared ## only the Deployment with HPA and VPA
	@if $(KUBECTL) get crd domainmappings.serving.knative.dev >/dev/null 2>&1; then \
	  $(call apply,the Deployment and its route,k8s-autoscalers|kourier-route); \
	else \
	  echo "no Knative here: the Deployment gets no route on Kourier, only its Service"; \
	  $(call apply,the Deployment,k8s-autoscalers); \
	fi
	@$(KUBECTL) rollout status --namespace eye-state --timeout 180s deployment/eye-state-k8s-autoscalers
