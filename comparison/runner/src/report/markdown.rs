//! The table for the documents: one row for each scenario and arm.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::table::{ArmRuns, cell};
use scenario::recording::Origin;

const KEYS: [&str; 6] =
    ["good_share", "p50_ms", "p99_ms", "slo_violation_s", "pod_seconds", "core_seconds_requested"];

/// A Markdown table of all arms of one origin that have at least so many runs; empty when there are
/// none.
pub fn table(arms: &[ArmRuns<'_>], origin: Origin, least: usize) -> String {
    let mut arms = arms.iter().filter(|a| a.origin == origin && a.runs.len() >= least).peekable();
    if arms.peek().is_none() {
        return String::new();
    }
    let measures = KEYS.map(|key| crate::analysis::by_key(key).expect("a measure"));
    let mut text = format!("| scenario | arm | runs | {} |\n", measures.map(|m| m.title).join(" | "));
    let _ = writeln!(text, "|---|---|--:|{}", "--:|".repeat(KEYS.len()));
    for arm in arms {
        let cells = measures.map(|m| cell(arm.estimate(m.key).as_ref(), m.unit));
        let (scenario, title, runs) = (arm.scenario, &arm.arm.title, arm.runs.len());
        let _ = writeln!(text, "| {scenario} | {title} | {runs} | {} |", cells.join(" | "));
    }
    text
}

const BEGIN: &str = "<!-- comparison: make report TABLE=docs/comparison/results.md -->\n";
const END: &str = "<!-- /comparison -->";

/// A document with the text between its two markers replaced.
pub fn fill(document: &str, text: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).with_context(|| format!("no line {:?}", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("no {END:?} after the first marker"))?;
    Ok(format!("{before}{BEGIN}{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let document = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let filled = fill(&document, "new\n").expect("both markers");
        assert_eq!(filled, format!("before\n{BEGIN}new\n{END}\nafter\n"));
        assert_eq!(fill(&filled, "new\n").expect("again"), filled);
        assert!(fill("nothing", "new").is_err());
    }
}
