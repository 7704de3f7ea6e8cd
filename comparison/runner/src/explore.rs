//! Searches an autoscaler's settings for one scenario: the best share of good answers for each
//! cost, and the settings for it. Simulated, so the outcome is a candidate for a real run, not a
//! result.

use std::fmt::Write;

use anyhow::Result;
use rand_pcg::Pcg64;
use scenario::Scenario;
use scenario::rate::uniform;
use simulator::hpa::{HpaSettings, Policy, Rules, Select};
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::vpa::VpaSettings;
use simulator::{Autoscaler, Drawn};

use crate::analysis::measures::measure;
use crate::fit::{Arm, Arms};
use crate::report::table::number;

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
pub const AUTOSCALERS: [&str; 4] = ["KPA", "HPA", "HPA + VPA", "KEDA"];

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
    if autoscaler == "KEDA" {
        // KEDA has one component only, with its defaults.
        return if known == "defaults" { Ok(Some(base_of(arms, autoscaler, "keda")?)) } else { Ok(None) };
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
        let drawn = Drawn { seed: drawn.seed + u64::from(repeat), ..drawn };
        let values = measure(&arm.run(scenario, repeat + 1, drawn, TAIL_S));
        cost += values["core_seconds_requested"] / f64::from(seeds);
        good += values.get("good_share").copied().unwrap_or(0.0) / f64::from(seeds);
    }
    Point { autoscaler, known, settings: described(&arm.autoscaler), cost, good }
}

/// Takes one gene after another.
struct Choices<'a>(std::slice::Iter<'a, f64>);

impl Choices<'_> {
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let gene = self.0.next().expect("no setting has more choices than there are genes");
        choices[(gene * choices.len() as f64) as usize]
    }
}

fn candidate(base: &Arm, autoscaler: &str, genes: &Genes) -> Autoscaler {
    let mut choices = Choices(genes.iter());
    match &base.autoscaler {
        Autoscaler::Kpa(s) => {
            let stable_window_s = choices.of(&[6.0, 15.0, 30.0, 60.0, 120.0, 300.0]);
            Autoscaler::Kpa(KpaSettings {
                total: choices.of(&[0.25, 0.5, 1.0, 1.5, 2.0]),
                utilization: choices.of(&[0.5, 0.7, 0.85, 1.0]),
                stable_window_s,
                // At least the six seconds of the defaults: shorter windows follow noise.
                panic_window_percentage: (choices.of(&[6.0, 12.0]) / stable_window_s * 100.0).min(100.0),
                panic_threshold_percentage: choices.of(&[110.0, 150.0, 200.0, 400.0]),
                target_burst_capacity: choices.of(&[-1.0, 0.0, 10.0, 211.0]),
                scale_down_delay_s: choices.of(&[0.0, 15.0, 30.0, 60.0, 120.0, 300.0]),
                pod_retention_s: choices.of(&[0.0, 60.0]),
                min_scale: choices.of(&[0, 0, 1, 2, 3]),
                ..s.clone()
            })
        }
        Autoscaler::Hpa(s, bounds) => {
            let target_milli = choices.of(&[250, 500, 1000, 1500, 2000]);
            let settings = HpaSettings { target_milli, max: s.max, ..behavior(&mut choices, s) };
            if autoscaler == "KEDA" {
                return Autoscaler::Keda(KedaSettings {
                    hpa: settings,
                    min: choices.of(&[0, 0, 1, 2, 3, 4]),
                    polling_s: choices.of(&[5.0, 10.0, 30.0]),
                    cooldown_s: choices.of(&[30.0, 60.0, 120.0, 300.0]),
                    activation: 0.0,
                });
            }
            let min = choices.of(&[1, 1, 2, 3, 4]);
            let vpa = bounds.filter(|_| autoscaler == "HPA + VPA").map(|b| {
                let (low, high) = b.cpu;
                let floor = choices.of(&[low, (low + high) / 2, base.size.millicores, high]);
                VpaSettings { cpu: (floor.min(high), high), ..b }
            });
            Autoscaler::Hpa(HpaSettings { min, ..settings }, vpa)
        }
        Autoscaler::Keda(s) => Autoscaler::Keda(s.clone()),
    }
}

