"""`make doctor` tells a machine that can build and check from one that cannot, whether or not that one can deploy.

On a machine that is a folder of programs which only say their versions. What it says of clusters is in
test_cluster_targets.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import render

# What the script itself calls.
BASICS = ("bash", "dirname", "echo", "sed", "sh", "sort", "xargs")
GO = 'case $1 in version) echo "go version go{} linux/amd64" ;; env) echo local ;; esac'
PYTHON = f'case "$*" in *ensurepip*) ;; --version) echo Python 3.12.3 ;; *) exec "{sys.executable}" "$@" ;; esac'
# What building and `make verify` take.
MACHINE = dict.fromkeys(("cargo", "cc", "rustup", "npm", "chromium", "curl", "ffmpeg"), "")
MACHINE |= {"go": GO.format("1.26.3"), "node": "echo v22.1.0", "python3": PYTHON}


def doctor(folder: Path, machine: dict[str, str]) -> tuple[int, str]:
    for name in BASICS:
        (folder / name).symlink_to(shutil.which(name))
    for name, script in machine.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder), "KUBERNETES_PLATFORM": "cluster", "SETTINGS": "defaults", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([render.PLATFORMS / "doctor.sh"], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_machine_that_builds_and_checks_lacks_nothing_though_it_has_no_cluster_and_no_container_tool(tmp_path: Path) -> None:
    code, text = doctor(tmp_path, MACHINE)
    assert "  missing  " not in text and "Nothing is missing." in text, text
    assert code == 0
    assert "note     a container tool\n" in text and "note     kubectl: kubectl is not installed\n" in text


@pytest.mark.parametrize("tool", [name for name in MACHINE if name != "python3"])
def test_a_tool_that_building_or_checking_takes_is_missing_where_it_is_not_there(tmp_path: Path, tool: str) -> None:
    code, text = doctor(tmp_path, {name: script for name, script in MACHINE.items() if name != tool})
    assert code == 1
    assert f"  missing  {tool}: " in text and f"           {tool} is missing: " in text
    assert text.count("  missing  ") == 1


@pytest.mark.parametrize(
    ("tool", "says", "wrong"),
    [
        ("go", GO.format("1.19.8"), "go 1.19.8 is too old: install Go"),
        ("node", "echo v18.19.0", "node 18.19.0 is too old: install Node.js"),
        ("python3", PYTHON.replace("3.12.3", "3.9.2"), "python3 3.9.2 is too old: install Python"),
        ("python3", PYTHON.replace("ensurepip*) ;;", "ensurepip*) exit 1 ;;"), "install python3-venv"),
    ],
)
def test_a_tool_that_does_not_suffice_is_missing_and_its_version_is_said(tmp_path: Path, tool: str, says: str, wrong: str) -> None:
    code, text = doctor(tmp_path, MACHINE | {tool: says})
    assert code == 1
    assert wrong in text and text.count("  missing  ") == 1


def test_what_only_the_weekly_checks_take_is_a_note(tmp_path: Path) -> None:
    code, text = doctor(tmp_path, MACHINE)
    assert code == 0
    for tool in ("nightly", "miri", "aarch64-linux-gnu-gcc", "qemu-aarch64-static"):
        assert f"  note     {tool}: " in text
