#!/usr/bin/env bash
# Signs what `make image-push` pushed, and attaches each architecture's list of parts: sign.sh
# IMAGE:TAG By digest: a tag may point elsewhere tomorrow. Without COSIGN_FLAGS='--key …' the
# signature is that of the workflow's own identity
# (https://docs.sigstore.dev/cosign/signing/overview).
set -euo pipefail
cosign=${COSIGN:-cosign}
tool=${CONTAINER_TOOL:-buildah}
repository=${1%:*}
read -ra flags <<<"${COSIGN_FLAGS:-}"
index=$repository@$(cat target/image/digest)

# The index and the image of each architecture.
"$cosign" sign --yes --recursive "${flags[@]}" "$index"
"$tool" manifest inspect "$index" |
  python3 -c 'import json, sys
for image in json.load(sys.stdin)["manifests"]: print(image["platform"]["architecture"], image["digest"])' |
  while read -r arch digest; do
    "$cosign" attest --yes --type cyclonedx --predicate "target/image/$arch/eye-state.cdx.json" "${flags[@]}" "$repository@$digest" </dev/null
  done
