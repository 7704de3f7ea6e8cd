#!/usr/bin/env bash
# Knative's own metrics and traces, on or off: switch.sh on|off, with KUBECTL and KUSTOMIZE.
# KNATIVE_TELEMETRY=no leaves Knative as it is.
#
# Server-side, so that the ConfigMaps keep every key that is not named here. The keys have a field
# manager of their own: `make cluster` applies these ConfigMaps as nv-micro, as Knative releases
# them (it sets two of the keys afterwards, by a patch), and an apply without keys that the same
# manager set before would remove them.
set -euo pipefail
cd "$(dirname "$0")/../.."
kubectl=${KUBECTL:-kubectl}
manager=nv-micro-telemetry
case $1 in on | off) ;; *) echo "switch.sh on|off, not '$1'" >&2; exit 1 ;; esac
case ${KNATIVE_TELEMETRY:-yes} in
  yes) ;;
  no) echo "Knative's own metrics and traces stay as they are (KNATIVE_TELEMETRY=no)"; exit ;;
  *) echo "KNATIVE_TELEMETRY is yes or no, not '$KNATIVE_TELEMETRY'" >&2; exit 1 ;;
esac
# A ConfigMap that is not there is not made: with another ingress there is no config-kourier.
there=()
for config_map in config-observability config-kourier; do
  if $kubectl get configmap "$config_map" --namespace knative-serving >/dev/null 2>&1; then there+=("$config_map"); fi
done
if [ ${#there[@]} = 0 ]; then
  echo "no Knative here: its metrics and traces are left out"
  exit
fi

settings() {
  for config_map in "${there[@]}"; do
    $kubectl get configmap "$config_map" --namespace knative-serving --output 'jsonpath={.data}'
  done
}

on() {
  "$KUSTOMIZE" build observability/knative |
    awk -v there="$(IFS='|'; echo "${there[*]}")" 'BEGIN { RS = ORS = "---\n" } $0 ~ "\n  name: (" there ")\n"' |
    FIELD_MANAGER=$manager platforms/apply.sh "Knative's metrics and traces"
}

# Removes the keys that only this repository set; its older versions set them as nv-micro. A key
# that somebody else set to the same value stays.
off() {
  local keys patch
  keys=$(awk '/^[^ ]/ { data = /^data:/ } data && /^  / { sub(/:.*/, ""); print $1 }' observability/knative/config.yaml)
  for config_map in "${there[@]}"; do
    patch=$($kubectl get configmap "$config_map" --namespace knative-serving --output json --show-managed-fields |
      python3 -c '
import json, sys
setters = {}
for entry in json.load(sys.stdin)["metadata"].get("managedFields", []):
    for field in entry.get("fieldsV1", {}).get("f:data", {}):
        setters.setdefault(field.removeprefix("f:"), set()).add(entry["manager"])
ours = [key for key in sys.argv[2:] if setters.get(key) and setters[key] <= {"nv-micro", sys.argv[1]}]
if ours:
    print(json.dumps({"data": dict.fromkeys(ours)}))
' "$manager" $keys)
    [ -z "$patch" ] || $kubectl patch configmap "$config_map" --namespace knative-serving \
      --field-manager "$manager" --type merge --patch "$patch"
  done
}

before=$(settings)
"$1"
# Its components read them when they start, and the controller gives them to every Knative pod.
[ "$(settings)" = "$before" ] || $kubectl --namespace knative-serving rollout restart deployment activator autoscaler controller
