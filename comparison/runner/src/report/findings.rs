//! Sentences made from numbers. A difference is stated only where a claim about it is shown (see
//! [`super::claims`]); every other sentence gives the numbers and says why nothing is claimed.

use super::claims::{Claim, PRIMARY};
use super::table::{Group, Row, amount, cell, number};
use crate::analysis::Better;
use crate::analysis::statistics::LEAST_PAIRS;

/// The subject of a sentence.
const KEYS: [&str; 10] = [
    "p99_ms",
    "good_share",
    "slo_violation_s",
    "recovery_s",
    "first_answer_ms",
    "lag_decided_s",
    "lag_ready_s",
    "pod_seconds",
    "core_seconds_requested",
    "cost_per_1000",
];

/// Reactions, relative to the state before the step.
const LAGS: [&str; 2] = ["lag_decided_s", "lag_ready_s"];

/// Sentences for one group.
pub fn findings(group: &Group<'_>, claims: &[Claim]) -> Vec<String> {
    let of_group =
        |c: &&Claim| c.scenario == group.scenario && c.arms.iter().eq(group.arms.iter().map(|a| &a.arm.name));
    let claims: Vec<&Claim> = claims.iter().filter(of_group).collect();
    let titles = group.titles();
    let there = group.row("pods_at_step").and_then(|row| head_start(&row, titles));
    let said = |row: Row| {
        let claim = claims.iter().find(|c| c.measure.key == row.measure.key);
        let text = sentence(&row, titles, claim.copied(), group.is_claimed())?;
        Some(match &there {
            Some(there) if LAGS.contains(&row.measure.key) => format!("{text} {there}"),
            _ => text,
        })
    };
    KEYS.iter().filter_map(|key| group.row(key)).filter_map(said).collect()
}

/// Lags are relative to the pods at the step: an arm with more of them may have needed none.
fn head_start(row: &Row, titles: [&str; 2]) -> Option<String> {
    let [Some(first), Some(second)] = &row.estimates else { return None };
    ((first.mean - second.mean).abs() >= 1.0).then(|| {
        format!(
            "The starting points differ: {} had {} pods ready at the step, {} {}.",
            titles[0],
            number(first.mean),
            titles[1],
            number(second.mean)
        )
    })
}

fn sentence(row: &Row, titles: [&str; 2], claim: Option<&Claim>, claimed: bool) -> Option<String> {
    let [Some(first), Some(second)] = &row.estimates else { return one_sided(row, titles) };
    let unit = row.measure.unit;
    let both = format!(
        "{}: {} {}, {} {}",
        row.measure.title,
        titles[0],
        cell(Some(first), unit),
        titles[1],
        cell(Some(second), unit)
    );
    let pairs = row.differences.len();
    let unregistered = claim.is_none() && pairs >= LEAST_PAIRS;
    if !claimed || !PRIMARY.contains(&row.measure.key) || unregistered {
        return Some(format!("{both}. Described only."));
    }
    let Some(claim) = claim else {
        let plural = if pairs == 1 { "" } else { "s" };
        return Some(format!("{both}. Not shown: {pairs} pair{plural}, at least {LEAST_PAIRS} are needed."));
    };
    let p = probability(claim.corrected_p);
    if !claim.is_shown() {
        return Some(format!("{both}. Not shown ({} pairs, corrected p {p}).", claim.difference.pairs));
    }
    let size = claim.difference.mean.abs();
    let (low, high) = claim.difference.interval;
    let more = titles[usize::from(claim.difference.mean > 0.0)];
    let less = titles[usize::from(claim.difference.mean <= 0.0)];
    let by = match row.measure.better {
        Better::Higher => format!("{} more with {more}", amount(size, row.measure)),
        _ => format!("{} less with {less}", amount(size, row.measure)),
    };
    let (low, high) = if claim.difference.mean < 0.0 { (-high, -low) } else { (low, high) };
    Some(format!(
        "{both}: {by} [{} … {}], {} pairs, corrected p {p}.",
        number(low),
        number(high),
        claim.difference.pairs
    ))
}

