//! The simulator: the published algorithms of KPA, HPA and VPA over a model of pods, fed with the same schedules.
//!
//! Everything made here is labelled `simulated` in results and report. It is for planning, for sizes beyond one cluster,
//! and for trying the report without any cluster; it is not evidence about a cluster.
//!
//! No I/O, no clock, no threads: it must compile for `wasm32-unknown-unknown` (`make verify` does).

// clippy.toml names what a simulation must not call.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use anyhow::{Result, bail};

use crate::hpa::{HpaSettings, Policy, Rules};
use crate::kpa::KpaSettings;
use crate::world::{Autoscaler, PodModel};
use scenario::Scenario;
use scenario::recording::{Draw, Origin, Run, SCHEMA};
use scenario::schedule::Schedule;
use scenario::summary::LoadSummary;

pub mod hpa;
pub mod kpa;
pub mod vpa;
pub mod world;

#[cfg(test)]
mod tests;

/// What a simulation is told about the function and the cluster.
#[derive(Debug, Clone, Copy)]
pub struct PodSize {
    /// Seconds of a core for one request.
    pub service_s: f64,
    /// Seconds from decision to ready pod.
    pub start_s: f64,
    /// Cores a pod has at first.
    pub cores: f64,
    /// Fewest and most cores that the VPA may give it.
    pub vpa_cores: (f64, f64),
    /// Requests it holds besides those it works on.
    pub queue: usize,
    /// Concurrency target of both autoscalers.
    pub target: f64,
    /// Most pods.
    pub max: u32,
}

/// Memory request of a simulated pod.
const MEMORY: f64 = 256.0 * 1024.0 * 1024.0;
/// Rate window of the metric that the HPA is shown: prometheus-adapter's rule, and half a scrape on average.
const METRIC_WINDOW_S: f64 = 15.0;

/// One simulated run, in the form of a measured one. `draw` is scale, stretch and seed.
pub fn simulated_run(
    scenario: &Scenario,
    variant: &str,
    configuration: &str,
    repeat: u32,
    draw: (f64, f64, u64),
    tail_s: f64,
    size: &PodSize,
) -> Result<Run> {
    let (scale, stretch, seed) = draw;
    let schedule = Schedule::draw(scenario, scale, stretch, seed);
    let model = PodModel {
        service_s: size.service_s,
        start_s: size.start_s,
        cores: size.cores,
        queue: size.queue,
        memory: MEMORY,
        metric_window_s: METRIC_WINDOW_S,
        timeout_s: scenario.timeout_ms as f64 / 1000.0,
    };
    let autoscaler = autoscaler(variant, configuration, size)?;
    let (mut requests, recording) = world::simulate(&schedule, &model, &autoscaler, tail_s);
    let steps = schedule.rate.steps_up();
    let load = LoadSummary::new(&mut requests, 0, scenario.slo_ms, schedule.duration(), &steps);
    Ok(Run {
        schema: SCHEMA.into(),
        origin: Origin::Simulated,
        scenario: scenario.name.clone(),
        variant: variant.into(),
        configuration: configuration.into(),
        repeat,
        started: String::new(),
        draw: Draw::of(&schedule, scenario, scale, stretch, seed),
        environment: [
            ("Simulator".to_owned(), format!("nv-micro {}", env!("CARGO_PKG_VERSION"))),
            (
                "Pod model".to_owned(),
                format!("{} s of a core a request, {} s to start", size.service_s, size.start_s),
            ),
        ]
        .into(),
        load,
        recording,
    })
}

/// The settings of the manifests: `knative/components` and `k8s-autoscalers/components`.
fn autoscaler(variant: &str, configuration: &str, size: &PodSize) -> Result<Autoscaler> {
    let kpa = KpaSettings { max_scale: size.max, ..KpaSettings::defaults(size.target) };
    let hpa = HpaSettings::defaults(size.target, size.max);
    Ok(match (variant, configuration) {
        ("knative", "defaults") => Autoscaler::Kpa(kpa),
        ("knative", "tuned") => Autoscaler::Kpa(KpaSettings {
            stable_window_s: 30.0,
            panic_window_percentage: 20.0,
            panic_threshold_percentage: 150.0,
            target_burst_capacity: 0.0,
            scale_down_delay_s: 60.0,
            pod_retention_s: 60.0,
            ..kpa
        }),
        ("k8s-autoscalers", "defaults") => Autoscaler::Hpa(hpa, Some(size.vpa_cores)),
        ("k8s-autoscalers", "tuned") => {
            let up = vec![Policy::Percent(900.0, 15.0), Policy::Pods(10.0, 15.0)];
            let tuned = HpaSettings {
                min: 2,
                up: Rules { stabilization_s: 0.0, tolerance: 0.05, policies: up },
                down: Rules {
                    stabilization_s: 60.0,
                    tolerance: 0.2,
                    policies: vec![Policy::Percent(50.0, 15.0)],
                },
                ..hpa
            };
            Autoscaler::Hpa(tuned, Some(size.vpa_cores))
        }
        _ => bail!(
            "no settings for {variant:?} {configuration:?}: knative or k8s-autoscalers, defaults or tuned"
        ),
    })
}
