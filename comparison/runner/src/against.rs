//! The simulator beside recorded runs: the same schedule, the same settings, and the distance
//! between their ready pods. The pod's parameters come from `comparison fit`, the settings come
//! from the manifests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::analysis::measures::{Values, measure, ready_pods};
use crate::analysis::steps;
use crate::report::table::number;
use scenario::Scenario;
use scenario::recording::{Draw, Origin, Run};
use serde::Serialize;
use simulator::{Autoscaler, Drawn};

use crate::fit::{self, Arms};

pub mod ablations;
pub mod order;

/// One recorded run and its simulation.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// Scenario, variant, configuration.
    pub group: Group,
    /// Ready pods over time: mean recorded, mean simulated, mean of the distance at each second.
    pub pods: [f64; 3],
    /// Measures of both; of the simulation, means over its chances.
    pub measured: Values,
    /// See `measured`.
    pub simulated: Values,
    /// Measures for which the recorded value is among the middle nine tenths of the simulated ones.
    pub inside: BTreeMap<&'static str, bool>,
}

/// Scenario, variant, configuration.
pub type Group = (String, String, String);

/// How runs are simulated again.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// How often, with the same arrivals and other chances.
    pub chances: u32,
    /// Parts of the model that are switched off ([`ablations::PARTS`]).
    pub without: &'a [String],
    /// Each run begins with its own clocks and its own VPA, as it had them when its load began, in
    /// the place of those of the fitted runs.
    pub own_begin: bool,
    /// Where the simulated runs go as results files, in a folder for each chance.
    pub keep: Option<&'a Path>,
}

/// Simulates every measured run again.
pub fn differences(
    runs: &[Run],
    scenarios: &[Scenario],
    arms: &Arms,
    trial: Trial<'_>,
) -> Result<Vec<Difference>> {
    let measured = runs.iter().filter(|r| r.origin == Origin::Measured);
    measured.map(|run| difference(run, scenarios, arms, trial)).collect()
}

/// The folder of one chance's simulated runs: see [`Trial::keep`].
pub fn kept_in(folder: &Path, chance: usize) -> PathBuf {
    folder.join(format!("chance-{chance}"))
}

fn difference(run: &Run, scenarios: &[Scenario], arms: &Arms, trial: Trial<'_>) -> Result<Difference> {
    let simulated = simulated(run, scenarios, arms, trial)?;
    for (chance, simulated) in simulated.iter().enumerate() {
        if let Some(folder) = trial.keep {
            crate::files::write_run(simulated, &kept_in(folder, chance))?;
        }
    }
    Ok(beside(run, &simulated.iter().collect::<Vec<_>>()))
}

/// Simulates one run as often as there are chances.
fn simulated(run: &Run, scenarios: &[Scenario], arms: &Arms, trial: Trial<'_>) -> Result<Vec<Run>> {
    let scenario = scenarios.iter().find(|s| s.name == run.scenario);
    let scenario = scenario.with_context(|| format!("{}: no such scenario any more", run.id()))?;
    let tail_s = run.recording.observed_s - scenario.rate.duration() * run.draw.stretch;
    let mut arm = arms.arm(&run.variant, &run.configuration)?;
    if trial.own_begin {
        fit::begin_as(run, &mut arm.plant);
    }
    ablations::switch_off(&mut arm, trial.without)?;
    let simulated = (0..trial.chances.max(1)).map(|chance| {
        let Draw { scale, stretch, seed, .. } = run.draw;
        arm.run(scenario, run.repeat, Drawn { scale, stretch, seed, chance }, tail_s)
    });
    let simulated: Vec<Run> = simulated.collect();
    anyhow::ensure!(
        simulated[0].draw.fingerprint == run.draw.fingerprint,
        "{}: the scenario has changed since it was recorded",
        run.id()
    );
    Ok(simulated)
}

/// The simulation beside itself: each of its chances in the place of the recordings, and the others
/// as the simulation. A simulator that is right in everything but chance is as far from the
/// recorded runs as these are from each other. One list for each chance.
pub fn itself(
    runs: &[Run],
    scenarios: &[Scenario],
    arms: &Arms,
    trial: Trial<'_>,
) -> Result<Vec<Vec<Difference>>> {
    let mut by_chance: Vec<Vec<Difference>> = (0..trial.chances.max(1)).map(|_| vec![]).collect();
    for run in runs.iter().filter(|r| r.origin == Origin::Measured) {
        let all = simulated(run, scenarios, arms, trial)?;
        let courses: Vec<Course> = all.iter().map(|one| Course::of(one, run.recording.observed_s)).collect();
        for (chance, one) in all.iter().enumerate() {
            let others = courses.iter().enumerate().filter(|(other, _)| *other != chance);
            let others: Vec<&Course> = others.map(|(_, course)| course).collect();
            if !others.is_empty() {
                by_chance[chance].push(apart_from(group_of(one), &courses[chance], &others));
            }
        }
    }
    Ok(by_chance)
}

