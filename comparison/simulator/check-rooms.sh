#!/usr/bin/env bash
# Fails when the simulator depends on a crate of this repository that is not named as an argument,
# or on one that does I/O.
set -euo pipefail
cd "$(dirname "$0")/../.."
tree=$(cargo tree -p simulator --edges normal --prefix none --target all)
rooms=$(grep -F "($PWD" <<< "$tree" | cut -d' ' -f1 | sort -u)
for room in $rooms; do
  [[ " $* " == *" $room "* ]] || { echo "the simulator must not depend on $room (comparison/README.md)" >&2; exit 1; }
done
for crate in tokio hyper mio socket2 rustix libc getrandom; do
  ! grep -q "^$crate v" <<< "$tree" || { echo "the simulator must not depend on $crate: no I/O, no clock" >&2; exit 1; }
done
