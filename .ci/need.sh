#!/usr/bin/env bash
# Looks whether tools are here and new enough: need.sh [--or TEXT] TOOL...
#
# Says of each that is not what is wrong and what helps, in one line, and fails. TEXT is what helps
# besides. Make's targets and platforms/doctor.sh ask it, so that both say the same.
set -euo pipefail
. "${0%/*}/../platforms/versions.env"

# From here on Go fetches the version that a module asks for, unless it is told not to.
GO_THAT_FETCHES=1.21

failed=0 or=
if [ "${1:-}" = --or ]; then
  or=", or $2"
  shift 2
fi

wrong() { echo "$1: $2$or" >&2; failed=1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { printf '%s\n' "$1" "$2" | sort -V -C; }

# The first number with points in it that a command prints.
version() {
  if [[ $("$@" 2>/dev/null) =~ [0-9]+(\.[0-9]+)+ ]]; then echo "${BASH_REMATCH[0]}"; else echo 0; fi
}

# there TOOL REMEDY [LEAST]
there() {
  local found
  if ! have "$1"; then
    wrong "$1 is missing" "$2"
  elif [ -n "${3:-}" ]; then
    found=$(version "$1" --version)
    at_least "$3" "$found" || wrong "$1 $found is too old" "$2"
  fi
}

go_suffices() {
  at_least "$GO_AT_LEAST" "$1" && return
  at_least "$GO_THAT_FETCHES" "$1" || return 1
  case $(go env GOTOOLCHAIN 2>/dev/null) in auto | *+auto) return 0 ;; *) return 1 ;; esac
}

for tool; do
  case $tool in
    cargo) there "${CARGO:-cargo}" "install Rust from https://rustup.rs" ;;
    rustup) there rustup "install Rust from https://rustup.rs (distributions' cargo comes without it)" ;;
    cc) there cc "install a C compiler (Debian: apt-get install build-essential)" ;;
    python3) there python3 "install Python $PYTHON_AT_LEAST or newer (Debian: apt-get install python3)" "$PYTHON_AT_LEAST" ;;
    venv | venv=*) # of python3, or of another Python
      python=${tool#venv} python=${python#=} python=${python:-python3}
      "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        wrong "$python cannot make environments" "install python3-venv (Debian: apt-get install python3-venv)" ;;
    go)
      remedy="install Go $GO_AT_LEAST or newer from https://go.dev/dl ($GO_THAT_FETCHES fetches it by itself unless GOTOOLCHAIN=local)"
      if ! have go; then
        wrong "go is missing" "$remedy"
      else
        found=$(version go version)
        go_suffices "$found" || wrong "go $found is too old" "$remedy"
      fi ;;
    node) there node "install Node.js $NODE_AT_LEAST or newer from https://nodejs.org" "$NODE_AT_LEAST" ;;
    npm) there npm "it comes with Node.js from https://nodejs.org (Debian: apt-get install npm)" ;;
    chromium)
      [ -n "${CHROMIUM:-}" ] || have chromium || have chromium-browser || have google-chrome ||
        wrong "chromium is missing" "install it (Debian: apt-get install chromium) or set CHROMIUM=/path/to/it" ;;
    curl | ffmpeg) there "$tool" "install it (Debian: apt-get install $tool)" ;;
    nightly)
      # By the host's name: one with a date in its name is not what +nightly takes.
      [[ $'\n'$(rustup toolchain list 2>/dev/null) == *$'\n'nightly-[a-z]* ]] ||
        wrong "a nightly toolchain of Rust is missing" "rustup toolchain install nightly --profile minimal" ;;
    miri)
      # Miri compiles the standard library from its source.
      components=$(rustup component list --toolchain nightly --installed 2>/dev/null || true)
      [[ $components == *miri* && $components == *rust-src* ]] ||
        wrong "Miri is missing" "rustup toolchain install nightly --profile minimal --component miri --component rust-src" ;;
    libjpeg)
      printf '#include <stdio.h>\n#include <jpeglib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ||
        wrong "libjpeg-turbo's headers are missing" "install them (Debian: apt-get install libjpeg62-turbo-dev, Ubuntu: libjpeg-turbo8-dev)" ;;
    aarch64-linux-gnu-gcc) there "$tool" "install it (Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)" ;;
    qemu-aarch64-static) there "$tool" "install it (Debian: apt-get install qemu-user-static)" ;;
    aarch64-unknown-linux-gnu)
      [[ $(rustup target list --installed 2>/dev/null) == *"$tool"* ]] ||
        wrong "Rust's target $tool is missing" "rustup target add $tool" ;;
    *)
      echo "need.sh: it knows no $tool" >&2
      exit 64 ;;
  esac
done
exit "$failed"
