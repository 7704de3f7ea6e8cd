#!/usr/bin/env python3
"""What a release is made of, read from the changelog.

    release.py notes [VERSION]    print the section of VERSION, or of the newest release
    release.py check TAG          fail unless TAG is v and the version of Cargo.toml, and the changelog has its section
"""

import re
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


def main(arguments: list[str]) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    match arguments:
        case ["notes", *rest] if len(rest) <= 1:
            print(notes(changelog, rest[0].removeprefix("v") if rest else None))
        case ["check", *rest] if len(rest) <= 1:
            check(rest[0] if rest else "", version, changelog)
            print(f"{rest[0]} is the version, and the changelog has its section")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
