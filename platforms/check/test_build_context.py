"""The build in the container is given what it compiles, and not what tests and measurements leave behind.

Cargo loads every crate that the workspace names before it compiles one, so that a crate that is not given ends the build.
By the rules of the ignore file, of which this knows what that file uses: the last line that matches decides, `!` gives
after all, `*` is any part of a name, `**/` any folders, and a line that matches a folder matches what is in it.
"""

import re
import subprocess
import tomllib

import pytest

import render

IGNORE = (render.ROOT / "function/Containerfile.dockerignore").read_text()
WILD = {"**/": "(?:.*/)?", "*": "[^/]*"}


def matches(pattern: str, path: str) -> bool:
    words = (WILD.get(word, re.escape(word)) for word in re.split(r"(\*\*/|\*)", pattern))
    return re.fullmatch("".join(words) + "(?:/.*)?", path) is not None


def given(path: str, ignore: str = IGNORE) -> bool:
    decided = True
    for line in map(str.strip, ignore.splitlines()):
        if line and not line.startswith("#") and matches(line.removeprefix("!"), path):
            decided = line.startswith("!")
    return decided


def tracked(*patterns: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "--", *patterns], cwd=render.ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.rs", True),
        ("a/tests/b.rs", False),
        ("b/tests/c.rs", True),
        ("ab/c.rs", False),
        ("a/target/x", False),
        ("target/x", False),
        ("target/image/x", True),
    ],
)
def test_the_last_line_of_an_ignore_file_that_matches_decides(path: str, expected: bool) -> None:
    assert given(path, "# a comment\n*\n!a\n!b\na/tests\n**/target\n!target/image\n") == expected


def test_every_crate_that_the_workspace_names_is_given_to_the_build() -> None:
    members = tomllib.loads((render.ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for member in members:
        files = tracked(f"{member}/*.rs", f"{member}/Cargo.toml")
        assert f"{member}/Cargo.toml" in files
        assert [file for file in files if not given(file)] == [], member


def test_what_the_build_reads_besides_is_given_to_it() -> None:
    files = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "target/image/amd64/eye-state", "target/image/model/best.onnx"]
    files += tracked("platforms/image", "model-import/weights/*.onnx", "function/page", "function/samples", "function/openapi.json")
    assert [file for file in files if not given(file)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".work/dataset/images/one.jpg",
        "bench/models/one.onnx",
        "function/loom/target/debug/one",
        "fuzz/corpus/decode.bin",
        "fuzz/found/decode/one",
        "model-import/training/.venv/bin/python",
        "target/release/eye-state",
    ],
)
def test_what_no_compiler_reads_stays_out_of_the_build(path: str) -> None:
    assert not given(path)
