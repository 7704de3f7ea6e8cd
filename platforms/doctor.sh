#!/usr/bin/env bash
# Says what is missing for building, checking and deploying, and how to get it. Fails when something is.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. platforms/versions.env
kubectl=${KUBECTL:-kubectl}
missing=0

ok() { printf '  ok       %s\n' "$1"; }
bad() { printf '  missing  %s\n           %s\n' "$1" "$2"; missing=1; }
hint() { printf '  note     %s\n           %s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
tool() { if have "$1"; then ok "$1: $2"; else bad "$1: $2" "$3"; fi; }

echo "To build"
tool cargo "compiles the function" "install Rust: https://rustup.rs"
tool cc "links it" "Debian: apt-get install build-essential"
builder=$(platforms/image/tool.sh)
if [ -n "$builder" ]; then ok "$builder: builds the image"; else bad "a container tool" "Debian: apt-get install podman (or buildah, or docker)"; fi

echo "To check the manifests"
tool go "builds kustomize $KUSTOMIZE_VERSION and fetches the schemas" "https://go.dev/dl, or Debian: apt-get install golang"
if python3 -c 'import venv, ensurepip' 2>/dev/null; then ok "python3 with venv: runs the checks"; else bad "python3 with venv" "Debian: apt-get install python3-venv"; fi

echo "To start a cluster of your own"
if have kind; then ok "$(kind version)"; else hint "kind $KIND_VERSION (only for make cluster)" "go install sigs.k8s.io/kind@$KIND_VERSION"; fi
tool openssl "makes the VPA webhook's certificate" "Debian: apt-get install openssl"

echo "To deploy"
if ! have "$kubectl"; then
  bad "kubectl" "https://kubernetes.io/docs/tasks/tools"
elif ! server=$($kubectl version -o json 2>/dev/null | python3 -c 'import json,sys; v=json.load(sys.stdin)["serverVersion"]; print(v["major"], v["minor"].rstrip("+"))' 2>/dev/null); then
  ok "kubectl"
  hint "no cluster answers" "make cluster starts one; kubectl config use-context picks another"
else
  ok "kubectl"
  read -r major minor <<<"$server"
  if [ "$major" -gt 1 ] || [ "$minor" -ge 35 ]; then ok "Kubernetes $major.$minor"
  else bad "Kubernetes 1.35 or newer (this is $major.$minor): in-place resize" "upgrade, or make cluster"; fi
  crd() { if $kubectl get crd "$1" >/dev/null 2>&1; then ok "$2"; else bad "$2" "$3"; fi; }
  crd services.serving.knative.dev "Knative Serving" "https://knative.dev/docs/install ($KNATIVE_VERSION, with Kourier)"
  crd verticalpodautoscalers.autoscaling.k8s.io "the VPA" "https://github.com/kubernetes/autoscaler ($VPA_VERSION); on GKE: --enable-vertical-pod-autoscaling"
  if $kubectl get --raw /apis/metrics.k8s.io/v1beta1 >/dev/null 2>&1; then ok "metrics-server"
  else bad "metrics-server: what the VPA learns from" "https://github.com/kubernetes-sigs/metrics-server ($METRICS_SERVER_VERSION)"; fi
  if $kubectl get --raw /apis/custom.metrics.k8s.io/v1beta2 >/dev/null 2>&1; then ok "a custom-metrics adapter"
  else bad "a custom-metrics adapter: what the HPA reads" "make metrics-adapter (it expects Prometheus at prometheus.monitoring:9090)"; fi
  flag=$($kubectl --namespace knative-serving get configmap config-features -o 'jsonpath={.data.kubernetes\.podspec-topologyspreadconstraints}' 2>/dev/null)
  if [ "$flag" = enabled ]; then ok "Knative takes topologySpreadConstraints"
  else hint "Knative's config-features has no kubernetes.podspec-topologyspreadconstraints: enabled" "needed for PLATFORM=kind and gke; PLATFORM=cluster does without"; fi
fi

echo
if [ "$missing" = 0 ]; then echo "Nothing is missing."; else echo "Something is missing: see above." >&2; exit 1; fi
