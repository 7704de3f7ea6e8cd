#!/bin/sh
# What is linked into the function's binary: parts.sh TARGET prints for each part, for sbom.sh and
# notices.sh, a line `KIND|NAME|VERSION|LICENCE|REPOSITORY`. KIND is `own` for the crates of this
# repository, `cargo` for those of the registry, and `generic` for what is no crate.
#
# From `cargo tree`, which resolves features as the build does: for the whole workspace, of which
# the function's part is taken. The generators at hand go by `cargo metadata` instead, and list
# every optional dependency: CUDA, ROCm and WebGPU for a function that has none of them.
set -eu

crates=$(cargo tree --locked --workspace --target "$1" --edges normal,no-proc-macro --prefix depth --no-dedupe --format '|{p}|{l}|{r}' |
  awk -F '|' '
    # At depth 0 are the crates of the workspace.
    $1 == "0" { within = $2 ~ /^eye-state / }
    within && NF > 3 && !seen[$2]++ {
      split($2, part, " ")
      # Only a crate of this repository is named with its folder.
      kind = part[3] ~ /^\(\// ? "own" : "cargo"
      licence = $3
      # How old crates write OR.
      gsub(/ *\/ */, " OR ", licence)
      print kind "|" part[1] "|" substr(part[2], 2) "|" licence "|" $4
    }')
[ -n "$crates" ] || { echo "parts.sh: cargo tree lists no dependencies of eye-state for $1" >&2; exit 1; }

# glibc is that of the machine that builds. The one for another architecture comes from the same
# release of its distribution.
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
rust=$(rustc -vV | sed -n 's/^release: //p')
{
  printf '%s\n' "$crates"
  echo "generic|glibc|$glibc|LGPL-2.1-or-later|https://sourceware.org/glibc/"
  echo "generic|rust-std|$rust|MIT OR Apache-2.0|https://github.com/rust-lang/rust"
} | LC_ALL=C sort -t '|' -k 2,2 -k 3,3
