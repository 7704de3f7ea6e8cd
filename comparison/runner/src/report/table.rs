//! Groups runs by arm, and pairs the arms that are compared: same origin, same scenario.

use std::collections::BTreeMap;

use crate::analysis::measures::{Values, measure_until};
use crate::analysis::statistics::{Estimate, Spread, estimate};
use crate::analysis::{MEASURES, Measure, by_key};
use scenario::arms::{self, Arm};
use scenario::recording::{Origin, Run};

/// All repeats of one arm in one scenario.
pub struct ArmRuns<'a> {
    /// Measured or simulated.
    pub origin: Origin,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// The arm.
    pub arm: Arm,
    /// By repeat.
    pub runs: Vec<&'a Run>,
    /// Their measures.
    values: Vec<Values>,
}

/// Origin, scenario, number in the list of arms, configuration.
type Place<'a> = (Origin, &'a str, usize, &'a str);

/// Arms in the order of the page: measured before simulated, then scenario, then the order of the
/// list. Runs of an arm that the list does not have are left out.
pub fn arm_runs(runs: &[Run]) -> Vec<ArmRuns<'_>> {
    let mut sorted: BTreeMap<Place<'_>, (Arm, Vec<&Run>)> = BTreeMap::new();
    for run in runs {
        let Some(arm) = Arm::of(&run.variant, &run.configuration) else { continue };
        let listed = arms::all().iter().position(|a| arm.name.split('+').next() == Some(&a.name));
        let key = (run.origin, &*run.scenario, listed.unwrap_or(usize::MAX), &*run.configuration);
        sorted.entry(key).or_insert_with(|| (arm, vec![])).1.push(run);
    }
    // The end of the cost window in each scenario: the moment at which the last arm is at rest
    // again. Unknown if any run was not watched until then.
    let mut rest: BTreeMap<(Origin, &str), Option<f64>> = BTreeMap::new();
    for ((origin, scenario, ..), (arm, runs)) in &sorted {
        let latest = rest.entry((*origin, scenario)).or_insert(Some(0.0));
        for run in runs {
            let load_s = run.load.seconds.len() as f64;
            let own = run.recording.at_rest_s(arm.rest_pods).map(|rest| rest.max(load_s));
            *latest = latest.zip(own).map(|(a, b)| a.max(b));
        }
    }
    let mut found = Vec::with_capacity(sorted.len());
    for ((origin, scenario, ..), (arm, mut runs)) in sorted {
        runs.sort_by_key(|r| r.repeat);
        let until = rest[&(origin, scenario)];
        let values = runs.iter().map(|r| measure_until(r, until)).collect();
        found.push(ArmRuns { origin, scenario, arm, runs, values });
    }
    found
}

impl ArmRuns<'_> {
    /// Mean and spread of a measure over the repeats. An interval ends where the measure does: the
    /// mean lies on this side, so that it covers the mean as often as before.
    pub fn estimate(&self, key: &str) -> Option<Estimate> {
        let values: Vec<f64> = self.values.iter().filter_map(|v| v.get(key).copied()).collect();
        let found = estimate(&values)?;
        let (least, most) = by_key(key)?.range();
        let spread = match found.spread {
            // A mean outside, of clocks that disagree, is still within its interval.
            Spread::Interval(low, high) => {
                Spread::Interval(low.max(least).min(found.mean), high.min(most).max(found.mean))
            }
            other => other,
        };
        Some(Estimate { of: self.runs.len(), spread, ..found })
    }
}

/// Two arms in one scenario that are compared with each other.
pub struct Group<'a> {
    /// Measured or simulated.
    pub origin: Origin,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// The question of the comparison.
    pub question: String,
    /// The two; differences are the second minus the first.
    pub arms: [&'a ArmRuns<'a>; 2],
}

