#!/bin/sh
# What both variants and their autoscalers are doing, on one screen.
set -eu
kubectl=${KUBECTL:-kubectl}
show() { echo; echo "$1"; shift; $kubectl --namespace eye-state get "$@" 2>&1 | sed 's/^/  /'; }
echo "context $($kubectl config current-context 2>/dev/null || echo '(none)')"
show "Knative Service" services.serving.knative.dev -o custom-columns='NAME:.metadata.name,READY:.status.conditions[?(@.type=="Ready")].status,URL:.status.url,REVISION:.status.latestReadyRevisionName'
show "KPA" podautoscalers.autoscaling.internal.knative.dev -o custom-columns='NAME:.metadata.name,DESIRED:.status.desiredScale,ACTUAL:.status.actualScale,ACTIVE:.status.conditions[?(@.type=="Active")].status'
show "Deployment" deployment eye-state-k8s-autoscalers
show "HPA" hpa
show "VPA" vpa
show "Pods" pods -L app.kubernetes.io/component -o wide
