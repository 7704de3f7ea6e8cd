"""The scripts around the image: where its source is, and how it reaches a node without a registry."""

import os
import subprocess
from pathlib import Path

import pytest

import render

SCRIPTS = render.ROOT / "platforms/image"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/somebody/nv-micro.git", "https://github.com/somebody/nv-micro"),
        ("https://user:secret@git.example/a/b.git", "https://git.example/a/b"),
        ("git@github.com:somebody/nv-micro.git", "https://github.com/somebody/nv-micro"),
        ("ssh://git@git.example:2222/a/b", "https://git.example/a/b"),
        ("/somewhere/on/this/disk", ""),
    ],
)
def test_the_source_is_the_web_address_of_the_clone_without_secrets(tmp_path: Path, remote: str, address: str) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "config", "remote.origin.url", remote], check=True)
    done = subprocess.run([SCRIPTS / "source-url.sh"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == address


def load(folder: Path, context: str) -> subprocess.CompletedProcess:
    """Runs load.sh with tools that only write down how they were called."""
    for name in ("podman", "kind", "k3d", "minikube"):
        tool = folder / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/calls\n')
        tool.chmod(0o755)
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\ncase $1 in config) echo {context} ;; get) echo 192.0.2.7 ;; esac\n')
    kubectl.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "KUBECTL": str(kubectl), "CONTAINER_TOOL": "podman"}
    return subprocess.run([SCRIPTS / "load.sh", "dev.local/eye-state:1"], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("context", "call"),
    [
        ("kind-nv-micro", "kind load image-archive --name nv-micro "),
        ("k3d-mine", "k3d image import --cluster mine "),
        ("minikube", "minikube image load "),
    ],
)
def test_the_image_is_handed_to_a_cluster_that_has_a_tool_for_it(tmp_path: Path, context: str, call: str) -> None:
    done = load(tmp_path, context)
    assert done.returncode == 0, done.stderr
    saved, handed = (tmp_path / "calls").read_text().splitlines()
    assert saved.startswith("podman save --output") and saved.endswith("dev.local/eye-state:1")
    assert handed.startswith(call) and handed.split()[-1] == saved.split()[-2]


def test_any_other_cluster_is_answered_with_the_commands_for_its_nodes(tmp_path: Path) -> None:
    done = load(tmp_path, "prod")
    assert done.returncode != 0
    assert "podman save dev.local/eye-state:1 | ssh 192.0.2.7 sudo ctr --namespace k8s.io images import -" in done.stderr


def compile_with(tmp_path: Path, *arguments: str, target: str = "x86_64-unknown-linux-gnu") -> str:
    """What rustc is called with where `make static` calls it with these."""
    rustc = tmp_path / "rustc"
    rustc.write_text('#!/bin/sh\necho "$@"\n')
    rustc.chmod(0o755)
    environment = os.environ | {"STATIC_TARGET": target}
    done = subprocess.run([SCRIPTS / "rustc-static.sh", rustc, *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


BINARY = ("--crate-name", "eye_state", "function/src/main.rs", "--crate-type", "bin", "--emit=link")


def test_only_the_binary_is_linked_statically(tmp_path: Path) -> None:
    assert "target-feature=+crt-static" in compile_with(tmp_path, *BINARY)
    for other in (
        ("--crate-name", "eye_state", "function/src/lib.rs", "--crate-type", "lib"),
        ("--crate-name", "build_script_build", "function/build.rs", "--crate-type", "bin"),
        ("-vV",),
    ):
        assert compile_with(tmp_path, *other) == " ".join(other)


def test_a_linker_that_knows_no_packed_relocations_is_not_asked_for_them(tmp_path: Path) -> None:
    assert "--pack-dyn-relocs" in compile_with(tmp_path, *BINARY)
    arm = compile_with(tmp_path, *BINARY, target="aarch64-unknown-linux-gnu")
    assert "target-feature=+crt-static" in arm and "link-arg" not in arm


def make(*words: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "KUBECTL=false", *words]
    return subprocess.run(command, cwd=render.ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["image-index", "image-push"])
def test_an_image_of_both_architectures_is_refused_at_once_where_docker_would_make_it(target: str) -> None:
    done = make(target, "CONTAINER_TOOL=docker")
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.startswith("needs podman or buildah: CONTAINER_TOOL=podman\n")


@pytest.mark.parametrize("tool", ["podman", "buildah", "/usr/bin/buildah"])
def test_an_image_of_both_architectures_is_made_by_tools_whose_lists_need_no_registry(tool: str) -> None:
    done = make("need-manifest-lists", f"CONTAINER_TOOL={tool}")
    assert done.returncode == 0, done.stderr
