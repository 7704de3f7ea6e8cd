#!/usr/bin/env bash
# Removes what `make observability` and `make metrics-adapter` made: samples too, and the keys in
# Knative's ConfigMaps.
#
# By label, not by name: others have objects of the same names (kube-prometheus has a Grafana, a
# kube-state-metrics, a node-exporter). What others have stays, and with it the namespace. So does a
# namespace that was there before: its label says only that something of ours was applied to it, the
# annotation that platforms/apply.sh or platforms/kind/cluster.sh made it.
#
# `make undeploy-observability` calls it with KUBECTL and KNATIVE_TELEMETRY.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=monitoring ours=app.kubernetes.io/part-of=nv-micro
kinds=deployments,daemonsets,services,configmaps,serviceaccounts,persistentvolumeclaims

remove() { $KUBECTL delete "$1" --selector "$ours" --ignore-not-found --wait "${@:2}"; }

# What others have in the namespace, of every kind that this cluster knows. Fails where that cannot
# be told in full, for example because the API server does not reach somebody's API.
others() {
  local known
  known=$($KUBECTL api-resources --namespaced --verbs=list --output name) || return
  # Nobody made these: events, the addresses behind Services, usage, an operator hub's catalogue.
  known=$(grep -vxE 'events(\.events\.k8s\.io)?|endpoints|pods\.metrics\.k8s\.io|packagemanifests\.packages\.operators\.coreos\.com' <<<"$known")
  $KUBECTL get "$(paste -sd, - <<<"$known")" --namespace "$namespace" --selector "${ours/=/!=}" --ignore-not-found --output json |
    python3 -c '
import json, sys
text = sys.stdin.read()
found = json.loads(text)["items"] if text.strip() else []
# Every namespace has these. What has an owner (a pod) goes with it, and counts if its owner does.
every = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
names = {o["kind"] + "/" + o["metadata"]["name"] for o in found if not o["metadata"].get("ownerReferences")}
print(*sorted(names - every))
'
}

# First the adapter's: left behind without its pod, it would keep every namespace of the cluster
# from being removed, and the list of kinds below from being complete.
remove apiservices.apiregistration.k8s.io
stays=
if [ -n "$($KUBECTL get namespace "$namespace" --ignore-not-found --output name)" ]; then
  if ! left=$(others); then
    stays="not everything in it could be looked at"
  elif [ -n "$left" ]; then
    stays="it has $left"
  elif ! $KUBECTL get namespace "$namespace" --output json | grep '"nv-micro/made-by"' >/dev/null; then
    stays="it was there before make observability, or an older version made it"
  fi
fi
remove "$kinds" --namespace "$namespace"
remove clusterrolebindings,clusterroles
# With it the adapter reads there how the API server authenticates its clients.
remove rolebindings --namespace kube-system
if [ -n "$stays" ]; then
  echo "the namespace $namespace stays: $stays (if nobody needs it: kubectl delete namespace $namespace)" >&2
else
  $KUBECTL delete namespace "$namespace" --ignore-not-found --wait
fi
observability/knative/switch.sh off
