//! Searches an autoscaler's settings for one scenario: the best share of good answers for each
//! cost, and the settings for it. Simulated, so the outcome is a candidate for a real run, not a
//! result.

use anyhow::Result;
use rand_pcg::Pcg64;
use scenario::Scenario;
use scenario::rate::uniform;
use simulator::{Autoscaler, Drawn};

use crate::analysis::measures::measure;
use crate::fit::{Arm, Arms};
use candidates::{candidate, described};
pub use picture::{svg, table};

mod candidates;
mod picture;

/// Watched after the load, seconds: longer than any autoscaler keeps pods by default (300 s) and
/// any pod drains, so that pods that are kept after the load are billed.
pub const TAIL_S: f64 = 420.0;

/// One setting and its outcome, means over the seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// One of [`AUTOSCALERS`].
    pub autoscaler: &'static str,
    /// `defaults`, `tuned`, or empty for a candidate.
    pub known: &'static str,
    /// The settings that were searched.
    pub settings: String,
    /// Core-seconds requested by pods until the tail's end.
    pub cost: f64,
    /// Good answers, per cent.
    pub good: f64,
}

/// The autoscalers that are searched.
pub const AUTOSCALERS: [&str; 5] = ["KPA", "HPA", "HPA + VPA", "KEDA", "HPA to zero"];

/// Those that have one component only, with their defaults.
const AS_THEY_COME: [(&str, &str); 2] = [("KEDA", "keda"), ("HPA to zero", "hpa-zero")];

/// The effort of the search.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Random settings of each autoscaler; then the same number of variations of the best so far in
    /// one or two settings.
    pub candidates: u32,
    /// Seeds for each candidate, and the same number of others for the shown ones.
    pub seeds: u32,
}

/// Rounds in which the candidates near the best are tried: each begins from the frontier of all
/// before it.
const ROUNDS: u32 = 4;
/// Most choices of a setting.
const GENES: usize = 16;
/// Offset of the seeds for the shown settings from those of the search: the best of many is biased
/// by the seeds that selected it.
const OTHER_SEEDS: u64 = 1 << 32;

/// A number in 0..1 for each choice.
type Genes = [f64; GENES];

/// Searches the settings of each autoscaler, and tries those that are in the manifests.
pub fn explore(arms: &Arms, scenario: &Scenario, drawn: Drawn, effort: Effort) -> Result<Vec<Point>> {
    let mut points = vec![];
    for autoscaler in AUTOSCALERS {
        let shown = Drawn { seed: drawn.seed.wrapping_add(OTHER_SEEDS), ..drawn };
        for known in ["defaults", "tuned"] {
            if let Some(arm) = known_arm(arms, autoscaler, known)? {
                points.push(point(&arm, autoscaler, known, scenario, shown, effort.seeds));
            }
        }
        let base = base(arms, autoscaler)?;
        let arm = |genes: &Genes| Arm { autoscaler: candidate(&base, autoscaler, genes), ..base.clone() };
        let tried = |genes: &Genes, drawn| point(&arm(genes), autoscaler, "", scenario, drawn, effort.seeds);
        let mut random = Pcg64::new(u128::from(drawn.seed), 4);
        let mut all: Vec<(Genes, Point)> = vec![];
        for _ in 0..effort.candidates {
            let genes = std::array::from_fn(|_| uniform(&mut random));
            all.push((genes, tried(&genes, drawn)));
        }
        for _ in 0..ROUNDS {
            let best: Vec<Genes> = frontier(all.iter().map(|(g, p)| (*g, p))).map(|(g, _)| g).collect();
            for i in 0..(effort.candidates / ROUNDS) as usize {
                let mut genes = best[i % best.len()];
                for _ in 0..2 {
                    genes[(uniform(&mut random) * GENES as f64) as usize] = uniform(&mut random);
                }
                all.push((genes, tried(&genes, drawn)));
            }
        }
        let best: Vec<Genes> = frontier(all.iter().map(|(g, p)| (*g, p))).map(|(g, _)| g).collect();
        points.extend(best.iter().map(|genes| tried(genes, shown)));
    }
    Ok(points)
}

/// An autoscaler with the settings of its manifests, if it has any.
fn known_arm(arms: &Arms, autoscaler: &str, known: &str) -> Result<Option<Arm>> {
    if let Some((_, only)) = AS_THEY_COME.iter().find(|(name, _)| *name == autoscaler) {
        return if known == "defaults" { Ok(Some(base_of(arms, autoscaler, only)?)) } else { Ok(None) };
    }
    let mut arm = base_of(arms, autoscaler, known)?;
    if let ("HPA", Autoscaler::Hpa(_, vpa)) = (autoscaler, &mut arm.autoscaler) {
        *vpa = None;
    }
    Ok(Some(arm))
}

