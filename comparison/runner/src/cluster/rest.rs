//! Between runs: cleans up the previous run, deploys the variant under test anew, and waits until
//! it is idle.
//!
//! New objects have no state: no HPA recommendations of the last five minutes, no KPA windows, no
//! draining pods. Only one variant is deployed at a time, because on a small node the other one's
//! idle pods would take up capacity.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::blocks::Job;
use super::config::{SETTINGS, VariantConfig};
use super::fitness;
use super::interrupt::pause;
use super::kube::shell;
use super::runner::{Runner, log_progress};
use load::images::Pictures;
use scenario::Outcome;
use scenario::arms::Deciding;
use scenario::rate::uniform;

const POLL: Duration = Duration::from_secs(1);

/// The HPA controller drops an HPA's state when it finds it deleted, which it checks every 15 s. An
/// HPA that is created sooner under the same name would inherit the old recommendations.
pub const FORGETS_AFTER_S: u64 = 16;

/// The longest period among the autoscalers, the HPA's. Runs that all started at the same phase of
/// it would all see the same delay.
pub const SLOWEST_CLOCK_S: f64 = 15.0;
/// Random stream of this draw; the schedule has its own.
const PHASE_STREAM: u128 = 77;

impl Runner<'_> {
    /// Removes every deployed variant and waits until no pod is left.
    pub(super) fn remove_all(&mut self) -> Result<()> {
        for (name, variant) in &self.config.variants {
            if !self.removed.contains_key(name) {
                variant.remove.iter().try_for_each(|command| shell(command))?;
                self.removed.insert(name.clone(), Instant::now());
            }
        }
        let begun = Instant::now();
        loop {
            let mut left = Vec::new();
            for (name, variant) in &self.config.variants {
                let (pods, _) = self.runtime.block_on(fitness::pods(&self.kube, variant))?;
                if pods > 0 {
                    left.push(format!("{pods} of {name}"));
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < self.plan.patience,
                "pods are still there {:.0?} after their removal: {}",
                begun.elapsed(),
                left.join(", ")
            );
            pause(POLL)?;
        }
    }

    /// Deploys a variant in a configuration.
    pub(super) fn apply(&mut self, job: &Job) -> Result<()> {
        let variant = self.config.variant(&job.arm.variant)?;
        let removed = self.removed.remove(&job.arm.variant);
        if let Some(removed) = removed.filter(|_| job.arm.autoscaler != Deciding::Kpa) {
            pause(self.plan.forget.saturating_sub(removed.elapsed()))?;
        }
        let settings = job.arm.deployed_settings();
        variant.apply.iter().try_for_each(|command| shell(&command.replace(SETTINGS, &settings)))
    }

    /// Waits until the variant is deployed, has exactly its pods at rest, all of them ready, and
    /// its autoscaler has its metric; then until a phase of the autoscalers' periods that the seed
    /// draws.
    pub(super) fn await_rest(&self, job: &Job) -> Result<()> {
        let variant = self.config.variant(&job.arm.variant)?;
        let rest = job.arm.rest_pods;
        let begun = Instant::now();
        let (mut calm_since, mut answered) = (None, false);
        loop {
            match self.not_ready_reason(job, variant, rest, &mut answered)? {
                None if calm_since.get_or_insert_with(Instant::now).elapsed() >= self.plan.calm => break,
                None => {}
                Some(reason) if begun.elapsed() > self.plan.patience => {
                    bail!("{} never got ready: after {:.0?} {reason}", job.arm.name, begun.elapsed())
                }
                Some(_) => calm_since = None,
            }
            pause(POLL)?;
        }
        pause(Duration::from_secs_f64(phase(self.seed(job)) * self.plan.spread_s))
    }

    /// The reason why the variant is not at rest, if it is not.
    fn not_ready_reason(
        &self,
        job: &Job,
        variant: &VariantConfig,
        rest: usize,
        answered: &mut bool,
    ) -> Result<Option<String>> {
        let (pods, ready) = self.runtime.block_on(fitness::pods(&self.kube, variant))?;
        if (pods, ready) != (rest, rest) {
            return Ok(Some(format!("it has {pods} pods, {ready} of them ready, and {rest} at rest")));
        }
        let (path, condition) = variant.scaler(&job.arm);
        let object = self.runtime.block_on(self.kube.get(&path))?;
        if let Some(reason) = failed_condition(&object, condition) {
            return Ok(Some(format!("it is not {condition}: {reason}")));
        }
        // Sends one picture through the gateway. With zero pods that would start one, so the
        // route's readiness is checked instead.
        if rest > 0 && !*answered {
            let outcome = self.first_picture(job, variant)?;
            if outcome != Outcome::Ok {
                return Ok(Some(format!("it still says {outcome:?} to a picture")));
            }
            *answered = true;
        }
        Ok(None)
    }

    fn first_picture(&self, job: &Job, variant: &VariantConfig) -> Result<Outcome> {
        let schedule = self.schedule(job);
        let pictures = Pictures::read(&self.plan.images, &schedule)?;
        let client = self.client(variant, job.scenario.timeout_ms)?;
        let Some(first) = schedule.arrivals.first() else { bail!("the schedule is empty: raise --scale") };
        Ok(self.runtime.block_on(client.send(pictures.of(first))))
    }

    /// Removes all variants from the cluster, and leaves the node as it is without ablations. A
    /// failure is only printed, because there may be a more important error to report.
    pub(super) fn tidy(&mut self) {
        if self.plan.as_is {
            return;
        }
        for command in self.config.variants.values().flat_map(|v| &v.remove) {
            if let Err(error) = shell(command) {
                log_progress(&format!("could not clean up: {error:#}"));
            }
        }
        // After the pods: a setting may need a restart of the kubelet.
        if self.node_changed
            && let Err(error) = self.set_node(None)
        {
            log_progress(&format!("could not clean up: {error:#}"));
        }
    }
}

/// The phase of the autoscalers' periods at which the load begins, 0 to 1: the same for both
/// variants of a repeat.
fn phase(seed: u64) -> f64 {
    uniform(&mut Pcg64::new(u128::from(seed), PHASE_STREAM))
}

/// The message of a condition that is not true.
fn failed_condition(object: &Value, condition: &str) -> Option<String> {
    let found =
        object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == condition);
    let Some(found) = found else { return Some("nothing is known of it yet".into()) };
    (found["status"] != "True").then(|| found["message"].as_str().unwrap_or("no reason given").to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeats_begin_at_different_points_of_the_autoscalers_clocks() {
        let phases: Vec<f64> = (1..=3).map(phase).collect();
        assert!(phases.iter().all(|p| (0.0..1.0).contains(p)));
        assert!((phases[0] - phases[1]).abs() > 0.05 && (phases[1] - phases[2]).abs() > 0.05, "{phases:?}");
        assert_eq!(phase(2), phases[1]);
    }

    #[test]
    fn a_condition_that_is_not_true_gives_its_reason() {
        let hpa = json!({"status": {"conditions": [
            {"type": "AbleToScale", "status": "True"},
            {"type": "ScalingActive", "status": "False", "message": "unable to get metric"},
        ]}});
        assert_eq!(failed_condition(&hpa, "ScalingActive").as_deref(), Some("unable to get metric"));
        assert_eq!(failed_condition(&hpa, "AbleToScale"), None);
        assert!(failed_condition(&json!({}), "Ready").is_some());
    }
}