/// The rules of both directions.
fn behavior(choices: &mut Choices<'_>, s: &HpaSettings) -> HpaSettings {
    HpaSettings {
        up: Rules {
            stabilization_s: choices.of(&[0, 0, 15, 30]),
            tolerance: choices.of(&[0.0, 0.05, 0.1]),
            policies: vec![
                Policy::Percent(choices.of(&[100, 300, 900]), 15),
                Policy::Pods(choices.of(&[2, 4, 10]), 15),
            ],
            select: Select::Max,
        },
        down: Rules {
            stabilization_s: choices.of(&[0, 30, 60, 120, 300]),
            tolerance: choices.of(&[0.05, 0.1, 0.2]),
            policies: vec![Policy::Percent(choices.of(&[10, 50, 100]), choices.of(&[15, 60]))],
            select: Select::Max,
        },
        ..s.clone()
    }
}

/// The settings in the names of their own objects.
fn described(autoscaler: &Autoscaler) -> String {
    match autoscaler {
        Autoscaler::Kpa(s) => format!(
            "target {}, target-utilization-percentage {}, window {}s, panic-window-percentage {}, \
             panic-threshold-percentage {}, target-burst-capacity {}, scale-down-delay {}s, \
             scale-to-zero-pod-retention-period {}s, min-scale {}",
            s.total,
            number(s.utilization * 100.0),
            s.stable_window_s,
            number(s.panic_window_percentage),
            s.panic_threshold_percentage,
            s.target_burst_capacity,
            s.scale_down_delay_s,
            s.pod_retention_s,
            s.min_scale
        ),
        Autoscaler::Hpa(s, vpa) => {
            let vpa = vpa.map_or(String::new(), |b| format!("; VPA {}m to {}m", b.cpu.0, b.cpu.1));
            format!("averageValue {}m, minReplicas {}, {}{vpa}", s.target_milli, s.min, rules(s))
        }
        Autoscaler::Keda(s) => format!(
            "threshold {}m, minReplicaCount {}, pollingInterval {}, cooldownPeriod {}, {}",
            s.hpa.target_milli,
            s.min,
            s.polling_s,
            s.cooldown_s,
            rules(&s.hpa)
        ),
    }
}

fn rules(s: &HpaSettings) -> String {
    let direction = |r: &Rules| {
        let policies: Vec<String> = r
            .policies
            .iter()
            .map(|p| match p {
                Policy::Pods(value, period) => format!("{value} pods/{period}s"),
                Policy::Percent(value, period) => format!("{value} %/{period}s"),
            })
            .collect();
        format!("{}s window, tolerance {}, {}", r.stabilization_s, r.tolerance, policies.join(" or "))
    };
    format!("up: {}; down: {}", direction(&s.up), direction(&s.down))
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

/// The frontier of an autoscaler, cheapest first.
fn found<'a>(points: &'a [Point], autoscaler: &str) -> Vec<&'a Point> {
    let mut own: Vec<&Point> =
        points.iter().filter(|p| p.autoscaler == autoscaler && p.known.is_empty()).collect();
    own.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    own
}

/// The frontiers as a Markdown table, with the known settings.
pub fn table(points: &[Point]) -> String {
    let mut text = String::from(
        "| autoscaler | good answers | core-seconds requested | settings |\n|---|--:|--:|---|\n",
    );
    let mut row = |p: &Point, name: &str| {
        let (good, cost) = (number(p.good), number(p.cost));
        let _ = writeln!(text, "| {name} | {good} % | {cost} s | {} |", p.settings);
    };
    for autoscaler in AUTOSCALERS {
        for p in points.iter().filter(|p| p.autoscaler == autoscaler && !p.known.is_empty()) {
            row(p, &format!("**{autoscaler}, {}**", p.known));
        }
        found(points, autoscaler).into_iter().for_each(|p| row(p, autoscaler));
    }
    text
}

/// Colours that are distinguishable with colour blindness (Okabe and Ito), and different shapes.
const INK: [(&str, &str); 4] =
    [("#0072b2", "circle"), ("#d55e00", "square"), ("#009e73", "diamond"), ("#cc79a7", "triangle")];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const MARGIN: [f64; 4] = [24.0, 24.0, 48.0, 64.0];

