#!/usr/bin/env bash
# Deploys variants into the current cluster, after a check of everything that they need:
#   deploy.sh knative | deploy.sh k8s-autoscalers | deploy.sh knative k8s-autoscalers
# `make deploy…` calls it with KUBECTL, KUSTOMIZE, KUBERNETES_PLATFORM, SETTINGS and IMAGE.
set -euo pipefail
cd "$(dirname "$0")/.."
kubectl=${KUBECTL:-kubectl}
# Enough for an image of 23 MB over a slow line; a pod is ready within seconds once it is there.
patience=180s

platforms/overlay.sh "$KUBERNETES_PLATFORM" "$SETTINGS" >/dev/null # says which there are
needs=()
components=shared
for variant in "$@"; do
  case $variant in
    knative) needs+=(version knative knative-webhook kourier knative-settings image room) ;;
    k8s-autoscalers) needs+=(version image room) ;;
    *) echo "deploy.sh: unknown variant '$variant'" >&2; exit 64 ;;
  esac
  components="$components|$variant"
done

MANIFESTS=$(mktemp)
trap 'rm -f "$MANIFESTS" "$MANIFESTS.all"' EXIT
make --no-print-directory render >"$MANIFESTS.all"
# What Knative has to allow follows from its own manifests only.
awk -v components="$components" -f platforms/select.awk "$MANIFESTS.all" >"$MANIFESTS"
for kind in VerticalPodAutoscaler:vpa VerticalPodAutoscaler:metrics-server HorizontalPodAutoscaler:custom-metrics ScaledObject:keda; do
  if grep -q "^kind: ${kind%:*}$" "$MANIFESTS"; then needs+=("${kind#*:}"); fi
done
# These rest at zero pods, where no pod counts a request. The gateway counts it and Prometheus reads
# the counter: without either of them nothing would ever wake the function.
if grep -qE '^kind: ScaledObject$|^  minReplicas: 0$' "$MANIFESTS"; then needs+=(kourier prometheus); fi
MANIFESTS=$MANIFESTS platforms/prerequisites.py check "${needs[@]}"

case " $* " in *" k8s-autoscalers "*)
  if $kubectl get crd domainmappings.serving.knative.dev >/dev/null 2>&1; then
    components="$components|kourier-route"
  else
    echo "no Knative here: the Deployment gets no route on Kourier, only its Service"
  fi ;;
esac
# GKE: its Prometheus scrapes the node exporter of make observability, in the namespace of that.
if $kubectl get namespace monitoring >/dev/null 2>&1; then components="$components|node-monitoring"; fi
awk -v components="$components" -f platforms/select.awk "$MANIFESTS.all" |
  platforms/apply.sh "$* ($KUBERNETES_PLATFORM, $SETTINGS, $IMAGE)"

explain() {
  echo "$1 was applied and is not ready after $patience:" >&2
  $kubectl get pods --namespace eye-state --selector "app.kubernetes.io/component=$1" >&2 || true
  # A pod that a quota or PodSecurity refuses does not exist: only these say why.
  $kubectl get events --namespace eye-state --sort-by=.lastTimestamp 2>/dev/null | tail -n 10 >&2 || true
  echo "make status shows more; ImagePullBackOff or ErrImagePull: make image image-load" >&2
  exit 1
}
for variant in "$@"; do
  case $variant in
    knative) $kubectl wait --namespace eye-state --for condition=Ready --timeout $patience services.serving.knative.dev/eye-state-knative || explain knative ;;
    k8s-autoscalers) $kubectl rollout status --namespace eye-state --timeout $patience deployment/eye-state-k8s-autoscalers || explain k8s-autoscalers ;;
  esac
done
echo
platforms/prerequisites.py addresses
