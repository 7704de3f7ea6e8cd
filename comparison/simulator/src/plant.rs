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
    /// Starts to draw from.
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
    /// Period of the kernel's CPU quota; 0: a pod works at a steady part of a core's speed instead.
    pub quota_period: Micros,
    /// Prometheus' scrape interval.
    pub scrape: Micros,
    /// Window of the rate that the HPA is shown.
    pub metric_window: Micros,
    /// Moment of the KPA's ticks within their period; none: drawn from the seed.
    pub kpa_phase: Option<Micros>,
    /// Moment of the HPA's syncs within their period; none: drawn from the seed.
    pub hpa_phase: Option<Micros>,
    /// Moment of the VPA's rounds within their period; none: drawn from the seed.
    pub vpa_phase: Option<Micros>,
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
            starts: vec![Start { running: SECOND, ready: 2 * SECOND }],
            drain: 6 * SECOND,
            endpoint: 0,
            room_millicores: None,
            sidecar_millicores: 25,
            queue: 16,
            deadline: 2 * SECOND,
            balance: Balance::RoundRobin,
            quota_period: SECOND / 10,
            scrape: 5 * SECOND,
            metric_window: 20 * SECOND,
            kpa_phase: None,
            hpa_phase: None,
            vpa_phase: None,
        }
    }
}
