#!/bin/sh
# The list of parts of the function's binary, as CycloneDX 1.5 JSON: sbom.sh TARGET
# MODEL and MODEL_LICENSE choose the model as they do for the build (metadata.sh).
set -eu

parts=$(platforms/image/parts.sh "$1")
metadata=$(platforms/image/metadata.sh)
value() { echo "$metadata" | sed -n "s/^$1=//p"; }

printf '%s\n' "$parts" | awk -F '|' -v licences="$(value LICENSES)" -v model="$(value MODEL_NAME)" \
  -v model_version="$(value MODEL_VERSION)" -v model_sum="$(value MODEL_SHA256)" -v model_licence="$(value MODEL_LICENSE)" '
  # Checksums of the crates, from the lock file.
  BEGIN {
    while ((getline line < "Cargo.lock") > 0) {
      split(line, word, "\"")
      if (line ~ /^name = /) name = word[2]
      if (line ~ /^version = /) version = word[2]
      if (line ~ /^checksum = /) sha[name " " version] = word[2]
    }
  }
  {
    name = $2; version = $3; licence = $4
    if (name == "eye-state") { own = version; next }
    # The version of glibc is not known everywhere.
    id = "pkg:" ($1 == "generic" ? "generic/" : "cargo/") name (version != "" ? "@" version : "")
    out = out (out ? ",\n" : "") sprintf("    {\"type\": \"library\", \"bom-ref\": \"%s\", \"name\": \"%s\"", id, name)
    if (version != "") out = out sprintf(", \"version\": \"%s\"", version)
    out = out sprintf(", \"purl\": \"%s\"", id)
    if (licence) out = out sprintf(", \"licenses\": [{\"expression\": \"%s\"}]", licence)
    if (sha[name " " version]) out = out sprintf(", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}]", sha[name " " version])
    out = out "}"
  }
  END {
    # The weights are part of the binary, with a licence of their own.
    out = out sprintf(",\n    {\"type\": \"machine-learning-model\", \"bom-ref\": \"model\", \"name\": \"%s\", \"version\": \"%s\", \"licenses\": [{\"expression\": \"%s\"}], \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}]}", model, model_version, model_licence, model_sum)
    print "{\n  \"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.5\", \"version\": 1,"
    printf "  \"metadata\": {\"component\": {\"type\": \"application\", \"bom-ref\": \"eye-state\", \"name\": \"eye-state\", \"version\": \"%s\", \"licenses\": [{\"expression\": \"%s\"}]}},\n", own, licences
    print "  \"components\": [\n" out "\n  ]\n}"
  }'
