//! How to record the runs of a report again: the commands, from the runs themselves.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::table::ArmRuns;
use scenario::recording::{Origin, QUOTA_PERIOD, Run};

/// The kubelet's default, which needs no setting.
const QUOTA_PERIOD_DEFAULT: &str = "100 ms";

/// What one command records: all scenarios of the same load.
#[derive(Default)]
struct Kind {
    scenarios: Vec<String>,
    arms: Vec<String>,
    repeats: u32,
}

/// Commands for a folder of one's own and a cluster of one's own, one for each load, and a line for
/// each setting of the node that is not the default. Simulated runs come from `make simulate`.
pub fn commands(arms: &[ArmRuns<'_>]) -> String {
    let mut text = String::new();
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for arm in arms {
        for run in &arm.runs {
            let kind = kinds.entry(how(run)).or_default();
            for (list, name) in [(&mut kind.scenarios, &run.scenario), (&mut kind.arms, &arm.arm.name)] {
                if !list.contains(name) {
                    list.push(name.clone());
                }
            }
            kind.repeats = kind.repeats.max(run.repeat);
        }
    }
    for period in periods(arms) {
        let _ = writeln!(
            text,
            "# The node's quota period: {period}, not the kubelet's {QUOTA_PERIOD_DEFAULT} (docs/comparison/method.md)"
        );
    }
    for (node, setting) in [
        ("cfs_period_ms", arms.iter().any(|a| a.arm.cfs_period_ms().is_some())),
        ("hpa_sync_period_s", arms.iter().any(|a| a.arm.hpa_sync_period_s().is_some())),
    ] {
        if setting {
            let _ = writeln!(
                text,
                "# [node.{node}] in the cluster file: the command that changes it between runs"
            );
        }
    }
    for (how, Kind { scenarios, arms, repeats }) in kinds {
        let [scenarios, arms] = [scenarios, arms].map(|list| list.join(","));
        let _ = writeln!(text, "{how} SCENARIOS={scenarios} ARMS={arms} REPEATS={repeats}");
    }
    if !text.is_empty() {
        text.push_str("make report RESULTS=NEW_FOLDER");
    }
    text
}

/// The target, and the variables that runs of several scenarios and arms can have in common.
fn how(run: &Run) -> String {
    let draw = &run.draw;
    let load = match draw.pod_load {
        Some(share) => format!("POD_LOAD={share}"),
        None => format!("SCALE={}", draw.scale),
    };
    let stretch = if draw.stretch == 1.0 { String::new() } else { format!(" STRETCH={}", draw.stretch) };
    match run.origin {
        Origin::Measured => format!("make compare CLUSTER=YOURS.toml RESULTS=NEW_FOLDER {load}{stretch}"),
        Origin::Simulated => format!("make simulate RESULTS=NEW_FOLDER {load}{stretch}"),
    }
}

/// The quota periods of runs without an ablation of it, but for the default.
fn periods<'a>(arms: &'a [ArmRuns<'_>]) -> Vec<&'a str> {
    let plain = arms.iter().filter(|a| a.arm.cfs_period_ms().is_none()).flat_map(|a| &a.runs);
    let mut found: Vec<&str> = plain.filter_map(|r| r.environment.get(QUOTA_PERIOD)).map(|p| &**p).collect();
    // It may be unknown.
    found.retain(|period| *period != QUOTA_PERIOD_DEFAULT && period.ends_with(" ms"));
    found.sort_unstable();
    found.dedup();
    found
}
