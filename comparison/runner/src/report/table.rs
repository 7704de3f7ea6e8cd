//! Runs gathered into groups that can be compared: same origin, same scenario, same configuration,
//! both variants.

use std::collections::BTreeMap;

use crate::analysis::measures::{Values, measure};
use crate::analysis::statistics::{Estimate, Spread, estimate};
use crate::analysis::{MEASURES, Measure};
use scenario::recording::{Origin, Run};

/// The two variants, in the order of columns: name in files, name for people.
pub const VARIANTS: [(&str, &str); 2] = [("knative", "Knative (KPA)"), ("k8s-autoscalers", "HPA + VPA")];

/// One scenario in one configuration, all repeats of both variants.
pub struct Group<'a> {
    /// Measured or simulated.
    pub origin: Origin,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// `defaults` or `tuned`.
    pub configuration: &'a str,
    /// Runs of each of [`VARIANTS`], by repeat.
    pub runs: [Vec<&'a Run>; 2],
    /// Their measures.
    values: [Vec<Values>; 2],
}

/// Groups in the order of the page: measured before simulated, then scenario, then configuration.
pub fn groups(runs: &[Run]) -> Vec<Group<'_>> {
    let mut sorted: BTreeMap<(Origin, &str, &str), [Vec<&Run>; 2]> = BTreeMap::new();
    for run in runs {
        let Some(column) = VARIANTS.iter().position(|v| v.0 == run.variant) else { continue };
        sorted.entry((run.origin, &run.scenario, &run.configuration)).or_default()[column].push(run);
    }
    let mut groups = Vec::with_capacity(sorted.len());
    for ((origin, scenario, configuration), mut runs) in sorted {
        runs.iter_mut().for_each(|r| r.sort_by_key(|r| r.repeat));
        let values = [0, 1].map(|i| runs[i].iter().map(|r| measure(r)).collect());
        groups.push(Group { origin, scenario, configuration, runs, values });
    }
    groups
}

/// One cell pair of the table.
pub struct Row {
    /// What is measured.
    pub measure: &'static Measure,
    /// One for each variant, where it has the measure.
    pub estimates: [Option<Estimate>; 2],
    /// Second variant minus first, of repeats that both have.
    pub differences: Vec<f64>,
}

impl Group<'_> {
    /// A row for each measure that at least one variant has.
    pub fn rows(&self) -> Vec<Row> {
        let row = |measure: &'static Measure| {
            let of = |column: usize| -> Vec<f64> {
                self.values[column].iter().filter_map(|v| v.get(measure.key).copied()).collect()
            };
            let paired = self.runs[0].iter().zip(&self.values[0]).filter_map(|(run, values)| {
                let other = self.runs[1].iter().position(|r| r.repeat == run.repeat)?;
                Some(self.values[1][other].get(measure.key)? - values.get(measure.key)?)
            });
            let row = Row {
                measure,
                estimates: [estimate(&of(0)), estimate(&of(1))],
                differences: paired.collect(),
            };
            row.estimates.iter().any(Option::is_some).then_some(row)
        };
        MEASURES.iter().filter_map(row).collect()
    }

    /// The row of one measure.
    pub fn row(&self, key: &str) -> Option<Row> {
        self.rows().into_iter().find(|r| r.measure.key == key)
    }

    /// How many repeats each variant has.
    pub fn repeats(&self) -> [usize; 2] {
        [self.runs[0].len(), self.runs[1].len()]
    }
}

/// A number with as many digits as it deserves.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |d| ("-", d));
            let groups = digits.as_bytes().rchunks(3).rev().map(|g| String::from_utf8_lossy(g).into_owned());
            // Thin spaces: commas and points mean different things in different places.
            format!("{sign}{}", groups.collect::<Vec<_>>().join("\u{2009}"))
        }
        v => {
            // Three digits that mean something; zeros behind the point mean nothing.
            let decimals = if v >= 99.95 {
                0
            } else if v >= 9.995 {
                1
            } else {
                2
            };
            let text = format!("{value:.decimals$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
    }
}

/// Mean and spread: an interval in brackets, the range of a few repeats in parentheses.
pub fn cell(estimate: Option<&Estimate>, unit: &str) -> String {
    let Some(estimate) = estimate else { return "–".into() };
    let unit = if unit.is_empty() { String::new() } else { format!("\u{a0}{unit}") };
    let mean = format!("{}{unit}", number(estimate.mean));
    match estimate.spread {
        Spread::Range(low, high) if low != high => format!("{mean} ({} … {})", number(low), number(high)),
        Spread::Interval(low, high) if low != high => format!("{mean} [{} … {}]", number(low), number(high)),
        _ => mean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_intervals_look_different() {
        let three = estimate(&[1.0, 2.0, 3.0]);
        assert_eq!(cell(three.as_ref(), "s"), "2\u{a0}s (1 … 3)");
        let six = estimate(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert_eq!(cell(six.as_ref(), ""), "2 [1.06 … 2.94]");
        assert_eq!(cell(estimate(&[1.0]).as_ref(), ""), "1");
        assert_eq!(cell(None, "s"), "–");
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_large() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.12"),
            (3.0, "3"),
            (12.34, "12.3"),
            (123.4, "123"),
            (-5.5, "-5.5"),
            (99.99, "100"),
            (10.0, "10"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(1_234_567.0), "1\u{2009}234\u{2009}567");
    }
}
