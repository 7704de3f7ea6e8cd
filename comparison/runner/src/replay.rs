//! Recorded observations through the simulator's decision code: what the real autoscalers saw, and
//! whether they decided what the simulated ones decide from the same. This separates wrong
//! decisions from wrong observations, which are the model's of pods and metrics.
//!
//! **HPA**: a results file has the average that the HPA put into its status at each sync, the pods,
//! and the decision. It does not have the number of pods over which the average was taken: a new
//! pod has no rate before its second scrape. A decision is *equal* if it is that for the expected
//! number of pods with a rate, and *possible* if it is that for another number which scraping
//! allows.
//!
//! **KPA**: a results file has the average of the panic window every 5 s, where the KPA ticks every
//! 2 s. Only ticks with a scrape are compared.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use scenario::recording::{Origin, Pod, Run};
use simulator::Autoscaler;
use simulator::hpa::{Hpa, HpaSettings, Observed};
use simulator::kpa::{Kpa, KpaSettings, TICK};
use simulator::time::{SECOND, micros};

use crate::analysis::measures::ready_pods;
use crate::analysis::steps;
use crate::fit::Arms;

/// An event recorded before this time is the state when the recording began, seconds.
const AT_THE_START_S: f64 = 0.05;
/// The HPA looks at its pods at least this long before its decision is recorded, seconds.
const LOOKED_S: f64 = 0.2;
/// A pod's second scrape comes at the earliest this long after its container runs, and at the
/// latest: one scrape interval, and another one and Prometheus' interval of discovery before it.
const SCRAPED_TWICE_S: [f64; 2] = [5.0, 15.0];

/// One sync of a recorded HPA.
#[derive(Debug, Clone, PartialEq)]
pub struct Sync {
    /// When, seconds.
    pub at: f64,
    /// The average that it saw, over the target.
    pub seen: f64,
    /// Replicas before it.
    pub current: i64,
    /// Running pods, and of these the least and the largest number that can have had a metric.
    pub running: i64,
    /// See `running`.
    pub measured: [i64; 2],
    /// Pods whose container did not run.
    pub pending: i64,
    /// What was decided, and what the simulated HPA decides.
    pub recorded: i64,
    /// For the expected number of measured pods.
    pub replayed: i64,
    /// A number of measured pods for which the decision is the recorded one.
    pub explained_by: Option<i64>,
}

/// Whether a pod existed and was not being deleted.
fn there(pod: &Pod, at: f64) -> bool {
    let left = pod.ready.iter().rev().find(|r| r.0 <= at).is_some_and(|r| !r.1);
    pod.created_s <= at && !left && pod.gone_s.is_none_or(|gone| gone > at)
}

/// The syncs of a recorded run: the moments at which the HPA's status changed, and those between
/// them at which it did not.
fn syncs(run: &Run) -> Vec<(f64, f64)> {
    let period = run.hpa_sync_period_s();
    let mut syncs: Vec<(f64, f64)> = vec![];
    for &(at, seen) in run.recording.seen.iter().filter(|s| s.0 > AT_THE_START_S) {
        while let Some(&(last, same)) = syncs.last()
            && at - last > 1.5 * period
        {
            syncs.push((last + period, same));
        }
        syncs.push((at, seen));
    }
    syncs
}

/// Replays one run of an HPA.
pub fn replay(run: &Run, settings: &HpaSettings) -> Vec<Sync> {
    let mut hpa = Hpa::new(settings.clone());
    let desired = |at: f64| steps::at(&run.recording.desired, at).unwrap_or(0.0) as i64;
    syncs(run)
        .into_iter()
        .map(|(at, seen)| {
            let looked = at - LOOKED_S;
            let pods = || run.recording.pods.iter().filter(|pod| there(pod, looked));
            let running_for = |pod: &Pod| pod.started_s.map_or(-1.0, |started| looked - started);
            let running_at_least = |least: f64| pods().filter(|p| running_for(p) >= least).count() as i64;
            let [sure, running] = [SCRAPED_TWICE_S[1], 0.0].map(running_at_least);
            let possible = [sure, running_at_least(SCRAPED_TWICE_S[0])];
            let expected = running_at_least((SCRAPED_TWICE_S[0] + SCRAPED_TWICE_S[1]) / 2.0);
            let (current, recorded) = (desired(looked), desired(at + LOOKED_S));
            let pending = pods().count() as i64 - running;
            let average = (seen * settings.target_milli as f64).round() as i64;
            let observed = |measured: i64| Observed {
                sum_milli: average * measured,
                measured,
                missing: running - measured,
                pending,
            };
            let decided = |measured: i64| hpa.clone().sync(micros(at), current, &observed(measured));
            let expected = expected.clamp(1.min(running), running);
            let replayed = decided(expected);
            let numbers = std::iter::once(expected).chain(possible[0].max(1)..=possible[1].max(1));
            let explained_by = numbers.into_iter().find(|measured| decided(*measured) == recorded);
            // The state follows what was recorded where that can be explained.
            hpa.sync(micros(at), current, &observed(explained_by.unwrap_or(expected)));
            Sync { at, seen, current, running, measured: possible, pending, recorded, replayed, explained_by }
        })
        .collect()
}

