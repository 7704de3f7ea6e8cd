//! The simulator beside recorded runs: the same schedule, the same settings, and the distance
//! between their ready pods. The pod's parameters come from `comparison fit`, the settings come
//! from the manifests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::analysis::measures::{Values, measure, ready_pods};
use crate::analysis::steps;
use scenario::Scenario;
use scenario::recording::{Draw, Origin, Run};
use simulator::Drawn;

use crate::fit::{self, Arms};

pub mod ablations;
pub mod order;
pub mod summary;

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

#[cfg(test)]
mod tests {
    use super::summary::{errors, table};
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
