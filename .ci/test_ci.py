"""Tests of this folder's scripts, and that the workflows run make targets only."""

import re
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

    def test_every_action_is_pinned_by_its_commit(self) -> None:
        for workflow in (self.ROOT / ".github/workflows").glob("*.yml"):
            for action in re.findall(r"uses: (\S+)", workflow.read_text()):
                self.assertRegex(action, r"@[0-9a-f]{40}$", workflow.name)


if __name__ == "__main__":
    unittest.main()
