//! The simulator: the algorithms of KPA, HPA, VPA and KEDA with a model of pods, driven by the same
//! schedules as the cluster runs.
//!
//! All results are labelled `simulated` in results and report. The simulator is for planning, for
//! sizes beyond one cluster, and for trying the report without a cluster. Its results are not
//! evidence about a cluster. `README.md` states how far they are from recorded runs.
//!
//! No I/O, no clock, no threads: it must compile for `wasm32-unknown-unknown` (`make verify` does).
//!
//! # Layout
//!
//! * [`kpa`], [`hpa`], [`keda`], [`vpa`] with its [`updater`]: the autoscalers' decisions, equal to
//!   the real code's (`oracles/`).
//! * [`tally`]: counts in bins of time, for runs with too many requests to record each.
//! * [`plant`]: parameters of the model of pods and gateway; `pod`, `fleet`: one pod, all pods.
//! * [`world`]: the event loop; [`aggregate`]: a model for rates at which simulating each request
//!   would take too long.

// clippy.toml lists what a simulation must not call.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod aggregate;
mod fleet;
pub mod hpa;
pub mod keda;
pub mod kpa;
pub mod plant;
mod pod;
pub mod tally;
pub mod time;
pub mod updater;
pub mod vpa;
pub mod world;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream;

use scenario::recording::{Draw, Origin, Run, SCHEMA};
use scenario::schedule::Schedule;
use scenario::summary::LoadSummary;
use scenario::{RequestRecord, Scenario};

use crate::hpa::HpaSettings;
use crate::keda::KedaSettings;
use crate::kpa::KpaSettings;
pub use crate::plant::{Plant, PodSize};
use crate::time::micros;
use crate::vpa::VpaSettings;

/// The simulated autoscaler.
#[derive(Debug, Clone, PartialEq)]
pub enum Autoscaler {
    /// Knative. The activator holds requests while there is no pod.
    Kpa(KpaSettings),
    /// HPA with an optional VPA. Without a ready pod, the gateway answers 503.
    Hpa(HpaSettings, Option<VpaSettings>),
    /// KEDA. Without a ready pod, the gateway answers 503. Its counter of these answers activates
    /// an object at zero pods.
    Keda(KedaSettings),
    /// HPA with the same two quantities as metrics of an object, which exist at zero pods. Its
    /// minimum may be zero.
    HpaToZero(HpaSettings),
}

/// From this target on, a metric of an HPA or a trigger of KEDA wakes and never asks for a second
/// pod: it is far above any number of requests.
pub const WAKES_ONLY: f64 = 100_000.0;

/// Names of a run in its results file.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// `knative` or `k8s-autoscalers`.
    pub variant: &'a str,
    /// Its settings: see [`scenario::arms::Arm::configuration`].
    pub configuration: &'a str,
    /// Number of the repeat, starting at 1.
    pub repeat: u32,
}

/// How the schedule is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    /// Requests per second at a rate of 1.0.
    pub scale: f64,
    /// Factor on the scenario's time.
    pub stretch: f64,
    /// Seed of the arrivals and of all other random numbers.
    pub seed: u64,
    /// Selects other random numbers for the same arrivals: pod starts, and phases of the periodic
    /// tasks.
    pub chance: u32,
}

/// One simulated run in the format of a measured one.
pub fn simulated_run(
    scenario: &Scenario,
    named: Named<'_>,
    drawn: Drawn,
    tail_s: f64,
    plant: &Plant,
    size: PodSize,
    autoscaler: &Autoscaler,
) -> Run {
    let Drawn { scale, stretch, seed, chance } = drawn;
    let schedule = Schedule::draw(scenario, scale, stretch, seed);
    let mut requests = Vec::with_capacity(schedule.arrivals.len());
    let draw = Draw::of(&schedule, scenario, scale, stretch, seed);
    let recording = world::simulate(
        schedule.arrivals.iter().map(|a| a.at.as_micros() as i64),
        plant,
        size,
        autoscaler,
        scenario.timeout_ms as i64 * 1000,
        micros(schedule.duration() + tail_s),
        draw.counted.map(|part| part.map(micros)),
        seed ^ (u64::from(chance) << 32),
        |(at, latency, outcome)| {
            requests.push(RequestRecord {
                at_us: at as u64,
                late_us: 0,
                latency_us: latency as u64,
                outcome,
            });
        },
    );
    let steps = schedule.rate.steps_up();
    let load = LoadSummary::new(&mut requests, 0, scenario.slo_ms, schedule.duration(), &steps);
    let load = load.within(&requests, scenario.slo_ms, draw.counted);
    let facts = [
        ("Simulator", format!("nv-micro {}", env!("CARGO_PKG_VERSION"))),
        (
            "Pod model",
            format!("{} ms of a core a request, {} millicores", plant.work as f64 / 1000.0, size.millicores),
        ),
    ];
    Run {
        schema: SCHEMA.into(),
        origin: Origin::Simulated,
        scenario: scenario.name.clone(),
        variant: named.variant.into(),
        configuration: named.configuration.into(),
        repeat: named.repeat,
        started: String::new(),
        draw,
        environment: facts.map(|(name, fact)| (name.to_owned(), fact)).into(),
        load,
        recording,
        calibration: None,
        session: None,
        throughput: None,
        void: None,
    }
}
