//! Traces for Knative's pod autoscaler.

use std::fmt::Write;

use simulator::kpa::{Kpa, KpaSettings, TICK};
use simulator::time::Micros;

use super::Case;
use super::load::{self, Draw, Load, in_flight};

/// Case `number` of the KPA.
pub(super) fn drawn(number: u64, ticks: usize) -> Case {
    under(None, number, ticks)
}

/// The same with the load of a recorded run.
pub(super) fn recorded(number: u64, ticks: usize) -> Case {
    under(Some(in_flight(&load::recorded("knative", number))), number, ticks)
}

fn under(load: Option<Vec<f64>>, number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 12);
    let settings = settings(number, &mut draw);
    let mut replicas = draw.below(4) as i64;
    let panic_ms = settings.panic_window_s() * 1000.0;
    let mut trace = format!(
        "{{\"settings\":{{\"target\":{},\"total\":{},\"stable_window_ms\":{},\"panic_window_ms\":{},\"panic_threshold\":{},\
         \"max_scale_up_rate\":{},\"max_scale_down_rate\":{},\"scale_down_delay_ms\":{},\"target_burst_capacity\":{},\
         \"activation_scale\":{},\"min\":{},\"max\":{},\"grace_ms\":{},\"retention_ms\":{},\"replicas\":{replicas}}}}}\n",
        settings.target(),
        settings.total,
        settings.stable_window_s * 1000.0,
        panic_ms.round(),
        settings.panic_threshold_percentage / 100.0,
        settings.max_scale_up_rate,
        settings.max_scale_down_rate,
        settings.scale_down_delay_s * 1000.0,
        settings.target_burst_capacity,
        settings.activation_scale,
        settings.min_scale,
        settings.max_scale,
        settings.grace_period_s * 1000.0,
        settings.pod_retention_s * 1000.0,
    );
    let mut kpa = Kpa::new(settings.clone(), 0, replicas);
    let peak = settings.target() * draw.of(&[3.0, 10.0, 25.0]);
    let mut load = match load {
        Some(values) => Load::Recorded { values, next: 0 },
        None => Load::Drifting { level: 0.0, goal: peak / 2.0, peak },
    };
    // Phases of the statistics and of the ticks within their periods.
    let (phase, tick_phase) = (draw.below(1000) as i64, draw.below(2000) as i64);
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    let mut second = 0;
    for tick in 0..ticks as i64 {
        let tick_ms = (tick + 1) * (TICK / 1000) + tick_phase;
        while second * 1000 + phase <= tick_ms {
            let at_ms = second * 1000 + phase;
            second += 1;
            now_ms = now_ms.max(at_ms);
            let value = load.next(&mut draw);
            // At zero pods, there is nothing to scrape unless the activator holds requests. Some
            // scrapes fail at random.
            if draw.chance(0.02) || (replicas == 0 && value == 0.0) {
                continue;
            }
            let value = (value * 1000.0).round() / 1000.0;
            let _ = writeln!(trace, "{{\"t\":{at_ms},\"c\":{value}}}");
            kpa.record(at_ms * 1000, value);
        }
        now_ms = now_ms.max(tick_ms);
        let up_to = if draw.chance(0.15) { draw.below(4) as i64 } else { 1000 };
        let _ = writeln!(trace, "{{\"t\":{now_ms},\"ready\":{up_to}}}");
        let (now, ready): (Micros, i64) = (now_ms * 1000, up_to.min(replicas));
        kpa.evaluate(now, ready);
        replicas = kpa.reconcile(now, replicas, ready);
        let path = if kpa.proxied() { "p" } else { "s" };
        decisions.push(format!("{}{path}{replicas}", kpa.desired()));
    }
    Case { trace, decisions }
}

fn settings(number: u64, draw: &mut Draw) -> KpaSettings {
    let mut settings = KpaSettings::defaults(1.0);
    if number == 0 {
        return settings;
    }
    settings.total = draw.of(&[1.0, 1.0, 2.0, 10.0, 100.0]);
    settings.utilization = draw.of(&[0.7, 0.7, 0.8, 1.0]);
    settings.stable_window_s = draw.of(&[60.0, 60.0, 30.0, 6.0, 45.0, 120.0]);
    settings.panic_window_percentage = draw.of(&[10.0, 10.0, 20.0, 50.0, 100.0]);
    settings.panic_threshold_percentage = draw.of(&[200.0, 200.0, 150.0, 110.0, 1000.0]);
    settings.max_scale_up_rate = draw.of(&[1000.0, 1000.0, 10.0, 2.0, 1.1]);
    settings.max_scale_down_rate = draw.of(&[2.0, 2.0, 1.1, 10.0]);
    settings.scale_down_delay_s = draw.of(&[0.0, 0.0, 30.0, 60.0, 61.0, 300.0]);
    settings.target_burst_capacity = draw.of(&[211.0, 200.0, 0.0, 0.0, -1.0, 5.0]);
    settings.activation_scale = draw.of(&[1, 1, 2, 5]);
    settings.min_scale = draw.of(&[0, 0, 0, 1, 2]);
    settings.max_scale = draw.of(&[0, 10, 20]);
    settings.grace_period_s = draw.of(&[30.0, 30.0, 6.0, 90.0]);
    settings.pod_retention_s = draw.of(&[0.0, 0.0, 60.0, 20.0, 300.0]);
    settings
}
