#!/usr/bin/env bash
# Removes what `make observability` and `make metrics-adapter` made: samples too, and the keys in
# Knative's ConfigMaps.
#
# By label, not by name: others have objects of the same names (kube-prometheus has a Grafana, a
# kube-state-metrics, a node-exporter). What others have stays, and with it the namespace.
#
# `make undeploy-observability` calls it with KUBECTL and KNATIVE_TELEMETRY.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=monitoring ours=app.kubernetes.io/part-of=nv-micro
kinds=deployments,daemonsets,services,configmaps,serviceaccounts,persistentvolumeclaims
# Of kinds that are not deployed here, all are others'.
others=$($KUBECTL get "$kinds,statefulsets,jobs,cronjobs,secrets,roles,rolebindings,resourcequotas" \
  --namespace "$namespace" --selector "${ours/=/!=}" --ignore-not-found --output name |
  { grep -vxE 'configmap/kube-root-ca\.crt|serviceaccount/default' || true; }) # every namespace has these

remove() { $KUBECTL delete "$1" --selector "$ours" --ignore-not-found --wait "${@:2}"; }
# First the adapter's: left behind without its pod, it would keep every namespace of the cluster
# from being removed.
remove apiservices.apiregistration.k8s.io
remove "$kinds" --namespace "$namespace"
remove clusterrolebindings,clusterroles
# With it the adapter reads there how the API server authenticates its clients.
remove rolebindings --namespace kube-system
if [ -n "$others" ]; then
  echo "the namespace $namespace stays: it has" $others >&2
else
  $KUBECTL delete namespace "$namespace" --ignore-not-found --wait
fi
observability/knative/switch.sh off
