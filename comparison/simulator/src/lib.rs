//! The simulator: the algorithms of KPA, HPA and VPA over a model of pods, fed with the same
//! schedules.
//!
//! Everything made here is labelled `simulated` in results and report. It is for planning, for
//! sizes beyond one cluster, and for trying the report without any cluster; it is not evidence
//! about a cluster. How far it is from recorded runs is in `README.md`.
//!
//! No I/O, no clock, no threads: it must compile for `wasm32-unknown-unknown` (`make verify` does).
//!
//! # Layout
//!
//! * [`kpa`], [`hpa`], [`keda`], [`vpa`] with its [`updater`]: the autoscalers' decisions, equal to
//!   the real code's (`oracles/`).
//! * [`tally`]: counts in bins of time, for runs whose requests nobody can keep.
//! * [`plant`]: what pods and the way to them are like; `pod`, `fleet`: one pod, all pods;
//!   [`world`]: the event loop; [`aggregate`]: the same for more requests than can be counted one
//!   by one.

// clippy.toml names what a simulation must not call.
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

/// Which autoscaler acts.
#[derive(Debug, Clone, PartialEq)]
pub enum Autoscaler {
    /// Knative; the activator holds requests while there is no pod.
    Kpa(KpaSettings),
    /// HPA and, if there is one, VPA; without a ready pod there is 503.
    Hpa(HpaSettings, Option<VpaSettings>),
    /// KEDA; without a ready pod there is 503, and the gateway counts them for KEDA to see.
    Keda(KedaSettings),
}

/// What a run is called in its results file.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// `knative` or `k8s-autoscalers`.
    pub variant: &'a str,
    /// `defaults` or `tuned`.
    pub configuration: &'a str,
    /// Counted from 1.
    pub repeat: u32,
}

/// How the schedule is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    /// Requests a second for a rate of 1.0.
    pub scale: f64,
    /// Factor on the scenario's time.
    pub stretch: f64,
    /// Of the arrivals, and of the world's own chances.
    pub seed: u64,
    /// Which of many chances the same arrivals meet: starts, and moments of clocks.
    pub chance: u32,
}

/// One simulated run, in the form of a measured one.
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
    let recording = world::simulate(
        schedule.arrivals.iter().map(|a| a.at.as_micros() as i64),
        plant,
        size,
        autoscaler,
        scenario.timeout_ms as i64 * 1000,
        micros(schedule.duration() + tail_s),
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
    let draw = Draw::of(&schedule, scenario, scale, stretch, seed);
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
        void: None,
    }
}
