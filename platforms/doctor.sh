#!/usr/bin/env bash
# Lists what is missing for building, checking and deploying, and the command that helps. Fails if
# anything is missing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. platforms/versions.env
missing=0

ok() { printf '  ok       %s\n' "$1"; }
bad() { printf '  missing  %s\n           %s\n' "$1" "$2"; missing=1; }
hint() { printf '  note     %s\n           %s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
tool() { if have "$1"; then ok "$1: $2"; else bad "$1: $2" "$3"; fi; }

echo "To build"
tool cargo "compiles the function" "install Rust: https://rustup.rs"
tool cc "links it" "Debian: apt-get install build-essential"
builder=$(platforms/image/tool.sh)
if [ -n "$builder" ]; then ok "$builder: builds the image"; else bad "a container tool" "Debian: apt-get install podman (or buildah, or docker)"; fi

echo "To check the manifests"
tool go "builds kustomize $KUSTOMIZE_VERSION and fetches the schemas" "https://go.dev/dl, or Debian: apt-get install golang"
if python3 -c 'import venv, ensurepip' 2>/dev/null; then ok "python3 with venv: runs the checks"; else bad "python3 with venv" "Debian: apt-get install python3-venv"; fi

echo "To start a cluster of your own (only for make cluster)"
if have kind; then ok "$(kind version)"; else hint "kind $KIND_VERSION" "go install sigs.k8s.io/kind@$KIND_VERSION"; fi
if have openssl; then ok "openssl: makes the VPA webhook's certificate"; else hint "openssl" "Debian: apt-get install openssl"; fi

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
