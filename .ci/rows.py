#!/usr/bin/env python3
"""Checks that the rows of docs/hostile-input.md name tests that exist: make rows

A table whose last column is `test` has marks there (C1, C2). The paragraph behind it that begins with "Tests:" says
which test a mark stands for. A test is a Rust function under #[test] or a function of a Python script.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "hostile-input.md"
MARK = r"[A-Z]\d+"


def tests(root: Path) -> set[str]:
    """The names of all tests of the repository."""
    names: set[str] = set()
    files = subprocess.run(["git", "ls-files", "*.rs", "*.py"], cwd=root, check=True, capture_output=True, text=True)
    for file in files.stdout.split():
        text = (root / file).read_text()
        if file.endswith(".py"):
            names.update(re.findall(r"^def (\w+)\(", text, re.M))
        else:
            names.update(re.findall(r"#\[(?:\w+::)?test\](?:\s*#\[.*\])*\s*(?:async )?fn (\w+)\(", text))
    return names


def faults(document: str, names: set[str]) -> list[str]:
    """What is wrong with the rows of a document, given the tests that exist."""
    found = []
    for section in re.split(r"^(?=## )", document, flags=re.M):
        title = section.splitlines()[0] if section else ""
        listed: dict[str, str] = {}
        for paragraph in re.findall(r"^Tests: .*?(?=\n\n|\Z)", section, re.M | re.S):
            listed |= re.findall(rf"({MARK})\s+`(\w+)`", paragraph)
        found += [f"{title}: {mark} is `{name}`, and there is no such test" for mark, name in listed.items() if name not in names]
        used: set[str] = set()
        for table in re.findall(r"(?:^\|.*\n)+", section, re.M):
            head, _, *rows = table.splitlines()
            if not head.endswith("| test |"):
                continue
            for row in rows:
                marks = re.findall(MARK, row.rsplit("|", 2)[1])
                used.update(marks)
                found += [] if marks else [f"{title}: no test is named in {row}"]
                found += [f"{title}: {mark} is not listed, of {row}" for mark in marks if mark not in listed]
        found += [f"{title}: {mark} is listed, and no row has it" for mark in listed if mark not in used]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(faults(DOCUMENT.read_text(), tests(ROOT))) or 0)
