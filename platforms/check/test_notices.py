"""The licences that come with the binary: those of every part, each text once, and no build without one."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import render

TARGET = "x86_64-unknown-linux-gnu"
IJG = "This software is based in part on the work of the Independent JPEG Group."


def run(root: Path, script: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if k not in ("MODEL", "MODEL_LICENSE", "SOURCE_URL")}
    return subprocess.run([f"platforms/image/{script}", TARGET], cwd=root, env=clean | environment, capture_output=True, text=True)


def words(text: str) -> str:
    return " ".join(text.split())


class Notices:
    """What notices.sh printed, taken apart."""

    def __init__(self, printed: str) -> None:
        self.head, rest = printed.split("\nParts\n-----\n", 1)
        listed, rest = rest.split("\nTexts\n-----\n", 1)
        self.parts = {block.splitlines()[0]: block for block in listed.strip().split("\n\n")}
        self.texts: dict[int, str] = {}
        for block in re.split(r"\n={80}\n(?=\[\d+\] is of:\n)", rest)[1:]:
            about, text = block.split("\n\n", 1)
            self.texts[int(re.match(r"\[(\d+)\]", about)[1])] = text

    def numbers(self, part: str) -> dict[str, int]:
        """The texts of a part: label and number."""
        return {label: int(number) for number, label in re.findall(r"^    \[(\d+)\] (.+)$", self.parts[part], re.MULTILINE)}

    def labelled(self, part: str) -> dict[str, str]:
        """The texts of a part: label and words."""
        return {label: words(self.texts[number]) for label, number in self.numbers(part).items()}


@dataclass
class Build:
    """A checkout with made-up crates, and with a cargo and a toolchain that only answer what is asked here."""

    root: Path
    crates: list[str] = field(default_factory=list)

    def crate(self, name: str, licence: str, files: dict[str, str], commit: str = "", authors: str = "") -> None:
        self.crates.append(f"1|{name} v1.0.0|{licence}|https://git.example/{name}")
        source = self.root / f"cargo/registry/src/index.example-0/{name}-1.0.0"
        source.mkdir(parents=True)
        (source / "Cargo.toml").write_text(f'[package]\nname = "{name}"\n{authors}\ndescription = "made up"\n')
        if commit:
            (source / ".cargo_vcs_info.json").write_text(json.dumps({"git": {"sha1": commit}, "path_in_vcs": name}, indent=2))
        for path, text in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(text.encode())

    def run(self, **environment: str) -> subprocess.CompletedProcess:
        own = ["0|eye-state v0.2.0 (/src/function)|Apache-2.0|", "1|picture v0.2.0 (/src/picture)|Apache-2.0|"]
        other = ["0|night-faces v0.2.0 (/src/night-faces)|Apache-2.0|", "1|elsewhere v1.0.0|MIT|"]
        (self.root / "tree").write_text("\n".join([*own, *self.crates, "", *other]) + "\n")
        made_up = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "CARGO_HOME": f"{self.root}/cargo",
            "GLIBC_NOTICES": f"{self.root}/glibc",
            "RUST_NOTICES": "",
        }
        return run(self.root, "notices.sh", **made_up | environment)

    def notices(self, **environment: str) -> Notices:
        done = self.run(**environment)
        assert done.returncode == 0, done.stderr
        return Notices(done.stdout)


PAGE = """<h2>Table of Contents</h2>
<h2 id="short-version">Short version</h2>
<p><b>License:</b> Apache-2.0 OR MIT</p>
    <h3>\N{PACKAGE} inner-0.1.0</h3>
    <p><b>Authors:</b> Ada &#60;ada@example.org&#62;</p>
            <details>
                <summary><code>LICENSE-MIT</code></summary>
                <pre>
The &#34;inner&#34; licence

of Ada &#38; others
                </pre>
            </details>
