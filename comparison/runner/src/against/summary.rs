//! How far the simulation is from recorded runs, in tables: by scenario and arm, over all of them,
//! and for the calculator's page.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;
use simulator::Autoscaler;

use super::{Difference, Group, OUTSIDE};
use crate::fit::Arms;
use crate::report::table::number;

/// A row of the summary: its name, and its value for a group.
type Column = (&'static str, fn(&Apart) -> Option<f64>);

/// Distance between the simulation and the recording of one group, means over the repeats. `None`
/// where one of the two has no such value: an arm that answers nothing has no latency.
pub(super) struct Apart {
    /// Mean ready pods, per cent of the recorded.
    pods: Option<f64>,
    /// Ready pods second by second, per cent of the recorded mean.
    seconds: Option<f64>,
    /// Good answers, points.
    good: Option<f64>,
    /// 99th percentile of the latency, per cent.
    p99: Option<f64>,
    /// Core-seconds requested, per cent.
    cost: Option<f64>,
}

pub(super) fn groups(differences: &[Difference]) -> BTreeMap<&Group, Vec<&Difference>> {
    let mut groups: BTreeMap<_, Vec<&Difference>> = BTreeMap::new();
    differences.iter().for_each(|d| groups.entry(&d.group).or_default().push(d));
    groups
}

/// The mean over the repeats that have the value.
fn mean(group: &[&Difference], of: impl Fn(&Difference) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = group.iter().filter_map(|d| of(d)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Means of a measure: recorded, simulated.
pub(super) fn both(group: &[&Difference], key: &str) -> [Option<f64>; 2] {
    [mean(group, |d| d.measured.get(key).copied()), mean(group, |d| d.simulated.get(key).copied())]
}

fn apart(group: &[&Difference]) -> Apart {
    let pods = [0, 1, 2].map(|i| mean(group, |d| Some(d.pods[i])).unwrap_or(0.0));
    let percent = |[recorded, simulated]: [Option<f64>; 2]| match (recorded, simulated) {
        (Some(r), Some(s)) if r > 0.0 => Some((s / r - 1.0) * 100.0),
        _ => None,
    };
    let [recorded, simulated] = both(group, "good_share");
    Apart {
        pods: percent([Some(pods[0]), Some(pods[1])]),
        seconds: (pods[0] > 0.0).then(|| pods[2] / pods[0] * 100.0),
        good: recorded.zip(simulated).map(|(recorded, simulated)| simulated - recorded),
        p99: percent(both(group, "p99_ms")),
        cost: percent(both(group, "core_seconds_requested")),
    }
}

/// Distance between simulation and recorded runs, as shown in the calculator: mean absolute values
/// over the groups of an autoscaler.
#[derive(Debug, PartialEq, Serialize)]
pub struct Errors {
    /// A description of the comparison.
    pub about: String,
    /// By the calculator's name of the autoscaler.
    pub autoscalers: BTreeMap<&'static str, AutoscalerErrors>,
}

/// One autoscaler.
#[derive(Debug, PartialEq, Serialize)]
pub struct AutoscalerErrors {
    /// Scenarios and configurations that were recorded.
    pub groups: usize,
    /// Mean ready pods.
    pub pods_percent: f64,
    /// Good answers.
    pub good_points: f64,
    /// 99th percentile of the latency.
    pub p99_percent: f64,
    /// Core-seconds requested.
    pub cost_percent: f64,
}

/// The data of the calculator's page.
pub fn errors(differences: &[Difference], arms: &Arms) -> Result<Errors> {
    let mut aparts: BTreeMap<&'static str, Vec<Apart>> = BTreeMap::new();
    for ((_, variant, configuration), group) in groups(differences) {
        let name = match arms.arm(variant, configuration)?.autoscaler {
            Autoscaler::Kpa(_) => "kpa",
            Autoscaler::Hpa(_, None) => "hpa",
            Autoscaler::Hpa(_, Some(_)) => "hpa-vpa",
            Autoscaler::Keda(_) => "keda",
            Autoscaler::HpaToZero(_) => "hpa-zero",
        };
        aparts.entry(name).or_default().push(apart(&group));
    }
    let autoscalers = aparts.into_iter().map(|(name, aparts)| {
        // A value that no group has is not a number, which JSON writes as null.
        let mean = |of: fn(&Apart) -> Option<f64>| {
            let known: Vec<f64> = aparts.iter().filter_map(of).map(f64::abs).collect();
            (known.iter().sum::<f64>() / known.len() as f64 * 100.0).round() / 100.0
        };
        let errors = AutoscalerErrors {
            groups: aparts.len(),
            pods_percent: mean(|a| a.pods),
            good_points: mean(|a| a.good),
            p99_percent: mean(|a| a.p99),
            cost_percent: mean(|a| a.cost),
        };
        (name, errors)
    });
    let about = format!(
        "{} recorded runs of pods of 150m on one node of two CPUs were simulated again, with pods as \
         other repeats of the same runs had shown them.",
        differences.len()
    );
    Ok(Errors { about, autoscalers: autoscalers.collect() })
}

/// The rows of the summary.
pub(super) const COLUMNS: [Column; 5] = [
    ("mean ready pods, %", |a| a.pods),
    ("ready pods second by second, % of the mean", |a| a.seconds),
    ("good answers, points", |a| a.good),
    ("p99, %", |a| a.p99),
    ("core-seconds requested, %", |a| a.cost),
];

/// Over the groups, without sign: mean, median, most; by column.
pub(super) fn over_groups(differences: &[Difference]) -> Vec<[f64; 3]> {
    let aparts: Vec<Apart> = groups(differences).values().map(|group| apart(group)).collect();
    let summed = COLUMNS.iter().map(|(_, of)| {
        let mut values: Vec<f64> = aparts.iter().filter_map(of).map(f64::abs).collect();
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
        [mean, at(values.len() / 2), at(values.len().saturating_sub(1))]
    });
    summed.collect()
}

/// Recorded and simulated side by side as a Markdown table, means over the repeats, and below it
/// the distances over all groups, beside those of the simulation from itself and of `repeats` from
/// each other.
pub fn table(differences: &[Difference], repeats: &[Difference], itself: &[Vec<Difference>]) -> String {
    let mut text = String::from(
        "| scenario | variant | runs | ready pods, mean | apart | good answers | p99 | core-seconds requested |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
    for ((scenario, variant, configuration), group) in groups(differences) {
        let pair = |key: &str, unit: &str| {
            let [recorded, simulated] = both(&group, key).map(shown);
            format!("{recorded}, {simulated}{unit}")
        };
        let pods = [0, 1, 2].map(|i| shown(mean(&group, |d| Some(d.pods[i]))));
        let _ = writeln!(
            text,
            "| {scenario}, {configuration} | {variant} | {} | {}, {} | {} | {} | {} | {} |",
            group.len(),
            pods[0],
            pods[1],
            pods[2],
            pair("good_share", " %"),
            pair("p99_ms", " ms"),
            pair("core_seconds_requested", " s"),
        );
    }
    text.push_str(
        "\n| apart, over the groups | mean | median | most | itself: mean | median | other repeats: mean | median | most |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let recorded = (!repeats.is_empty()).then(|| over_groups(repeats));
    let own: Vec<Vec<[f64; 3]>> =
        itself.iter().filter(|one| !one.is_empty()).map(|one| over_groups(one)).collect();
    for (i, ((name, _), found)) in COLUMNS.iter().zip(over_groups(differences)).enumerate() {
        let own = (0..2).map(|k| {
            let sum: f64 = own.iter().map(|chance| chance[i][k]).sum();
            shown((!own.is_empty()).then(|| sum / own.len() as f64))
        });
        let others = (0..3).map(|k| shown(recorded.as_ref().map(|r| r[i][k])));
        let cells: Vec<String> = found.into_iter().map(number).chain(own).chain(others).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    let covered = INSIDE.iter().map(|(key, name)| {
        let known: Vec<bool> = differences.iter().filter_map(|d| d.inside.get(key).copied()).collect();
        format!("{name} {} of {}", known.iter().filter(|inside| **inside).count(), known.len())
    });
    let covered: Vec<String> = covered.collect();
    let _ = writeln!(
        text,
        "\nRecorded runs among the middle {:.0} % of their simulated ones: {}.",
        (1.0 - OUTSIDE) * 100.0,
        covered.join(", ")
    );
    text
}

/// Measures of which it is counted how often the recorded value is in the simulated range.
const INSIDE: [(&str, &str); 3] =
    [("good_share", "good answers"), ("p99_ms", "p99"), ("core_seconds_requested", "core-seconds requested")];
