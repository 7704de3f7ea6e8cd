"""Tests of this folder's scripts, of what holds for all rooms, and that the workflows run make targets only."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import lines
import release
import rooms
import rows

CHANGELOG = """# Changelog

## [Unreleased]

- Something.

## [0.2.0] - 2026-11-26

### Added

- A thing.

## [0.1.0] - 2026-11-22

- The first.

[0.2.0]: https://example.org/0.2.0
"""


def stub(folder: Path, name: str, script: str) -> None:
    """A program of this name that does what the lines say."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def dry_run(*words: str) -> str:
    """What make would do, whatever the make that runs these tests was told."""
    told = ("MAKEFLAGS", "MAKELEVEL", "VENV", "CARGO_TARGET_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    command = ["make", "--no-print-directory", "--dry-run", *words]
    return subprocess.run(command, cwd=release.ROOT, env=environment, capture_output=True, text=True, check=True).stdout


class Needs(unittest.TestCase):
    GO = 'case $1 in version) echo "go version go{} linux/amd64" ;; env) echo "{}" ;; esac'

    def ask(self, *words: str, **tools: str) -> tuple[int, list[str]]:
        """What need.sh says on a machine that has these tools alone."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("bash", "sort"):
                (Path(folder) / name).symlink_to(shutil.which(name))
            for name, script in tools.items():
                stub(Path(folder), name, script)
            done = subprocess.run([release.ROOT / ".ci/need.sh", *words], env={"PATH": folder}, capture_output=True, text=True)
            return done.returncode, done.stderr.splitlines()

    def test_a_missing_tool_is_named_in_one_line_with_what_helps(self) -> None:
        code, (line,) = self.ask("--or", "set GO to one that you have", "go")
        self.assertEqual(code, 1)
        self.assertRegex(line, r"^go is missing: install Go [\d.]+ or newer from https://go\.dev/dl .*, or set GO to one that you have$")

    def test_every_missing_tool_is_named_and_no_other(self) -> None:
        code, said = self.ask("python3", "curl", "npm", curl="")
        self.assertEqual((code, [line.split()[0] for line in said]), (1, ["python3", "npm"]))
        self.assertEqual(self.ask("curl", "npm", curl="", npm=""), (0, []))

    def test_of_compiler_and_emulator_the_one_that_is_missing_is_named(self) -> None:
        both = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static")
        for there, missing in (both, both[::-1]):
            code, (line,) = self.ask(*both, **{there: ""})
            self.assertEqual((code, line.split()[0]), (1, missing))

    def test_a_go_suffices_that_is_new_enough_or_fetches_one_that_is(self) -> None:
        for version, toolchain, code in (
            ("1.19.8", "", 1),
            ("1.20.14", "auto", 1),
            ("1.24.4", "auto", 0),
            ("1.24.4", "local+auto", 0),
            ("1.24.4", "local", 1),
            ("1.24.4", "go1.24.4", 1),
            ("1.26.0", "local", 0),
            ("1.100.0", "local", 0),
        ):
            answered, said = self.ask("go", go=self.GO.format(version, toolchain))
            self.assertEqual(answered, code, (version, toolchain))
            self.assertEqual([line.partition(":")[0] for line in said], [f"go {version} is too old"] * code)

    def test_an_old_node_or_python_is_refused_with_its_version(self) -> None:
        for tool, old, new in (("node", "v18.19.0", "v22.1.0"), ("node", "v9.0.0", "v100.0.0"), ("python3", "Python 3.9.2", "Python 3.12.3")):
            code, (line,) = self.ask(tool, **{tool: f"echo {old}"})
            self.assertEqual(code, 1)
            self.assertIn(f"{tool} {old.lstrip('vPython ')} is too old: ", line)
            self.assertEqual(self.ask(tool, **{tool: f"echo {new}"}), (0, []))

    def test_a_nightly_of_one_day_is_not_what_plus_nightly_takes(self) -> None:
        for listed, code in (("nightly-x86_64-unknown-linux-gnu (active)", 0), ("nightly-2026-01-01-x86_64-unknown-linux-gnu", 1), ("stable-x86_64-unknown-linux-gnu", 1)):
            self.assertEqual(self.ask("nightly", rustup=f"echo '{listed}'")[0], code, listed)


class Environments(unittest.TestCase):
    """environment.sh, with a Python that makes a folder with a pip of no use."""

    PYTHON = """case $1 in
    --version) echo Python 3.12.3 ;;
    -m) mkdir -p "$3/bin" && printf '#!/bin/sh\\n' >"$3/bin/pip" && chmod +x "$3/bin/pip" ;;
    -c) exit {} ;;
    esac"""

    def setUp(self) -> None:
        self.home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.folder = self.home / "environment"
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "bin/python").touch()

    def make(self, without_venv: int = 0) -> subprocess.CompletedProcess:
        stub(self.home, "python3", self.PYTHON.format(without_venv))
        environment = os.environ | {"PATH": f"{self.home}:{os.environ['PATH']}"}
        return subprocess.run([release.ROOT / ".ci/environment.sh", self.folder], env=environment, capture_output=True, text=True)

    def test_one_without_pip_is_made_anew_and_those_within_it_stay(self) -> None:
        (self.folder / "within").mkdir()
        for name in ("within/.ready", "checks.stamp", ".ready"):
            (self.folder / name).touch()
        done = self.make()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.folder / "bin/pip").exists())
        self.assertTrue((self.folder / "within/.ready").exists())
        # What was installed is gone, and so is what said that it is there.
        self.assertEqual([name for name in ("bin/python", "checks.stamp", ".ready") if (self.folder / name).exists()], [])

    def test_one_whose_python_is_gone_is_made_anew(self) -> None:
        (self.folder / "bin/pip").write_text("#!/nowhere/python\n")
        (self.folder / "bin/pip").chmod(0o755)
        done = self.make()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("nowhere", (self.folder / "bin/pip").read_text())

    def test_one_whose_pip_runs_is_left_as_it_is(self) -> None:
        stub(self.folder / "bin", "pip", "")
        done = self.make(without_venv=1)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.folder / "bin/python").exists())

    def test_a_python_that_makes_none_is_said_in_one_line_and_nothing_is_removed(self) -> None:
        done = self.make(without_venv=1)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("install python3-venv", done.stderr)
        self.assertTrue((self.folder / "bin/python").exists())


class Rows(unittest.TestCase):
    DOCUMENT = "# T\n\n## A\n\n| case | test |\n| --- | --- |\n| one | A1 |\n| two | A1, A2 |\n\nTests: A1 `first`, A2\n`second`.\n"

    def test_rows_whose_tests_exist_are_right(self) -> None:
        self.assertEqual(rows.faults(self.DOCUMENT, {"first", "second"}), [])

    def test_what_goes_stale_is_named(self) -> None:
        for document, names, expected in (
            (self.DOCUMENT, {"first"}, "A2 is `second`, and there is no such test"),
            (self.DOCUMENT.replace("| one | A1 |", "| one |  |"), {"first", "second"}, "no test is named in | one |"),
            (self.DOCUMENT.replace("A1, A2 |", "A1, A3 |"), {"first", "second"}, "A3 is not listed"),
            (self.DOCUMENT.replace("A1, A2 |", "A1 |"), {"first", "second"}, "A2 is listed, and no row has it"),
        ):
            self.assertTrue(any(expected in fault for fault in rows.faults(document, names)), expected)

    def test_tests_of_both_languages_are_found(self) -> None:
        names = rows.tests(rows.ROOT)
        self.assertLessEqual({"a_head_over_16_kib_is_refused", "long_headers_take_no_memory", "half_closed"}, names)
        self.assertNotIn("status_of", names)


class Licences(unittest.TestCase):
    def test_an_expression_is_met_by_the_licences_that_it_offers(self) -> None:
        ours = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause"}
        for expression in ("MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR X) AND BSD-3-Clause", "Apache-2.0 WITH LLVM-exception"):
            self.assertTrue(rooms.allowed(expression, ours), expression)
        for expression in ("", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND X", "MIT WITH X"):
            self.assertFalse(rooms.allowed(expression, ours), expression)


class Release(unittest.TestCase):
    def test_the_notes_are_the_newest_releases_section(self) -> None:
        self.assertEqual(release.notes(CHANGELOG, None), "### Added\n\n- A thing.")
        self.assertEqual(release.notes(CHANGELOG, "0.1.0"), "- The first.")

    def test_a_version_without_a_section_is_no_release(self) -> None:
        with self.assertRaisesRegex(SystemExit, "nothing about 0.3.0"):
            release.notes(CHANGELOG, "0.3.0")
        with self.assertRaisesRegex(SystemExit, "v0.3.0"):
            release.check("v0.2.0", "0.3.0", CHANGELOG)
        release.check("v0.2.0", "0.2.0", CHANGELOG)

    def test_a_release_takes_over_what_is_unreleased_and_leaves_that_empty(self) -> None:
        released = release.release_unreleased(CHANGELOG, "0.3.0", "2026-12-01")
        self.assertIn("## [Unreleased]\n\n## [0.3.0] - 2026-12-01\n\n- Something.\n", released)
        self.assertEqual(release.notes(released, None), "- Something.")
        with self.assertRaisesRegex(SystemExit, "0.2.0 already"):
            release.release_unreleased(CHANGELOG, "0.2.0", "2026-12-01")
        with self.assertRaisesRegex(SystemExit, "nothing under"):
            release.release_unreleased(released, "0.4.0", "2026-12-01")


    def test_no_section_of_the_changelog_has_a_heading_twice(self) -> None:
        for name, text in release.sections((release.ROOT / "CHANGELOG.md").read_text()).items():
            kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
            self.assertEqual(sorted(set(kinds)), sorted(kinds), name)


class Lines(unittest.TestCase):
    def wrapped(self, name: str, text: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text)
            lines.wrap(path)
            self.assertEqual(lines.long_lines(path), [])
            return path.read_text()

    def test_long_comments_and_paragraphs_are_wrapped_and_keep_every_word(self) -> None:
        words = " ".join(["word"] * 40)
        for name, text in (
            ("a.rs", f"fn f() {{\n    /// {words}\n    /// more\n    let x = 1; // {words}\n}}\n"),
            ("a.sh", f"# First.\n# {words}\necho {words}\n"),
            ("a.md", f"# {words}\n\n- {words}\n  more\n\n| {words} |\n\n```\n{words}\n```\n"),
        ):
            flat = re.sub(r"[\s/#]+", " ", self.wrapped(name, text))
            self.assertEqual(flat, re.sub(r"[\s/#]+", " ", text), name)

    def test_a_wrapped_line_never_turns_into_a_list_item(self) -> None:
        for line in self.wrapped("a.md", " ".join(["words"] * 14) + " and 1000000. then - or " + "x " * 40).splitlines():
            self.assertIsNone(lines.MARKER.match(line), line)


class RoomsOfTheRepository(unittest.TestCase):
    ROOT = release.ROOT
    # At the top, and no rooms.
    OTHERS = {".ci", ".github", "LICENSES", "docs"}

    def makefiles(self) -> list[Path]:
        return [self.ROOT / "Makefile", self.ROOT / ".ci/room.mk", *self.ROOT.glob("*/room.mk"), *self.ROOT.glob("model-import/*/room.mk")]

    def test_every_folder_at_the_top_is_a_room_with_a_readme_and_targets(self) -> None:
        files = subprocess.run(["git", "ls-files"], cwd=self.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        folders = {name.partition("/")[0] for name in files if "/" in name} - self.OTHERS
        self.assertIn("function", folders)
        self.assertEqual([f"{folder}/{name}" for folder in sorted(folders) for name in ("README.md", "room.mk") if not (self.ROOT / folder / name).exists()], [])

    def test_clean_removes_what_git_ignores_and_none_of_the_data(self) -> None:
        (line,) = re.findall(r"^rm -rf (.+)$", dry_run("clean"), re.MULTILINE)
        removed = line.split()
        self.assertLessEqual({".venv", ".tools", "bench/.venv", "bench/target", "function/loom/target"}, set(removed))
        for name in removed:
            ignored = subprocess.run(["git", "check-ignore", "--quiet", f"{name}/any"], cwd=self.ROOT)
            self.assertEqual(ignored.returncode, 0, f"git keeps {name}")
            self.assertFalse(name.startswith((".work", "comparison/runs", "/")), name)

    def test_no_target_keeps_data_among_the_tools(self) -> None:
        for path in self.makefiles():
            self.assertNotIn(".tools/", path.read_text(), path)

    def test_targets_find_what_was_built_where_cargo_was_told_to_put_it(self) -> None:
        for target in ("run", "measure", "soak", "inspect", "report", "test-page", "test-examples", "observability-queries"):
            done = dry_run(target, "CARGO_TARGET_DIR=/elsewhere")
            self.assertIn("/elsewhere/release/", done, target)
            self.assertNotIn("target/release", done, target)

    def test_no_target_names_cargo_s_folder_itself(self) -> None:
        # The benchmarks are a workspace of their own, with a folder of its own.
        for path in self.makefiles():
            self.assertNotRegex(re.sub(r"^RELEASE_DIR := .*$", "", path.read_text(), flags=re.MULTILINE), r"(?<!bench/)target\)?/release", path)


class Workflows(unittest.TestCase):
    ROOT = release.ROOT

    def test_every_make_target_that_a_workflow_runs_exists(self) -> None:
        database = subprocess.run(["make", "-pqrR"], cwd=self.ROOT, capture_output=True, text=True).stdout
        targets = set(re.findall(r"^([\w./-]+):", database, re.MULTILINE))
        for workflow in (self.ROOT / ".github/workflows").glob("*.yml"):
            text = workflow.read_text()
            asked = set(re.findall(r"\bmake(?: --\S+)* ([a-z][a-z-]*)", text)) | set(re.findall(r"^ +- target: ([\w-]+)", text, re.MULTILINE))
            self.assertTrue(asked, workflow.name)
            self.assertEqual(asked - targets, set(), workflow.name)

    def test_every_weekly_check_is_given_the_compiler_and_the_headers_that_it_needs(self) -> None:
        steps = re.split(r"^ +- ", (self.ROOT / ".github/workflows/scheduled.yml").read_text(), flags=re.MULTILINE)
        (scheduled,) = re.findall(r"^SCHEDULED := (.+)$", (self.ROOT / ".ci/room.mk").read_text(), re.MULTILINE)
        installs = {"nightly": "rustup toolchain install nightly", "miri ": "--component miri --component rust-src", "libjpeg ": "libjpeg-turbo8-dev", "qemu": "qemu-user-static"}
        found = set()
        for target in scheduled.split():
            needs = " ".join(re.findall(r"^\.ci/need\.sh (.+)$", dry_run(target), re.MULTILINE)) + " "
            given = " ".join(step for step in steps if f"matrix.target == '{target}'" in step)
            for need in (need for need in installs if need in needs):
                self.assertIn(installs[need], given, target)
                found.add((target, need.strip()))
        self.assertLessEqual({("asan", "nightly"), ("fuzz", "nightly"), ("fuzz", "libjpeg"), ("miri", "miri"), ("neon", "qemu")}, found)

    def test_every_action_is_pinned_by_its_commit(self) -> None:
        for workflow in (self.ROOT / ".github/workflows").glob("*.yml"):
            for action in re.findall(r"uses: (\S+)", workflow.read_text()):
                self.assertRegex(action, r"@[0-9a-f]{40}$", workflow.name)


if __name__ == "__main__":
    unittest.main()