"""


@pytest.fixture
def build(tmp_path: Path) -> Build:
    for folder in ("platforms/image", "LICENSES", "model-import/weights/int8"):
        shutil.copytree(render.ROOT / folder, tmp_path / folder)
    for name in ("LICENSE", "Cargo.toml"):
        shutil.copy(render.ROOT / name, tmp_path)
    (tmp_path / "glibc").write_text("what glibc took over\n")
    toolchain = tmp_path / "rust/share/doc/rust"
    (toolchain / "licenses").mkdir(parents=True)
    (toolchain / "COPYRIGHT-library.html").write_text(PAGE)
    for name in ("Apache-2.0", "LLVM-exception", "Unicode-3.0"):
        (toolchain / f"licenses/{name}.txt").write_text(f"the text of {name}\n")
    (tmp_path / "bin").mkdir()
    answers = {
        "cargo": f"cat '{tmp_path}/tree'",
        "rustc": f"case \"$*\" in -vV) echo 'release: 1.2.3' ;; '--print sysroot') echo '{tmp_path}/rust' ;; esac",
    }
    for name, answer in answers.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return Build(tmp_path)


MIT = "Permission is granted to copy.\n\nCopyright (c) Ada\n"


def test_equal_texts_come_once_with_the_crates_that_they_are_of(build: Build) -> None:
    build.crate("first", "MIT", {"LICENSE": MIT})
    # Line ends and indentation are an editor's.
    build.crate("second", "MIT/Apache-2.0", {"LICENSE-MIT": "\r\n  Permission is granted to copy.  \r\n\r\n  Copyright (c) Ada\r\n"})
    build.crate("third", "MIT", {"LICENSE": MIT.replace("Ada", "Grace")})
    said = build.notices()
    first, second, third = (said.numbers(f"{name} 1.0.0") for name in ("first", "second", "third"))
    assert first["LICENSE"] == second["LICENSE-MIT"] != third["LICENSE"]
    assert said.texts[first["LICENSE"]].strip() == MIT.strip()
    assert [words(text) for text in said.texts.values()].count(words(MIT)) == 1
    assert "licence: MIT OR Apache-2.0\n  source: https://git.example/second\n" in said.parts["second 1.0.0"]


def test_what_is_not_in_the_binary_is_not_listed(build: Build) -> None:
    build.crate("first", "MIT", {"LICENSE": MIT})
    said = build.notices()
    assert "first 1.0.0" in said.parts and "picture 0.2.0" in said.parts
    assert not any(name.startswith(("elsewhere", "night-faces")) for name in said.parts)


def test_every_file_with_a_licence_or_notice_is_taken(build: Build) -> None:
    taken = ("COPYING", "COPYRIGHT", "LICENSE-APACHE.md", "NOTICE", "UNLICENSE", "license-mit", "src/tables/LICENSE-UNICODE")
    left = ("README.md", "src/license.rs", "tests/LICENSE")
    build.crate("first", "MIT", {name: f"the text of {name}\n" for name in taken + left})
    assert build.notices().labelled("first 1.0.0") == {name: f"the text of {name}" for name in taken}


def test_a_crate_without_a_file_has_the_texts_of_one_from_the_same_commit(build: Build) -> None:
    build.crate("family", "MIT", {"LICENSE": MIT, "vendored/LICENSE": "of somebody else\n"}, commit="a1")
    build.crate("family-core", "MIT", {}, commit="a1", authors='authors = [\n    "Ada <ada@example.org>",\n    "Grace",\n]')
    said = build.notices()
    assert said.labelled("family-core 1.0.0") == {"LICENSE of family 1.0.0": words(MIT)}
    assert "Authors: Ada <ada@example.org>, Grace\n" in said.parts["family-core 1.0.0"]


def test_a_relative_under_another_licence_is_no_source_of_texts(build: Build) -> None:
    build.crate("family", "MIT", {"LICENSE": MIT}, commit="a1")
    build.crate("family-core", "Zlib", {}, commit="a1")
    assert build.run().returncode != 0


def test_without_one_it_has_the_text_of_its_licence_and_its_authors(build: Build) -> None:
    build.crate("alone", "MIT OR Apache-2.0", {}, authors='authors = ["Ada <ada@example.org>"]')
    build.crate("nobody", "Apache-2.0", {}, commit="b2")
    said = build.notices()
    assert said.labelled("alone 1.0.0") == {"Apache-2.0": words((render.ROOT / "LICENSE").read_text())}
    assert "Authors: Ada <ada@example.org>\n" in said.parts["alone 1.0.0"]
    assert said.numbers("nobody 1.0.0") == said.numbers("alone 1.0.0")
    assert "Authors: not stated\n" in said.parts["nobody 1.0.0"]


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0 AND MIT", ""])
def test_a_crate_of_which_no_text_is_found_ends_the_build(build: Build, licence: str) -> None:
    build.crate("bare", licence, {"README.md": "no licence\n"})
    done = build.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "bare 1.0.0 has no licence file" in done.stderr and "LICENSES" in done.stderr


def test_a_crate_whose_source_is_not_found_ends_the_build(build: Build) -> None:
    build.crates.append("1|gone v1.0.0|MIT|")
    done = build.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "gone 1.0.0" in done.stderr and "CARGO_HOME" in done.stderr


def test_the_built_in_weights_do_not_go_out_without_their_licence(build: Build) -> None:
    (build.root / "LICENSES/AGPL-3.0-only.txt").unlink()
    done = build.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "put it into LICENSES/AGPL-3.0-only.txt" in done.stderr


def test_another_model_brings_its_own_licence(build: Build) -> None:
    model = build.root / "another.onnx"
    model.write_bytes(b"a model of somebody else's")
    chosen = {"MODEL": str(model), "MODEL_LICENSE": "Apache-2.0 OR CC-BY-4.0"}
    done = build.run(**chosen)
    assert "put it into LICENSES/CC-BY-4.0.txt" in done.stderr
    said = build.notices(**chosen)
    (part,) = [name for name in said.parts if name.startswith("another ")]
    assert list(said.labelled(part)) == ["Apache-2.0"]
    assert "Licence of the whole: Apache-2.0 AND (Apache-2.0 OR CC-BY-4.0)\n" in said.head
    assert not any("AFFERO" in text for text in said.texts.values())
    # The text of one version is the same with and without "or later".
    assert any("AFFERO" in text for text in build.notices(MODEL=str(model), MODEL_LICENSE="AGPL-3.0-or-later").texts.values())


def test_the_libraries_that_are_no_crates_come_with_their_notices(build: Build) -> None:
    said = build.notices(SOURCE_URL="https://git.example/nv-micro")
    assert IJG in said.head and "https://git.example/nv-micro\n" in said.head and "LGPL-2.1-or-later" in said.head
    version = os.confstr("CS_GNU_LIBC_VERSION")
    assert said.labelled(version)["notices of its parts"] == "what glibc took over"
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in said.labelled(version)["LGPL-2.1"]
    assert "Independent JPEG Group" in said.labelled("libjpeg")["README"]
    rust = said.labelled("rust-std 1.2.3")
    assert rust["inner-0.1.0 LICENSE-MIT"] == 'The "inner" licence of Ada & others'
    assert rust["Unicode-3.0"] == "the text of Unicode-3.0"
    assert "inner-0.1.0 Authors: Ada <ada@example.org>" in rust["COPYRIGHT-library"]
    assert "Table of Contents" not in rust["COPYRIGHT-library"] and "of Ada & others" not in rust["COPYRIGHT-library"]


def test_a_toolchain_or_c_library_without_notices_ends_the_build(build: Build) -> None:
    for variable in ("GLIBC_NOTICES", "RUST_NOTICES"):
        done = build.run(**{variable: f"{build.root}/nothing"})
        assert (done.returncode, done.stdout) == (1, "")
        assert f"set {variable}" in done.stderr


@pytest.fixture(scope="module")
def real() -> Notices:
    done = run(render.ROOT, "notices.sh")
    assert done.returncode == 0, done.stderr
    return Notices(done.stdout)


def test_the_licences_are_of_everything_in_the_list_of_parts(real: Notices) -> None:
    listed = json.loads(run(render.ROOT, "sbom.sh").stdout)["components"]
    assert {"glibc", "rust-std", "tokio"} <= {component["name"] for component in listed}
    for component in listed:
        name = f"{component['name']} {component['version']}"
        assert real.numbers(name), f"{name} has no text"
        if licences := component.get("licenses"):
            assert f"  licence: {licences[0]['expression']}\n" in real.parts[name]


@pytest.mark.parametrize("text", ["LICENSE", "LICENSES/AGPL-3.0-only.txt", "LICENSES/LGPL-2.1-or-later.txt", "LICENSES/IJG.txt"])
def test_the_texts_that_the_project_owes_are_complete(real: Notices, text: str) -> None:
    assert words((render.ROOT / text).read_text()) in {words(given) for given in real.texts.values()}


def test_the_readme_says_what_the_licence_of_libjpeg_asks_for() -> None:
    assert IJG in words((render.ROOT / "README.md").read_text())
