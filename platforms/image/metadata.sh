#!/bin/sh
# The metadata of an image: prints NAME=value lines for its labels and its list of parts.
#
# MODEL          the ONNX file that is compiled in; empty is the one in model-import/weights/int8
# MODEL_LICENSE  its licence as an SPDX expression; empty is what MODEL.license beside it says
#                (one line, `SPDX-License-Identifier: …`, as REUSE has it)
set -eu

model=${MODEL:-$(ls model-import/weights/int8/*.onnx)}
[ -f "$model" ] || { echo "metadata.sh: there is no model at '$model': give MODEL=path/to/best.onnx" >&2; exit 66; }

licence=${MODEL_LICENSE:-}
if [ -z "$licence" ] && [ -f "$model.license" ]; then
  licence=$(sed -n 's/^SPDX-License-Identifier: *//p' "$model.license")
fi
if [ -z "$licence" ]; then
  # A custom SPDX name for "not stated", which is not the same as no licence.
  licence=LicenseRef-model-licence-not-stated
  echo "metadata.sh: the licence of $model is not stated: set MODEL_LICENSE=SPDX-expression" >&2
fi

sum=$(sha256sum "$model" | cut -d ' ' -f 1)
code=$(sed -n 's/^license = "\(.*\)"/\1/p' Cargo.toml | head -1)
# `A AND (B OR C)`: an expression with an operator keeps its meaning only in brackets.
case $licence in
  *' '*) both="$code AND ($licence)" ;;
  *) both="$code AND $licence" ;;
esac
cat <<END
CODE_LICENSE=$code
MODEL_NAME=$(basename "$model" .onnx)
MODEL_VERSION=$(echo "$sum" | cut -c 1-12)
MODEL_SHA256=$sum
MODEL_LICENSE=$licence
LICENSES=$both
END
