//! Parameters of the model of pods and gateway. `comparison fit` measures them from results files.

use scenario::recording::LEAST_QUOTA_MS;

use crate::time::{Micros, SECOND};

/// How a gateway distributes requests over pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Each pod in turn.
    RoundRobin,
    /// The less loaded of two pods picked at random (Envoy's least request, Knative's activator).
    LeastOfTwo,
}

/// Initial size of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodSize {
    /// CPU request and limit, millicores.
    pub millicores: i64,
    /// Memory request and limit, bytes.
    pub memory: f64,
}

/// Duration of one pod start, measured from scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Time until the container runs. Until then, the pod is Pending.
    pub running: Micros,
    /// Time until the pod is ready.
    pub ready: Micros,
    /// Number of pods scheduled within a second of it, including itself. They share the node's
    /// CPUs.
    pub together: u32,
}

/// State of the VPA when the load began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpaBegin {
    /// Time of the recommender's first round that had samples of the pods; 0: before the load.
    pub first: Micros,
    /// CPU requests of the pods at rest, millicores.
    pub at_rest: Vec<i64>,
    /// Time of a round of the updater, if it is known.
    pub updater: Option<Micros>,
}

/// Parameters of the model of pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Plant {
    /// CPU time of one request in the function's container.
    pub work: Micros,
    /// CPU that a pod uses without requests (probes, scrapes), millicores.
    pub background_millicores: f64,
    /// Gateway, network and parsing: part of a request's latency that is not CPU time of the pod.
    pub hop: Micros,
    /// Additional latency of the activator.
    pub activator_hop: Micros,
    /// Period of the activator's probes of a pod that is not ready. The activator sends requests as
    /// soon as the pod answers one.
    pub activator_probe: Micros,
    /// Times from the running container to the first answer through the activator, each with the
    /// number of pods that were scheduled within a second. One of those with a similar number is
    /// drawn for all pods that are scheduled together. The container's process has to start within
    /// its CPU quota, and the activator has to learn of the pod and to probe it. If empty, a pod
    /// answers as soon as it runs, and `activator_probe` alone counts.
    pub answers: Vec<(Micros, u32)>,
    /// Recorded starts to draw from. One with a similar number of simultaneous starts is drawn.
    pub starts: Vec<Start>,
    /// Time from losing readiness to deletion. During this time, a pod keeps its room on the node.
    pub drain: Micros,
    /// Time from ready to receiving requests.
    pub endpoint: Micros,
    /// CPU on the nodes for pods of the function, millicores; `None`: unlimited.
    pub room_millicores: Option<i64>,
    /// CPU request of the sidecars of a Knative pod, millicores.
    pub sidecar_millicores: i64,
    /// Queue length of a pod, without the requests in service: `QUEUE_CAPACITY`. Further requests
    /// are refused.
    pub queue: usize,
    /// Longest time in a pod's queue: `REQUEST_DEADLINE_MS`.
    pub deadline: Micros,
    /// How the gateway balances.
    pub balance: Balance,
    /// Threads of the gateway (Envoy's `--concurrency`: one for each CPU), each with its own turn
    /// over the pods. A client that reuses connections sends one request after another to one of
    /// them, and those that it sends meanwhile to any.
    pub gateway_workers: usize,
    /// How the activator balances.
    pub activator_balance: Balance,
    /// Period of the kernel's CPU quota; 0: a pod works at a constant fraction of a core's speed
    /// instead.
    pub quota_period: Micros,
    /// Share of its limit that a pod of less than a core can use, at most 1. The rest of each
    /// period's quota is lost.
    pub quota_share: f64,
    /// Prometheus' scrape interval.
    pub scrape: Micros,
    /// Period in which Prometheus takes up new pods. All pods that began to run since the last one
    /// are scraped from then on, each at its own phase of the scrape interval.
    pub discovery: Micros,
    /// Window of the Prometheus rate that the HPA uses.
    pub metric_window: Micros,
    /// Whether runs begin at any moment between two whole seconds of the clock, by which Knative's
    /// autoscaler sums its statistics; otherwise at a whole one.
    pub between_seconds: bool,
    /// Offsets of the KPA's ticks within their period, to draw from; if empty, drawn uniformly.
    pub kpa_phases: Vec<Micros>,
    /// Period of the HPA's syncs, KEDA's HPA included: a flag of the controller manager.
    pub hpa_sync: Micros,
    /// Offsets of the HPA's syncs within their period, to draw from; if empty, drawn uniformly.
    pub hpa_phases: Vec<Micros>,
    /// States of the VPA when the load began, to draw from. If empty, its first round is drawn
    /// uniformly within its period, and no pod is resized yet.
    pub vpa_begins: Vec<VpaBegin>,
}

/// CPU time that the kubelet gives a container in a period of the quota at least.
const LEAST_QUOTA: Micros = (LEAST_QUOTA_MS * 1000.0) as Micros;

impl Plant {
    /// CPU of a pod that is left for requests, millicores.
    pub(crate) fn usable_millicores(&self, limit: i64) -> f64 {
        // More than the limit where that is less than the kubelet's least quota in a period.
        let least = if self.quota_period > 0 { LEAST_QUOTA * 1000 / self.quota_period } else { 0 };
        let limit = limit.max(least);
        let share = if limit < 1000 { self.quota_share } else { 1.0 };
        (limit as f64 * share - self.background_millicores).max(1.0)
    }
}

impl Default for Plant {
    /// The constants of the function and of the components, and round numbers for measured
    /// parameters.
    fn default() -> Self {
        Self {
            work: SECOND / 100,
            background_millicores: 0.0,
            hop: SECOND / 1000,
            activator_hop: SECOND / 1000,
            // `defaultProbeFrequency` of pkg/activator/net/revision_backends.go.
            activator_probe: SECOND / 5,
            answers: vec![],
            starts: vec![Start { running: SECOND, ready: 2 * SECOND, together: 1 }],
            drain: 6 * SECOND,
            endpoint: 0,
            room_millicores: None,
            sidecar_millicores: 25,
            queue: 16,
            deadline: 2 * SECOND,
            balance: Balance::RoundRobin,
            gateway_workers: 1,
            activator_balance: Balance::LeastOfTwo,
            quota_period: SECOND / 10,
            quota_share: 1.0,
            scrape: 5 * SECOND,
            // `updatert` of Prometheus' discovery/manager.go.
            discovery: 5 * SECOND,
            metric_window: 20 * SECOND,
            between_seconds: true,
            kpa_phases: vec![],
            hpa_sync: crate::hpa::SYNC,
            hpa_phases: vec![],
            vpa_begins: vec![],
        }
    }
}
