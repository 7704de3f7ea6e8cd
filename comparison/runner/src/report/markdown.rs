//! The table for the documents: one row for each scenario, configuration and variant.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::table::{Group, VARIANTS, cell};
use scenario::recording::Origin;

const KEYS: [&str; 6] =
    ["good_share", "p50_ms", "p99_ms", "slo_violation_s", "pod_seconds", "core_seconds_requested"];

/// A Markdown table of all groups of one origin in which both variants have at least so many runs;
/// empty when there are none.
pub fn table(groups: &[Group<'_>], origin: Origin, least: usize) -> String {
    let enough = |g: &&Group<'_>| g.origin == origin && g.repeats().iter().all(|r| *r >= least);
    let mut groups = groups.iter().filter(enough).peekable();
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
