//! Runs the simulator for a question.

use rand_pcg::Pcg64;
use scenario::Scenario;
use scenario::rate::uniform;
use scenario::recording::{Pod as PodRecord, Recording};
use serde_json::{Value, json};
use simulator::tally::Tally;
use simulator::time::{SECOND, micros};
use simulator::world;

use crate::import::{Imported, import};
use crate::manifest;
use crate::request::{Load, Offered, Pod, Request};
use crate::settings::{Kind, Values};
use crate::size::Size;

/// Bins of a time series: about as many as a chart can resolve.
const BINS: usize = 360;
/// Bins of the latency percentiles: fewer and longer, because a percentile needs more requests than
/// a mean.
const LATENCY_BINS: usize = 60;
/// Number of simulated requests and of pod-seconds that a search may take, and the least and most
/// settings that it tries.
const FRONTIER_REQUESTS: f64 = 30e6;
const FRONTIER_POD_SECONDS: f64 = 150e6;
const FRONTIER_SETTINGS: (f64, f64) = (12.0, 150.0);
/// Random number stream of a schedule's arrivals (`scenario::schedule`).
const ARRIVAL_STREAM: u128 = 1;

/// Answers a request, or returns an error message.
pub fn answer(request: &Request) -> Result<Value, String> {
    match request {
        Request::Scenarios => Ok(scenarios()),
        Request::Fields => Ok(fields()),
        Request::Simulate { load, pod, kind, values, seed } => simulated(load, pod, *kind, values, *seed),
        Request::Frontier { load, pod, kind, values, seed } => frontier(load, pod, *kind, values, *seed),
        Request::Export { kind, values } => {
            Ok(json!({ "files": manifest::export(*kind, &kind.complete(values)?) }))
        }
        Request::Import { text } => {
            let Imported { kind, values, notes } = import(text)?;
            Ok(json!({ "kind": kind, "values": values, "notes": notes }))
        }
    }
}

fn scenarios() -> Value {
    let one = |s: Scenario| {
        json!({
            "name": s.name, "title": s.title, "about": s.about,
            "objective_ms": s.slo_ms, "timeout_ms": s.timeout_ms, "points": s.rate.points(),
        })
    };
    json!({ "scenarios": Scenario::shipped().into_iter().map(one).collect::<Vec<_>>() })
}

fn fields() -> Value {
    let one = |kind: &Kind| json!({ "kind": kind, "fields": kind.fields() });
    json!({ "kinds": Kind::ALL.iter().map(one).collect::<Vec<_>>() })
}

/// Result of one run.
struct Ran {
    tally: Tally,
    recording: Recording,
    watched_s: f64,
}

fn run(
    offered: &Offered,
    pod: &Pod,
    kind: Kind,
    values: &Values,
    seed: u64,
    bins: usize,
) -> Result<Ran, String> {
    let (plant, size) = pod.plant()?;
    let autoscaler = kind.autoscaler(values, size.memory)?;
    let watched_s = offered.duration() + pod.tail_s;
    let mut tally =
        Tally::new(micros(watched_s).max(1), bins, LATENCY_BINS.min(bins), micros(pod.objective_ms / 1000.0));
    let mut random = Pcg64::new(u128::from(seed), ARRIVAL_STREAM);
    let counted = |(at, latency, outcome)| tally.add(at, latency, outcome, 1.0);
    let (timeout, until) = (micros(pod.timeout_ms / 1000.0), micros(watched_s));
    let moment = |second: f64| (second * SECOND as f64) as i64;
    let recording = match offered {
        Offered::Curve(curve) => {
            let arrivals = curve.draw(&mut random).map(moment);
            world::simulate(arrivals, &plant, size, &autoscaler, timeout, until, None, seed, counted)
        }
        Offered::Recorded(moments) => {
            let arrivals = moments.iter().copied().map(moment);
            world::simulate(arrivals, &plant, size, &autoscaler, timeout, until, None, seed, counted)
        }
    };
    Ok(Ran { tally, recording, watched_s })
}

