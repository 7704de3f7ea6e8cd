//! The simulator beside recorded runs: the same schedule, the same settings, and how far its ready pods are from theirs.
//! Nothing is fitted: what a pod is like comes from the command line, everything else from the manifests.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::analysis::measures::{Values, measure, ready_pods};
use crate::analysis::steps;
use crate::report::table::number;
use scenario::Scenario;
use scenario::recording::{Origin, Run};
use simulator::{PodSize, simulated_run};

/// One recorded run and its simulation.
#[derive(Debug)]
pub struct Difference {
    /// Scenario, variant, configuration.
    pub group: (String, String, String),
    /// Ready pods over time: mean recorded, mean simulated, mean of the distance at each second.
    pub pods: [f64; 3],
    /// Measures of both.
    pub measured: Values,
    /// See `measured`.
    pub simulated: Values,
}

/// Simulates every measured run again.
pub fn differences(runs: &[Run], scenarios: &[Scenario], size: &PodSize) -> Result<Vec<Difference>> {
    let measured = runs.iter().filter(|r| r.origin == Origin::Measured);
    measured.map(|run| difference(run, scenarios, size)).collect()
}

fn difference(run: &Run, scenarios: &[Scenario], size: &PodSize) -> Result<Difference> {
    let scenario = scenarios.iter().find(|s| s.name == run.scenario);
    let scenario = scenario.with_context(|| format!("{}: no such scenario any more", run.id()))?;
    let draw = (run.draw.scale, run.draw.stretch, run.draw.seed);
    let tail_s = run.recording.observed_s - scenario.rate.duration() * run.draw.stretch;
    let simulated =
        simulated_run(scenario, &run.variant, &run.configuration, run.repeat, draw, tail_s, size)?;
    anyhow::ensure!(
        simulated.draw.fingerprint == run.draw.fingerprint,
        "{}: the scenario has changed since it was recorded",
        run.id()
    );
    Ok(Difference {
        group: (run.scenario.clone(), run.variant.clone(), run.configuration.clone()),
        pods: distance(
            &ready_pods(&run.recording),
            &ready_pods(&simulated.recording),
            run.recording.observed_s,
        ),
        measured: measure(run),
        simulated: measure(&simulated),
    })
}

/// Means of two step functions and of the distance between them, second by second.
fn distance(one: &[(f64, f64)], other: &[(f64, f64)], seconds: f64) -> [f64; 3] {
    let count = seconds.floor().max(1.0);
    let mut sums = [0.0; 3];
    for second in 0..count as usize {
        let at = |steps: &[(f64, f64)]| steps::at(steps, second as f64).unwrap_or(0.0);
        let (a, b) = (at(one), at(other));
        sums.iter_mut().zip([a, b, (a - b).abs()]).for_each(|(sum, value)| *sum += value);
    }
    sums.map(|sum| sum / count)
}

/// Means over the repeats as a Markdown table.
pub fn table(differences: &[Difference]) -> String {
    let mut groups: BTreeMap<_, Vec<&Difference>> = BTreeMap::new();
    differences.iter().for_each(|d| groups.entry(&d.group).or_default().push(d));
    let mut text = String::from(
        "| scenario | variant | runs | ready pods, mean: recorded, simulated | apart | most pods | pods ready after | good answers |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for ((scenario, variant, configuration), group) in groups {
        let mean = |of: &dyn Fn(&Difference) -> Option<f64>| {
            let values: Vec<f64> = group.iter().filter_map(|d| of(d)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let both = |key: &str, unit: &str| {
            let [a, b] = [
                shown(mean(&|d: &Difference| d.measured.get(key).copied())),
                shown(mean(&|d: &Difference| d.simulated.get(key).copied())),
            ];
            format!("{a}, {b}{unit}")
        };
        let pods = [0, 1, 2].map(|i| shown(mean(&|d: &Difference| Some(d.pods[i]))));
        let _ = writeln!(
            text,
            "| {scenario}, {configuration} | {variant} | {} | {}, {} | {} | {} | {} | {} |",
            group.len(),
            pods[0],
            pods[1],
            pods[2],
            both("pods_max", ""),
            both("lag_ready_s", " s"),
            both("good_share", " %"),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PodSize = PodSize {
        service_s: 0.01,
        start_s: 2.0,
        cores: 0.15,
        vpa_cores: (0.1, 0.18),
        queue: 16,
        target: 1.0,
        max: 10,
    };

    #[test]
    fn the_distance_of_two_curves_is_taken_second_by_second() {
        let (one, other) = ([(0.0, 1.0), (5.0, 3.0)], [(0.0, 1.0), (8.0, 3.0)]);
        assert_eq!(distance(&one, &other, 10.0), [2.0, 1.4, 0.6]);
    }

    #[test]
    fn a_run_that_the_simulator_made_itself_is_no_distance_away() {
        let scenarios = [Scenario::shipped_named("spike").expect("shipped")];
        let mut run =
            simulated_run(&scenarios[0], "knative", "tuned", 1, (5.0, 0.5, 3), 30.0, &SIZE).expect("a run");
        run.origin = Origin::Measured;
        let found = differences(&[run.clone()], &scenarios, &SIZE).expect("simulated");
        assert_eq!((found[0].pods[2], &found[0].measured), (0.0, &found[0].simulated));
        assert!(table(&found).contains("| spike, tuned | knative | 1 |"));
        run.draw.fingerprint = "another".into();
        assert!(differences(&[run], &scenarios, &SIZE).is_err(), "a changed scenario is no basis");
    }
}
