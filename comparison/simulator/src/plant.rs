//! What the pods and the way to them are like. Measured, not guessed: `comparison fit` takes these
//! from results files.

use crate::time::{Micros, SECOND};

/// How a gateway spreads requests over pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Each pod in turn.
    RoundRobin,
    /// The less loaded of two pods picked at random (Envoy's least request, Knative's activator).
    LeastOfTwo,
}

/// A pod's size at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodSize {
    /// CPU request and limit, millicores.
    pub millicores: i64,
    /// Memory request and limit, bytes.
    pub memory: f64,
}

/// How long one start took, from having a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Until the container ran: up to here the pod is Pending.
    pub running: Micros,
    /// Until the pod was ready.
    pub ready: Micros,
    /// How many pods started within a second of it, itself included: they share the node's CPUs.
    pub together: u32,
}

/// How the VPA stood when the load began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpaBegin {
    /// The first round of the recommender that knew the pods; 0: before the load.
    pub first: Micros,
    /// CPU requests of the pods at rest, millicores.
    pub at_rest: Vec<i64>,
}

/// Everything the model of pods is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plant {
    /// CPU time of one request in the function's container.
    pub work: Micros,
    /// CPU that a pod uses without requests (probes, scrapes), millicores.
    pub background_millicores: f64,
    /// Gateway, network and parsing: time of a request that is no CPU time of the pod.
    pub hop: Micros,
    /// What the activator adds.
    pub activator_hop: Micros,
    /// How often the activator probes a pod that is not ready; it sends requests as soon as one
    /// answers.
    pub activator_probe: Micros,
    /// Starts to draw from: of those with about as many at once.
    pub starts: Vec<Start>,
    /// From not ready any more to gone: for so long a pod keeps its room on the node.
    pub drain: Micros,
    /// From ready to being sent requests.
    pub endpoint: Micros,
    /// CPU on the nodes for pods of the function, millicores; none: there is always room.
    pub room_millicores: Option<i64>,
    /// CPU request of the sidecars of a Knative pod, millicores.
    pub sidecar_millicores: i64,
    /// Requests that wait in a pod besides those it works on: `QUEUE_CAPACITY`. More are refused.
    pub queue: usize,
    /// Longest wait in a pod: `REQUEST_DEADLINE_MS`.
    pub deadline: Micros,
    /// How the gateway balances.
    pub balance: Balance,
    /// How the activator balances.
    pub activator_balance: Balance,
    /// Period of the kernel's CPU quota; 0: a pod works at a steady part of a core's speed instead.
    pub quota_period: Micros,
    /// Prometheus' scrape interval.
    pub scrape: Micros,
    /// Window of the rate that the HPA is shown.
    pub metric_window: Micros,
    /// Moments of the KPA's ticks within their period, to draw from; none: any moment.
    pub kpa_phases: Vec<Micros>,
    /// Moments of the HPA's syncs within their period, to draw from; none: any moment.
    pub hpa_phases: Vec<Micros>,
    /// How the VPA stood when the load began, to draw from; none: at any moment within its period,
    /// and no pod was resized yet.
    pub vpa_begins: Vec<VpaBegin>,
}

impl Default for Plant {
    /// The function's and the components' own constants, and round numbers for what has to be
    /// measured.
    fn default() -> Self {
        Self {
            work: SECOND / 100,
            background_millicores: 0.0,
            hop: SECOND / 1000,
            activator_hop: SECOND / 1000,
            // defaultProbeFrequency of pkg/activator/net/revision_backends.go
            activator_probe: SECOND / 5,
            starts: vec![Start { running: SECOND, ready: 2 * SECOND, together: 1 }],
            drain: 6 * SECOND,
            endpoint: 0,
            room_millicores: None,
            sidecar_millicores: 25,
            queue: 16,
            deadline: 2 * SECOND,
            balance: Balance::RoundRobin,
            activator_balance: Balance::LeastOfTwo,
            quota_period: SECOND / 10,
            scrape: 5 * SECOND,
            metric_window: 20 * SECOND,
            kpa_phases: vec![],
            hpa_phases: vec![],
            vpa_begins: vec![],
        }
    }
}