impl Ran {
    /// Core-seconds and GiB-seconds requested from scheduled to deleted, and ready pod-seconds, in
    /// each of `bins` bins.
    fn over_time(&self, bins: usize) -> Vec<[f64; 3]> {
        let bin = self.watched_s / bins as f64;
        let mut sums = vec![[0.0; 3]; bins];
        let mut add = |from: f64, to: f64, which: usize, amount: f64| {
            let (from, to) = (from.max(0.0), to.min(self.watched_s));
            if to <= from {
                return;
            }
            let first = ((from / bin) as usize).min(bins - 1);
            let last = ((to / bin) as usize).min(bins - 1);
            for (i, sum) in sums.iter_mut().enumerate().take(last + 1).skip(first) {
                let (start, end) = (i as f64 * bin, (i + 1) as f64 * bin);
                sum[which] += amount * (to.min(end) - from.max(start)).max(0.0);
            }
        };
        for pod in &self.recording.pods {
            let end = pod.gone_s.unwrap_or(self.watched_s);
            for container in pod.containers.iter().filter(|_| pod.scheduled_s.is_some()) {
                for (i, (at, cores, bytes)) in container.requests.iter().enumerate() {
                    let from = at.max(pod.scheduled_s.unwrap_or(end));
                    let to = container.requests.get(i + 1).map_or(end, |next| next.0).min(end);
                    add(from, to, 0, *cores);
                    add(from, to, 1, bytes / 1_073_741_824.0);
                }
            }
            for (i, (at, ready)) in pod.ready.iter().enumerate().filter(|(_, r)| r.1) {
                debug_assert!(*ready);
                add(*at, pod.ready.get(i + 1).map_or(end, |next| next.0), 2, 1.0);
            }
        }
        sums
    }

    fn cost(&self, pod: &Pod) -> (f64, f64) {
        let [cores, gib, _] = self.over_time(1)[0];
        (cores, (cores * pod.core_hour + gib * pod.gib_hour) / 3600.0)
    }

    fn good(&self) -> f64 {
        let (sent, good) = self.tally.sent_and_good();
        if sent > 0.0 { good / sent * 100.0 } else { 100.0 }
    }
}

fn simulated(load: &Load, pod: &Pod, kind: Kind, values: &Values, seed: u64) -> Result<Value, String> {
    let offered = load.offered()?;
    pod.plant()?;
    Size::of(&offered, pod, kind, &kind.complete(values)?).check()?;
    let ran = run(&offered, pod, kind, values, seed, BINS)?;
    let bin = ran.watched_s / BINS as f64;
    let over_time = ran.over_time(BINS);
    let (core_s, cost) = ran.cost(pod);
    let all = ran.tally.all_latencies();
    let pods = &ran.recording.pods;
    let ready = |at: f64| pods.iter().filter(|p: &&PodRecord| p.ready_at(at)).count();
    let (sent, good) = ran.tally.sent_and_good();
    let share = |count: f64| if sent > 0.0 { count / sent * 100.0 } else { 0.0 };
    let refused: f64 = ran.tally.bins.iter().map(|b| b.refused).sum();
    let misses = |b: &simulator::tally::Bin| {
        if b.sent > 0.0 { (b.sent - b.good) / b.sent * 100.0 } else { 0.0 }
    };
    let price = |s: &[f64; 3]| (s[0] * pod.core_hour + s[1] * pod.gib_hour) / bin;
    let most = over_time.iter().map(|s| s[2] / bin).fold(0.0, f64::max);
    Ok(json!({
        "kind": kind,
        "bin_s": bin,
        "latency_bin_s": bin * ran.tally.bins_per_latencies as f64,
        "rate": ran.tally.bins.iter().map(|b| b.sent / bin).collect::<Vec<_>>(),
        "pods": over_time.iter().map(|s| s[2] / bin).collect::<Vec<_>>(),
        "misses": ran.tally.bins.iter().map(misses).collect::<Vec<_>>(),
        "price": over_time.iter().map(price).collect::<Vec<_>>(),
        "p99": ran.tally.latencies.iter().map(|l| l.quantile_ms(0.99)).collect::<Vec<_>>(),
        "table": {
            "requests": sent,
            "good": ran.good(),
            "refused": share(refused),
            "late": share(sent - good - refused),
            "p50_ms": all.quantile_ms(0.5),
            "p99_ms": all.quantile_ms(0.99),
            "pods": over_time.iter().map(|s| s[2]).sum::<f64>() / ran.watched_s,
            "most_pods": most,
            "started": pods.iter().filter(|p| p.created_s > 0.0).count(),
            "at_the_end": ready(ran.watched_s - 0.001),
            "core_seconds": core_s,
            "cost": cost,
            "cost_per_million_good": if good > 0.0 { Some(cost / good * 1e6) } else { None },
        },
    }))
}

