//! Settings made of choices, and settings in words.

use simulator::Autoscaler;
use simulator::hpa::{HpaSettings, Policy, Rules, Select};
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::vpa::VpaSettings;

use super::Genes;
use crate::fit::Arm;
use crate::report::table::number;

/// Takes one gene after another.
struct Choices<'a>(std::slice::Iter<'a, f64>);

impl Choices<'_> {
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let gene = self.0.next().expect("no setting has more choices than there are genes");
        choices[(gene * choices.len() as f64) as usize]
    }
}

pub(super) fn candidate(base: &Arm, autoscaler: &str, genes: &Genes) -> Autoscaler {
    let mut choices = Choices(genes.iter());
    match &base.autoscaler {
        Autoscaler::Kpa(s) => {
            let stable_window_s = choices.of(&[6.0, 15.0, 30.0, 60.0, 120.0, 300.0]);
            Autoscaler::Kpa(KpaSettings {
                total: choices.of(&[0.25, 0.5, 1.0, 1.5, 2.0]),
                utilization: choices.of(&[0.5, 0.7, 0.85, 1.0]),
                stable_window_s,
                // At least the six seconds of the defaults: shorter windows follow noise.
                panic_window_percentage: (choices.of(&[6.0, 12.0]) / stable_window_s * 100.0).min(100.0),
                panic_threshold_percentage: choices.of(&[110.0, 150.0, 200.0, 400.0]),
                target_burst_capacity: choices.of(&[-1.0, 0.0, 10.0, 211.0]),
                scale_down_delay_s: choices.of(&[0.0, 15.0, 30.0, 60.0, 120.0, 300.0]),
                pod_retention_s: choices.of(&[0.0, 60.0]),
                min_scale: choices.of(&[0, 0, 1, 2, 3]),
                ..s.clone()
            })
        }
        Autoscaler::Hpa(s, bounds) => {
            let target_milli = choices.of(&[250, 500, 1000, 1500, 2000]);
            let settings = HpaSettings { target_milli, max: s.max, ..behavior(&mut choices, s) };
            if autoscaler == "KEDA" {
                return Autoscaler::Keda(KedaSettings {
                    hpa: settings,
                    min: choices.of(&[0, 0, 1, 2, 3, 4]),
                    polling_s: choices.of(&[5.0, 10.0, 30.0]),
                    cooldown_s: choices.of(&[30.0, 60.0, 120.0, 300.0]),
                    activation: 0.0,
                });
            }
            if autoscaler == "HPA to zero" {
                return Autoscaler::HpaToZero(HpaSettings {
                    min: choices.of(&[0, 0, 1, 2, 3, 4]),
                    ..settings
                });
            }
            let min = choices.of(&[1, 1, 2, 3, 4]);
            let vpa = bounds.filter(|_| autoscaler == "HPA + VPA").map(|b| {
                let (low, high) = b.cpu;
                let floor = choices.of(&[low, (low + high) / 2, base.size.millicores, high]);
                VpaSettings { cpu: (floor.min(high), high), ..b }
            });
            Autoscaler::Hpa(HpaSettings { min, ..settings }, vpa)
        }
        // Not searched.
        other @ (Autoscaler::Keda(_) | Autoscaler::HpaToZero(_)) => other.clone(),
    }
}

/// The rules of both directions.
fn behavior(choices: &mut Choices<'_>, s: &HpaSettings) -> HpaSettings {
    HpaSettings {
        up: Rules {
            stabilization_s: choices.of(&[0, 0, 15, 30]),
            tolerance: choices.of(&[0.0, 0.05, 0.1]),
            policies: vec![
                Policy::Percent(choices.of(&[100, 300, 900]), 15),
                Policy::Pods(choices.of(&[2, 4, 10]), 15),
            ],
            select: Select::Max,
        },
        down: Rules {
            stabilization_s: choices.of(&[0, 30, 60, 120, 300]),
            tolerance: choices.of(&[0.05, 0.1, 0.2]),
            policies: vec![Policy::Percent(choices.of(&[10, 50, 100]), choices.of(&[15, 60]))],
            select: Select::Max,
        },
        ..s.clone()
    }
}

/// The settings in the names of their own objects.
pub(super) fn described(autoscaler: &Autoscaler) -> String {
    match autoscaler {
        Autoscaler::Kpa(s) => format!(
            "target {}, target-utilization-percentage {}, window {}s, panic-window-percentage {}, \
             panic-threshold-percentage {}, target-burst-capacity {}, scale-down-delay {}s, \
             scale-to-zero-pod-retention-period {}s, min-scale {}",
            s.total,
            number(s.utilization * 100.0),
            s.stable_window_s,
            number(s.panic_window_percentage),
            s.panic_threshold_percentage,
            s.target_burst_capacity,
            s.scale_down_delay_s,
            s.pod_retention_s,
            s.min_scale
        ),
        Autoscaler::Hpa(s, vpa) => {
            let vpa = vpa.map_or(String::new(), |b| format!("; VPA {}m to {}m", b.cpu.0, b.cpu.1));
            format!("averageValue {}m, minReplicas {}, {}{vpa}", s.target_milli, s.min, rules(s))
        }
        Autoscaler::Keda(s) => format!(
            "threshold {}m, minReplicaCount {}, pollingInterval {}, cooldownPeriod {}, {}",
            s.hpa.target_milli,
            s.min,
            s.polling_s,
            s.cooldown_s,
            rules(&s.hpa)
        ),
        Autoscaler::HpaToZero(s) => {
            format!("averageValue {}m, minReplicas {}, {}", s.target_milli, s.min, rules(s))
        }
    }
}

fn rules(s: &HpaSettings) -> String {
    let direction = |r: &Rules| {
        let policies: Vec<String> = r
            .policies
            .iter()
            .map(|p| match p {
                Policy::Pods(value, period) => format!("{value} pods/{period}s"),
                Policy::Percent(value, period) => format!("{value} %/{period}s"),
            })
            .collect();
        format!("{}s window, tolerance {}, {}", r.stabilization_s, r.tolerance, policies.join(" or "))
    };
    format!("up: {}; down: {}", direction(&s.up), direction(&s.down))
}
