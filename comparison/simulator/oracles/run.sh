#!/usr/bin/env bash
# Drives the real autoscalers' code with the traces of tests/conformance and compares their
# decisions with the simulator's. Needs Go, and the module proxy the first time.
#
#     comparison/simulator/oracles/run.sh            # the fixtures must be what the oracles say
#     comparison/simulator/oracles/run.sh write      # write the fixtures
#     CASES=300 comparison/simulator/oracles/run.sh compare   # more cases, compared and not kept
#     ONLY="hpa vpa" comparison/simulator/oracles/run.sh     # these alone
set -euo pipefail
cd "$(dirname "$0")/../../.."
mode=${1:-check} oracles=comparison/simulator/oracles fixtures=comparison/simulator/tests/fixtures
# Cases and ticks of each fixture.
declare -A size=(
  [hpa]="24 2000" [hpa-external]="24 1000" [hpa-recorded]="36 150" [hpa-zero]="24 1000" [keda]="24 1000" [kpa]="24 2000"
  [kpa-recorded]="36 300" [vpa]="6 400" [vpa-recorded]="36 100" [vpa-updater]="24 500")
declare -A module=(
  [hpa]=k8s.io/kubernetes [keda]=github.com/kedacore/keda/v2 [kpa]=knative.dev/serving
  [vpa]=k8s.io/autoscaler/vertical-pod-autoscaler)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
traces() { "${CARGO:-cargo}" run --quiet --release -p simulator --example oracle_traces -- "$@"; }
for oracle in ${ONLY:-hpa hpa-external hpa-recorded hpa-zero keda kpa kpa-recorded vpa vpa-recorded vpa-updater}; do
  read -r cases ticks <<< "${size[$oracle]}"
  code=${oracle%-*} folder=$oracles/${oracle%-*} with=()
  [ "$mode" = compare ] && cases=${CASES:-$cases}
  traces "$oracle" "$cases" "$ticks" > "$work/trace"
  if [ "$oracle" = keda ]; then
    # Without what resolves secrets, for which KEDA needs every cloud's libraries.
    (cd "$folder" && go mod download "${module[keda]}" && cp -r "$(go list -m -f '{{.Dir}}' "${module[keda]}")" "$work/keda")
    chmod -R u+w "$work/keda"
    rm "$work"/keda/pkg/scaling/resolver/*.go
    cp "$folder/resolver.go.txt" "$work/keda/pkg/scaling/resolver/resolver.go"
    cp "$folder/go.mod" "$folder/go.sum" "$work"
    go mod edit -replace "${module[keda]}=$work/keda" "$work/go.mod"
    with=(-modfile "$work/go.mod")
  fi
  (cd "$folder" && go test -vet=off -count=1 "${with[@]}" . -args "$work/trace" "$work/decisions") > "$work/log" 2>&1 \
    || { cat "$work/log" >&2; exit 1; }
  version=$(cd "$folder" && go list -m -f '{{.Path}} {{.Version}}' "${module[$code]}")
  { echo "# $version, $cases cases of $ticks ticks; written by oracles/run.sh"
    python3 -c '
import itertools, sys
for line in sys.stdin:
    print(" ".join(f"{word}x{len(list(group))}" for word, group in itertools.groupby(line.split())))' < "$work/decisions"
  } > "$work/fixture"
  case $mode in
    write) cp "$work/fixture" "$fixtures/$oracle.txt" ;;
    check) diff "$fixtures/$oracle.txt" "$work/fixture" > "$work/diff" \
      || { echo "$fixtures/$oracle.txt is not what $version decides: $oracles/run.sh write" >&2; exit 1; } ;;
  esac
  echo "$oracle: $version: $(traces "$oracle" "$cases" "$ticks" --against "$work/decisions" | tail -1)"
done