/// Values that a search tries, by setting.
fn choices(kind: Kind) -> &'static [(&'static str, &'static [f64])] {
    const BEHAVIOR: [(&str, &[f64]); 4] = [
        ("scaleUp.Pods", &[2.0, 4.0, 10.0, 50.0]),
        ("scaleDown.stabilizationWindowSeconds", &[0.0, 30.0, 60.0, 120.0, 300.0]),
        ("scaleDown.Percent", &[10.0, 50.0, 100.0]),
        ("scaleDown.tolerance", &[0.05, 0.1, 0.2]),
    ];
    const HPA: [(&str, &[f64]); 6] = [
        ("averageValue", &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0]),
        ("minReplicas", &[1.0, 1.0, 2.0, 3.0, 4.0]),
        BEHAVIOR[0],
        BEHAVIOR[1],
        BEHAVIOR[2],
        BEHAVIOR[3],
    ];
    const KEDA: [(&str, &[f64]); 8] = [
        ("threshold", &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0]),
        ("minReplicaCount", &[0.0, 0.0, 1.0, 2.0, 4.0]),
        ("pollingInterval", &[5.0, 10.0, 30.0]),
        ("cooldownPeriod", &[30.0, 60.0, 300.0]),
        BEHAVIOR[0],
        BEHAVIOR[1],
        BEHAVIOR[2],
        BEHAVIOR[3],
    ];
    const HPA_ZERO: [(&str, &[f64]); 6] =
        [HPA[0], ("minReplicas", &[0.0, 0.0, 1.0, 2.0, 4.0]), HPA[2], HPA[3], HPA[4], HPA[5]];
    match kind {
        Kind::Kpa => &[
            ("target", &[0.25, 0.5, 1.0, 1.5, 2.0]),
            ("target-utilization-percentage", &[50.0, 70.0, 85.0, 100.0]),
            ("window", &[15.0, 30.0, 60.0, 120.0]),
            ("panic-threshold-percentage", &[110.0, 150.0, 200.0, 400.0]),
            ("target-burst-capacity", &[-1.0, 0.0, 211.0]),
            ("scale-down-delay", &[0.0, 30.0, 60.0, 300.0]),
            ("min-scale", &[0.0, 0.0, 1.0, 2.0, 4.0]),
        ],
        Kind::Hpa | Kind::HpaVpa => &HPA,
        Kind::Keda => &KEDA,
        Kind::HpaZero => &HPA_ZERO,
    }
}

fn frontier(load: &Load, pod: &Pod, kind: Kind, values: &Values, seed: u64) -> Result<Value, String> {
    let offered = load.offered()?;
    pod.plant()?;
    let size = Size::of(&offered, pod, kind, &kind.complete(values)?);
    if size.requests == 0.0 {
        return Err("there are no requests in the load to search with".into());
    }
    let (least, most) = FRONTIER_SETTINGS;
    size.check_search(least)?;
    let count = (FRONTIER_REQUESTS / size.requests.max(1.0))
        .min(FRONTIER_POD_SECONDS / size.pod_seconds.max(1.0))
        .clamp(least, most) as usize;
    let mut random = Pcg64::new(u128::from(seed), 6);
    let mut points: Vec<(f64, f64, Values)> = vec![];
    for number in 0..=count {
        let mut tried = values.clone();
        if number > 0 {
            for (name, of) in choices(kind) {
                tried.insert((*name).to_owned(), of[(uniform(&mut random) * of.len() as f64) as usize]);
            }
            kind.lower_minimum(&mut tried);
        }
        let ran = run(&offered, pod, kind, &tried, seed, 1)?;
        points.push((ran.cost(pod).1, ran.good(), tried));
    }
    let shown = |p: &(f64, f64, Values)| json!({ "cost": p.0, "good": p.1, "values": p.2 });
    let own = shown(&points[0]);
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|p| {
        let better = p.1 > best;
        best = best.max(p.1);
        better
    });
    Ok(
        json!({ "kind": kind, "tried": count, "own": own, "frontier": points.iter().map(shown).collect::<Vec<_>>() }),
    )
}
