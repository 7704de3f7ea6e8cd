//! The results file of one run. Recorded from a cluster or produced by the simulator, and labelled
//! accordingly.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::Scenario;
use crate::arms::{Arm, DEFAULT_HPA_SYNC_S};
use crate::joinable::settings_key;
use crate::schedule::Schedule;
use crate::summary::LoadSummary;

/// Schema version of every file; a reader refuses unknown ones.
pub const SCHEMA: &str = "nv-micro/comparison-run/v3";

/// Still read: see [`Run::parse`].
const SCHEMA_V2: &str = "nv-micro/comparison-run/v2";

/// The origin of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A real cluster.
    Measured,
    /// The simulator. Never mixed with measured runs in one table.
    Simulated,
}

/// One run: one scenario, one variant, one configuration, one repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// Measured or simulated.
    pub origin: Origin,
    /// Name of the scenario.
    pub scenario: String,
    /// `knative` or `k8s-autoscalers`.
    pub variant: String,
    /// Its settings: see [`crate::arms::Arm::configuration`].
    pub configuration: String,
    /// Counted from 1.
    pub repeat: u32,
    /// The time of second 0, RFC 3339; empty in a simulation.
    pub started: String,
    /// The parameters of the schedule.
    pub draw: Draw,
    /// The environment: versions, nodes, image, commit and so on, by name.
    pub environment: BTreeMap<String, String>,
    /// The load, as offered and answered.
    pub load: LoadSummary,
    /// The pods and the autoscaler's decisions.
    pub recording: Recording,
    /// The calibration of one pod before these runs; absent if it was not measured.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// When the session of work began in which it was recorded, RFC 3339. Absent in files from
    /// before sessions.
    #[serde(default)]
    pub session: Option<String>,
    /// What one pod answered a second at most, at the calibration before the run's block and after
    /// it, with the node's usual settings. Absent in files from before it was kept, and where it
    /// was not measured.
    #[serde(default)]
    pub throughput: Option<[f64; 2]>,
    /// The reason why this run is void, if it is. Void runs are kept apart.
    #[serde(default)]
    pub void: Option<String>,
}

/// The capacity of one pod on a cluster, in requests a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// When it was measured, RFC 3339.
    pub at: String,
    /// The objective, milliseconds.
    pub slo_ms: u64,
    /// The highest rate of Poisson arrivals of which 99 % get a good answer.
    pub capacity: f64,
    /// Answers a second when it is saturated.
    pub saturated: f64,
    /// The rate at which one request is in flight on average: the load of a pod at a target of 1.
    pub rate_at_one: Option<f64>,
    /// Every rate that was tried.
    pub steps: Vec<CalibrationStep>,
}

/// Up to this share of its throughput hardly any request of a pod waits for another one.
const HARDLY_BUSY: f64 = 0.25;

impl Calibration {
    /// Requests that one pod would have in flight at its throughput if none waited for another one:
    /// the time of a request in a pod that is hardly busy, times the throughput (Little's law).
    /// `None` if no such rate was tried.
    ///
    /// An autoscaler divides the requests in flight that it sees by its target. With a target above
    /// this it wants fewer pods than the load needs while they are hardly busy. The time is the
    /// client's: it has the gateway in it, and neither queue-proxy nor activator.
    pub fn unqueued_in_flight(&self) -> Option<f64> {
        let hardly_busy = |step: &&CalibrationStep| step.rate <= self.saturated * HARDLY_BUSY;
        let (in_flight, answered) =
            self.steps.iter().filter(hardly_busy).fold((0.0, 0.0), |(in_flight, answered), s| {
                (in_flight + s.in_flight, answered + s.answered)
            });
        (answered > 0.0).then(|| in_flight / answered * self.saturated)
    }
}

/// Name of the pods' limits in [`Run::environment`]: `150m CPU, 192Mi`.
pub const POD_LIMITS: &str = "Pod limits";

/// CPU time, in milliseconds, that the kubelet gives a container in each period of the quota at
/// least, whatever its limit: `MinQuotaPeriod` in Kubernetes' `pkg/kubelet/cm/helpers_linux.go`.
pub const LEAST_QUOTA_MS: f64 = 1.0;

/// The CPU limit with which a run's pods begin, cores, by [`Run::environment`]. A VPA may change
/// the pods later.
pub fn cpu_limit(environment: &BTreeMap<String, String>) -> Option<f64> {
    let limit = environment.get(POD_LIMITS)?.split_once(" CPU")?.0;
    match limit.strip_suffix('m') {
        Some(millicores) => Some(millicores.parse::<f64>().ok()? / 1000.0),
        None => limit.parse().ok(),
    }
}

/// Name of the digest of the image that the pods ran in [`Run::environment`].
pub const IMAGE_ID: &str = "Image ID";

