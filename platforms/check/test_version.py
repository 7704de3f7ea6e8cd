"""The version's one place is Cargo.toml; the files that have to repeat it agree, and no other file repeats it."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import yaml

import render

ROOT = render.ROOT


def cargo() -> dict:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())


VERSION = cargo()["workspace"]["package"]["version"]


def test_the_manifests_name_the_image_of_this_version() -> None:
    (image,) = yaml.safe_load((ROOT / "function/manifests/kustomization.yaml").read_text())["images"]
    assert str(image["newTag"]) == VERSION


def test_make_takes_the_version_from_cargo() -> None:
    done = subprocess.run(["make", "--no-print-directory", "version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == VERSION, done.stderr


def test_every_crate_of_the_workspace_takes_the_version_from_it() -> None:
    crates = [Path(crate) / "Cargo.toml" for crate in cargo()["workspace"]["members"]]
    stated = {str(crate): tomllib.loads((ROOT / crate).read_text())["package"]["version"] for crate in crates}
    assert stated == {crate: {"workspace": True} for crate in stated}


def test_the_lock_files_lock_this_version() -> None:
    for lock in ("Cargo.lock", "bench/Cargo.lock"):
        packages = tomllib.loads((ROOT / lock).read_text())["package"]
        # The benchmarks are not released and have no version.
        ours = {package["name"]: package["version"] for package in packages if "source" not in package and package["name"] != "bench-peers"}
        assert ours == {name: VERSION for name in ours} and "model-runtime" in ours, lock


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:1] == [VERSION]
    assert sorted(set(released)) == sorted(released), "a release has two sections"


def test_no_document_repeats_the_version() -> None:
    documents = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    tag = re.compile(r"eye-state:\d+\.\d+\.\d+")
    assert [name for name in documents if name != "CHANGELOG.md" and tag.search((ROOT / name).read_text())] == []


def test_the_dispatcher_that_delivers_to_the_function_is_of_the_version_of_the_schemas() -> None:
    versions = (ROOT / "platforms/versions.env").read_text()
    module, version = re.search(r"^KNATIVE_EVENTING_MODULE=(.+)@(.+)$", versions, re.MULTILINE).groups()
    assert f"\t{module} {version}\n" in (ROOT / "function/tests/eventing/go.mod").read_text()


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{version}.0.0".split(".")[:3])


def test_the_least_go_is_the_newest_that_a_module_here_asks_for() -> None:
    modules = subprocess.run(["git", "ls-files", "*go.mod"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    asked = [re.search(r"^go (\S+)$", (ROOT / module).read_text(), re.MULTILINE)[1] for module in modules]
    assert max(map(number, asked)) == number(render.versions()["GO_AT_LEAST"])


def test_the_least_node_is_that_of_the_pages_tests() -> None:
    packages = subprocess.run(["git", "ls-files", "*/tests/browser/package.json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    engines = {json.loads((ROOT / package).read_text())["engines"]["node"] for package in packages}
    assert engines == {f">={render.versions()['NODE_AT_LEAST']}"}


def test_contributors_are_told_the_least_versions() -> None:
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    for tool, name in (("Go", "GO_AT_LEAST"), ("Node.js", "NODE_AT_LEAST"), ("Python", "PYTHON_AT_LEAST")):
        assert f"{tool} {render.versions()[name]} or newer" in text
