//! Which runs can stand in one table.

use anyhow::{Result, bail};

use crate::arms::Arm;
use crate::recording::{Draw, IMAGE_ID, QUOTA_PERIOD, Run};

/// Facts that must be the same in all runs of one report, where they are known.
const SHARED: [&str; 3] = [IMAGE_ID, "Model", "Kubernetes"];
/// Facts that tell one machine from another: the same within a block, where they are known. Blocks
/// may come from several machines, since arms are compared within them only.
pub const MACHINE: [&str; 2] = [NODE, "Hardware"];
const NODE: &str = "Node";
/// If both runs state the commit of their image, the commit is compared and not the digest: a build
/// of the same commit on another day has another date in it.
const SOURCE: &str = "Image built from";
/// Names of facts that begin so are the settings of a variant in a configuration: the same wherever
/// the name is.
const SETTINGS: &str = "Settings of ";

/// The name of the fact with the fingerprint of a variant's settings.
pub fn settings_key(variant: &str, configuration: &str) -> String {
    format!("{SETTINGS}{variant}, {configuration}")
}

/// Whether runs can stand in one table: same image, settings and environment, and the same requests
/// for the same scenario and repeat. Runs of different days may be joined, and blocks (one scenario
/// and repeat under every arm) of sessions on different machines. Runs of different origins never
/// stand in one table, and may differ.
pub fn joinable(runs: &[Run]) -> Result<()> {
    runs.iter().enumerate().try_for_each(|(i, run)| joins(&runs[..i], run))
}

/// Whether a run can stand in one table with each of others.
pub fn joins(runs: &[Run], run: &Run) -> Result<()> {
    for one in runs.iter().filter(|one| one.origin == run.origin) {
        if let Some(found) = conflict(one, run) {
            bail!("{} and {} differ in {found}", one.id(), run.id());
        }
    }
    Ok(())
}

/// Whether two runs must have the same period of the CPU quota: the period of both is known and
/// matters, and both have the usual one or the same ablation of it.
fn same_quota_period(one: &Run, other: &Run) -> bool {
    let arm = |run: &Run| {
        let arm = Arm::of(&run.variant, &run.configuration)?;
        (arm.has_cpu_quota() && run.quota_period_ms().is_some()).then_some(arm)
    };
    arm(one).zip(arm(other)).is_some_and(|(one, other)| one.cfs_period_ms() == other.cfs_period_ms())
}

/// The first fact that must be equal and differs.
fn conflict(one: &Run, other: &Run) -> Option<String> {
    let block = one.scenario == other.scenario && one.repeat == other.repeat;
    let in_sessions = one.session.is_some() && other.session.is_some();
    let sourced = [one, other].iter().all(|r| r.environment.contains_key(SOURCE));
    for (name, value) in &one.environment {
        let matters = match name.as_str() {
            IMAGE_ID => !sourced,
            NODE => block || !in_sessions,
            name if MACHINE.contains(&name) => block,
            QUOTA_PERIOD => same_quota_period(one, other),
            name => name == SOURCE || SHARED.contains(&name) || name.starts_with(SETTINGS),
        };
        if let Some(theirs) = other.environment.get(name).filter(|theirs| matters && *theirs != value) {
            return Some(format!("{name}: {value} and {theirs}"));
        }
    }
    if one.scenario != other.scenario {
        return None;
    }
    // In units of one pod the same load is another rate on another machine.
    let in_pods = one.draw.pod_load.is_some() && other.draw.pod_load.is_some() && !block;
    let terms = |run: &Run| {
        let Draw { scale, pod_load, stretch, slo_ms, counted, .. } = run.draw;
        let counted = counted.map_or(String::new(), |[from, to]| format!(", {from:.0} to {to:.0} s counted"));
        let rate = match pod_load.filter(|_| in_pods) {
            Some(load) => format!("{load} of a pod"),
            None => format!("scale {scale}"),
        };
        format!("{rate}, stretch {stretch}, objective {slo_ms} ms{counted}")
    };
    if terms(one) != terms(other) {
        return Some(format!("their terms: {}; {}", terms(one), terms(other)));
    }
    (one.repeat == other.repeat && one.draw.fingerprint != other.draw.fingerprint)
        .then(|| "the requests they were offered".to_owned())
}
