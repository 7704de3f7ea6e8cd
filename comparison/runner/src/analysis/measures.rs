//! One run's measures. A measure that a run cannot give (no step up, no pod start, no such metric)
//! is absent, never zero.

use std::collections::BTreeMap;

use super::steps;
use scenario::Outcome;
use scenario::recording::{Pod, Recording, Run};
use scenario::summary::LoadSecond;

/// Values by the key of [`super::MEASURES`].
pub type Values = BTreeMap<&'static str, f64>;

/// Longest time after a step up in which a reaction is attributed to it (and never beyond the next
/// step).
const REACTION_S: f64 = 300.0;

/// Seconds without an SLO violation after which a step counts as recovered from: a pause between
/// two bad seconds is not a recovery.
const RECOVERED_S: usize = 10;

/// All measures of one run.
pub fn measure(run: &Run) -> Values {
    measure_until(run, None)
}

/// The same, with the cost summed until a given moment, at which all arms are at rest. The requests
/// of the pods at the end of the recording are extended to that moment.
pub fn measure_until(run: &Run, rest_s: Option<f64>) -> Values {
    let counted = match run.draw.counted {
        Some([from, to]) => Seconds { from, to },
        None => Seconds { from: 0.0, to: rest_s.unwrap_or(run.recording.observed_s) },
    };
    let mut values = Values::new();
    load(run, counted, &mut values);
    lag(run, counted, &mut values);
    pods(run, counted, &mut values);
    starts(&run.recording, counted, &mut values);
    run_conditions(run, counted, &mut values);
    let good = run.load.within_slo as f64;
    if let (Some(cores), true) = (values.get("core_seconds_requested"), good > 0.0) {
        let per_thousand = cores / good * 1000.0;
        values.insert("cost_per_1000", per_thousand);
    }
    if let Some(apart) = cost_apart(run) {
        values.insert("cost_apart", apart * 100.0);
    }
    if let (Some(one), Some(seconds), true) = (&run.calibration, values.get("pod_seconds"), good > 0.0) {
        let kept = seconds * one.capacity / good;
        values.insert("capacity_per_good", kept);
    }
    values
}

/// How far the core-seconds that Prometheus has are from those of the watch over the same time, as
/// a share of these.
pub fn cost_apart(run: &Run) -> Option<f64> {
    let [from, to] = run.draw.counted.unwrap_or([0.0, run.recording.observed_s]);
    let mut values = Values::new();
    pods(run, Seconds { from, to }, &mut values);
    let watched = values["core_seconds_requested"];
    let other = run.recording.by_prometheus?.core_seconds_requested;
    (watched > 0.0).then(|| other / watched - 1.0)
}

/// The time window that counts.
#[derive(Debug, Clone, Copy)]
struct Seconds {
    from: f64,
    to: f64,
}

impl Seconds {
    fn hold(self, second: f64) -> bool {
        (self.from..=self.to).contains(&second)
    }
}

fn load(run: &Run, counted: Seconds, values: &mut Values) {
    let load = &run.load;
    let refused = load.count(Outcome::Refused) + load.count(Outcome::Unavailable);
    values.insert("requests", load.planned as f64);
    values.insert("refused", refused as f64);
    values.insert("failed", (load.sent - load.count(Outcome::Ok) - refused) as f64);
    // A second counts if it begins within the window.
    let rows = load.seconds.iter().enumerate().filter(|(second, _)| counted.hold(*second as f64));
    values.insert("slo_violation_s", rows.filter(|(_, row)| row.violates_slo()).count() as f64);
    if load.planned > 0 {
        values.insert("good_share", load.within_slo as f64 / load.planned as f64 * 100.0);
    }
    for (key, quantile) in
        [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)]
    {
        if let Some(ms) = load.latency_ms(quantile) {
            values.insert(key, ms);
        }
    }
    // The latency of a failed first request cannot be compared.
    let firsts = load.first_after_step.iter();
    if let Some(worst) = firsts.filter(|f| f.outcome == Outcome::Ok).map(|f| f.latency_us).max() {
        values.insert("first_answer_ms", worst as f64 / 1000.0);
    }
}

