//! Computes measures from recordings. [`MEASURES`] defines each one; the report prints the
//! definitions.

pub mod measures;
pub mod statistics;
pub mod steps;

/// The better direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Lower is better: latency, cost.
    Lower,
    /// Higher is better: good answers.
    Higher,
    /// Neither is better: a description.
    Neither,
}

/// One row of the table.
#[derive(Debug)]
pub struct Measure {
    /// Name in code and JSON.
    pub key: &'static str,
    /// Heading.
    pub title: &'static str,
    /// The unit, printed after numbers.
    pub unit: &'static str,
    /// The better direction.
    pub better: Better,
    /// The definition.
    pub definition: &'static str,
}

impl Measure {
    /// The values that it can have: shares end at 100 %, and only a difference can be negative.
    pub fn range(&self) -> (f64, f64) {
        match (self.key, self.unit) {
            ("cost_apart", _) => (f64::NEG_INFINITY, f64::INFINITY),
            (_, "%") => (0.0, 100.0),
            _ => (0.0, f64::INFINITY),
        }
    }

    /// The unit of a difference: two shares of 80 and 95 % differ by 15 percentage points.
    pub fn difference_unit(&self) -> &'static str {
        if self.unit == "%" { "percentage points" } else { self.unit }
    }
}

const fn measure(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    definition: &'static str,
) -> Measure {
    Measure { key, title, unit, better, definition }
}

use Better::{Higher, Lower, Neither};