/// One tick of a recorded KPA of which the average of the panic window was scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// When, seconds.
    pub at: f64,
    /// The scraped average over the panic window, and that over the stable window, which is the
    /// mean of the scraped ones within it.
    pub panic: f64,
    /// See `panic`.
    pub stable: f64,
    /// Ready pods.
    pub ready: i64,
    /// What was decided, and what the simulated KPA decides.
    pub recorded: i64,
    /// See `recorded`.
    pub replayed: i64,
    /// Whether this was decided at the tick before, at this one or at the next. The moment at which
    /// a panic began is known to a tick only, and so is that at which it ends.
    pub possible: bool,
}

/// Replays one run of a KPA. Its averages were scraped every 5 s only, and it ticks every 2 s. At a
/// tick without a scrape it gets the least load that explains a recorded growth, and otherwise that
/// of the scrape before.
pub fn replay_kpa(run: &Run, settings: &KpaSettings) -> Vec<Tick> {
    let period = TICK as f64 / SECOND as f64;
    let desired = |at: f64| steps::at(&run.recording.desired, at).unwrap_or(0.0) as i64;
    let Some(first) = run.recording.desired.iter().find(|d| d.0 > AT_THE_START_S && d.1 > 0.0) else {
        return vec![];
    };
    let ready = ready_pods(&run.recording);
    let ready_at = |at: f64| steps::at(&ready, at).unwrap_or(0.0) as i64;
    let scraped: Vec<(f64, f64)> = run
        .recording
        .seen
        .iter()
        .map(|&(at, ratio)| (at, ratio * ready_at(at).max(1) as f64 * settings.target()))
        .collect();
    let mut kpa = Kpa::new(settings.clone(), micros(first.0 - period), 0);
    let (mut ticks, mut at) = (vec![], first.0);
    while at + period < run.recording.observed_s {
        let within = |from: f64, to: f64| scraped.iter().filter(move |s| s.0 >= from && s.0 < to);
        // The value of a tick is exported until the next one.
        let own = within(at + LOOKED_S, at + period - LOOKED_S).next().map(|s| s.1);
        let (recorded, before) = (desired(at + LOOKED_S), desired(at - LOOKED_S));
        let last = within(0.0, at).next_back().map_or(0.0, |s| s.1);
        let explains = (recorded > before).then_some(recorded as f64 * settings.target());
        let panic = own.unwrap_or_else(|| explains.map_or(last, |load| load.max(last)));
        let (sum, count) = within((at - settings.stable_window_s).max(first.0), at)
            .fold((panic, 1.0), |(sum, count), s| (sum + s.1, count + 1.0));
        let (stable, now) = (sum / count, micros(at));
        kpa.scale(now, stable, panic, ready_at(at));
        let replayed = kpa.reconcile(now, before, ready_at(at));
        if own.is_some() {
            let possible = [-period, 0.0, period].iter().any(|to| desired(at + to + LOOKED_S) == replayed);
            ticks.push(Tick { at, panic, stable, ready: ready_at(at), recorded, replayed, possible });
        }
        at += period;
    }
    ticks
}

/// Counts of one configuration: decisions, equal ones, possible ones, and those that change the
/// count.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    equal: usize,
    possible: usize,
    changes: usize,
    changes_equal: usize,
}