/// Ready pods over time.
pub fn ready_pods(recording: &Recording) -> Vec<(f64, f64)> {
    let moments = recording.pods.iter().flat_map(|p| p.ready.iter().map(|r| r.0).chain(p.gone_s));
    let mut moments: Vec<f64> = moments.map(|t| t.max(0.0)).chain(std::iter::once(0.0)).collect();
    moments.retain(|t| *t <= recording.observed_s);
    moments.sort_by(f64::total_cmp);
    moments.dedup();
    moments.iter().map(|&t| (t, recording.pods.iter().filter(|p| p.ready_at(t)).count() as f64)).collect()
}

fn lag(run: &Run, counted: Seconds, values: &mut Values) {
    let recording = &run.recording;
    let ready = ready_pods(recording);
    let ends = run.draw.steps_up.iter().skip(1).copied().chain(std::iter::once(f64::INFINITY));
    let (mut seen, mut decided, mut became_ready) = (vec![], vec![], vec![]);
    let (mut recovered, mut there) = (vec![], vec![]);
    for (&step, end) in run.draw.steps_up.iter().zip(ends).filter(|(step, _)| counted.hold(**step)) {
        let until = end.min(step + REACTION_S);
        recovered.push(recovery(&run.load.seconds, step, end));
        there.push(steps::at(&ready, step).unwrap_or(0.0));
        let more_than_before = |series: &[(f64, f64)]| {
            let before = steps::at(series, step).unwrap_or(0.0);
            steps::first(series, step, until, |v| v > before).map(|t| t - step)
        };
        seen.extend(steps::first(&recording.seen, step, until, |v| v > 1.0).map(|t| t - step));
        decided.extend(more_than_before(&recording.desired));
        became_ready.extend(more_than_before(&ready));
    }
    if !there.is_empty() {
        values.insert("pods_at_step", there.iter().sum::<f64>() / there.len() as f64);
    }
    let lags = [
        ("recovery_s", recovered),
        ("lag_seen_s", seen),
        ("lag_decided_s", decided),
        ("lag_ready_s", became_ready),
    ];
    for (key, lags) in lags {
        if let Some(median) = steps::median(lags) {
            values.insert(key, median);
        }
    }
}

/// Seconds from a step to the start of [`RECOVERED_S`] consecutive good ones. Seconds without a
/// request are good ones.
fn recovery(seconds: &[LoadSecond], step: f64, end: f64) -> f64 {
    let from = (step.floor() as usize).min(seconds.len());
    let to = (end as usize).clamp(from, seconds.len());
    let mut since = from;
    for (second, load) in (from..to).zip(&seconds[from..to]) {
        if load.violates_slo() {
            since = second + 1;
        } else if second + 1 - since == RECOVERED_S {
            break;
        }
    }
    if to - since >= RECOVERED_S { (since as f64 - step).max(0.0) } else { to as f64 - step }
}

/// The billed part of a pod's lifetime, within the window that counts.
fn life(pod: &Pod, counted: Seconds) -> (f64, f64) {
    // An unscheduled pod costs nothing.
    let from = pod.scheduled_s.unwrap_or(f64::INFINITY).max(counted.from);
    let to = pod.gone_s.unwrap_or(counted.to).min(counted.to);
    (from.min(to), to)
}

