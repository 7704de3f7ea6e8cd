//! Sentences made from numbers. A difference is stated as one only when every repeat agrees (see
//! [`crate::analysis::repeats::is_clear`]); otherwise the sentence says that these runs cannot tell.

use super::table::{Group, Row, VARIANTS, cell, number};
use crate::analysis::Better;
use crate::analysis::repeats::LEAST_REPEATS;

/// What a sentence is made about.
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

/// Reactions, counted from what was there before.
const LAGS: [&str; 2] = ["lag_decided_s", "lag_ready_s"];

/// Sentences for one group; empty when a variant is missing.
pub fn findings(group: &Group<'_>) -> Vec<String> {
    let there = group.row("pods_at_step").and_then(|row| head_start(&row));
    let said = |row: Row| {
        let text = sentence(&row)?;
        Some(match &there {
            Some(there) if LAGS.contains(&row.measure.key) => format!("{text} {there}"),
            _ => text,
        })
    };
    KEYS.iter().filter_map(|key| group.row(key)).filter_map(said).collect()
}

/// Lags count from what a variant had at the step: who had more then may have needed no more.
fn head_start(row: &Row) -> Option<String> {
    let [Some(first), Some(second)] = &row.estimates else { return None };
    ((first.mean - second.mean).abs() >= 1.0).then(|| {
        format!(
            "They did not start alike: {} had {} pods ready at the step, {} {}.",
            VARIANTS[0].1,
            number(first.mean),
            VARIANTS[1].1,
            number(second.mean)
        )
    })
}

fn sentence(row: &Row) -> Option<String> {
    let [Some(first), Some(second)] = &row.estimates else { return one_sided(row) };
    let unit = row.measure.unit;
    let both = format!(
        "{}: {} {}, {} {}",
        row.measure.title,
        VARIANTS[0].1,
        cell(Some(first), unit),
        VARIANTS[1].1,
        cell(Some(second), unit)
    );
    if row.differences.iter().all(|d| *d == 0.0) && !row.differences.is_empty() {
        return Some(format!("{both}: no difference."));
    }
    if !row.is_clear() {
        let pairs = row.differences.len();
        let why = if pairs < LEAST_REPEATS {
            format!("{pairs} repeat{}", if pairs == 1 { "" } else { "s" })
        } else {
            "the repeats disagree".into()
        };
        return Some(format!("{both}. Not to be told from chance here ({why})."));
    }
    let second_is_higher = second.mean > first.mean;
    let lower = VARIANTS[usize::from(!second_is_higher)].1;
    let (small, large) = if second_is_higher { (first.mean, second.mean) } else { (second.mean, first.mean) };
    let by = match row.measure.better {
        Better::Higher => {
            format!("{} more with {}", amount(large - small, unit), VARIANTS[usize::from(second_is_higher)].1)
        }
        _ if small > 0.0 && large / small >= 1.2 => {
            format!("{} times less with {lower}", number(large / small))
        }
        _ => format!("{} less with {lower}", amount(large - small, unit)),
    };
    Some(format!("{both}: {by}; all {} repeats agree.", row.differences.len()))
}

fn amount(value: f64, unit: &str) -> String {
    let unit = if unit == "%" { " percentage points".into() } else { format!(" {unit}") };
    format!("{}{}", number(value), unit.trim_end())
}

/// Only one variant has the measure: that is itself a finding for reactions, and nothing for the rest. Not having reacted
/// may be right (what was there was enough) or wrong; the good answers tell which.
fn one_sided(row: &Row) -> Option<String> {
    if !LAGS.contains(&row.measure.key) {
        return None;
    }
    let has = row.estimates.iter().position(Option::is_some)?;
    let value = cell(row.estimates[has].as_ref(), row.measure.unit);
    Some(format!(
        "{}: {} {value}; {} never had more than before the step.",
        row.measure.title,
        VARIANTS[has].1,
        VARIANTS[1 - has].1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::by_key;
    use crate::analysis::repeats::estimate;

    fn row(key: &str, first: &[f64], second: &[f64]) -> Row {
        let differences = first.iter().zip(second).map(|(a, b)| b - a).collect();
        Row {
            measure: by_key(key).expect("known"),
            estimates: [estimate(first), estimate(second)],
            differences,
        }
    }

    #[test]
    fn a_clear_difference_is_stated_with_its_factor() {
        let text =
            sentence(&row("p99_ms", &[100.0, 110.0, 90.0], &[200.0, 220.0, 180.0])).expect("a sentence");
        assert!(text.ends_with("2 times less with Knative (KPA); all 3 repeats agree."), "{text}");
        let text =
            sentence(&row("good_share", &[90.0, 91.0, 92.0], &[99.0, 99.0, 99.0])).expect("a sentence");
        assert!(text.contains("8 percentage points more with HPA + VPA"), "{text}");
    }

    #[test]
    fn too_few_repeats_or_disagreement_is_no_difference() {
        let text = sentence(&row("p99_ms", &[100.0], &[200.0])).expect("a sentence");
        assert!(text.ends_with("Not to be told from chance here (1 repeat)."), "{text}");
        let text =
            sentence(&row("p99_ms", &[100.0, 100.0, 100.0], &[200.0, 50.0, 150.0])).expect("a sentence");
        assert!(text.ends_with("(the repeats disagree)."), "{text}");
    }

    #[test]
    fn a_head_start_is_said_beside_the_lags() {
        let text = head_start(&row("pods_at_step", &[3.0, 5.0, 6.0], &[1.0, 1.0, 1.0])).expect("a sentence");
        assert_eq!(
            text,
            "They did not start alike: Knative (KPA) had 4.67 pods ready at the step, HPA + VPA 1."
        );
        assert_eq!(head_start(&row("pods_at_step", &[1.0, 2.0], &[1.0, 1.0])), None);
    }

    #[test]
    fn a_variant_that_never_reacts_is_said_to_be_one() {
        let text = sentence(&row("lag_decided_s", &[2.0, 3.0, 2.0], &[])).expect("a sentence");
        assert!(text.ends_with("HPA + VPA never had more than before the step."), "{text}");
    }
}
