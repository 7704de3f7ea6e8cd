#!/bin/sh
# Builds the function as one static binary, with its list of parts and their licences:
# build-static.sh ARCH OUT. Run by the Containerfile and by `make static`; ARCH is amd64 or arm64,
# as container tools spell it.
# Static against glibc, not musl: the same allocator and string functions as everything measured in
# this repository.
set -eu

arch=$1 out=$2
host=$(rustc -vV | sed -n 's/^host: //p')
case $arch in
  amd64) target=x86_64-unknown-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu ;;
  *) echo "build-static.sh: unknown architecture '$arch': use amd64 or arm64" >&2; exit 64 ;;
esac
built=${CARGO_TARGET_DIR:-target}/release
# Everything for this machine's own architecture comes from the everyday build (function/room.mk).
set --

if [ "$target" != "$host" ]; then
  gcc=${target%%-*}-linux-gnu-gcc
  # Only in a throw-away build container: fetch what crossing to another architecture takes.
  if [ "${CROSS:-}" = install ]; then
    apt-get update -qq && apt-get install -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    rustup target add "$target"
  fi
  command -v "$gcc" >/dev/null || { echo "build-static.sh: $gcc is missing: apt-get install gcc-aarch64-linux-gnu" >&2; exit 69; }
  export "CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER=$gcc"
  set -- --target "$target"
  built=${CARGO_TARGET_DIR:-target}/$target/release
fi
RUSTC_WORKSPACE_WRAPPER=$PWD/platforms/image/rustc-static.sh STATIC_TARGET=$target \
  cargo build --release --locked --workspace --bin eye-state "$@"

mkdir -p "$out"
cp "$built/eye-state" "$out/eye-state"
platforms/image/sbom.sh "$target" >"$out/eye-state.cdx.json"
platforms/image/notices.sh "$target" >"$out/eye-state.licenses.txt"
