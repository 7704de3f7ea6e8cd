//! The table for the README: one row a scenario and configuration, the measures that decide.

use std::fmt::Write;

use super::table::{Group, VARIANTS, cell};
use crate::recording::Origin;

const KEYS: [&str; 7] = [
    "good_share",
    "p50_ms",
    "p99_ms",
    "slo_violation_s",
    "lag_ready_s",
    "pod_seconds",
    "core_seconds_requested",
];

/// A Markdown table of all groups of one origin; empty when there are none.
pub fn table(groups: &[Group<'_>], origin: Origin) -> String {
    let mut groups = groups.iter().filter(|g| g.origin == origin).peekable();
    if groups.peek().is_none() {
        return String::new();
    }
    let titles = KEYS.map(|key| crate::analysis::by_key(key).expect("a measure").title);
    let mut text = format!("| scenario | variant | runs | {} |\n", titles.join(" | "));
    let _ = writeln!(text, "|---|---|--:|{}", "--:|".repeat(KEYS.len()));
    for group in groups {
        for (column, (_, name)) in VARIANTS.iter().enumerate().filter(|(c, _)| group.repeats()[*c] > 0) {
            let cells = KEYS.map(|key| match group.row(key) {
                Some(row) => cell(row.estimates[column].as_ref(), row.measure.unit),
                None => "–".into(),
            });
            let (scenario, configuration, runs) =
                (group.scenario, group.configuration, group.repeats()[column]);
            let _ =
                writeln!(text, "| {scenario}, {configuration} | {name} | {runs} | {} |", cells.join(" | "));
        }
    }
    text
}
