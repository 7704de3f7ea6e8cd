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
declare -A size=([hpa]="24 2000" [hpa-external]="24 1000" [kpa]="24 2000" [vpa]="6 400")
declare -A module=([hpa]=k8s.io/kubernetes [hpa-external]=k8s.io/kubernetes [kpa]=knative.dev/serving [vpa]=k8s.io/autoscaler/vertical-pod-autoscaler)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
traces() { "${CARGO:-cargo}" run --quiet --release -p simulator --example oracle_traces -- "$@"; }
for oracle in ${ONLY:-hpa hpa-external kpa vpa}; do
  read -r cases ticks <<< "${size[$oracle]}"
  folder=$oracles/${oracle%-external}
  [ "$mode" = compare ] && cases=${CASES:-$cases}
  traces "$oracle" "$cases" "$ticks" > "$work/trace"
  (cd "$folder" && go test -vet=off -count=1 . -args "$work/trace" "$work/decisions") > "$work/log" 2>&1 \
    || { cat "$work/log" >&2; exit 1; }
  version=$(cd "$folder" && go list -m -f '{{.Path}} {{.Version}}' "${module[$oracle]}")
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
