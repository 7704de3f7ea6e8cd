//! Derives the parameters of the pod model from recorded runs: start and drain times, the CPU cost
//! of a request, and the room on the nodes. It does not use what a simulation is to predict: pod
//! counts, the share of good answers, and latency percentiles above the median.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use scenario::Scenario;
use scenario::recording::{Container, Origin, Pod, Run};
use scenario::schedule::Schedule;
use serde::{Deserialize, Serialize};

pub use arms::{Arm, Arms};
pub use begin::begin_as;
use begin::{phase, vpa_begin};
use request::{cpu, hop_s, quota_ms, quota_share};

mod arms;
mod begin;
mod request;

/// Measured parameters by variant, serialized as TOML.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Results files from which the parameters were derived.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Parameters by the name of the variant.
    #[serde(flatten)]
    pub variants: BTreeMap<String, MeasuredVariant>,
}

/// Parameters of one variant's pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredVariant {
    /// CPU time of one request in the function's container, ms.
    pub work_ms: f64,
    /// CPU that a pod uses without requests, millicores.
    pub background_millicores: f64,
    /// Part of a request's latency that is not CPU time of the pod, ms.
    pub hop_ms: f64,
    /// Period of the pods' CPU quota, ms: the kubelet's `cpuCFSQuotaPeriod`. Not in recordings of
    /// version 2, whose nodes had the default of 100 ms.
    #[serde(default)]
    pub quota_ms: Option<f64>,
    /// What a full pod answered in the calibrations of the runs, as a share of what its CPU quota
    /// would give at `work_ms`. Present only if the runs have calibrations with the same period of
    /// the quota, and pods less than a core.
    #[serde(default)]
    pub quota_share: Option<f64>,
    /// Time from losing readiness to deletion, seconds.
    pub drain_s: f64,
    /// CPU requests that fit on the node at the same time, millicores. Present only if pods had to
    /// wait for room.
    pub room_millicores: Option<i64>,
    /// Threads of the gateway: one for each CPU of its node. Present only if there is one node.
    #[serde(default)]
    pub gateway_threads: Option<usize>,
    /// Offsets of the KPA's ticks within their period of 2 s.
    #[serde(default)]
    pub kpa_phases_s: Vec<f64>,
    /// Offsets of the HPA's syncs within their period.
    #[serde(default)]
    pub hpa_phases_s: Vec<f64>,
    /// One entry for each pod start: the time from scheduled to running container and to ready, in
    /// seconds, and the number of pods scheduled within [`TOGETHER_S`] of it, including itself.
    pub starts_s: Vec<[f64; 3]>,
    /// The time from the first running container to the first answer, in seconds, and the number of
    /// pods that were scheduled within [`TOGETHER_S`]: one entry for each run that began without a
    /// pod and whose first requests the activator held.
    #[serde(default)]
    pub answers_s: Vec<[f64; 2]>,
    /// State of the VPA when the load began, one entry for each run with a VPA.
    #[serde(default)]
    pub vpa_begins: Vec<MeasuredBegin>,
}

/// State of the VPA when the load of a run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredBegin {
    /// Time of its first recommendation, seconds. 0 if it came before the load.
    pub first_s: f64,
    /// CPU requests of the pods that were ready when the load began, millicores.
    pub at_rest: Vec<i64>,
    /// Offset of the updater's rounds within their period, seconds, if it resized a pod.
    #[serde(default)]
    pub updater_s: Option<f64>,
}

/// A pod that is scheduled later than this after its creation had to wait for room, seconds.
const WAITED_FOR_ROOM_S: f64 = 1.0;
/// Pods scheduled within this time of each other share the node's CPUs while they start, seconds.
pub const TOGETHER_S: f64 = 1.0;
impl Measured {
    /// Parses the output of `comparison fit`.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not from `comparison fit`", path.display()))
    }

    /// Serializes the parameters as TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Fits the parameters to measured runs.
    pub fn of(runs: &[Run], scenarios: &[Scenario]) -> Result<Self> {
        let measured: Vec<&Run> = runs.iter().filter(|r| r.origin == Origin::Measured).collect();
        ensure!(!measured.is_empty(), "no measured runs: simulated ones say nothing about pods");
        let mut variants: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        measured.iter().for_each(|r| variants.entry(&r.variant).or_default().push(r));
        // All variants run on the same nodes.
        let placed = measured.iter().flat_map(|r| placed_while_waiting(r)).collect();
        let room = median(placed).map(|millicores| millicores.round() as i64);
        let fitted = variants.iter().map(|(name, runs)| {
            let variant = MeasuredVariant { room_millicores: room, ..variant(runs, scenarios)? };
            Ok(((*name).to_owned(), variant))
        });
        Ok(Self { runs: measured.iter().map(|r| r.id()).collect(), variants: fitted.collect::<Result<_>>()? })
    }
}

