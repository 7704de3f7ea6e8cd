#!/usr/bin/env python3
"""Checks the arrows between the crates (rooms.toml) and what deny.toml allows of others. Standard library only.

By `cargo tree`, which resolves features as the build does and for the platforms that are shipped; `cargo metadata`
would count every optional dependency of every platform.
"""

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# How `cargo tree` names where a package comes from: nothing for crates.io, a path or an address for
# others.
PACKAGE = re.compile(r"(?P<name>\S+) v(?P<version>\S+)(?P<rest>.*)\|(?P<license>.*)")
EDGES = {"imports": "normal", "build": "build", "dev": "dev"}


@cache
def tree(target: str, *arguments: str) -> list[tuple[str, str, str, str]]:
    """Name, version, source and licence of each package."""
    command = ["cargo", "tree", "--locked", "--quiet", "--target", target, "--prefix", "none", "--no-dedupe", "--format", "{p}|{l}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found = {PACKAGE.fullmatch(line).groups() for line in done.stdout.splitlines() if line.strip()}
    return sorted((name, version, rest.replace("(proc-macro)", "").strip(), license) for name, version, rest, license in found)


def is_ours(source: str) -> bool:
    return source.startswith(f"({ROOT}")


def arrows(rooms: dict, targets: list[str]) -> list[str]:
    members = sorted({name for name, _, source, _ in tree(targets[0], "--workspace", "--depth", "0") if is_ours(source)})
    wrong = [f"{name} is in no row of .ci/rooms.toml: say there what it may import" for name in members if name not in rooms]
    for room in (name for name in members if name in rooms):
        for row, edge in EDGES.items():
            direct = tree(targets[0], "--package", room, "--edges", edge, "--depth", "1")
            imported = {name for name, _, source, _ in direct if is_ours(source)} - {room}
            for name in sorted(imported - set(rooms[room].get(row, []))):
                wrong.append(f"{room} must not import {name} ({edge}): see .ci/rooms.toml and docs/architecture.md")
        for target in targets + rooms[room].get("targets", []):
            below = {name for name, *_ in tree(target, "--package", room, "--edges", "normal")}
            wrong += [f"{room} must not contain {name} ({target}): cargo tree -p {room} -i {name}" for name in rooms[room].get("never", []) if name in below]
    return wrong


def allowed(expression: str, licences: set[str]) -> bool:
    """Whether an SPDX expression can be met with these licences. `/` is how old crates write OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def either() -> bool:
        nonlocal at
        met = both()
        while at < len(words) and words[at] == "OR":
            at += 1
            met = both() or met
        return met

    def both() -> bool:
        nonlocal at
        met = one()
        while at < len(words) and words[at] == "AND":
            at += 1
            met = one() and met
        return met

    def one() -> bool:
        nonlocal at
        word = words[at]
        at += 1
        if word == "(":
            met = either()
            at += 1
            return met
        if words[at : at + 1] == ["WITH"]:
            word = f"{word} WITH {words[at + 1]}"
            at += 2
        return word in licences

    return bool(words) and either() and at == len(words)


def dependencies(deny: dict) -> list[str]:
    licences = set(deny["licenses"]["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in deny["licenses"].get("exceptions", [])}
    banned = {entry["crate"]: entry["reason"] for entry in deny["bans"]["deny"]}
    wrong = set()
    for target in deny["graph"]["targets"]:
        for name, version, source, license in tree(target, "--workspace", "--edges", "normal,build,dev"):
            if is_ours(source):
                continue
            if source:
                wrong.add(f"{name} {version} comes from {source}, not from crates.io")
            if not allowed(license, licences | exceptions.get(name, set())):
                wrong.add(f"{name} {version} is under {license or 'no licence'}, which deny.toml does not allow")
            if name in banned:
                wrong.add(f"{name} {version} is banned: {banned[name]} (cargo tree -i {name})")
    return sorted(wrong)


def main() -> int:
    rooms = tomllib.loads((ROOT / ".ci/rooms.toml").read_text())
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    wrong = arrows(rooms, deny["graph"]["targets"]) + dependencies(deny)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