/// Every measure, in the order of the table.
pub const MEASURES: &[Measure] = &[
    measure(
        "requests",
        "Requests offered",
        "",
        Neither,
        "Arrivals of the schedule; the same for both variants.",
    ),
    measure(
        "good_share",
        "Good answers",
        "%",
        Higher,
        "Requests answered 2xx within the objective, of all that were offered.",
    ),
    measure(
        "p50_ms",
        "Latency p50",
        "ms",
        Lower,
        "Median over 2xx answers, from the intended send time to the last byte.",
    ),
    measure("p90_ms", "Latency p90", "ms", Lower, "90th percentile of the same."),
    measure("p99_ms", "Latency p99", "ms", Lower, "99th percentile of the same."),
    measure(
        "p999_ms",
        "Latency p99.9",
        "ms",
        Lower,
        "99.9th percentile of the same; of few requests it is the maximum.",
    ),
    measure("max_ms", "Latency max", "ms", Lower, "The slowest 2xx answer."),
    measure("refused", "Refused", "", Lower, "Requests answered 429 or 503."),
    measure(
        "failed",
        "Failed",
        "",
        Lower,
        "Requests with another answer than 2xx, 429 or 503, or none: errors, broken connections, time-outs.",
    ),
    measure(
        "slo_violation_s",
        "SLO-violation seconds",
        "s",
        Lower,
        "Seconds in which more than 1 % of the requests intended for them were not good.",
    ),
    measure(
        "first_answer_ms",
        "First answer after a step",
        "ms",
        Lower,
        "Latency of the first request after the rate stepped up, the worst of the steps.",
    ),
    measure(
        "recovery_s",
        "Recovery after a step",
        "s",
        Lower,
        "From a step up of the rate until the last SLO-violation second before ten in a row without one; zero when these ten come at once, the time to the next step or the end when they do not come; median of the steps.",
    ),
    measure(
        "pods_at_step",
        "Pods ready at a step",
        "",
        Neither,
        "Ready pods at the moment of the step, mean of the steps. With more pods, the lags below describe less of a reaction.",
    ),
    measure(
        "lag_seen_s",
        "Lag: load seen",
        "s",
        Lower,
        "From a step up of the rate until the autoscaler's own metric is above its target; median of the steps.",
    ),
    measure(
        "lag_decided_s",
        "Lag: more pods wanted",
        "s",
        Lower,
        "From the step until the autoscaler wants more pods than before it.",
    ),
    measure(
        "lag_ready_s",
        "Lag: more pods ready",
        "s",
        Lower,
        "From the step until more pods are ready than before it.",
    ),
    measure("pods_max", "Pods, maximum", "", Neither, "Most pods ready at once."),
    measure(
        "pod_seconds",
        "Pod-seconds",
        "s",
        Lower,
        "Every pod's time from being scheduled until gone, draining included, over the seconds that count: whole cycles, what is behind the warm-up, or from second 0 until all arms of the scenario are at rest again (where a recording does not reach that far, until watching ended).",
    ),
    measure(
        "pods_end",
        "Pods at the end",
        "",
        Neither,
        "Pods that still existed when watching ended, draining ones too. Their later cost is not counted.",
    ),
    measure(
        "core_seconds_requested",
        "Core-seconds requested",
        "s",
        Lower,
        "CPU requests of all containers, sidecars too, over the same time; resizes in place counted from their moment.",
    ),
    measure(
        "core_seconds_used",
        "Core-seconds used",
        "s",
        Lower,
        "CPU time of all containers of the pods, over the seconds that count.",
    ),
    measure(
        "gib_seconds_requested",
        "GiB-seconds requested",
        "",
        Lower,
        "Memory requests of all containers over their pods' time.",
    ),
    measure("gib_seconds_used", "GiB-seconds used", "", Lower, "Working set of all containers over time."),
    measure(
        "components_core_seconds",
        "Platform core-seconds used",
        "s",
        Lower,
        "CPU time of the components that the variant needs besides its pods: activator and KPA, or adapter and VPA, without the shared gateway.",
    ),
    measure(
        "components_requested",
        "Platform core-seconds requested",
        "s",
        Lower,
        "CPU requests of the same over the seconds that count. One platform serves many functions: its share is smaller than this.",
    ),
    measure(
        "cost_per_1000",
        "Core-seconds per 1000 good answers",
        "s",
        Lower,
        "Core-seconds requested by the pods, over good answers.",
    ),
    measure(
        "capacity_per_good",
        "Capacity kept per good answer",
        "×",
        Lower,
        "Pod-seconds times what one pod carries at the objective, over good answers: 1 would be pods that are always full. Only where one pod was calibrated.",
    ),
    measure(
        "cost_apart",
        "Cost by Prometheus, difference",
        "%",
        Neither,
        "How far the core-seconds requested are that the recording rules of Prometheus have of the run's own time, from those that the runner watched. Only where the rules are deployed.",
    ),
    measure("pod_starts", "Pods started", "", Neither, "Pods created in the seconds that count."),
    measure("cold_starts", "Cold starts", "", Lower, "Pods created while no pod was ready."),
    measure("start_s", "Pod start", "s", Lower, "Median over pods started: from created to ready."),
    measure("start_schedule_s", "… scheduled after", "s", Lower, "Median: from created to having a node."),
    measure(
        "start_container_s",
        "… container running after",
        "s",
        Lower,
        "Median: from having a node to a running function container (sandbox, image, process).",
    ),
    measure(
        "start_ready_s",
        "… ready after",
        "s",
        Lower,
        "Median: from a running container to a ready pod (weights, warm-up, probes).",
    ),
    measure(
        "start_function_s",
        "… of which the function's own",
        "s",
        Lower,
        "Median of the start time that the function reports.",
    ),
    measure(
        "direction_changes",
        "Direction changes",
        "",
        Lower,
        "How often the wanted number of pods turned from rising to falling or back.",
    ),
    measure(
        "node_busy",
        "Node busy",
        "%",
        Neither,
        "Share of the node's CPUs in use by all processes (pods, platform, control plane, load generator), mean over the load.",
    ),
    measure(
        "node_busy_max",
        "Node busy, maximum",
        "%",
        Neither,
        "The same between two scrapes, at its highest.",
    ),
    measure(
        "node_components",
        "Node busy with its components",
        "%",
        Neither,
        "Share of the node's CPUs that the kernel's threads and the node's components outside of pods used (kubelet, container runtime, control plane), mean over the load: with what runs at rest, what an arm makes them do. Not in runs before 2026-11-28, nor where the runner was not on the node.",
    ),
    measure(
        "node_components_max",
        "Node busy with its components, maximum",
        "%",
        Neither,
        "The same over 30 s, at its highest.",
    ),
    measure(
        "node_other_max",
        "Node busy with others, maximum",
        "%",
        Neither,
        "Share of the node's CPUs that processes used which have nothing to do with the run, over 30 s, at its highest. In runs before 2026-11-28, and where the runner was not on the node, it includes the node's own components.",
    ),
    measure(
        "late_p99_ms",
        "Load generator lateness, p99",
        "ms",
        Neither,
        "Delay between scheduled and actual send time, 99th percentile; each latency contains this error.",
    ),
    measure("vpa_moves", "VPA moves", "", Neither, "Resizes of running containers' CPU or memory requests."),
];

/// The measure of that key.
pub fn by_key(key: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|m| m.key == key)
}