fn variant(runs: &[&Run], scenarios: &[Scenario]) -> Result<MeasuredVariant> {
    let pods = || runs.iter().flat_map(|r| &r.recording.pods);
    let starts_s: Vec<[f64; 3]> = runs
        .iter()
        .flat_map(|r| r.recording.pods.iter().filter_map(|p| start(p, &r.recording.pods)))
        .collect();
    ensure!(!starts_s.is_empty(), "no pod of {} started in these runs", runs[0].variant);
    let drains = pods().filter_map(|pod| {
        let unready = pod.ready.iter().rev().find(|r| !r.1)?.0;
        Some(pod.gone_s? - unready)
    });
    let drain_s = median(drains.collect()).context("no pod was removed in these runs")?;
    let (work_s, background) = cpu(runs).context("these runs do not determine the CPU time of a request")?;
    let quota_ms = quota_ms(runs)?;
    let quota_share = quota_share(runs, work_s, background);
    let hop_s = hop_s(runs, work_s, background, quota_ms, quota_share).context("no answers")?;
    let knative = runs[0].variant == "knative";
    let phases: Vec<f64> = runs.iter().filter_map(|run| phase(run)).map(rounded).collect();
    let (kpa_phases_s, hpa_phases_s) = if knative { (phases, vec![]) } else { (vec![], phases) };
    Ok(MeasuredVariant {
        work_ms: rounded(work_s * 1000.0),
        background_millicores: rounded(background * 1000.0),
        hop_ms: rounded(hop_s * 1000.0),
        quota_ms,
        quota_share: quota_share.map(rounded),
        drain_s: rounded(drain_s),
        room_millicores: None,
        gateway_threads: cpus(runs[0]),
        kpa_phases_s,
        hpa_phases_s,
        starts_s,
        answers_s: runs.iter().filter_map(|run| first_answer(run, scenarios)).collect(),
        vpa_begins: runs.iter().filter_map(|r| vpa_begin(r)).collect(),
    })
}

/// CPUs of the node, if there is one node.
fn cpus(run: &Run) -> Option<usize> {
    let fact = |name: &str| run.environment.get(name).map(String::as_str);
    fact("Nodes").filter(|nodes| *nodes == "1")?;
    fact("Node")?.split_once(" CPUs")?.0.parse().ok()
}

