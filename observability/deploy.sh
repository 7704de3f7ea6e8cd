#!/usr/bin/env bash
# Prometheus, Grafana and traces into the current cluster; Knative's own metrics and traces switched
# on where it is there (KNATIVE_TELEMETRY=no leaves them as they are). `make observability` calls it
# with KUBECTL, KUSTOMIZE, KUBERNETES_PLATFORM, STORAGE and KNATIVE_TELEMETRY.
set -euo pipefail
cd "$(dirname "$0")/.."
kubectl=${KUBECTL:-kubectl}
# Images of some hundred megabytes have to be fetched, and a volume has to be made.
patience=300s

case ${KNATIVE_TELEMETRY:-yes} in
  yes | no) ;;
  *) echo "KNATIVE_TELEMETRY is yes or no, not '$KNATIVE_TELEMETRY'" >&2; exit 1 ;;
esac
components=()
case $STORAGE in
  claim) platforms/prerequisites.py check storage ;;
  emptydir) platforms/prerequisites.py check cluster; components+=(emptydir) ;;
  *) echo "STORAGE is claim or emptydir, not '$STORAGE'" >&2; exit 1 ;;
esac
[ "$KUBERNETES_PLATFORM" != two-cores ] || components+=(small)

# kustomize takes components from a kustomization only, and none that lies inside the one it
# includes.
mkdir -p target
overlay=$(mktemp -d target/observability.XXXXXX)
trap 'rm -rf "$overlay"' EXIT
{
  echo 'apiVersion: kustomize.config.k8s.io/v1beta1'
  echo 'kind: Kustomization'
  echo 'resources: [../../observability]'
  [ ${#components[@]} = 0 ] || { echo 'components:'; printf -- '- ../../observability/components/%s\n' "${components[@]}"; }
} >"$overlay/kustomization.yaml"

"$KUSTOMIZE" build "$overlay" | platforms/apply.sh "Prometheus, Grafana and traces"
observability/knative/switch.sh on
for deployment in prometheus grafana; do
  $kubectl rollout status --namespace monitoring --timeout $patience "deployment/$deployment" || {
    echo "$deployment was applied and is not ready after $patience:" >&2
    $kubectl describe pods --namespace monitoring --selector "app.kubernetes.io/name=$deployment" 2>/dev/null | sed -n '/^Events:/,$p' >&2 || true
    # A pod that a quota or PodSecurity refuses does not exist: only these say why.
    $kubectl get events --namespace monitoring --sort-by=.lastTimestamp 2>/dev/null | tail -n 10 >&2 || true
    exit 1
  }
done
# Prometheus and Grafana run without the rest, so that it is not waited for.
platforms/prerequisites.py check beside-prometheus
side_by_side=$(sed -n 's/^ "uid": "\(.*\)",*$/\1/p' observability/grafana/dashboards/side-by-side.json)
echo
echo "in another shell: kubectl --namespace monitoring port-forward service/grafana 3000"
echo "side by side: http://localhost:3000/d/$side_by_side"
$kubectl get apiservice v1beta2.custom.metrics.k8s.io >/dev/null 2>&1 || echo "next: make metrics-adapter"
