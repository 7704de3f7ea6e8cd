//! The command line as a user gets it: what it refuses, and with which words.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-line-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs the program in the repository's root folder.
fn comparison(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comparison"));
    command.args(line.split_whitespace()).current_dir(root()).env("RUST_BACKTRACE", "1");
    command.output().expect("it starts")
}

fn accepted(line: &str) -> String {
    let Output { status, stdout, stderr } = comparison(line);
    assert!(status.success(), "{line}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// What is said on standard error by a command that fails.
fn refused(line: &str) -> String {
    let Output { status, stderr, .. } = comparison(line);
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(!status.success(), "{line} is accepted: {said}");
    said
}

/// Copies the recorded runs whose names contain a text.
fn recordings(name: &str, to: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(root().join("comparison/results")).expect("recordings");
    let mut copied = vec![];
    for path in all.map(|entry| entry.expect("readable").path()) {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        if file.contains(name) && file.ends_with(".json") {
            std::fs::copy(&path, to.join(&file)).expect("copied");
            copied.push(to.join(&file));
        }
    }
    assert!(!copied.is_empty(), "no recording {name}");
    copied
}

/// The shortest simulation: one arm, one scenario.
const SHORT: &str = "simulate --only spike --repeats 1 --arms kpa --stretch 0.1";

#[test]
fn a_simulation_leaves_recorded_runs_as_they_are() {
    let results = folder("recorded");
    let recorded = recordings("spike-knative-tuned-1", &results);
    let before = std::fs::read(&recorded[0]).expect("a recording");
    let said = refused(&format!("{SHORT} --results {}", results.display()));
    assert!(said.contains("has measured runs (spike-knative-tuned-1.json)"), "{said}");
    assert!(said.contains(&format!("--results {}/simulated", results.display())), "{said}");
    assert_eq!(std::fs::read_dir(&results).expect("a folder").count(), 1, "nothing is put beside it");
    assert_eq!(std::fs::read(&recorded[0]).expect("a recording"), before);

    let own = results.join("simulated");
    for _ in 0..2 {
        accepted(&format!("{SHORT} --results {}", own.display()));
    }
    assert_eq!(std::fs::read_dir(&own).expect("a folder").count(), 1, "simulated again, it is replaced");
}

#[test]
fn by_default_simulated_runs_go_into_a_folder_of_their_own() {
    assert!(accepted("simulate --help").contains("[default: comparison/results/simulated]"));
}

#[test]
fn simulated_runs_do_not_count_as_recorded() {
    let results = folder("simulated");
    accepted(&format!("{SHORT} --results {}", results.display()));
    let said = refused(&format!("plan --only spike --results {}", results.display()));
    assert!(said.contains("has simulated runs") && said.contains("/measured"), "{said}");
}

#[test]
fn simulated_runs_that_are_kept_replace_no_recording() {
    let results = folder("kept");
    let chance = results.join("chance-0");
    std::fs::create_dir_all(&chance).expect("a folder");
    let recorded = recordings("spike-knative-tuned-1", &chance);
    let before = std::fs::read(&recorded[0]).expect("a recording");
    let line = format!("against --results {} --chances 1 --keep {}", chance.display(), results.display());
    let said = refused(&line);
    assert!(said.contains("chance-0 has measured runs"), "{said}");
    assert_eq!(std::fs::read(&recorded[0]).expect("a recording"), before);
}

#[test]
fn a_report_goes_beside_its_results() {
    let results = folder("reported");
    recordings("spike-knative-tuned", &results);
    accepted(&format!("report --results {}", results.display()));
    assert!(results.join("report.html").exists() && results.join("table.md").exists());
}
