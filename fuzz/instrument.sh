#!/bin/sh
# Compiles this project's crates for libFuzzer: cargo calls it in place of rustc for workspace
# members (RUSTC_WORKSPACE_WRAPPER), with rustc and its arguments. The flags are cargo-fuzz's.
#
# model-import is also part of a build script, which is linked without libFuzzer: there the calls
# go to functions that do nothing.
rustc=$1
shift
case " $* " in
*" --crate-name build_script_build "*)
    set -- "$@" "-Clink-arg=$(dirname "$0")/no_fuzzer.c"
    ;;
*" --crate-name eye_state "* | *" --crate-name model_import "* | *" --crate-name fuzz "*)
    set -- "$@" -Cpasses=sancov-module -Cdebug-assertions \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