/// Replays every measured run: a table by configuration, and below it the decisions that differ.
pub fn table(runs: &[Run], arms: &Arms) -> Result<String> {
    let mut rows: BTreeMap<String, Counts> = BTreeMap::new();
    let mut different = String::new();
    for run in runs.iter().filter(|run| run.origin == Origin::Measured) {
        let arm = arms.arm(&run.variant, &run.configuration)?;
        let row = rows.entry(format!("{} {}", run.variant, run.configuration)).or_default();
        let mut count = |equal: bool, possible: bool, changed: bool, what: String| {
            row.all += 1;
            row.equal += usize::from(equal);
            row.possible += usize::from(possible);
            row.changes += usize::from(changed);
            row.changes_equal += usize::from(changed && possible);
            if !equal {
                let _ = writeln!(different, "- {}, {what}", run.id());
            }
        };
        match &arm.autoscaler {
            Autoscaler::Hpa(settings, _) => {
                for s in replay(run, settings) {
                    let explained =
                        s.explained_by.map_or(String::new(), |n| format!("; so with {n} measured"));
                    let what = format!(
                        "{:.1} s: {} of {} running pods of {} at {:.2} of the target: recorded {}, replayed {}{}",
                        s.at, s.measured[1], s.running, s.current, s.seen, s.recorded, s.replayed, explained
                    );
                    let possible = s.explained_by.is_some();
                    count(s.replayed == s.recorded, possible, s.recorded != s.current, what);
                }
            }
            Autoscaler::Kpa(settings) => {
                for t in replay_kpa(run, settings) {
                    let equal = t.replayed == t.recorded;
                    let what = format!(
                        "{:.1} s: {:.2} in flight in the panic window, {:.2} in the stable one, {} ready: \
                         recorded {}, replayed {}",
                        t.at, t.panic, t.stable, t.ready, t.recorded, t.replayed
                    );
                    let changed =
                        steps::at(&run.recording.desired, t.at - LOOKED_S) != Some(t.recorded as f64);
                    count(equal, t.possible, changed, what);
                }
            }
            Autoscaler::Keda(_) | Autoscaler::HpaToZero(_) => {}
        }
    }
    let mut text =
        "| autoscaler | decisions | equal | possible | of these changes of the count | possible |\n\
                    |---|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for (name, c) in rows.iter().filter(|(_, c)| c.all > 0) {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            c.all, c.equal, c.possible, c.changes, c.changes_equal
        );
    }
    if !different.is_empty() {
        let _ = write!(text, "\nNot equal:\n\n{different}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Measured;
    use scenario::Scenario;
    use simulator::Drawn;

    fn arms() -> Arms {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Arms { root, platform: Some("two-cores".into()), measured: Measured::default() }
    }

    fn run(variant: &str, configuration: &str) -> Run {
        let arm = arms().arm(variant, configuration).expect("shipped");
        let drawn = Drawn { scale: 12.0, stretch: 0.33, seed: 1, chance: 0 };
        let scenario = Scenario::shipped_named("sawtooth").expect("shipped");
        Run { origin: Origin::Measured, ..arm.run(&scenario, 1, drawn, 30.0) }
    }

    #[test]
    fn what_the_simulated_hpa_saw_leads_to_what_it_decided() {
        let run = run("k8s-autoscalers", "hand-tuned");
        let Autoscaler::Hpa(settings, _) =
            arms().arm("k8s-autoscalers", "hand-tuned").expect("shipped").autoscaler
        else {
            panic!("an HPA")
        };
        let syncs = replay(&run, &settings);
        assert!(syncs.len() >= 8 && syncs.iter().any(|s| s.recorded > s.current), "{syncs:?}");
        assert!(syncs.iter().all(|s| s.explained_by.is_some()), "{syncs:?}");
        // Another decision is found.
        let mut wrong = run.clone();
        let grown = wrong.recording.desired.iter_mut().find(|d| d.0 > 1.0).expect("a decision");
        grown.1 -= 1.0;
        assert!(replay(&wrong, &settings).iter().any(|s| s.explained_by.is_none()));
        let text = table(&[run], &arms()).expect("known arms");
        assert!(text.contains(&format!("| k8s-autoscalers hand-tuned | {} |", syncs.len())), "{text}");
    }

    #[test]
    fn what_the_simulated_kpa_saw_leads_to_what_it_decided() {
        let mut run = run("knative", "hpa-target");
        // Prometheus scrapes between two ticks.
        run.recording.seen.iter_mut().for_each(|s| s.0 += 1.0);
        let Autoscaler::Kpa(settings) = arms().arm("knative", "hpa-target").expect("shipped").autoscaler
        else {
            panic!("a KPA")
        };
        let ticks = replay_kpa(&run, &settings);
        let equal = ticks.iter().filter(|t| t.possible).count();
        assert!(ticks.len() > 50 && equal * 100 >= ticks.len() * 95, "{equal} of {}", ticks.len());
    }

    #[test]
    fn a_sync_without_a_change_of_the_status_is_filled_in() {
        let mut run = run("k8s-autoscalers", "tuned");
        run.recording.seen = vec![(0.0, 0.0), (10.0, 0.1), (40.0, 0.2), (55.0, 0.3)];
        let at: Vec<(f64, f64)> = syncs(&run);
        assert_eq!(at, [(10.0, 0.1), (25.0, 0.1), (40.0, 0.2), (55.0, 0.3)]);
    }
}
