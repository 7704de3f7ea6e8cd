//! Traces for the horizontal pod autoscaler.

use std::fmt::Write;

use simulator::hpa::{Hpa, HpaSettings, Observed, Policy, Rules, SYNC, Select};

use super::Case;
use super::load::{self, Draw, Load, in_flight};

const PENDING: i64 = -2;
const MISSING: i64 = -1;

/// Case `number` of the HPA with a metric of its pods. Case 0 has Kubernetes' defaults.
pub(super) fn pods(number: u64, ticks: usize) -> Case {
    under(None, number, ticks)
}

/// The same with the load of a recorded run.
pub(super) fn recorded(number: u64, ticks: usize) -> Case {
    let seconds = in_flight(&load::recorded("k8s-autoscalers", number));
    // Each sync observes an average of the last 20 s.
    let values = (0..seconds.len()).step_by(15).map(|end| {
        let window = &seconds[end.saturating_sub(20)..=end];
        window.iter().sum::<f64>() / window.len() as f64 * 1000.0
    });
    under(Some(values.collect()), number, ticks)
}

fn under(load: Option<Vec<f64>>, number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 11);
    let settings = settings(number, &mut draw);
    let mut replicas = draw.below(6) as i64 + 1;
    let mut trace = format!("{{\"settings\":{}}}\n", json(&settings, replicas));
    let mut hpa = Hpa::new(settings.clone());
    let exact = draw.chance(0.5);
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = match load {
        Some(values) => Load::Recorded { values, next: 0 },
        None => Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak },
    };
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + if exact { 0 } else { draw.below(400) as i64 };
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let total = load.next(&mut draw) as i64;
        let troubled = draw.chance(0.2);
        let slots: Vec<i64> = (0..settings.max + 4)
            .map(|_| match draw.below(12) {
                0 if troubled => MISSING,
                1 if troubled => PENDING,
                2 if troubled => draw.of(&[-3, -4]),
                _ => 700 + draw.below(600) as i64,
            })
            .collect();
        let mut observed = Observed::default();
        for slot in &slots[..(replicas as usize).min(slots.len())] {
            match *slot {
                MISSING => observed.missing += 1,
                PENDING => observed.pending += 1,
                weight if weight >= 0 => {
                    observed.measured += 1;
                    observed.sum_milli += total * weight / (1000 * replicas);
                }
                _ => {}
            }
        }
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total},\"pods\":{slots:?}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync(now_ms * 1000, replicas, &observed);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

/// Case `number` of the HPA with an external metric, as KEDA creates it.
pub(super) fn external(number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 14);
    let settings = settings(number, &mut draw);
    let mut replicas = draw.below(6) as i64 + 1;
    let json = json(&settings, replicas);
    let mut trace = format!("{{\"settings\":{},\"external\":true}}}}\n", &json[..json.len() - 1]);
    let mut hpa = Hpa::new(settings.clone());
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak };
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + draw.below(400) as i64;
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let total = load.next(&mut draw) as i64;
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync_external(now_ms * 1000, replicas, total);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

/// Case `number` of the HPA with metrics of an object and a minimum of zero. At times there is no
/// load at all, or there are requests that find no pod.
pub(super) fn to_zero(number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 18);
    let settings = HpaSettings { min: 0, ..settings(number, &mut draw) };
    let mut replicas = draw.below(4) as i64;
    let json = json(&settings, replicas);
    let mut trace = format!("{{\"settings\":{},\"to_zero\":true}}}}\n", &json[..json.len() - 1]);
    let mut hpa = Hpa::new(settings.clone());
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak };
    let mut asleep = false;
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + draw.below(400) as i64;
        if draw.chance(if asleep { 0.03 } else { 0.02 }) {
            asleep = !asleep;
        }
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let level = load.next(&mut draw) as i64;
        // What nobody serves is not in flight.
        let total = if asleep || replicas == 0 { 0 } else { level };
        let waiting =
            if !asleep && (replicas == 0 || draw.chance(0.1)) { 1 + draw.below(90_000) as i64 } else { 0 };
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total},\"waiting\":{waiting}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync_to_zero(now_ms * 1000, replicas, total, waiting > 0);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

fn settings(number: u64, draw: &mut Draw) -> HpaSettings {
    let mut settings = HpaSettings::defaults(1000, 10);
    if number == 0 {
        return settings;
    }
    settings.target_milli = draw.of(&[500, 1000, 1000, 2500, 700]);
    settings.max = draw.of(&[5, 10, 20, 40]);
    settings.min = draw.of(&[1, 1, 2, 3]);
    for (rules, windows) in [(&mut settings.up, [0, 0, 15, 60]), (&mut settings.down, [0, 60, 120, 300])] {
        rules.stabilization_s = draw.of(&windows);
        rules.tolerance = draw.of(&[0.1, 0.1, 0.05, 0.2, 0.0]);
        rules.select =
            draw.of(&[Select::Max, Select::Max, Select::Max, Select::Min, Select::Min, Select::Disabled]);
        rules.policies = (0..=draw.below(3))
            .map(|_| {
                let period = draw.of(&[15, 30, 60, 120]);
                if draw.chance(0.5) {
                    Policy::Pods(draw.of(&[1, 2, 4, 10]), period)
                } else {
                    Policy::Percent(draw.of(&[10, 25, 50, 100, 300, 900]), period)
                }
            })
            .collect();
    }
    settings
}

fn json(s: &HpaSettings, replicas: i64) -> String {
    let rules = |r: &Rules| {
        let policies: Vec<String> = r
            .policies
            .iter()
            .map(|p| {
                let (kind, value, period) = match *p {
                    Policy::Pods(value, period) => ("Pods", value, period),
                    Policy::Percent(value, period) => ("Percent", value, period),
                };
                format!("{{\"type\":\"{kind}\",\"value\":{value},\"periodSeconds\":{period}}}")
            })
            .collect();
        format!(
            "{{\"stabilizationWindowSeconds\":{},\"tolerance\":\"{}\",\"selectPolicy\":\"{:?}\",\"policies\":[{}]}}",
            r.stabilization_s,
            r.tolerance,
            r.select,
            policies.join(",")
        )
    };
    format!(
        "{{\"target_milli\":{},\"min\":{},\"max\":{},\"replicas\":{replicas},\"behavior\":{{\"scaleUp\":{},\"scaleDown\":{}}}}}",
        s.target_milli,
        s.min,
        s.max,
        rules(&s.up),
        rules(&s.down)
    )
}
