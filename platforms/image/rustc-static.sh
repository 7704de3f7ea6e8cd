#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER for `make static`: links the function's binary statically, and
# hands every other call on as it is. `cargo rustc` would hand such flags to the last step too, but
# chooses features for one package only: burn and half of the crates would be compiled once more.
# This way the everyday build's crates serve; only the rooms themselves are compiled again. Cargo
# looks at the name of this file, not into it: `touch function/src/main.rs` after a change of the
# flags.
set -eu

rustc=$1
shift
case " $* " in
  *" --crate-name eye_state "*" --crate-type bin "*)
    set -- "$@" -C target-feature=+crt-static -C strip=symbols
    # rustc links x86-64 Linux with its own LLD, which packs relocations and folds equal functions:
    # over half a megabyte less. Elsewhere it takes the system's linker, which knows neither.
    case $STATIC_TARGET in
      x86_64-*) set -- "$@" -C link-arg=-Wl,--pack-dyn-relocs=relr -C link-arg=-Wl,--icf=all ;;
    esac ;;
esac
exec "$rustc" "$@"