/// Name of the pods' quota period in [`Run::environment`]: `10 ms`.
pub const QUOTA_PERIOD: &str = "CPU quota's period";

/// One rate of a calibration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationStep {
    /// Requests a second that were sent.
    pub rate: f64,
    /// 2xx answers a second.
    pub answered: f64,
    /// Good answers, of 1.
    pub good: f64,
    /// Requests in flight on average, by Little's law over the answers.
    pub in_flight: f64,
}

/// Everything needed to draw the same schedule again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// Requests a second for a rate of 1.0.
    pub scale: f64,
    /// The share of one pod's capacity that `scale` was computed from. Runs of several sessions
    /// then have the same load in units of one pod, at different scales.
    #[serde(default)]
    pub pod_load: Option<f64>,
    /// Factor on the scenario's time.
    pub stretch: f64,
    /// The seed of the arrivals.
    pub seed: u64,
    /// Fingerprint of the schedule: equal for runs with the same offered load.
    pub fingerprint: String,
    /// The objective: milliseconds.
    pub slo_ms: u64,
    /// Upward steps of the rate, seconds.
    pub steps_up: Vec<f64>,
    /// The rate curve, requests a second over seconds.
    pub rate: Vec<(f64, f64)>,
    /// The seconds over which quality and cost are counted. Without them all of the load counts,
    /// and cost until the arm is at rest again.
    #[serde(default)]
    pub counted: Option<[f64; 2]>,
}

impl Draw {
    /// The parameters of a schedule.
    pub fn of(schedule: &Schedule, scenario: &Scenario, scale: f64, stretch: f64, seed: u64) -> Self {
        Self {
            scale,
            pod_load: None,
            stretch,
            seed,
            fingerprint: schedule.fingerprint(),
            slo_ms: scenario.slo_ms,
            steps_up: schedule.rate.steps_up(),
            rate: schedule.rate.points().to_vec(),
            counted: scenario.counted.window(stretch, schedule.duration()),
        }
    }
}

/// Pods and decisions over a run; all times in seconds from second 0 of the schedule, negative
/// before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// The length of the watch: the schedule and a tail after it.
    pub observed_s: f64,
    /// Every pod of the variant that existed at any time in the run.
    pub pods: Vec<Pod>,
    /// The desired number of pods: `(second, pods)`, each valid until the next.
    pub desired: Vec<(f64, f64)>,
    /// The autoscaler's input: load per pod over target (1.0 is on target).
    pub seen: Vec<(f64, f64)>,
    /// Cores in use by the variant's pods.
    pub cores_used: Vec<(f64, f64)>,
    /// Share of the node's CPUs that was busy with anything: pods, platform, control plane, the
    /// load itself. Empty where it was not recorded.
    pub node_busy: Vec<(f64, f64)>,
    /// Share of the node's CPUs that processes used which have nothing to do with the run. In files
    /// without `node_components` it is what neither pods nor the load generator account for. Below
    /// 0 where the parts come to more than the whole; 0 then in files by runners up to 65e6378.
    /// Empty if it is unknown, and in files from before it was recorded.
    #[serde(default)]
    pub node_other: Vec<(f64, f64)>,
    /// Share of the node's CPUs that the kernel and the node's components outside of pods used
    /// (kubelet, container runtime, control plane). Empty where the runner was not on the node, and
    /// in files from before it was recorded.
    #[serde(default)]
    pub node_components: Vec<(f64, f64)>,
    /// Other components that the variant needs: activator, queue of the gateway, adapter, VPA.
    pub components: Vec<Component>,
    /// The VPA's target for the function's CPU, in cores.
    pub vpa_target_cores: Vec<(f64, f64)>,
    /// Memory (working set) of the variant's pods together, GiB. Empty in files from before it was
    /// recorded.
    #[serde(default)]
    pub gib_used: Vec<(f64, f64)>,
    /// Whether the KPA was in panic mode: 1 or 0, each valid until the next. Empty for the HPA, and
    /// in files from before it was recorded.
    #[serde(default)]
    pub panic: Vec<(f64, f64)>,
    /// Cost over the counted time in a second way, by the recording rules of Prometheus. Absent
    /// where there are none, and in files from before it was recorded.
    #[serde(default)]
    pub by_prometheus: Option<Cost>,
}

