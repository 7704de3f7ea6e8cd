//! The arms that can be simulated: settings from the manifests, pods as `comparison fit` measured
//! them.

use std::path::PathBuf;

use anyhow::Result;
use scenario::Scenario;
use scenario::recording::Run;
use simulator::plant::Start;
use simulator::time::{Micros, SECOND, micros};
use simulator::{Autoscaler, Drawn, Named, Plant, PodSize, simulated_run};

use super::begin::begin_of;
use super::{Measured, MeasuredVariant};
use crate::manifests;

/// The arms that can be simulated: settings from the manifests, pods as measured.
#[derive(Debug, Clone)]
pub struct Arms {
    /// Root folder of the repository.
    pub root: PathBuf,
    /// Name of a folder of `platforms/`.
    pub platform: Option<String>,
    /// Measured pod parameters.
    pub measured: Measured,
}

/// One variant in one configuration, ready to be simulated.
#[derive(Debug, Clone)]
pub struct Arm {
    /// `knative` or `k8s-autoscalers`.
    pub variant: String,
    /// Its settings: see [`scenario::arms::Arm::configuration`].
    pub configuration: String,
    /// The autoscaler with its settings.
    pub autoscaler: Autoscaler,
    /// The pod's size.
    pub size: PodSize,
    /// Parameters of the pod model.
    pub plant: Plant,
}

impl Arms {
    /// The arm of this variant and configuration.
    pub fn arm(&self, variant: &str, configuration: &str) -> Result<Arm> {
        let deployed = manifests::read(&self.root, variant, configuration, self.platform.as_deref())?;
        let mut plant = Plant { metric_window: micros(deployed.metric_window_s), ..Plant::default() };
        if let Some(measured) = self.measured.variants.get(variant) {
            apply(measured, &mut plant);
        }
        if let Some(listed) = scenario::arms::Arm::of(variant, configuration) {
            let ms = listed.cfs_period_ms().map(|ms| micros(f64::from(ms) / 1000.0));
            plant.quota_period = ms.unwrap_or(plant.quota_period);
            let s = listed.hpa_sync_period_s().map(|s| micros(f64::from(s)));
            plant.hpa_sync = s.unwrap_or(plant.hpa_sync);
        }
        Ok(Arm {
            variant: variant.to_owned(),
            configuration: configuration.to_owned(),
            autoscaler: deployed.autoscaler,
            size: deployed.pod,
            plant,
        })
    }
}

fn apply(measured: &MeasuredVariant, plant: &mut Plant) {
    let ms = |value: f64| (value * SECOND as f64 / 1000.0).round() as Micros;
    plant.work = ms(measured.work_ms);
    plant.background_millicores = measured.background_millicores;
    plant.hop = ms(measured.hop_ms);
    if let Some(period) = measured.quota_ms {
        plant.quota_period = ms(period);
    }
    plant.quota_share = measured.quota_share.unwrap_or(1.0);
    plant.drain = micros(measured.drain_s);
    plant.room_millicores = measured.room_millicores;
    plant.gateway_workers = measured.gateway_threads.unwrap_or(1);
    let moments = |seconds: &[f64]| seconds.iter().copied().map(micros).collect::<Vec<Micros>>();
    plant.kpa_phases = moments(&measured.kpa_phases_s);
    plant.hpa_phases = moments(&measured.hpa_phases_s);
    plant.vpa_begins = measured.vpa_begins.iter().map(begin_of).collect();
    plant.answers = measured.answers_s.iter().map(|[s, together]| (micros(*s), *together as u32)).collect();
    let start = |s: &[f64; 3]| Start { running: micros(s[0]), ready: micros(s[1]), together: s[2] as u32 };
    plant.starts = measured.starts_s.iter().map(start).collect();
}

impl Arm {
    /// One simulated run.
    pub fn run(&self, scenario: &Scenario, repeat: u32, drawn: Drawn, tail_s: f64) -> Run {
        let named = Named { variant: &self.variant, configuration: &self.configuration, repeat };
        simulated_run(scenario, named, drawn, tail_s, &self.plant, self.size, &self.autoscaler)
    }
}
