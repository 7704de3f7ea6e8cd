"""make cluster, with stand-ins for kind, kubectl and the others: no cluster is started, what is asked of them is written down."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import render

SCRIPT = render.ROOT / "platforms/kind/cluster.sh"
# All that it calls of the system, and nothing else: so that a tool can be missing.
SYSTEM = ("dirname", "grep", "mktemp", "rm")
TOOLS = ("kind", "kubectl", "openssl", "git", "kustomize")


def up(folder: Path, missing: str = "", namespaces: bool = True) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs it where one tool is missing, and where every namespace is there or none is; also every call of a tool."""
    for name in SYSTEM:
        (folder / name).symlink_to(shutil.which(name))
    (folder / "calls").write_text("")
    for name in TOOLS:
        tool = folder / name
        answer = "" if namespaces else 'case "$*" in *"get namespace"*) exit 1 ;; esac\n'
        tool.write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/calls\n{answer}')
        tool.chmod(0o755)
    if missing:
        (folder / missing).unlink()
    environment = {"PATH": str(folder), "KUSTOMIZE": str(folder / "kustomize"), "HOME": os.environ["HOME"]}
    done = subprocess.run([shutil.which("bash"), SCRIPT, "up"], env=environment, capture_output=True, text=True)
    return done, (folder / "calls").read_text().splitlines()


def test_the_vpa_is_fetched_with_more_time_than_kustomize_gives_by_itself(tmp_path: Path) -> None:
    done, calls = up(tmp_path)
    assert done.returncode == 0, done.stderr
    (fetched,) = [call for call in calls if " -k " in call]
    version = render.versions()["VPA_VERSION"]
    assert fetched.endswith(f"//vertical-pod-autoscaler/deploy?ref=vertical-pod-autoscaler-{version}&timeout=300s")


@pytest.mark.parametrize("tool", ["kind", "kubectl", "openssl", "git"])
def test_a_missing_tool_is_named_before_anything_is_started(tmp_path: Path, tool: str) -> None:
    done, calls = up(tmp_path, missing=tool)
    assert done.returncode != 0 and f"{tool} is missing: make doctor" in done.stderr
    assert calls == []
    assert f"have {tool}" in (render.ROOT / "platforms/doctor.sh").read_text() or tool == "kubectl"


@pytest.mark.parametrize("there", [True, False])
def test_the_namespace_of_the_adapter_is_marked_where_it_is_made_here(tmp_path: Path, there: bool) -> None:
    done, calls = up(tmp_path, namespaces=there)
    assert done.returncode == 0, done.stderr
    assert any("annotate namespace monitoring" in call and "nv-micro/made-by=" in call for call in calls) != there