fn base_of(arms: &Arms, autoscaler: &str, configuration: &str) -> Result<Arm> {
    arms.arm(if autoscaler == "KPA" { "knative" } else { "k8s-autoscalers" }, configuration)
}

fn base(arms: &Arms, autoscaler: &str) -> Result<Arm> {
    base_of(arms, autoscaler, "tuned")
}

fn point(
    arm: &Arm,
    autoscaler: &'static str,
    known: &'static str,
    scenario: &Scenario,
    drawn: Drawn,
    seeds: u32,
) -> Point {
    let (mut cost, mut good) = (0.0, 0.0);
    for repeat in 0..seeds {
        let drawn = Drawn { seed: drawn.seed.wrapping_add(u64::from(repeat)), ..drawn };
        let values = measure(&arm.run(scenario, repeat + 1, drawn, TAIL_S));
        cost += values["core_seconds_requested"] / f64::from(seeds);
        good += values.get("good_share").copied().unwrap_or(0.0) / f64::from(seeds);
    }
    Point { autoscaler, known, settings: described(&arm.autoscaler), cost, good }
}

/// The Pareto frontier of cost and good answers, cheapest first.
fn frontier<'a, T>(points: impl Iterator<Item = (T, &'a Point)>) -> impl Iterator<Item = (T, &'a Point)> {
    let mut own: Vec<(T, &Point)> = points.collect();
    own.sort_by(|(_, a), (_, b)| a.cost.total_cmp(&b.cost).then(b.good.total_cmp(&a.good)));
    let mut best = f64::NEG_INFINITY;
    own.into_iter().filter(move |(_, p)| {
        let better = p.good > best;
        best = best.max(p.good);
        better
    })
}

/// The frontier of an autoscaler with the shown seeds, cheapest first, of the known settings and of
/// those that the search selected.
fn whole_frontier<'a>(points: &'a [Point], autoscaler: &str) -> Vec<&'a Point> {
    frontier(points.iter().filter(|p| p.autoscaler == autoscaler).map(|p| ((), p))).map(|(_, p)| p).collect()
}

/// What the search adds to the known settings: its part of the frontier.
fn found<'a>(points: &'a [Point], autoscaler: &str) -> Vec<&'a Point> {
    whole_frontier(points, autoscaler).into_iter().filter(|p| p.known.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(autoscaler: &'static str, cost: f64, good: f64) -> Point {
        Point { autoscaler, known: "", settings: String::new(), cost, good }
    }

    #[test]
    fn on_the_frontier_nobody_is_both_cheaper_and_better() {
        let points = [at("KPA", 3.0, 90.0), at("KPA", 1.0, 80.0), at("KPA", 2.0, 70.0)];
        let costs: Vec<f64> = frontier(points.iter().map(|p| ((), p))).map(|(_, p)| p.cost).collect();
        assert_eq!(costs, [1.0, 3.0]);
    }

    #[test]
    fn what_known_settings_beat_is_not_found() {
        let known = Point { known: "defaults", ..at("KPA", 2.0, 90.0) };
        let points = [at("KPA", 3.0, 89.0), known.clone(), at("KPA", 1.0, 80.0), at("KPA", 4.0, 95.0)];
        assert_eq!(found(&points, "KPA"), [&points[2], &points[3]]);
        assert_eq!(whole_frontier(&points, "KPA"), [&points[2], &known, &points[3]]);
    }

    #[test]
    fn a_search_tries_settings_of_each_autoscaler_beside_what_is_known_and_draws_them() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let arms =
            Arms { root, platform: Some("two-cores".into()), measured: crate::fit::Measured::default() };
        let scenario = Scenario::shipped_named("idle-wake").expect("shipped");
        let drawn = Drawn { scale: 10.0, stretch: 1.0, seed: 1, chance: 0 };
        let effort = Effort { candidates: 8, seeds: 1 };
        let points = explore(&arms, &scenario, drawn, effort).expect("simulated");
        assert_eq!(explore(&arms, &scenario, drawn, effort).expect("simulated"), points, "the same seed");
        for autoscaler in AUTOSCALERS {
            assert!(points.iter().any(|p| p.autoscaler == autoscaler && p.known.is_empty()), "{autoscaler}");
            let known = points.iter().filter(|p| p.autoscaler == autoscaler && !p.known.is_empty());
            let only = AS_THEY_COME.iter().any(|(name, _)| *name == autoscaler);
            assert_eq!(known.count(), if only { 1 } else { 2 }, "{autoscaler}");
        }
        let picture = svg(&points, "idle-wake");
        assert!(picture.starts_with("<svg") && picture.contains("KPA, tuned"));
        assert!(table(&points).contains("| **HPA + VPA, tuned** |"));
    }
}
