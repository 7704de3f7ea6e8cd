#!/bin/sh
# The licences of everything that is in the function's binary, with their texts: notices.sh TARGET
# MIT, BSD, Apache-2.0 and most others ask that their text and the copyright lines come with each
# copy of the binary. AGPL-3.0 and LGPL-2.1 ask for a copy of the licence.
#
# MODEL, MODEL_LICENSE  choose the model as they do for the build (metadata.sh)
# SOURCE_URL            the address of the repository
# GLIBC_NOTICES         the notices of glibc; empty is where distributions put them
# RUST_NOTICES          those of the standard library of Rust; empty is where rustup puts them
set -eu
# Texts are bytes here, and their order is the same everywhere.
LC_ALL=C
export LC_ALL

target=$1
fail() { echo "notices.sh: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

platforms/image/parts.sh "$target" >"$work/parts"
metadata=$(platforms/image/metadata.sh)
value() { echo "$metadata" | sed -n "s/^$1=//p"; }
code=$(value CODE_LICENSE)
source=${SOURCE_URL:-not stated when this was built: ask where you have it from}
# Fields of a part that parts.sh prints.
version() { sed -n "s/^[a-z]*|$1|\([^|]*\)|.*/\1/p" "$work/parts"; }
licence() { sed -n "s/^[a-z]*|$1|[^|]*|\([^|]*\)|.*/\1/p" "$work/parts"; }
repository() { sed -n "s/^[a-z]*|$1|[^|]*|[^|]*|//p" "$work/parts"; }

# What notices.awk reads. No function that calls these may run in a pipe: its failure would end only
# the pipe.
part() { printf 'part\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4"; } # NAME LICENCE SOURCE NOTE
text() { # LABEL FILE
  [ -f "$2" ] || fail "a text that has to come with the binary is missing: $2"
  printf 'text\t%s\t%s\n' "$1" "$2"
}

# Where the text of a licence is, or belongs, by its SPDX identifier. That of the code has the name
# that people and forges look for.
text_of() {
  if [ "$1" = "$code" ]; then echo LICENSE; return; fi
  # GNU's licences have one text, whether later versions may be chosen or not.
  gnu=${1%-only}
  gnu=${gnu%-or-later}
  for file in "LICENSES/$1.txt" "LICENSES/$gnu-only.txt" "LICENSES/$gnu-or-later.txt"; do
    if [ -f "$file" ]; then echo "$file"; return; fi
  done
  echo "LICENSES/$1.txt"
}

# The first licence of `A OR B` whose text is in this repository.
standard_of() {
  printf '%s\n' "$1" | awk -F ' OR ' '{ for (n = 1; n <= NF; n++) print $n }' |
    while read -r id; do if [ -f "$(text_of "$id")" ]; then echo "$id"; break; fi; done
}

model() {
  licence=$(value MODEL_LICENSE)
  part "$(value MODEL_NAME) $(value MODEL_VERSION)" "$licence" "" "The weights of the network."
  # shellcheck disable=SC2046 # an expression is a list of words
  for word in $(echo "$licence" | tr '()' '  '); do
    case $word in OR | AND | WITH) continue ;; esac
    file=$(text_of "$word")
    if [ -f "$file" ]; then
      text "$word" "$file"
    else
      case $word in
        *GPL-*) fail "the model is under $word, whose text has to come with every copy: put it into $file" ;;
        # metadata.sh has said so.
        LicenseRef-model-licence-not-stated) ;;
        *) echo "notices.sh: the text of the model's licence is left out: put it into $file" >&2 ;;
      esac
    fi
  done
}

jpeg() {
  part "libjpeg" "IJG" "https://libjpeg-turbo.org" \
    "The JPEG decoder's inverse DCT, upsampling and colours follow jidctint.c, jdsample.c and jdcolor.c."
  text README LICENSES/IJG.txt
}

glibc() {
  notices=${GLIBC_NOTICES:-}
  # Debian and its descendants; Fedora.
  for file in /usr/share/doc/libc6/copyright /usr/share/licenses/glibc/LICENSES; do
    if [ -z "$notices" ] && [ -f "$file" ]; then notices=$file; fi
  done
  [ -f "$notices" ] || fail "the notices of glibc are not found: set GLIBC_NOTICES to the file LICENSES of its source"
  part "glibc $(version glibc)" "$(licence glibc)" "$(repository glibc)" "Linked statically. How to change it is said above."
  text LGPL-2.1 "$(text_of LGPL-2.1-or-later)"
  text "notices of its parts" "$notices"
}