fn pods(run: &Run, counted: Seconds, values: &mut Values) {
    let recording = &run.recording;
    let (mut pod_seconds, mut moves) = (0.0, 0);
    let (mut requested, mut used) = ((0.0, 0.0), (0.0, 0.0));
    for pod in &recording.pods {
        let (from, to) = life(pod, counted);
        pod_seconds += to - from;
        for container in &pod.containers {
            let cores: Vec<_> = container.requests.iter().map(|r| (r.0, r.1)).collect();
            let gib: Vec<_> = container.requests.iter().map(|r| (r.0, r.2 / GIB)).collect();
            requested.0 += steps::integral(&cores, from, to);
            requested.1 += steps::integral(&gib, from, to);
            used.0 += container.core_seconds;
            used.1 += container.gib_seconds;
            moves += container.requests.iter().skip(1).filter(|r| counted.hold(r.0)).count();
        }
    }
    let ready = ready_pods(recording);
    let most = ready.iter().filter(|r| counted.hold(r.0)).map(|r| r.1).fold(0.0, f64::max);
    values.insert("pods_max", most.max(steps::at(&ready, counted.from).unwrap_or(0.0)));
    values.insert("pod_seconds", pod_seconds);
    if run.draw.counted.is_none() {
        let observed = recording.observed_s;
        let still = |p: &&Pod| p.scheduled_s.is_some() && p.gone_s.is_none_or(|gone| gone > observed);
        values.insert("pods_end", recording.pods.iter().filter(still).count() as f64);
    }
    values.insert("core_seconds_requested", requested.0);
    values.insert("gib_seconds_requested", requested.1);
    values.insert("core_seconds_used", used.0);
    if used.1 > 0.0 {
        values.insert("gib_seconds_used", used.1);
    }
    if !recording.components.is_empty() {
        values.insert("components_core_seconds", recording.components.iter().map(|c| c.core_seconds).sum());
        let cores: f64 = recording.components.iter().map(|c| c.requested_cores).sum();
        values.insert("components_requested", cores * (counted.to - counted.from));
    }
    let before = steps::at(&recording.desired, counted.from).map(|value| (counted.from, value));
    let within = recording.desired.iter().copied().filter(|d| counted.hold(d.0));
    let desired: Vec<(f64, f64)> = before.into_iter().chain(within).collect();
    if !desired.is_empty() {
        values.insert("direction_changes", steps::direction_changes(&desired) as f64);
    }
    values.insert("vpa_moves", moves as f64);
}

/// The conditions of the run: lateness of the load and load of the node.
fn run_conditions(run: &Run, counted: Seconds, values: &mut Values) {
    if run.load.sent > 0 {
        values.insert("late_p99_ms", run.load.lateness_us[1] as f64 / 1000.0);
    }
    let load_s = run.load.seconds.len() as f64;
    // Each value covers the time since the previous one: only those wholly within the load count.
    let within = |w: &&[(f64, f64)]| w[0].0 >= counted.from && w[1].0 <= load_s.min(counted.to);
    let percent = |shares: &[(f64, f64)]| -> Vec<f64> {
        shares.windows(2).filter(within).map(|w| w[1].1 * 100.0).collect()
    };
    for (mean, most, shares) in [
        ("node_busy", "node_busy_max", &run.recording.node_busy),
        ("node_components", "node_components_max", &run.recording.node_components),
    ] {
        let percent = percent(shares);
        if !percent.is_empty() {
            values.insert(mean, percent.iter().sum::<f64>() / percent.len() as f64);
            values.insert(most, percent.iter().copied().fold(0.0, f64::max));
        }
    }
    let other = run.recording.node_other.iter().filter(|o| counted.hold(o.0) && o.0 <= load_s);
    if let Some(most) = other.map(|o| o.1 * 100.0).reduce(f64::max) {
        values.insert("node_other_max", most);
    }
}

/// Bytes in a GiB.
pub const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

fn starts(recording: &Recording, counted: Seconds, values: &mut Values) {
    let started = || recording.pods.iter().filter(|p| counted.hold(p.created_s));
    let cold = started().filter(|new| !recording.pods.iter().any(|p| p.ready_at(new.created_s)));
    values.insert("pod_starts", started().count() as f64);
    values.insert("cold_starts", cold.count() as f64);
    let mut median = |key, part: &dyn Fn(&Pod) -> Option<f64>| {
        if let Some(seconds) = steps::median(started().filter_map(part).collect()) {
            values.insert(key, seconds);
        }
    };
    median("start_s", &|p| Some(p.first_ready()? - p.created_s));
    median("start_schedule_s", &|p| Some(p.scheduled_s? - p.created_s));
    median("start_container_s", &|p| Some(p.started_s? - p.scheduled_s?));
    median("start_ready_s", &|p| Some(p.first_ready()? - p.started_s?));
    // The function's phase `ready` is the age of its process when it got ready; the others are
    // parts of it.
    median("start_function_s", &|p| p.startup.get("ready").copied());
}
