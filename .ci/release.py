#!/usr/bin/env python3
"""The version, which stands in Cargo.toml, and the changelog's sections.

    release.py notes [VERSION]    print the section of VERSION, or of the newest release
    release.py check TAG          fail unless TAG is v and the version of Cargo.toml, and the changelog has its section
    release.py prepare VERSION    write VERSION into Cargo.toml and what repeats it; date the changelog's Unreleased
"""

import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def sections(changelog: str) -> dict[str, str]:
    """The text of each release, newest first, without its heading; `Unreleased` is one of them."""
    parts = re.split(r"^## \[?([^\]\s]+)\]?.*$", changelog, flags=re.MULTILINE)
    # The links of the headings, which Keep a Changelog has at the end, belong to no section.
    texts = (re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.MULTILINE).strip() for text in parts[2::2])
    return dict(zip((name.removeprefix("v") for name in parts[1::2]), texts))


def notes(changelog: str, version: str | None) -> str:
    found = sections(changelog)
    releases = [name for name in found if name[0].isdigit()]
    if version is None and not releases:
        raise SystemExit("the changelog has no release yet: give it a section `## [X.Y.Z] - YYYY-MM-DD`")
    name = version or releases[0]
    if not found.get(name):
        raise SystemExit(f"the changelog says nothing about {name}: it has {', '.join(found)}")
    return found[name]


def check(tag: str, version: str, changelog: str) -> None:
    if tag != f"v{version}":
        raise SystemExit(f"the tag is {tag or 'missing (TAG=v…)'}, the version in Cargo.toml {version}: it has to be v{version}")
    notes(changelog, version)


def release_unreleased(changelog: str, version: str, day: str) -> str:
    """The changelog with what is unreleased as the section of VERSION."""
    found = sections(changelog)
    if version in found:
        raise SystemExit(f"the changelog has a section {version} already")
    if not found.get("Unreleased"):
        raise SystemExit("the changelog says nothing under `## [Unreleased]`: write down what changed")
    return changelog.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{version}] - {day}\n", 1)


def replace_once(path: Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after, replaced = re.subn(pattern, text, before, count=1, flags=re.MULTILINE)
    if not replaced:
        raise SystemExit(f"{path.relative_to(ROOT)} has no line that matches {pattern}")
    path.write_text(after)


def prepare(version: str) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"{version or 'RELEASE= is missing: it'} is no version: write X.Y.Z")
    changelog = ROOT / "CHANGELOG.md"
    changelog.write_text(release_unreleased(changelog.read_text(), version, datetime.date.today().isoformat()))
    replace_once(ROOT / "Cargo.toml", r'^version = ".*"', f'version = "{version}"')
    # kustomize cannot read it from another file.
    replace_once(ROOT / "function/manifests/kustomization.yaml", r"^  newTag: .*", f"  newTag: {version}")
    for workspace in (ROOT, ROOT / "bench"):
        subprocess.run(["cargo", "update", "--workspace", "--offline", "--quiet"], cwd=workspace, check=True)


def main(arguments: list[str]) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    match arguments:
        case ["notes", *rest] if len(rest) <= 1:
            print(notes(changelog, rest[0].removeprefix("v") if rest else None))
        case ["check", *rest] if len(rest) <= 1:
            check(rest[0] if rest else "", version, changelog)
            print(f"{rest[0]} is the version, and the changelog has its section")
        case ["prepare", *rest] if len(rest) <= 1:
            prepare(rest[0] if rest else "")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