# The toolchain brings one page for the library and every crate in it, on all systems. Its texts
# become files of their own, and what is left is one more.
rust() {
  page=${RUST_NOTICES:-$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html}
  [ -f "$page" ] || fail "the notices of Rust's standard library are not at $page: install Rust by rustup, or set RUST_NOTICES"
  awk -v folder="$work" '
    function plain(line) {
      gsub(/<[^>]*>/, "", line)
      gsub(/&#60;|&lt;/, "<", line); gsub(/&#62;|&gt;/, ">", line)
      gsub(/&#34;|&quot;/, "\"", line); gsub(/&#39;/, "\047", line); gsub(/&#38;|&amp;/, "\\&", line)
      return line
    }
    function trimmed(line) { sub(/^[ \t]+/, "", line); sub(/[ \t\r]+$/, "", line); return line }
    # Before it is the table of contents.
    /id="short-version"/ { begun = 1 }
    !begun { next }
    # Name and version, after a picture of a parcel.
    /<h3>/ { crate = trimmed(plain($0)); sub(/^[^A-Za-z0-9]*/, "", crate); print "\n" crate > (folder "/rust.page"); next }
    /<summary>/ { label = trimmed(plain($0)) }
    /<pre>/ { within = 1; count++; file = folder "/rust." count }
    within { print plain($0) > file }
    /<\/pre>/ { within = 0; close(file); print "text\t" crate " " label "\t" file; next }
    !within && trimmed(plain($0)) != "" { print trimmed(plain($0)) > (folder "/rust.page") }
  ' "$page" >"$work/rust.texts"
  [ -s "$work/rust.texts" ] || fail "no licence was found in $page: is it COPYRIGHT-library.html of the toolchain?"
  part "rust-std $(version rust-std)" "$(licence rust-std)" "$(repository rust-std)" \
    "The standard library of Rust, with what is in it on any system."
  text COPYRIGHT-library "$work/rust.page"
  cat "$work/rust.texts"
  # What the page names for files of the library itself.
  for id in Apache-2.0 LLVM-exception Unicode-3.0; do text "$id" "$(dirname "$page")/licenses/$id.txt"; done
}

registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
# Where cargo keeps the source of a crate: NAME VERSION
folder_of() { for folder in "$registry"/*/"$1-$2"; do if [ -d "$folder" ]; then echo "$folder"; break; fi; done; }
# The commit that it was published from.
commit_of() { sed -n 's/.*"sha1": *"\([0-9a-f]*\)".*/\1/p' "$1/.cargo_vcs_info.json" 2>/dev/null || true; }
# Its licences and notices, relative to its folder. Those in subfolders are of code that it took
# over.
files_of() {
  (cd "$1" && find . -type f \( -iname 'LICENSE*' -o -iname 'LICENCE*' -o -iname 'UNLICENSE*' \
    -o -iname 'COPYING*' -o -iname 'COPYRIGHT*' -o -iname 'NOTICE*' \) ! -name '*.rs' \
    ! -path './tests/*' ! -path './benches/*' ! -path './examples/*') | sed 's|^\./||' | sort
}
has_own() { grep -qv / "$1"; } # a list of files_of
authors_of() {
  awk '
    /^authors *= *\[/ { within = 1; sub(/^authors *= *\[/, "") }
    within { all = all $0; if (/\] *$/) exit }
    END {
      gsub(/"/, "", all); sub(/[ ,]*\] *$/, "", all); gsub(/ *, */, ", ", all); sub(/^ +/, "", all)
      print (all == "" ? "not stated" : all)
    }' "$1/Cargo.toml"
}

# For crates without a licence: `COMMIT|LICENCE|NAME VERSION|FOLDER` of those that have one.
commits() {
  while IFS='|' read -r kind name version licence _; do
    [ "$kind" = cargo ] || continue
    folder=$(folder_of "$name" "$version")
    [ -n "$folder" ] || fail "the source of $name $version is not in $registry: set CARGO_HOME to cargo's folder; a vendored copy is not looked for"
    commit=$(commit_of "$folder")
    files_of "$folder" >"$work/files"
    if [ -n "$commit" ] && has_own "$work/files"; then echo "$commit|$licence|$name $version|$folder"; fi
  done <"$work/parts"
}

crate() { # NAME VERSION LICENCE REPOSITORY
  folder=$(folder_of "$1" "$2")
  files_of "$folder" >"$work/files"
  if has_own "$work/files"; then
    part "$1 $2" "$3" "$4" ""
  else
    authors=$(authors_of "$folder")
    commit=$(commit_of "$folder")
    other=
    [ -z "$commit" ] || other=$(grep -F "$commit|$3|" "$work/commits" | head -n 1)
    if [ -n "$other" ]; then
      from=${other##*|}
      other=${other%|*}
      other=${other##*|}
      part "$1 $2" "$3" "$4" "It has no licence file: the texts are of $other, from the same commit. Authors: $authors"
      files_of "$from" >"$work/others"
      while read -r file; do
        case $file in */*) ;; *) text "$file of $other" "$from/$file" ;; esac
      done <"$work/others"
    else
      id=$(standard_of "$3")
      [ -n "$id" ] || fail "$1 $2 has no licence file, and LICENSES has no text for '$3': put one there, named as SPDX names it"
      part "$1 $2" "$3" "$4" "It has no licence file: the text is that of $id. Authors: $authors"
      text "$id" "$(text_of "$id")"
    fi
  fi
  while read -r file; do text "$file" "$folder/$file"; done <"$work/files"
}

commits >"$work/commits"
{
  part "eye-state $(version eye-state)" "$code" "${SOURCE_URL:-}" "The program itself."
  text "$code" "$(text_of "$code")"
  model
  jpeg
  glibc
  rust
  while IFS='|' read -r kind name version licence repository; do
    case $kind,$name in
      own,eye-state | generic,*) ;;
      own,*) part "$name $version" "$licence" "${SOURCE_URL:-}" "A part of the program."; text "$licence" "$(text_of "$licence")" ;;
      *) crate "$name" "$version" "$licence" "$repository" ;;
    esac
  done <"$work/parts"
} >"$work/records"

cat <<END
Licences of eye-state
=====================

eye-state $(version eye-state) for $target is one file. Here are its parts with their licences, and
then the texts of these licences. eye-state.cdx.json lists the same parts for programs.

Licence of the whole: $(value LICENSES)
Source: $source

This software is based in part on the work of the Independent JPEG Group.

It is linked statically with glibc $(version glibc), the GNU C Library, which is under
$(licence glibc). You may change glibc and link eye-state with it: the repository named above
as the source has everything that it takes. \`make static\` there builds eye-state with the libc.a of
the machine that it runs on. The source of glibc is at $(repository glibc) and at the
distribution that it was built on.

The linker adds parts of libgcc, which are under GPL-3.0-or-later WITH GCC-exception-3.1. The
exception leaves the licence of the whole as it is.

END
awk -f platforms/image/notices.awk "$work/records"
