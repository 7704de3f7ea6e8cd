#!/usr/bin/env bash
# Lists what is missing for building, checking and deploying, and the command that helps. Fails if
# anything is missing that building or checking takes, or that a cluster that answers lacks. Without
# a container tool or a cluster only deploying is impossible, which is noted.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# Which cluster and settings it looks at are make's variables.
[ -n "${KUBERNETES_PLATFORM:-}" ] || exec make --no-print-directory doctor
. platforms/versions.env
missing=0

ok() { printf '  ok       %s\n' "$1"; }
bad() { printf '  missing  %s\n           %s\n' "$1" "$2"; missing=1; }
hint() { printf '  note     %s\n           %s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
# need TOOL WHAT, and want TOOL WHAT where its absence is only noted: .ci/need.sh says what helps.
need() { if wrong=$(.ci/need.sh "$1" 2>&1); then ok "$1: $2"; else bad "$1: $2" "$wrong"; fi; }
want() { if wrong=$(.ci/need.sh "$1" 2>&1); then ok "$1: $2"; else hint "$1: $2" "$wrong"; fi; }

echo "To build, run and test (make build, make run, make test)"
need cargo "compiles everything in Rust"
need cc "links it"

echo "To check (make verify)"
need rustup "adds WebAssembly to the compiler's targets"
need python3 "runs the checks"
need venv "keeps their packages apart"
need go "builds kustomize $KUSTOMIZE_VERSION, promtool and actionlint, fetches schemas, runs the oracles"
need node "runs the tests of the pages, and an example client"
need npm "brings what drives the browser"
need chromium "is the browser"
need curl "runs an example client"
need ffmpeg "gives the camera's client its video"

echo "For the weekly checks (make asan, make miri, make neon, make fuzz)"
want nightly "has the sanitizers of asan and fuzz"
want miri "runs the kernels, one operation at a time"
want libjpeg "is what fuzz compares with"
want aarch64-linux-gnu-gcc "links for neon"
want qemu-aarch64-static "emulates its CPU"
want aarch64-unknown-linux-gnu "is its target"

echo "To build an image (make image)"
builder=$(platforms/image/tool.sh)
if [ -n "$builder" ]; then ok "$builder: builds the image"; else hint "a container tool" "Debian: apt-get install podman (or buildah, or docker)"; fi

echo "To start a cluster of your own (only for make cluster)"
if have kind; then ok "$(kind version)"; else hint "kind $KIND_VERSION" "go install sigs.k8s.io/kind@$KIND_VERSION"; fi
if have openssl; then ok "openssl: makes the VPA webhook's certificate"; else hint "openssl" "Debian: apt-get install openssl"; fi
if have git; then ok "git: kubectl fetches the VPA's manifests with it"; else hint "git" "Debian: apt-get install git"; fi

platforms=$(cd platforms && for file in */tuned/kustomization.yaml; do echo "${file%%/*}"; done | xargs | sed 's/ /, /g')
printf '\nThe current cluster, as PLATFORM=%s SETTINGS=%s (platforms: %s)\n' "$KUBERNETES_PLATFORM" "$SETTINGS" "$platforms"
# What Knative has to allow follows from the manifests; without kustomize they cannot be rendered.
MANIFESTS=
if [ -x "${KUSTOMIZE:-}" ]; then
  MANIFESTS=$(mktemp)
  trap 'rm -f "$MANIFESTS"' EXIT
  "$KUSTOMIZE" build "$(platforms/overlay.sh "$KUBERNETES_PLATFORM" "$SETTINGS")" >"$MANIFESTS"
fi
MANIFESTS=$MANIFESTS platforms/prerequisites.py doctor || missing=1

echo
if [ "$missing" = 0 ]; then echo "Nothing is missing."; else echo "Something is missing: see above." >&2; exit 1; fi
