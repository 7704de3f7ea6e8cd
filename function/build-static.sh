#!/bin/sh
# Builds the function as one static binary, with its list of parts: build-static.sh ARCH OUT
# Run by the Containerfile and by `make static`; ARCH is amd64 or arm64, as container tools spell it.
# Static against glibc rather than musl: musl's allocator and memcpy cost a threaded function dearly.
set -eu

arch=$1 out=$2
case $arch in
  amd64) target=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu-gcc ;;
  arm64) target=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu-gcc ;;
  *) echo "build-static.sh: unknown architecture '$arch': use amd64 or arm64" >&2; exit 64 ;;
esac
var=$(echo "$target" | tr 'a-z-' 'A-Z_')

# Only in a throw-away build container: fetch what crossing to another architecture takes.
host=$(rustc -vV | sed -n 's/^host: //p')
if [ "$target" != "$host" ]; then
  export "CARGO_TARGET_${var}_LINKER=$gcc"
  if [ "${CROSS:-}" = install ]; then
    apt-get update -qq && apt-get install -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    rustup target add "$target"
  fi
  command -v "$gcc" >/dev/null || { echo "build-static.sh: $gcc is missing: apt-get install gcc-aarch64-linux-gnu" >&2; exit 69; }
fi
[ "${SBOM:-}" = install ] && . function/platforms/versions.env && cargo install --locked "cargo-cyclonedx@$CARGO_CYCLONEDX_VERSION"

# With --target, these flags reach the function but not the build scripts and the code generator.
export "CARGO_TARGET_${var}_RUSTFLAGS=-C target-feature=+crt-static -C strip=symbols"
cargo build --release --locked --package eye-state --bin eye-state --target "$target"

mkdir -p "$out"
cp "${CARGO_TARGET_DIR:-target}/$target/release/eye-state" "$out/eye-state"

# The list of parts covers what is linked for this target, not what only the build used.
cargo cyclonedx --manifest-path function/Cargo.toml --format json --spec-version 1.5 --target "$target" \
  --no-build-deps --override-filename eye-state.cdx --quiet
mv function/eye-state.cdx.json "$out/"
# It is written beside every member of the workspace; only the function's is wanted.
find . -name eye-state.cdx.json -not -path './target/*' -not -path "./$out/*" -delete