/// Recorded runs with the other recorded ones of their group in the place of the simulation: how
/// far repeats are from each other. Empty where there are no others.
pub fn repeats(runs: &[Run], all: &[Run]) -> Vec<Difference> {
    let judged: Vec<u32> = runs.iter().map(|r| r.repeat).collect();
    let measured = runs.iter().filter(|r| r.origin == Origin::Measured);
    let compared = measured.filter_map(|run| {
        let other = |r: &&Run| group_of(r) == group_of(run) && !judged.contains(&r.repeat);
        let others: Vec<&Run> = all.iter().filter(other).collect();
        (!others.is_empty()).then(|| beside(run, &others))
    });
    compared.collect()
}

fn group_of(run: &Run) -> Group {
    (run.scenario.clone(), run.variant.clone(), run.configuration.clone())
}

/// What is compared of a run.
struct Course {
    values: Values,
    /// Ready pods at each second.
    pods: Vec<f64>,
}

impl Course {
    fn of(run: &Run, seconds: f64) -> Self {
        Self { values: measure(run), pods: by_second(&ready_pods(&run.recording), seconds) }
    }
}

/// One run beside the means of others.
fn beside(run: &Run, others: &[&Run]) -> Difference {
    let seconds = run.recording.observed_s;
    let courses: Vec<Course> = others.iter().map(|other| Course::of(other, seconds)).collect();
    apart_from(group_of(run), &Course::of(run, seconds), &courses.iter().collect::<Vec<_>>())
}

fn apart_from(group: Group, one: &Course, others: &[&Course]) -> Difference {
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (key, value) in others.iter().flat_map(|other| &other.values) {
        values.entry(key).or_default().push(*value);
    }
    let inside = values.iter_mut().filter_map(|(key, values)| {
        values.sort_by(f64::total_cmp);
        let edge = (values.len() as f64 * OUTSIDE / 2.0) as usize;
        let range = values[edge]..=values[values.len() - 1 - edge];
        Some((*key, range.contains(one.values.get(key)?)))
    });
    let inside = inside.collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    Difference {
        group,
        pods: distance(&one.pods, &others.iter().map(|other| &*other.pods).collect::<Vec<_>>()),
        measured: one.values.clone(),
        simulated: values.into_iter().map(|(key, values)| (key, mean(values))).collect(),
        inside,
    }
}

/// Share of the simulated values that are not in the range that is called the simulated one.
const OUTSIDE: f64 = 0.1;

/// A step function's values at whole seconds.
fn by_second(curve: &[(f64, f64)], seconds: f64) -> Vec<f64> {
    let count = seconds.floor().max(1.0) as usize;
    (0..count).map(|second| steps::at(curve, second as f64).unwrap_or(0.0)).collect()
}

/// Means of a curve, and of the mean of others, and of the distance between the two.
fn distance(one: &[f64], others: &[&[f64]]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (second, a) in one.iter().enumerate() {
        let b = others.iter().map(|curve| curve[second]).sum::<f64>() / others.len() as f64;
        sums.iter_mut().zip([*a, b, (a - b).abs()]).for_each(|(sum, value)| *sum += value);
    }
    sums.map(|sum| sum / one.len() as f64)
}