/// Every pair of the list, and every ablation with its base arm, where both have runs.
pub fn groups<'a>(arms: &'a [ArmRuns<'a>]) -> Vec<Group<'a>> {
    let mut groups = vec![];
    let mut scenarios: Vec<(Origin, &str)> = arms.iter().map(|a| (a.origin, a.scenario)).collect();
    scenarios.dedup();
    for (origin, scenario) in scenarios {
        let here = || arms.iter().filter(move |a| a.origin == origin && a.scenario == scenario);
        let named = |name: &str| here().find(|a| a.arm.name == name);
        let mut push = |first: &str, second: &str, question: String| {
            if let (Some(first), Some(second)) = (named(first), named(second)) {
                groups.push(Group { origin, scenario, question, arms: [first, second] });
            }
        };
        for pair in arms::pairs() {
            push(&pair.arms[0], &pair.arms[1], pair.question.clone());
        }
        for ablation in here() {
            if let Some(base) = ablation.arm.base() {
                let change = ablation.arm.name.rsplit('+').next().unwrap_or_default();
                push(&base.name, &ablation.arm.name, format!("What {change} changes"));
            }
        }
    }
    groups
}

/// One cell pair of the table.
pub struct Row {
    /// The measure.
    pub measure: &'static Measure,
    /// A summary for each arm that has the measure.
    pub estimates: [Option<Estimate>; 2],
    /// Second arm minus first, of repeats that both have.
    pub differences: Vec<f64>,
}

impl Group<'_> {
    /// Whether this claim is about it.
    pub fn has(&self, claim: &arms::Claim) -> bool {
        self.scenario == claim.scenario
            && self.arms.iter().zip(&claim.arms).all(|(a, name)| a.arm.name == *name)
    }

    /// Whether claims are made about it: not about most ablations, which explain differences.
    pub fn is_claimed(&self) -> bool {
        arms::claims().iter().any(|claim| self.has(claim))
    }

    /// A row for each measure that at least one arm has.
    pub fn rows(&self) -> Vec<Row> {
        MEASURES.iter().filter_map(|measure| self.row(measure.key)).collect()
    }

    /// The row of one measure.
    pub fn row(&self, key: &str) -> Option<Row> {
        let measure = by_key(key)?;
        let [first, second] = self.arms;
        let paired = first.runs.iter().zip(&first.values).filter_map(|(run, values)| {
            let other = second.runs.iter().position(|r| r.repeat == run.repeat)?;
            Some(second.values[other].get(key)? - values.get(key)?)
        });
        let estimates = [first.estimate(key), second.estimate(key)];
        let differences = paired.collect();
        let any = estimates.iter().any(Option::is_some);
        any.then_some(Row { measure, estimates, differences })
    }

    /// Names of the two for people.
    pub fn titles(&self) -> [&str; 2] {
        [&self.arms[0].arm.title, &self.arms[1].arm.title]
    }

    /// How many repeats each has.
    pub fn repeats(&self) -> [usize; 2] {
        self.arms.map(|a| a.runs.len())
    }

    /// Repeats that both have.
    pub fn pairs(&self) -> usize {
        let has = |repeat| self.arms[1].runs.iter().any(|r| r.repeat == repeat);
        self.arms[0].runs.iter().filter(|r| has(r.repeat)).count()
    }
}

/// A number with its significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |d| ("-", d));
            let groups = digits.as_bytes().rchunks(3).rev().map(|g| String::from_utf8_lossy(g).into_owned());
            // Thin no-break spaces: the meaning of commas and points depends on the country.
            format!("{sign}{}", groups.collect::<Vec<_>>().join("\u{202f}"))
        }
        v => {
            // Three significant digits, without trailing zeros.
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

/// A difference, with its unit.
pub fn amount(value: f64, measure: &Measure) -> String {
    format!("{} {}", number(value), measure.difference_unit()).trim_end().to_owned()
}

/// Mean and spread: an interval in brackets, the range of a few repeats in parentheses.
pub fn cell(estimate: Option<&Estimate>, unit: &str) -> String {
    let Some(estimate) = estimate else { return "–".into() };
    let unit = if unit.is_empty() { String::new() } else { format!("\u{a0}{unit}") };
    let mean = format!("{}{unit}", number(estimate.mean));
    let spread = match estimate.spread {
        Spread::Range(low, high) if low != high => format!("{mean} ({} … {})", number(low), number(high)),
        Spread::Interval(low, high) if low != high => format!("{mean} [{} … {}]", number(low), number(high)),
        _ => mean,
    };
    // Some repeats have no reaction: the mean is over the others.
    match estimate.repeats {
        some if some < estimate.of => format!("{spread}, {some} of {} runs", estimate.of),
        _ => spread,
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
        let two_of_three = estimate(&[1.0, 2.0]).map(|e| Estimate { of: 3, ..e });
        assert_eq!(cell(two_of_three.as_ref(), "s"), "1.5\u{a0}s (1 … 2), 2 of 3 runs");
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
        assert_eq!(number(1_234_567.0), "1\u{202f}234\u{202f}567");
    }
}