/// Time from the first running container to the first answer of a run that began without a pod. All
/// of its requests waited for that, so that the first to be sent waited longest.
fn first_answer(run: &Run, scenarios: &[Scenario]) -> Option<[f64; 2]> {
    let scenario = scenarios.iter().find(|s| s.name == run.scenario)?;
    let schedule = Schedule::draw(scenario, run.draw.scale, run.draw.stretch, run.draw.seed);
    let sent = schedule.arrivals.first()?.at.as_secs_f64();
    let second = run.load.seconds.get(sent as usize)?;
    let pods = || run.recording.pods.iter().filter(|pod| pod.started_s.is_some());
    let first = pods().min_by(|a, b| a.started_s.unwrap_or(0.0).total_cmp(&b.started_s.unwrap_or(0.0)))?;
    let running = first.started_s.filter(|running| *running > sent)?;
    let [.., together] = start(first, &run.recording.pods)?;
    let all = schedule.fingerprint() == run.draw.fingerprint && second.ok == second.planned;
    let answered = sent + second.p99_ms.filter(|_| all)? / 1000.0;
    Some([rounded((answered - running).max(0.0)), together])
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Time from scheduled to running and to ready, of a pod that started in the run, and the number of
/// pods that started together with it.
fn start(pod: &Pod, all: &[Pod]) -> Option<[f64; 3]> {
    let scheduled = pod.scheduled_s.filter(|s| *s > 0.0)?;
    let beside = |p: &&Pod| p.scheduled_s.is_some_and(|s| (s - scheduled).abs() <= TOGETHER_S);
    let together = all.iter().filter(beside).count() as f64;
    Some([rounded(pod.started_s? - scheduled), rounded(pod.first_ready()? - scheduled), together])
}

/// CPU requests of the scheduled pods while another pod waited for a node, millicores: one value
/// for each pod that waited.
fn placed_while_waiting(run: &Run) -> Vec<f64> {
    let pods = &run.recording.pods;
    let placed = |at: f64| -> f64 {
        let there = |p: &&Pod| p.scheduled_s.is_some_and(|s| s <= at) && p.gone_s.is_none_or(|g| g > at);
        let requested = |c: &Container| c.requests.iter().rev().find(|r| r.0 <= at).map(|r| r.1);
        pods.iter().filter(there).flat_map(|p| &p.containers).filter_map(requested).sum()
    };
    let waited = pods.iter().filter(|p| p.scheduled_s.is_some_and(|s| s - p.created_s > WAITED_FOR_ROOM_S));
    // At this time, the other pods of the same decision are already scheduled.
    waited.map(|p| placed(p.created_s + WAITED_FOR_ROOM_S / 2.0) * 1000.0).collect()
}

#[cfg(test)]
mod tests {
    use simulator::plant::Start;
    use simulator::time::micros;
    use simulator::{Drawn, Plant};

    use super::*;
    use scenario::recording::{Calibration, POD_LIMITS, QUOTA_PERIOD};

    fn arms() -> Arms {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Arms { root, platform: Some("two-cores".into()), measured: Measured::default() }
    }

    #[test]
    fn what_a_simulation_was_told_is_found_again_in_its_results() {
        let mut runs = vec![];
        let mut arm = arms().arm("knative", "defaults").expect("shipped");
        let start =
            |running: f64, ready: f64| Start { running: micros(running), ready: micros(ready), together: 1 };
        arm.plant = Plant {
            work: 8_000,
            background_millicores: 5.0,
            hop: 1_500,
            starts: vec![start(0.5, 1.0), start(1.0, 2.0)],
            drain: micros(36.0),
            room_millicores: Some(1850),
            kpa_phases: vec![micros(1.25)],
            answers: vec![(300_000, 1)],
            ..arm.plant
        };
        for name in ["spike", "ramp", "soak"] {
            let scenario = Scenario::shipped_named(name).expect("shipped");
            let mut run =
                arm.run(&scenario, 1, Drawn { scale: 10.0, stretch: 0.5, seed: 1, chance: 0 }, 60.0);
            run.origin = Origin::Measured;
            runs.push(run);
        }
        let found = &Measured::of(&runs, &Scenario::shipped()).expect("measured").variants["knative"];
        assert!((found.work_ms - 8.0).abs() < 0.2, "{}", found.work_ms);
        assert!((found.background_millicores - 5.0).abs() < 1.0, "{}", found.background_millicores);
        assert!((found.hop_ms - 1.5).abs() < 1.2, "{}", found.hop_ms);
        assert!((found.drain_s - 36.0).abs() < 0.01, "{}", found.drain_s);
        assert_eq!(found.kpa_phases_s, [1.25; 3]);
        // Until the first answer the CPU time of a request has passed, too. A run whose first
        // requests did not all fit into the first pod says nothing.
        let answers: Vec<f64> = found.answers_s.iter().map(|answer| answer[0]).collect();
        assert!(answers.len() >= 2 && answers.iter().all(|s| (0.3..0.5).contains(s)), "{answers:?}");
        assert!(found.starts_s.iter().all(|s| s[..2] == [0.5, 1.0] || s[..2] == [1.0, 2.0]));
        // Ten pods of 150m with a sidecar of 25m each.
        assert_eq!(found.room_millicores, Some(1750));
    }

    #[test]
    fn a_setting_of_the_node_is_simulated_though_no_manifest_has_it() {
        let plant = |variant, configuration| arms().arm(variant, configuration).expect("shipped").plant;
        let usual = plant("k8s-autoscalers", "hpa");
        assert_eq!(usual.hpa_sync, micros(15.0));
        let often = plant("k8s-autoscalers", "hpa+hpa-sync-2s");
        assert_eq!(often, Plant { hpa_sync: micros(2.0), ..usual });
        assert_eq!(plant("knative", "defaults+cfs-20ms").quota_period, micros(0.02));
    }

    #[test]
    fn requests_that_take_several_periods_of_the_quota_are_not_counted_as_slow_networks() {
        let mut arm = arms().arm("k8s-autoscalers", "hpa").expect("shipped");
        arm.plant = Plant { work: 3_900, hop: 1_500, quota_period: micros(0.01), ..arm.plant };
        let mut runs: Vec<Run> = ["spike", "ramp"]
            .map(|name| {
                let scenario = Scenario::shipped_named(name).expect("shipped");
                let drawn = Drawn { scale: 10.0, stretch: 0.5, seed: 1, chance: 0 };
                let mut run = arm.run(&scenario, 1, drawn, 340.0);
                run.environment.insert(QUOTA_PERIOD.into(), "10 ms".into());
                run.environment.insert(POD_LIMITS.into(), "150m CPU, 192Mi".into());
                Run { origin: Origin::Measured, ..run }
            })
            .into();
        let found = Measured::of(&runs, &Scenario::shipped()).expect("measured");
        let found = &found.variants["k8s-autoscalers"];
        assert_eq!(found.quota_ms, Some(10.0));
        assert!((found.work_ms - 3.9).abs() < 0.2, "{}", found.work_ms);
        assert!((found.hop_ms - 1.5).abs() < 3.0, "{}", found.hop_ms);
        assert_eq!(found.quota_share, None, "no calibration says what a full pod answers");
        let calibrated = |saturated: f64| Calibration {
            at: String::new(),
            slo_ms: 500,
            capacity: saturated,
            saturated,
            rate_at_one: None,
            steps: vec![],
        };
        // Of 150m it uses 3.9 ms for each of 30 answers a second.
        runs[0].calibration = Some(calibrated(30.0));
        runs[1].calibration = Some(calibrated(40.0));
        runs[1].throughput = Some([40.0, 20.0]);
        let told = Arms { measured: Measured::of(&runs, &[]).expect("measured"), ..arms() };
        let plant = told.arm("k8s-autoscalers", "hpa").expect("shipped").plant;
        assert_eq!(plant.quota_period, micros(0.01), "the simulation has the nodes' period");
        assert!((plant.quota_share - 30.0 * 0.0039 / 0.15).abs() < 0.05, "{}", plant.quota_share);
        for run in &mut runs {
            run.configuration = "hpa+cfs-100ms".into();
        }
        let other = Measured::of(&runs, &[]).expect("measured").variants["k8s-autoscalers"].quota_share;
        assert_eq!(other, None, "one pod was calibrated with the usual period");
        runs[0].environment.insert(QUOTA_PERIOD.into(), "100 ms".into());
        let error = Measured::of(&runs, &[]).expect_err("two conditions");
        assert!(error.to_string().contains("several periods"), "{error}");
    }

    #[test]
    fn a_fit_survives_being_written_and_read() {
        let variant = MeasuredVariant {
            work_ms: 8.0,
            background_millicores: 5.0,
            hop_ms: 1.0,
            quota_ms: Some(10.0),
            quota_share: Some(0.75),
            drain_s: 6.0,
            room_millicores: Some(1750),
            kpa_phases_s: vec![],
            hpa_phases_s: vec![10.2],
            starts_s: vec![[0.5, 1.0, 1.0]],
            answers_s: vec![[0.25, 4.0]],
            gateway_threads: Some(2),
            vpa_begins: vec![
                MeasuredBegin { first_s: 0.0, at_rest: vec![150, 100], updater_s: Some(31.25) },
                MeasuredBegin { first_s: 12.5, at_rest: vec![150], updater_s: None },
            ],
        };
        let measured = Measured {
            runs: vec!["spike-knative-tuned-1".into()],
            variants: [("knative".into(), variant)].into(),
        };
        let text = measured.to_toml().expect("written");
        assert_eq!(toml::from_str::<Measured>(&text).expect("read"), measured);
    }
}
