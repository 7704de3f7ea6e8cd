#!/usr/bin/env python3
"""Finds lines of Markdown and comment lines that are longer than 100 characters.

Tables, headings, fenced or indented code, and lines whose only way to be short is to break a link or a path are exempt.
`long-lines.txt` lists the files that are still to be wrapped, with how many such lines each has. A file may not have
more than that, and the list may only shrink.

    lines.py                fail where a file has more long lines than the list allows
    lines.py FILE…          print the long lines of some files
    lines.py --wrap FILE…   wrap the paragraphs of some files that hold a long line
    lines.py --update       write the list anew

Standard library only.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / ".ci/long-lines.txt"
LIMIT = 100

# What begins a comment line, by the end of the file's name.
COMMENT = {
    ".rs": r"//", ".js": r"//|\*", ".mjs": r"//|\*", ".py": "#", ".sh": "#", ".mk": "#", ".toml": "#",
    ".yaml": "#", ".yml": "#", ".env": "#", "Makefile": "#", "Containerfile": "#",
}  # fmt: skip
# Written by programs, or by others: not ours to wrap.
NOT_OURS = re.compile(r"(^|/)(docs/metrics\.md|package-lock\.json|Cargo\.lock|LICENSE|results/.*|recordings/.*)$")


def long_lines(path: Path) -> list[int]:
    """Numbers of the lines that are too long."""
    try:
        lines = path.read_text().splitlines()
    except (UnicodeDecodeError, FileNotFoundError):
        return []
    if path.suffix == ".md":
        return [number for number, line in prose(lines) if len(line) > LIMIT and not unbreakable(line)]
    begins = COMMENT.get(path.suffix) or COMMENT.get(path.name)
    if not begins:
        return []
    comment = re.compile(rf"\s*({begins})")
    return [n for n, line in enumerate(lines, 1) if len(line) > LIMIT and comment.match(line) and not unbreakable(line)]


def prose(lines: list[str]) -> list[tuple[int, str]]:
    """The lines of Markdown that are neither table, heading, code nor HTML comment."""
    found, fence = [], ""
    for number, line in enumerate(lines, 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark:
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif not fence and not re.match(r"\s*[|#]|    |<!--", line):
            found.append((number, line))
    return found


def unbreakable(line: str) -> bool:
    """Whether the line is longer because of one link, path or image that cannot be broken."""
    words = re.findall(r"!?\[[^\]]*\]\([^)]*\)\S*|\S+", line)
    longest = max(words, key=len)
    return ("](" in longest or "/" in longest) and len(line) - len(longest) <= LIMIT - 20 and len(words) <= 4


# What must not begin a wrapped line: it would turn into a list item, a heading, a table or a
# quotation.
MARKER = re.compile(r"(\d+[.)]|[-+*>|]|#+)(\s|$)|\|")
ITEM = re.compile(r"\s*([-*+]|\d+[.)])\s+")


def reflow(paragraph: list[str], prefix: str) -> list[str]:
    """One paragraph, each line behind `prefix`, as lines of at most LIMIT characters."""
    item = ITEM.match(paragraph[0])
    first = item[0] if item else re.match(r"\s*", paragraph[0])[0]
    rest = " " * len(first)
    text = " ".join(line.strip() for line in [paragraph[0][len(first) :], *paragraph[1:]])
    for width in range(LIMIT, LIMIT - 30, -1):
        lines = textwrap.wrap(text, width - len(prefix), initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
        if not any(MARKER.match(line.strip()) for line in lines[1:]):
            break
    return [(prefix + line).rstrip() for line in lines]


def wrap(path: Path) -> None:
    lines = path.read_text().splitlines()
    long = {number - 1 for number in long_lines(path)}
    if path.suffix == ".md":
        flowing = {number - 1 for number, line in prose(lines)}
        split = re.compile("()(.*)")
    else:
        flowing = set(range(len(lines)))
        begins = (COMMENT.get(path.suffix) or COMMENT[path.name]).split("|")[0]
        split = re.compile(rf"(\s*{begins}[/!]? )(.*)")
    # The parts of each line that can flow: what stands before the text, and the text.
    parts = [split.fullmatch(line) if at in flowing else None for at, line in enumerate(lines)]
    out, at = [], 0
    while at < len(lines):
        end, here = at + 1, parts[at]
        if not here or not here[2].strip() or re.match(r"[|#]|```|    ", here[2]):
            out.append(lines[at])
            at = end
            continue
        while end < len(lines) and parts[end] and parts[end][1] == here[1]:
            text = parts[end][2]
            if not text.strip() or ITEM.match(text) or re.match(r"[|#>]|```|    ", text):
                break
            # Broken long before the limit: the writer meant it.
            if path.suffix != ".md" and len(lines[end - 1]) + 1 + len(text.split()[0]) < LIMIT - 20:
                break
            end += 1
        paragraph = range(at, end)
        if any(n in long for n in paragraph) and not any(lines[n].endswith(("  ", "\\")) for n in paragraph):
            out += reflow([parts[n][2] for n in paragraph], here[1])
        else:
            out += lines[at:end]
        at = end
    path.write_text("\n".join(out) + "\n")


def everything() -> dict[str, int]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    counts = {name: len(long_lines(ROOT / name)) for name in names if name and not NOT_OURS.search(name)}
    return {name: count for name, count in sorted(counts.items()) if count}


def listed() -> dict[str, int]:
    lines = (line.rsplit(" ", 1) for line in LIST.read_text().splitlines() if line and not line.startswith("#"))
    return {name: int(count) for name, count in lines}


def update(counts: dict[str, int]) -> None:
    head = f"# Lines over {LIMIT} characters still to be wrapped, by file; `.ci/lines.py --update` writes this. It only shrinks.\n"
    LIST.write_text(head + "".join(f"{name} {count}\n" for name, count in counts.items()))


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--wrap"]:
        for name in arguments[1:]:
            wrap(Path(name))
        return 0
    if arguments and arguments != ["--update"]:
        for name in arguments:
            print("\n".join(f"{name}:{number}" for number in long_lines(Path(name))))
        return 0
    now = everything()
    if arguments:
        update(now)
        return 0
    before, wrong = listed(), []
    for name in sorted(set(now) | set(before)):
        if now.get(name, 0) > before.get(name, 0):
            wrong.append(f"{name} has {now[name]} lines over {LIMIT} characters: .ci/lines.py --wrap {name} (and look at what it did)")
    if sum(now.values()) < sum(before.values()):
        print("fewer long lines than the list allows: write that down with .ci/lines.py --update")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
