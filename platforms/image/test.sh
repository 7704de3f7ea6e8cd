#!/usr/bin/env bash
# Runs the image the way the pod spec does (read-only, no capabilities, not root, half a gigabyte)
# and has it classify an image: image-test.sh IMAGE
set -euo pipefail
cd "$(dirname "$0")/../.."
image=$1
tool=${CONTAINER_TOOL:-podman}
port=${PORT:-28080}
# Of the built-in model, whose weights are 2 MB; larger ones set their own.
limit=${IMAGE_LIMIT:-14000000}
sample=${SAMPLE:-$(find function/samples -name '*.jpg' -o -name '*.png' | sort | head -1)}

[ "$tool" != buildah ] || { echo "buildah builds but does not run services: install podman or docker" >&2; exit 1; }
size=$($tool image inspect --format '{{.Size}}' "$image")
user=$($tool image inspect --format '{{.Config.User}}' "$image")
echo "$image: $size bytes, user $user"
[ "$size" -lt "$limit" ] || { echo "the image is over $limit bytes: with a larger model, set IMAGE_LIMIT" >&2; exit 1; }
[ "$user" = 65532:65532 ] || { echo "the image does not run as 65532" >&2; exit 1; }
# No shell, no library, nothing else: docker adds empty files to mount over, which are no part of
# the image.
created=$($tool create "$image")
files=$($tool export "$created" | tar --list | grep -vE '/$|^\.dockerenv$|^etc/|^(dev|run|proc|sys)' | sort | xargs)
$tool rm "$created" >/dev/null
[ "$files" = "eye-state eye-state.cdx.json eye-state.licenses.txt" ] || { echo "the image holds more than the function: $files" >&2; exit 1; }

name=eye-state-image-test-$$
trap '$tool rm --force "$name" >/dev/null 2>&1 || true' EXIT
# shellcheck disable=SC2086 # RUN_FLAGS is a list: what this machine's runtime needs besides
$tool run --detach --name "$name" --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
  --env PORT="$port" ${RUN_FLAGS:-} "$image" >/dev/null
for _ in $(seq 100); do curl --silent --fail "http://127.0.0.1:$port/readyz" >/dev/null && break; sleep 0.1; done
[ "$($tool inspect --format '{{.State.Running}}' "$name")" = true ] || { $tool logs "$name" >&2; echo "it did not stay up: is port $port taken? Set PORT" >&2; exit 1; }
curl --silent --show-error --fail --data-binary "@$sample" --header 'Content-Type: application/octet-stream' \
  "http://127.0.0.1:$port/classify"
echo
$tool stop --time 30 "$name" >/dev/null
code=$($tool inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || { echo "it exited with $code after SIGTERM, not 0" >&2; exit 1; }
echo "it ran read-only as a plain user, answered, and ended with 0 on SIGTERM"