/// The frontiers as a picture: good answers over cost, one line an autoscaler, the known settings
/// marked.
pub fn svg(points: &[Point], title: &str) -> String {
    let [top, right, bottom, left] = MARGIN;
    let shown: Vec<&Point> = AUTOSCALERS.iter().flat_map(|a| found(points, a)).collect();
    let known = || points.iter().filter(|p| !p.known.is_empty());
    let all = || shown.iter().copied().chain(known());
    let most = all().map(|p| p.cost).fold(1.0, f64::max) * 1.05;
    let least = (all().map(|p| p.good).fold(100.0, f64::min) / 10.0).floor() * 10.0;
    let x = |cost: f64| left + cost / most * (WIDTH - left - right);
    let y = |good: f64| top + (100.0 - good) / (100.0 - least).max(1.0) * (HEIGHT - top - bottom);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\
         <title>{}</title><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        crate::report::chart::escape(title)
    );
    for step in 0..=5 {
        let good = least + (100.0 - least) * f64::from(step) / 5.0;
        let cost = most * f64::from(step) / 5.0;
        let _ = writeln!(
            out,
            "<path d=\"M{left} {:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            y(good),
            WIDTH - right,
            left - 6.0,
            y(good) + 4.0,
            number(good),
            x(cost),
            HEIGHT - bottom + 18.0,
            number(cost)
        );
    }
    for (autoscaler, (colour, shape)) in AUTOSCALERS.iter().zip(INK) {
        let line: Vec<String> =
            found(points, autoscaler).iter().map(|p| format!("{:.1} {:.1}", x(p.cost), y(p.good))).collect();
        if !line.is_empty() {
            let _ = writeln!(
                out,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join("L")
            );
        }
        for p in found(points, autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), 3.0));
        }
        for p in known().filter(|p| p.autoscaler == *autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), 7.0));
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{autoscaler}, {}</text>",
                x(p.cost) + 10.0,
                y(p.good) + 4.0,
                p.known
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">core-seconds requested (simulated)</text>\
         <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">good answers, %</text></svg>",
        (left + WIDTH - right) / 2.0,
        HEIGHT - 10.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    out
}

fn mark(shape: &str, colour: &str, x: f64, y: f64, r: f64) -> String {
    match shape {
        "circle" => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\" fill=\"{colour}\"/>\n"),
        "square" => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>\n",
            x - r,
            y - r,
            2.0 * r,
            2.0 * r
        ),
        "triangle" => format!(
            "<path d=\"M{x:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" fill=\"{colour}\"/>\n",
            y - r - 1.0,
            x + r + 1.0,
            y + r,
            x - r - 1.0,
            y + r
        ),
        _ => format!(
            "<path d=\"M{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}Z\" fill=\"{colour}\"/>\n",
            y - r - 1.0,
            x + r + 1.0,
            y + r + 1.0,
            x - r - 1.0
        ),
    }
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
    fn a_search_finds_something_for_each_autoscaler_beside_what_is_known_and_draws_it() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let arms =
            Arms { root, platform: Some("two-cores".into()), measured: crate::fit::Measured::default() };
        let scenario = Scenario::shipped_named("idle-wake").expect("shipped");
        let drawn = Drawn { scale: 10.0, stretch: 1.0, seed: 1 };
        let effort = Effort { candidates: 8, seeds: 1 };
        let points = explore(&arms, &scenario, drawn, effort).expect("simulated");
        assert_eq!(explore(&arms, &scenario, drawn, effort).expect("simulated"), points, "the same seed");
        for autoscaler in AUTOSCALERS {
            assert!(!found(&points, autoscaler).is_empty(), "{autoscaler}");
            let known = points.iter().filter(|p| p.autoscaler == autoscaler && !p.known.is_empty());
            assert_eq!(known.count(), if autoscaler == "KEDA" { 1 } else { 2 });
        }
        let picture = svg(&points, "idle-wake");
        assert!(picture.starts_with("<svg") && picture.contains("KPA, tuned"));
        assert!(table(&points).contains("| **HPA + VPA, tuned** |"));
    }
}