/// A p-value with three decimals.
pub fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// Only one arm has the measure. For reactions this is a finding of its own: no reaction may be
/// right (the pods were enough) or wrong, which the good answers show.
fn one_sided(row: &Row, titles: [&str; 2]) -> Option<String> {
    if !LAGS.contains(&row.measure.key) {
        return None;
    }
    let has = row.estimates.iter().position(Option::is_some)?;
    let value = cell(row.estimates[has].as_ref(), row.measure.unit);
    Some(format!(
        "{}: {} {value}; {} never had more than before the step.",
        row.measure.title,
        titles[has],
        titles[1 - has]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::by_key;
    use crate::analysis::statistics::{difference, estimate};

    fn row(key: &str, first: &[f64], second: &[f64]) -> Row {
        let differences = first.iter().zip(second).map(|(a, b)| b - a).collect();
        Row {
            measure: by_key(key).expect("known"),
            estimates: [estimate(first), estimate(second)],
            differences,
        }
    }

    const TITLES: [&str; 2] = ["KPA", "HPA + VPA"];

    fn claim(row: &Row, corrected_p: f64) -> Claim {
        Claim {
            scenario: "spike".into(),
            arms: ["kpa-tuned".into(), "hpa-vpa-tuned".into()],
            titles: TITLES.map(Into::into),
            files: ["a".into(), "b".into()],
            measure: row.measure,
            difference: difference(&row.differences).expect("enough pairs"),
            by_block: row.differences.clone(),
            corrected_p,
        }
    }

    #[test]
    fn a_shown_difference_is_stated_with_its_interval_and_p() {
        let row = row("good_share", &[90.0, 91.0, 92.0, 90.0, 91.0, 92.0], &[99.0; 6]);
        let text = sentence(&row, TITLES, Some(&claim(&row, 0.031)), true).expect("a sentence");
        let end = "8 percentage points more with HPA + VPA [7.06 … 8.94], 6 pairs, corrected p 0.031.";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_difference_that_does_not_pass_is_not_stated() {
        let row = row("good_share", &[90.0, 91.0, 92.0, 90.0, 91.0, 92.0], &[99.0; 6]);
        let text = sentence(&row, TITLES, Some(&claim(&row, 0.0625)), true).expect("a sentence");
        assert!(text.ends_with("Not shown (6 pairs, corrected p 0.062)."), "{text}");
    }

    #[test]
    fn three_pairs_are_no_claim_even_where_all_agree() {
        let row = row("good_share", &[90.0, 91.0, 92.0], &[99.0; 3]);
        let text = sentence(&row, TITLES, None, true).expect("a sentence");
        assert!(text.ends_with("Not shown: 3 pairs, at least 6 are needed."), "{text}");
    }

    #[test]
    fn enough_pairs_without_a_registered_claim_are_described_only() {
        let row = row("cost_per_1000", &[20.0, 21.0, 22.0, 20.0, 21.0, 22.0], &[30.0; 6]);
        let text = sentence(&row, TITLES, None, true).expect("a sentence");
        assert!(text.ends_with("Described only."), "{text}");
    }

    #[test]
    fn measures_that_are_not_primary_are_described_only() {
        let row = row("p99_ms", &[100.0; 6], &[200.0; 6]);
        let text = sentence(&row, TITLES, None, true).expect("a sentence");
        assert!(text.ends_with("Described only."), "{text}");
        let primary = self::row("good_share", &[90.0; 6], &[99.0; 6]);
        let text = sentence(&primary, TITLES, None, false).expect("a sentence");
        assert!(text.ends_with("Described only."), "of an ablation: {text}");
    }

    #[test]
    fn a_head_start_is_said_beside_the_lags() {
        let text =
            head_start(&row("pods_at_step", &[3.0, 5.0, 6.0], &[1.0, 1.0, 1.0]), TITLES).expect("a sentence");
        assert_eq!(text, "The starting points differ: KPA had 4.67 pods ready at the step, HPA + VPA 1.");
        assert_eq!(head_start(&row("pods_at_step", &[1.0, 2.0], &[1.0, 1.0]), TITLES), None);
    }

    #[test]
    fn a_variant_that_never_reacts_is_said_to_be_one() {
        let text =
            sentence(&row("lag_decided_s", &[2.0, 3.0, 2.0], &[]), TITLES, None, true).expect("a sentence");
        assert!(text.ends_with("HPA + VPA never had more than before the step."), "{text}");
    }
}
