//! What each part of the model of pods contributes: the distance from recorded runs without it.

use std::fmt::Write;

use anyhow::{Context, Result};
use simulator::Autoscaler;
use simulator::plant::{Balance, Start};
use simulator::time::{Micros, SECOND};

use super::Difference;
use super::summary::{COLUMNS, over_groups};
use crate::fit::Arm;

/// A part of the model that can be switched off.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// As on the command line.
    pub name: &'static str,
    /// What is simulated in its place.
    pub instead: &'static str,
    off: fn(&mut Arm),
}

/// Longer than any run.
const NEVER: Micros = 1_000_000 * SECOND;
/// More than is ever recommended for the function's memory.
const ENOUGH_MEMORY: f64 = 256.0 * 1024.0 * 1024.0;

/// Every part that can be switched off.
pub const PARTS: [Part; 19] = [
    Part { name: "quota", instead: "a steady part of a core", off: |a| a.plant.quota_period = 0 },
    Part { name: "quota-share", instead: "the whole quota is used", off: |a| a.plant.quota_share = 1.0 },
    Part { name: "room", instead: "room for every pod", off: |a| a.plant.room_millicores = None },
    Part { name: "drain", instead: "pods gone at once", off: |a| a.plant.drain = 0 },
    Part {
        name: "together",
        instead: "starts drawn from all, however many start at once",
        off: |a| a.plant.starts.iter_mut().for_each(|start| start.together = 1),
    },
    Part { name: "starts", instead: "every start the median one", off: median_start },
    Part {
        name: "probe",
        instead: "requests only to pods that are ready",
        off: |a| {
            a.plant.activator_probe = NEVER;
            a.plant.answers.clear();
        },
    },
    Part {
        name: "answers",
        instead: "a pod answers the activator's probe as soon as it runs",
        off: |a| a.plant.answers.clear(),
    },
    Part {
        name: "least-of-two",
        instead: "round robin in the activator, too",
        off: |a| a.plant.activator_balance = Balance::RoundRobin,
    },
    Part {
        name: "gateway-threads",
        instead: "one turn over the pods for the whole gateway",
        off: |a| a.plant.gateway_workers = 1,
    },
    Part {
        name: "metrics",
        instead: "a metric of the last 2 s, scraped every second",
        off: |a| (a.plant.scrape, a.plant.metric_window) = (SECOND, 2 * SECOND),
    },
    Part { name: "discovery", instead: "a pod scraped as soon as it runs", off: |a| a.plant.discovery = 0 },
    Part {
        name: "clock-seconds",
        instead: "every run begins at a whole second of the clock",
        off: |a| a.plant.between_seconds = false,
    },
    Part {
        name: "phases",
        instead: "clocks at any moment of their periods",
        off: |a| {
            a.plant.kpa_phases.clear();
            a.plant.hpa_phases.clear();
            a.plant.vpa_begins.clear();
        },
    },
    Part {
        name: "memory-floor",
        instead: "pods with as much memory as the VPA recommends",
        off: |a| a.size.memory = a.size.memory.max(ENOUGH_MEMORY),
    },
    Part { name: "budget", instead: "all pods resized in one round", off: no_budget },
    Part {
        name: "queue",
        instead: "no queue's bound and no deadline",
        off: |a| (a.plant.queue, a.plant.deadline) = (usize::MAX / 2, NEVER),
    },
    Part { name: "sidecar", instead: "no queue-proxy", off: |a| a.plant.sidecar_millicores = 0 },
    Part {
        name: "hops",
        instead: "no time outside the pod",
        off: |a| (a.plant.hop, a.plant.activator_hop) = (0, 0),
    },
];

fn median_start(arm: &mut Arm) {
    let median = |of: fn(&Start) -> Micros| {
        let mut values: Vec<Micros> = arm.plant.starts.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (running, ready) = (median(|s| s.running), median(|s| s.ready));
    arm.plant.starts = vec![Start { running, ready, together: 1 }];
}

fn no_budget(arm: &mut Arm) {
    if let Autoscaler::Hpa(_, Some(vpa)) = &mut arm.autoscaler {
        vpa.tolerance = 1.0;
    }
}

/// The names of all parts.
pub fn names() -> Vec<&'static str> {
    PARTS.iter().map(|part| part.name).collect()
}

/// Switches parts off.
pub fn switch_off(arm: &mut Arm, parts: &[String]) -> Result<()> {
    for name in parts {
        let part = PARTS.iter().find(|part| part.name == name);
        let part = part.with_context(|| format!("no part {name:?}: there are {}", names().join(", ")))?;
        (part.off)(arm);
    }
    Ok(())
}

/// Each part switched off by itself: the mean distances without it.
pub fn table(
    with_all: &[Difference],
    compared: impl Fn(&[String]) -> Result<Vec<Difference>>,
) -> Result<String> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| without | instead | {} |\n", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(COLUMNS.len()));
    let mut row = |name: &str, instead: &str, found: &[Difference]| {
        let means: Vec<String> = over_groups(found).iter().map(|[mean, ..]| format!("{mean:.2}")).collect();
        let _ = writeln!(text, "| {name} | {instead} | {} |", means.join(" | "));
    };
    row("–", "everything as it is", with_all);
    for part in PARTS {
        row(part.name, part.instead, &compared(&[part.name.to_owned()])?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Arms, Measured};

    #[test]
    fn every_part_changes_the_model_and_an_unknown_one_is_named() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let arms = Arms { root, platform: Some("two-cores".into()), measured: Measured::default() };
        let mut arm = arms.arm("k8s-autoscalers", "defaults").expect("shipped");
        arm.plant.room_millicores = Some(1000);
        arm.plant.hpa_phases = vec![SECOND];
        arm.plant.answers = vec![(SECOND, 1)];
        arm.plant.gateway_workers = 2;
        arm.plant.quota_share = 0.8;
        let start = |s: i64, together: u32| Start { running: s * SECOND, ready: s * SECOND, together };
        arm.plant.starts = vec![start(1, 1), start(4, 8)];
        for part in PARTS {
            let mut without = arm.clone();
            switch_off(&mut without, &[part.name.to_owned()]).expect("known");
            assert_ne!(format!("{without:?}"), format!("{arm:?}"), "{}", part.name);
        }
        let error = switch_off(&mut arm, &["gravity".to_owned()]).expect_err("unknown").to_string();
        assert!(error.contains("gravity") && error.contains("least-of-two"), "{error}");
    }
}
