#!/usr/bin/env bash
# Does the load generator measure what an independent one does? A server that answers after 10 ms, a
# constant rate, this generator and oha in turn, three times each. Needs oha (cargo install oha).
#
#     comparison/load-check.sh [REQUESTS_A_SECOND] [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-500} seconds=${2:-10} port=${PORT:-9911} oha=${OHA:-oha} built=${RELEASE_DIR:-target/release}
command -v "$oha" >/dev/null || { echo "oha is missing: cargo install oha, or OHA=path" >&2; exit 1; }
picture=function/samples/open.jpg
work=$(mktemp -d)
"$built/examples/constant_server" "$port" 10 & server=$!
trap 'kill $server; rm -r "$work"' EXIT
mkdir "$work/any"
cp "$picture" "$work/any/"
cat > "$work/constant.toml" <<END
title = "Constant"
about = ""
slo_ms = 500
timeout_ms = 5000
[images]
any = 1.0
[rate]
points = [[0, 1], [$seconds, 1]]
END
sleep 0.5
for turn in 1 2 3; do
  echo "comparison $turn: $("$built/comparison" load --scenario constant --scenarios "$work" --images "$work" --seed "$turn" \
    --scale "$rate" --url "http://127.0.0.1:$port/" | grep latency)"
  "$oha" --no-tui --output-format json -q "$rate" -z "${seconds}s" -c 100 --latency-correction -m POST -T image/jpeg -D "$picture" \
    "http://127.0.0.1:$port/" | python3 -c '
import json, sys
p = json.load(sys.stdin)["latencyPercentiles"]
print("oha '"$turn"':        latency   p50 {p50:.2f} ms, p90 {p90:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}".format(
    p50=p["p50"] * 1e3, p90=p["p90"] * 1e3, p99=p["p99"] * 1e3, p999=p["p99.9"] * 1e3))'
done