/// A row of the summary: its name, and its value for a group.
type Column = (&'static str, fn(&Apart) -> f64);

/// Distance between the simulation and the recording of one group, means over the repeats.
struct Apart {
    /// Mean ready pods, per cent of the recorded.
    pods: f64,
    /// Ready pods second by second, per cent of the recorded mean.
    seconds: f64,
    /// Good answers, points.
    good: f64,
    /// 99th percentile of the latency, per cent.
    p99: f64,
    /// Core-seconds requested, per cent.
    cost: f64,
}

fn groups(differences: &[Difference]) -> BTreeMap<&Group, Vec<&Difference>> {
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
fn both(group: &[&Difference], key: &str) -> [Option<f64>; 2] {
    [mean(group, |d| d.measured.get(key).copied()), mean(group, |d| d.simulated.get(key).copied())]
}

fn apart(group: &[&Difference]) -> Apart {
    let pods = [0, 1, 2].map(|i| mean(group, |d| Some(d.pods[i])).unwrap_or(0.0));
    let percent = |[recorded, simulated]: [Option<f64>; 2]| match (recorded, simulated) {
        (Some(r), Some(s)) if r > 0.0 => (s / r - 1.0) * 100.0,
        _ => 0.0,
    };
    let good = both(group, "good_share").map(|g| g.unwrap_or(0.0));
    Apart {
        pods: percent([Some(pods[0]), Some(pods[1])]),
        seconds: pods[2] / pods[0].max(f64::MIN_POSITIVE) * 100.0,
        good: good[1] - good[0],
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
            // The calculator does not have it.
            Autoscaler::HpaToZero(_) => continue,
        };
        aparts.entry(name).or_default().push(apart(&group));
    }
    let autoscalers = aparts.into_iter().map(|(name, aparts)| {
        let mean = |of: fn(&Apart) -> f64| {
            let sum: f64 = aparts.iter().map(|a| of(a).abs()).sum();
            (sum / aparts.len() as f64 * 100.0).round() / 100.0
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
const COLUMNS: [Column; 5] = [
    ("mean ready pods, %", |a| a.pods),
    ("ready pods second by second, % of the mean", |a| a.seconds),
    ("good answers, points", |a| a.good),
    ("p99, %", |a| a.p99),
    ("core-seconds requested, %", |a| a.cost),
];

/// Over the groups, without sign: mean, median, most; by column.
fn summary(differences: &[Difference]) -> Vec<[f64; 3]> {
    let aparts: Vec<Apart> = groups(differences).values().map(|group| apart(group)).collect();
    let summed = COLUMNS.iter().map(|(_, of)| {
        let mut values: Vec<f64> = aparts.iter().map(|a| of(a).abs()).collect();
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
    let recorded = (!repeats.is_empty()).then(|| summary(repeats));
    let own: Vec<Vec<[f64; 3]>> =
        itself.iter().filter(|one| !one.is_empty()).map(|one| summary(one)).collect();
    for (i, ((name, _), found)) in COLUMNS.iter().zip(summary(differences)).enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn arms() -> Arms {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Arms { root, platform: Some("two-cores".into()), measured: crate::fit::Measured::default() }
    }

    const ONCE: Trial<'_> = Trial { chances: 1, without: &[], own_begin: false, keep: None };

    #[test]
    fn the_distance_of_two_curves_is_taken_second_by_second() {
        let curve = |at: f64| by_second(&[(0.0, 1.0), (at, 3.0)], 10.0);
        assert_eq!(distance(&curve(5.0), &[&curve(8.0)]), [2.0, 1.4, 0.6]);
        assert_eq!(distance(&curve(5.0), &[&curve(4.0), &curve(6.0)]), [2.0, 2.0, 0.2]);
    }

    #[test]
    fn a_run_that_the_simulator_made_itself_is_no_distance_away() {
        let scenarios = [Scenario::shipped_named("spike").expect("shipped")];
        let arm = arms().arm("knative", "tuned").expect("shipped");
        let drawn = Drawn { scale: 5.0, stretch: 0.5, seed: 3, chance: 0 };
        let mut run = arm.run(&scenarios[0], 1, drawn, 30.0);
        run.origin = Origin::Measured;
        let found = differences(std::slice::from_ref(&run), &scenarios, &arms(), ONCE).expect("simulated");
        assert_eq!((found[0].pods[2], &found[0].measured), (0.0, &found[0].simulated));
        assert!(table(&found, &[], &[]).contains("| spike, tuned | knative | 1 |"));
        let errors = errors(&found, &arms()).expect("known arms");
        assert_eq!((errors.autoscalers["kpa"].groups, errors.autoscalers["kpa"].good_points), (1, 0.0));
        assert_eq!(errors.autoscalers.len(), 1, "nothing is said about what was not recorded");
        run.draw.fingerprint = "another".into();
        let changed = differences(&[run], &scenarios, &arms(), ONCE);
        assert!(changed.is_err(), "a changed scenario is no basis");
    }

    #[test]
    fn a_simulation_is_about_as_far_from_itself_as_one_chance_is_from_another() {
        let scenarios = [Scenario::shipped_named("spike").expect("shipped")];
        let arm = arms().arm("k8s-autoscalers", "defaults").expect("shipped");
        let drawn = Drawn { scale: 5.0, stretch: 0.5, seed: 3, chance: 100 };
        let run = Run { origin: Origin::Measured, ..arm.run(&scenarios[0], 1, drawn, 30.0) };
        let runs = [run];
        let trial = Trial { chances: 10, ..ONCE };
        let own = itself(&runs, &scenarios, &arms(), trial).expect("simulated");
        assert_eq!((own.len(), own[0].len()), (10, 1));
        assert!(own.iter().any(|one| one[0].pods[2] > 0.0), "chances differ");
        let found = differences(&runs, &scenarios, &arms(), trial).expect("simulated");
        let most = own.iter().map(|one| one[0].pods[2]).fold(0.0, f64::max);
        assert!(found[0].pods[2] <= 2.0 * most, "{} and {most}", found[0].pods[2]);
        let text = table(&found, &[], &own);
        assert!(text.contains("itself: mean") && text.contains("good answers 1 of 1"), "{text}");
        assert_eq!(itself(&runs, &scenarios, &arms(), ONCE).expect("simulated"), [vec![]]);
    }

    #[test]
    fn repeats_are_compared_with_those_that_are_not_judged() {
        let scenario = Scenario::shipped_named("spike").expect("shipped");
        let arm = arms().arm("knative", "tuned").expect("shipped");
        let repeat = |repeat: u32| {
            let drawn = Drawn { scale: 5.0, stretch: 0.5, seed: u64::from(repeat), chance: 0 };
            Run { origin: Origin::Measured, ..arm.run(&scenario, repeat, drawn, 30.0) }
        };
        let all: Vec<Run> = (1..=3).map(repeat).collect();
        let found = repeats(&all[1..], &all);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|d| d.simulated == measure(&all[0])));
        assert!(repeats(&all, &all).is_empty(), "all are judged");
    }
}
