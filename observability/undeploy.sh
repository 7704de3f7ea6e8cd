#!/usr/bin/env bash
# Removes what `make observability` and `make metrics-adapter` made, samples too. What others have
# stays: their workloads in the namespace, and with them the namespace, and their metrics adapter.
#
# `make undeploy-observability` calls it with KUBECTL and KUSTOMIZE.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=monitoring ours=app.kubernetes.io/part-of=nv-micro
kinds=deployments,statefulsets,daemonsets,persistentvolumeclaims
others=$($KUBECTL get "$kinds" --namespace "$namespace" --selector "${ours/=/!=}" --output name)
adapter=$($KUBECTL get deployments --namespace "$namespace" --selector "$ours" --field-selector metadata.name=prometheus-adapter --output name)
{
  # With the adapter's APIService: left behind without its pod, it would keep every namespace of the
  # cluster from being removed.
  if [ -n "$adapter" ]; then "$KUSTOMIZE" build k8s-autoscalers/metrics && echo ---; fi
  "$KUSTOMIZE" build observability
} | if [ -n "$others" ]; then
  echo "the namespace $namespace stays: it has" $others >&2
  awk 'BEGIN { RS = ORS = "---\n" } !/(^|\n)kind: Namespace\n/'
else
  cat
fi | $KUBECTL delete --ignore-not-found --wait -f -
