#!/usr/bin/env python3
"""Makes the calculator: one HTML file with everything in it, which needs no server.

    comparison/calculator/build.py target/calculator/index.html
"""
import base64
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TARGET = "wasm32-unknown-unknown"
# Size limit of the file, which phones load too.
MOST_BYTES = 1_000_000
# For this one program only: the workspace's profile is for everything else. What runs for each
# request is fast, the rest (YAML, JSON, scenario files) is small.
PROFILE = {"lto": "fat", "codegen-units": 1, "opt-level": "s", "strip": True, "panic": "abort"}
FAST = ["calculator", "rand_core", "rand_pcg", "scenario", "simulator"]
# The page's scripts. They are joined in this order: a constant comes before what needs it while the
# page loads.
SCRIPTS = [
    "definitions", "numbers", "csv", "simulator", "state", "dom", "charts", "curve", "forms", "results", "run", "files", "main",
]  # fmt: skip


def joined(folder):
    """The scripts as one, since a page that was opened as a file cannot load modules."""
    if sorted(path.stem for path in folder.glob("*.js")) != sorted(SCRIPTS):
        sys.exit(f"{folder}: its files are not those of SCRIPTS")
    text = "\n".join((folder / f"{name}.js").read_text() for name in SCRIPTS)
    # Tests import what is exported. In one script everything sees everything.
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)


def main():
    out = pathlib.Path(sys.argv[1])
    settings = [f"profile.release.{name}={json.dumps(value)}" for name, value in PROFILE.items()]
    settings += [f"profile.release.package.{crate}.opt-level=3" for crate in FAST]
    folder = ROOT / "target" / "calculator"
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--release", "-p", "calculator", "--target", TARGET]
    config = [word for setting in settings for word in ("--config", setting)]
    subprocess.run([*cargo, "--target-dir", str(folder), *config], cwd=ROOT, check=True)
    wasm = (folder / TARGET / "release" / "calculator.wasm").read_bytes()
    page = HERE / "page"
    errors = json.dumps(json.loads((page / "errors.json").read_text()), separators=(",", ":"))
    script = joined(page / "src")
    script = script.replace("/*WASM*/ ''", f"'{base64.b64encode(gzip.compress(wasm, 9, mtime=0)).decode()}'").replace("/*ERRORS*/ null", errors)
    html = (page / "index.html").read_text()
    html = html.replace("/*STYLE*/", (page / "style.css").read_text()).replace("/*SCRIPT*/", script)
    if len(html.encode()) > MOST_BYTES:
        sys.exit(f"{out}: {len(html.encode())} bytes, at most {MOST_BYTES}: see what the wasm is made of")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html)
    print(f"{out}: {len(html.encode()):,} bytes, the simulator in it {len(wasm):,} before compression")


main()