/// What the pods of a run cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From scheduled to gone.
    pub pod_seconds: f64,
    /// CPU requests of all containers over that time.
    pub core_seconds_requested: f64,
}

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_s: f64,
    /// When it was scheduled.
    pub scheduled_s: Option<f64>,
    /// When its function container started (image pulled, process started).
    pub started_s: Option<f64>,
    /// Each time it became ready or stopped being so.
    pub ready: Vec<(f64, bool)>,
    /// When it was deleted, if it was.
    pub gone_s: Option<f64>,
    /// All its containers, sidecars too.
    pub containers: Vec<Container>,
    /// The start phases that the function reports, in seconds.
    pub startup: BTreeMap<String, f64>,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Requests over time: `(second, cores, bytes)`. More than one row: it was resized in place.
    pub requests: Vec<(f64, f64, f64)>,
    /// Core-seconds it used in the seconds that count.
    pub core_seconds: f64,
    /// GiB-seconds of memory (working set) it used in the seconds that count.
    pub gib_seconds: f64,
}

/// A part of the platform that one variant depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Name in the table.
    pub name: String,
    /// Requested by all its pods together.
    pub requested_cores: f64,
    /// See `requested_cores`.
    pub requested_gib: f64,
    /// Used in the run.
    pub core_seconds: f64,
    /// See `core_seconds`.
    pub gib_seconds: f64,
    /// Cores in use over time. Empty in files from before it was recorded.
    #[serde(default)]
    pub cores_used: Vec<(f64, f64)>,
    /// Memory in use over time, GiB; see `cores_used`.
    #[serde(default)]
    pub gib_used: Vec<(f64, f64)>,
}

impl Pod {
    /// First moment of readiness.
    pub fn first_ready(&self) -> Option<f64> {
        self.ready.iter().find(|(_, ready)| *ready).map(|r| r.0)
    }

    /// Whether it was ready at a moment.
    pub fn ready_at(&self, second: f64) -> bool {
        let gone = self.gone_s.is_some_and(|gone| gone <= second);
        !gone && self.ready.iter().rev().find(|(at, _)| *at <= second).is_some_and(|r| r.1)
    }
}

impl Recording {
    /// When the last pod was created or deleted, if the number at the end is that at rest.
    pub fn at_rest_s(&self, rest_pods: usize) -> Option<f64> {
        let there = |p: &&Pod| p.gone_s.is_none_or(|gone| gone > self.observed_s);
        let mut last = 0.0_f64;
        for pod in &self.pods {
            let moments = [pod.gone_s, Some(pod.created_s), pod.scheduled_s, pod.first_ready()];
            last = moments.into_iter().flatten().filter(|t| *t <= self.observed_s).fold(last, f64::max);
        }
        (self.pods.iter().filter(there).count() == rest_pods).then_some(last)
    }
}

impl Run {
    /// The period of the pods' CPU quota, ms, if the run has it.
    pub fn quota_period_ms(&self) -> Option<f64> {
        self.environment.get(QUOTA_PERIOD)?.strip_suffix(" ms")?.parse().ok().filter(|ms| *ms > 0.0)
    }

    /// The period of the HPA's syncs, seconds: that of its arm, or the default.
    pub fn hpa_sync_period_s(&self) -> f64 {
        let arm = Arm::of(&self.variant, &self.configuration);
        arm.and_then(|arm| arm.hpa_sync_period_s()).unwrap_or(DEFAULT_HPA_SYNC_S).into()
    }

    /// Reads a results file of this version or the one before it. Version 2 knew neither cycles nor
    /// rest nor calibration, and had other names for some settings.
    pub fn parse(text: &str) -> Result<Self> {
        let mut run: Self = serde_json::from_str(text).context("this is no results file")?;
        ensure!(
            [SCHEMA, SCHEMA_V2].contains(&&*run.schema),
            "schema {:?}, this tool reads {SCHEMA:?} and {SCHEMA_V2:?}",
            run.schema
        );
        if run.schema == SCHEMA_V2 {
            let renamed = crate::arms::renamed_from_v2(&run.variant, &run.configuration);
            let key = |configuration: &str| settings_key(&run.variant, configuration);
            if let Some(settings) = run.environment.remove(&key(&run.configuration)) {
                run.environment.insert(key(&renamed), settings);
            }
            run.configuration = renamed;
        }
        Ok(run)
    }

    /// The name of its file, and of the run in the report.
    pub fn id(&self) -> String {
        format!("{}-{}-{}-{}", self.scenario, self.variant, self.configuration, self.repeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_to_the_last_bit_as_it_was_written() {
        let scenario = Scenario::shipped_named("steady").expect("shipped");
        // Measured on a cluster; the next run of its block was refused for the last bit.
        let scale = 13.666_640_625_000_003;
        let draw = Draw::of(&Schedule::draw(&scenario, scale, 1.0, 1), &scenario, scale, 1.0, 1);
        let text = serde_json::to_string(&draw).expect("plain data");
        let read: Draw = serde_json::from_str(&text).expect("what was written");
        assert_eq!((read.scale.to_bits(), read.rate), (scale.to_bits(), draw.rate));
    }
}
