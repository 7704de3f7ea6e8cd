#!/usr/bin/env bash
# Makes a Python environment where there is none, and anew where its pip does not run:
# environment.sh FOLDER [PYTHON]
#
# Debian's Python without python3-venv leaves a folder with a Python and without pip, and a new
# Python does not find what was installed for the old one.
set -euo pipefail
folder=${1:?environment.sh FOLDER [PYTHON]} python=${2:-python3}
if "$folder/bin/pip" --version >/dev/null 2>&1; then exit; fi

if [ "$python" = python3 ]; then
  "${0%/*}/need.sh" python3
fi
"${0%/*}/need.sh" "venv=$python"
# What was installed goes, and with it what says so. Other environments may lie in the folder and
# stay.
rm -rf "$folder"/{bin,include,lib,lib64,share,pyvenv.cfg,.ready} "$folder"/*.stamp
"$python" -m venv "$folder"
