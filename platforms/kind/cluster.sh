#!/usr/bin/env bash
# Brings up, or completes, a kind cluster with everything the two variants need: cluster.sh up|down
# Safe to repeat. The versions are in ../versions.env, the adapter's in
# k8s-autoscalers/metrics.
set -euo pipefail
cd "$(dirname "$0")/../.."
. platforms/versions.env
cluster=nv-micro
kubectl="kubectl --context kind-$cluster"
github=https://github.com

say() { echo "== $*"; }
need() { command -v "$1" >/dev/null || { echo "$1 is missing: make doctor says how to get it" >&2; exit 1; }; }
apply() { $kubectl apply --server-side --force-conflicts --field-manager nv-micro "$@" >/dev/null; }
available() { $kubectl --namespace "$1" wait --for condition=Available --timeout 300s deployment "${@:2}" >/dev/null; }

need kind
if [ "${1:-}" = down ]; then
  say "removing the kind cluster $cluster"
  exec kind delete cluster --name "$cluster"
fi
need kubectl
need openssl
need git # kubectl fetches the VPA's manifests with it

if kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  say "the kind cluster $cluster is there"
else
  say "starting the kind cluster $cluster ($KIND_NODE_IMAGE)"
  kind create cluster --name "$cluster" --image "$KIND_NODE_IMAGE" --config platforms/kind/config.yaml --wait 180s
fi

say "metrics-server $METRICS_SERVER_VERSION"
apply -f "$github/kubernetes-sigs/metrics-server/releases/download/$METRICS_SERVER_VERSION/components.yaml"
# kind's kubelets have certificates that no authority signed.
if ! $kubectl --namespace kube-system get deployment metrics-server -o yaml | grep -q kubelet-insecure-tls; then
  $kubectl --namespace kube-system patch deployment metrics-server --type json --patch \
    '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]' >/dev/null
fi

say "VPA $VPA_VERSION"
# The webhook's certificate has to be there before the webhook.
if ! $kubectl --namespace kube-system get secret vpa-tls-certs >/dev/null 2>&1; then
  certs=$(mktemp -d)
  trap 'rm -rf "$certs"' EXIT
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=vpa_webhook_ca \
    -keyout "$certs/caKey.pem" -out "$certs/caCert.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /CN=vpa-webhook.kube-system.svc \
    -keyout "$certs/serverKey.pem" -out "$certs/server.csr" 2>/dev/null
  openssl x509 -req -in "$certs/server.csr" -CA "$certs/caCert.pem" -CAkey "$certs/caKey.pem" -CAcreateserial \
    -days 3650 -extfile <(echo subjectAltName=DNS:vpa-webhook.kube-system.svc) -out "$certs/serverCert.pem" 2>/dev/null
  $kubectl --namespace kube-system create secret generic vpa-tls-certs \
    --from-file "$certs/caKey.pem" --from-file "$certs/caCert.pem" \
    --from-file "$certs/serverKey.pem" --from-file "$certs/serverCert.pem" >/dev/null
fi
# A large repository: kustomize's own limit of 27 s is too short for it on a slow line.
apply -k "$github/kubernetes/autoscaler//vertical-pod-autoscaler/deploy?ref=vertical-pod-autoscaler-$VPA_VERSION&timeout=300s"

say "Knative Serving and Kourier $KNATIVE_VERSION"
apply -f "$github/knative/serving/releases/download/$KNATIVE_VERSION/serving-crds.yaml"
$kubectl wait --for condition=Established --timeout 60s crd services.serving.knative.dev >/dev/null
apply -f "$github/knative/serving/releases/download/$KNATIVE_VERSION/serving-core.yaml"
apply -f "$github/knative-extensions/net-kourier/releases/download/$KNATIVE_VERSION/kourier.yaml"
available knative-serving --all
# The settings that this repository relies on; the rest stays as released.
settings() { $kubectl --namespace knative-serving patch configmap "$1" --type merge --patch "{\"data\": $2}" >/dev/null; }
settings config-network '{"ingress-class": "kourier.ingress.networking.knative.dev"}'
settings config-domain '{"example.com": ""}'
settings config-features '{"kubernetes.podspec-topologyspreadconstraints": "enabled"}'
settings config-observability '{"metrics-protocol": "prometheus", "request-metrics-protocol": "prometheus"}'
# A node port that kind/config.yaml maps to the laptop.
$kubectl --namespace kourier-system patch service kourier --type merge --patch \
  '{"spec": {"type": "NodePort", "ports": [{"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 31080}]}}' >/dev/null

say "prometheus-adapter, in the namespace monitoring"
# Where it is there, it has the labels that make observability gave it. The annotation says that it
# was made here (platforms/apply.sh).
if ! $kubectl get namespace monitoring >/dev/null 2>&1; then
  $kubectl create namespace monitoring >/dev/null
  $kubectl annotate namespace monitoring --field-manager nv-micro-made nv-micro/made-by=cluster.sh >/dev/null
fi
"$KUSTOMIZE" build k8s-autoscalers/metrics | apply -f -

say "waiting until everything is available"
available kube-system --all
available kourier-system --all
say "ready: kubectl --context kind-$cluster; gateway at http://127.0.0.1:8080 (choose a variant by its Host header)"
say "next: make image image-load && make observability deploy"
