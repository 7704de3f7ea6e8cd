//! Each autoscaler's settings as numbers by name. One table serves the form, the page's address,
//! the simulator and the files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use simulator::Autoscaler;
use simulator::hpa::{HpaSettings, Policy, Rules, Select};
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::vpa::VpaSettings;

/// The compared autoscalers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Knative.
    Kpa,
    /// HPA alone.
    Hpa,
    /// HPA and VPA.
    HpaVpa,
    /// KEDA.
    Keda,
    /// HPA with metrics of an object, which exist at zero pods.
    HpaZero,
}

/// Settings by name. A missing setting has its default.
pub type Values = BTreeMap<String, f64>;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Field {
    /// Name of the field in the autoscaler's own object.
    pub name: &'static str,
    /// Unit, for the form.
    pub unit: &'static str,
    /// Default value.
    pub default: f64,
    /// Least and largest value that the object accepts.
    pub least: f64,
    /// See `least`.
    pub most: f64,
    /// Whether the object accepts whole numbers only.
    pub whole: bool,
}

const fn field(name: &'static str, unit: &'static str, default: f64, least: f64, most: f64) -> Field {
    Field { name, unit, default, least, most, whole: false }
}

const fn whole(name: &'static str, unit: &'static str, default: f64, least: f64, most: f64) -> Field {
    Field { whole: true, ..field(name, unit, default, least, most) }
}

/// Upper bound of the pod counts, which keeps the page responsive.
const MOST_PODS: f64 = 10_000.0;

const KPA: [Field; 11] = [
    field("target", "in flight per pod", 1.0, 0.01, 1000.0),
    field("target-utilization-percentage", "%", 70.0, 1.0, 100.0),
    whole("window", "s", 60.0, 6.0, 3600.0),
    field("panic-window-percentage", "%", 10.0, 1.0, 100.0),
    field("panic-threshold-percentage", "%", 200.0, 110.0, 1000.0),
    field("target-burst-capacity", "", 211.0, -1.0, 100_000.0),
    whole("scale-down-delay", "s", 0.0, 0.0, 3600.0),
    field("scale-to-zero-pod-retention-period", "s", 0.0, 0.0, 3600.0),
    whole("activation-scale", "pods", 1.0, 1.0, 1000.0),
    whole("min-scale", "pods", 0.0, 0.0, MOST_PODS),
    whole("max-scale", "pods, 0: no limit", 10.0, 0.0, MOST_PODS),
];

const BEHAVIOR: [Field; 10] = [
    whole("scaleUp.stabilizationWindowSeconds", "s", 0.0, 0.0, 3600.0),
    field("scaleUp.tolerance", "", 0.1, 0.0, 1.0),
    whole("scaleUp.Percent", "% in 15 s", 100.0, 0.0, 10_000.0),
    whole("scaleUp.Pods", "pods in 15 s", 4.0, 0.0, 10_000.0),
    whole("scaleDown.stabilizationWindowSeconds", "s", 300.0, 0.0, 3600.0),
    field("scaleDown.tolerance", "", 0.1, 0.0, 1.0),
    whole("scaleDown.Percent", "%", 100.0, 0.0, 100.0),
    whole("scaleDown.Percent.periodSeconds", "s", 15.0, 1.0, 1800.0),
    whole("scaleDown.Pods", "pods", 0.0, 0.0, 10_000.0),
    whole("scaleDown.Pods.periodSeconds", "s", 15.0, 1.0, 1800.0),
];

const HPA: [Field; 3] = [
    field("averageValue", "in flight per pod", 1.0, 0.001, 1000.0),
    whole("minReplicas", "pods", 1.0, 1.0, MOST_PODS),
    whole("maxReplicas", "pods", 10.0, 1.0, MOST_PODS),
];

/// The same, down to zero.
const HPA_ZERO: [Field; 3] = [HPA[0], whole("minReplicas", "pods", 0.0, 0.0, MOST_PODS), HPA[2]];

const VPA: [Field; 2] = [
    whole("minAllowed.cpu", "millicores", 100.0, 1.0, 64_000.0),
    whole("maxAllowed.cpu", "millicores", 2000.0, 1.0, 64_000.0),
];

const KEDA: [Field; 6] = [
    field("threshold", "in flight per pod", 1.0, 0.001, 1000.0),
    field("activationThreshold", "in flight", 0.0, 0.0, 1000.0),
    whole("minReplicaCount", "pods", 0.0, 0.0, MOST_PODS),
    whole("maxReplicaCount", "pods", 10.0, 1.0, MOST_PODS),
    whole("pollingInterval", "s", 30.0, 1.0, 3600.0),
    whole("cooldownPeriod", "s", 300.0, 0.0, 3600.0),
];

/// Settings of which the first must not be above the second.
const RANGES: [[&str; 2]; 4] = [
    ["min-scale", "max-scale"],
    ["minReplicas", "maxReplicas"],
    ["minReplicaCount", "maxReplicaCount"],
    ["minAllowed.cpu", "maxAllowed.cpu"],
];

/// Whether a maximum means that there is none. Only Knative has such a value.
fn no_limit(name: &str, value: f64) -> bool {
    name == "max-scale" && value == 0.0
}

/// Whether a value lies between two that the object accepts. Knative's burst capacity is -1, which
/// is unlimited, or at least 0.
fn in_gap(name: &str, value: f64) -> bool {
    name == "target-burst-capacity" && value > -1.0 && value < 0.0
}

/// Period of the policies for which the form has no field.
pub const POLICY_PERIOD_S: i64 = 15;

impl Kind {
    /// All autoscalers in the order in which the page shows them.
    pub const ALL: [Self; 5] = [Self::Kpa, Self::Hpa, Self::HpaVpa, Self::Keda, Self::HpaZero];

    /// The settings of this autoscaler.
    pub fn fields(self) -> Vec<Field> {
        match self {
            Self::Kpa => KPA.to_vec(),
            Self::Hpa => [&HPA[..], &BEHAVIOR].concat(),
            Self::HpaVpa => [&HPA[..], &BEHAVIOR, &VPA].concat(),
            Self::Keda => [&KEDA[..], &BEHAVIOR].concat(),
            Self::HpaZero => [&HPA_ZERO[..], &BEHAVIOR].concat(),
        }
    }

    /// Checks that all values are known settings within their bounds, and adds the defaults of
    /// missing ones.
    pub fn complete(self, values: &Values) -> Result<Values, String> {
        let fields = self.fields();
        if let Some(name) = values.keys().find(|name| fields.iter().all(|f| f.name != *name)) {
            return Err(format!("{self:?} has no setting {name:?}"));
        }
        let value = |f: &Field| {
            let value = values.get(f.name).copied().unwrap_or(f.default);
            if !(f.least..=f.most).contains(&value) {
                Err(format!("{}: {value} is not between {} and {}", f.name, f.least, f.most))
            } else if in_gap(f.name, value) {
                Err(format!("{}: {value} is neither {} nor at least 0", f.name, f.least))
            } else if f.whole && value.fract() != 0.0 {
                Err(format!("{}: {value} is not a whole number", f.name))
            } else {
                Ok((f.name.to_owned(), value))
            }
        };
        let all: Values = fields.iter().map(value).collect::<Result<_, _>>()?;
        for [least, most] in RANGES {
            if let (Some(low), Some(high)) = (all.get(least), all.get(most))
                && low > high
                && !no_limit(most, *high)
            {
                return Err(format!("{least} {low} is above {most} {high}"));
            }
        }
        Ok(all)
    }

    /// Lowers minimums that are above their maximums.
    pub fn lower_minimum(self, values: &mut Values) {
        for [least, most] in RANGES {
            let default = self.fields().iter().find(|f| f.name == most).map(|f| f.default);
            let high = values.get(most).copied().or(default).filter(|high| !no_limit(most, *high));
            if let (Some(low), Some(high)) = (values.get_mut(least), high) {
                *low = low.min(high);
            }
        }
    }

    /// The autoscaler with these settings. The VPA's memory bounds are fixed to the pod's memory.
    pub fn autoscaler(self, values: &Values, memory: f64) -> Result<Autoscaler, String> {
        let all = self.complete(values)?;
        let get = |name: &str| all[name];
        let whole = |name: &str| all[name].round() as i64;
        let milli = |name: &str| ((all[name] * 1000.0).round() as i64).max(1);
        Ok(match self {
            Self::Kpa => Autoscaler::Kpa(KpaSettings {
                total: get("target"),
                utilization: get("target-utilization-percentage") / 100.0,
                stable_window_s: get("window"),
                panic_window_percentage: get("panic-window-percentage"),
                panic_threshold_percentage: get("panic-threshold-percentage"),
                target_burst_capacity: get("target-burst-capacity"),
                scale_down_delay_s: get("scale-down-delay"),
                pod_retention_s: get("scale-to-zero-pod-retention-period"),
                activation_scale: whole("activation-scale"),
                min_scale: whole("min-scale"),
                max_scale: whole("max-scale"),
                ..KpaSettings::defaults(get("target"))
            }),
            Self::Hpa | Self::HpaVpa | Self::HpaZero => {
                let settings = HpaSettings {
                    target_milli: milli("averageValue"),
                    min: whole("minReplicas"),
                    max: whole("maxReplicas"),
                    ..behavior(&all)
                };
                if self == Self::HpaZero {
                    return Ok(Autoscaler::HpaToZero(settings));
                }
                let vpa = (self == Self::HpaVpa).then(|| VpaSettings {
                    cpu: (whole("minAllowed.cpu"), whole("maxAllowed.cpu")),
                    memory: (memory, memory),
                    // Value of k8s-autoscalers/base/vpa.yaml.
                    min_replicas: 1,
                    tolerance: simulator::vpa::TOLERANCE,
                });
                Autoscaler::Hpa(settings, vpa)
            }
            Self::Keda => Autoscaler::Keda(KedaSettings {
                hpa: HpaSettings {
                    target_milli: milli("threshold"),
                    max: whole("maxReplicaCount"),
                    ..behavior(&all)
                },
                min: whole("minReplicaCount"),
                polling_s: get("pollingInterval"),
                cooldown_s: get("cooldownPeriod"),
                activation: get("activationThreshold"),
            }),
        })
    }
}

fn behavior(all: &Values) -> HpaSettings {
    let direction = |name: &str| {
        let get = |field: &str| all.get(&format!("{name}.{field}")).copied();
        let period =
            |kind: &str| get(&format!("{kind}.periodSeconds")).map_or(POLICY_PERIOD_S, |s| s.round() as i64);
        let percent = get("Percent").filter(|v| *v > 0.0);
        let pods = get("Pods").filter(|v| *v > 0.0);
        let policies: Vec<Policy> = percent
            .map(|v| Policy::Percent(v.round() as i64, period("Percent")))
            .into_iter()
            .chain(pods.map(|v| Policy::Pods(v.round() as i64, period("Pods"))))
            .collect();
        Rules {
            stabilization_s: get("stabilizationWindowSeconds").unwrap_or(0.0).round() as i64,
            tolerance: get("tolerance").unwrap_or(simulator::hpa::TOLERANCE),
            select: if policies.is_empty() { Select::Disabled } else { Select::Max },
            policies,
        }
    };
    HpaSettings { up: direction("scaleUp"), down: direction("scaleDown"), ..HpaSettings::defaults(1000, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, f64)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn without_any_setting_each_autoscaler_is_as_it_comes() {
        let none = Values::new();
        let kpa = KpaSettings { max_scale: 10, ..KpaSettings::defaults(1.0) };
        assert_eq!(Kind::Kpa.autoscaler(&none, 1.0), Ok(Autoscaler::Kpa(kpa)));
        let Ok(Autoscaler::Hpa(hpa, None)) = Kind::Hpa.autoscaler(&none, 1.0) else { panic!("an HPA") };
        let expected = HpaSettings::defaults(1000, 10);
        assert_eq!((hpa.min, hpa.max, &hpa.down), (1, 10, &expected.down));
        assert_eq!(hpa.up.policies, [Policy::Percent(100, 15), Policy::Pods(4, 15)]);
        let Ok(Autoscaler::Keda(keda)) = Kind::Keda.autoscaler(&none, 1.0) else { panic!("KEDA") };
        assert_eq!((keda.min, keda.polling_s, keda.cooldown_s), (0, 30.0, 300.0));
        assert_eq!(
            Kind::HpaZero.autoscaler(&none, 1.0),
            Ok(Autoscaler::HpaToZero(HpaSettings { min: 0, ..hpa }))
        );
    }

    #[test]
    fn a_setting_that_is_misspelt_or_out_of_bounds_is_an_error_that_names_it() {
        let error = Kind::Kpa.autoscaler(&values(&[("windw", 1.0)]), 1.0).expect_err("misspelt");
        assert!(error.contains("windw"), "{error}");
        let error = Kind::Kpa.autoscaler(&values(&[("window", 1.0)]), 1.0).expect_err("too short");
        assert!(error.contains("window: 1 is not between 6 and 3600"), "{error}");
    }

    #[test]
    fn a_minimum_above_its_maximum_is_an_error_that_names_both() {
        let cases: [(Kind, [&str; 2]); 4] = [
            (Kind::Kpa, ["min-scale", "max-scale"]),
            (Kind::Hpa, ["minReplicas", "maxReplicas"]),
            (Kind::Keda, ["minReplicaCount", "maxReplicaCount"]),
            (Kind::HpaZero, ["minReplicas", "maxReplicas"]),
        ];
        for (kind, [least, most]) in cases {
            let mut reversed = values(&[(least, 20.0), (most, 10.0)]);
            let error = kind.complete(&reversed).expect_err("reversed");
            assert_eq!(error, format!("{least} 20 is above {most} 10"));
            kind.lower_minimum(&mut reversed);
            assert!(kind.complete(&reversed).is_ok());
        }
        assert!(Kind::Kpa.complete(&values(&[("min-scale", 20.0), ("max-scale", 0.0)])).is_ok());
    }

    #[test]
    fn a_number_of_pods_is_whole() {
        let error = Kind::Hpa.complete(&values(&[("minReplicas", 1.5)])).expect_err("one and a half");
        assert!(error.contains("minReplicas: 1.5 is not a whole number"), "{error}");
    }

    #[test]
    fn knative_takes_whole_seconds_of_a_window_and_a_delay_and_parts_of_one_to_retain_a_pod() {
        let error = Kind::Kpa.complete(&values(&[("window", 6.5)])).expect_err("half a second");
        assert_eq!(error, "window: 6.5 is not a whole number");
        let error = Kind::Kpa.complete(&values(&[("scale-down-delay", 0.5)])).expect_err("half a second");
        assert_eq!(error, "scale-down-delay: 0.5 is not a whole number");
        assert!(Kind::Kpa.complete(&values(&[("scale-to-zero-pod-retention-period", 0.5)])).is_ok());
    }

    #[test]
    fn a_burst_capacity_is_minus_one_or_not_negative() {
        let kpa = |capacity: f64| Kind::Kpa.complete(&values(&[("target-burst-capacity", capacity)]));
        assert!([-1.0, 0.0, 0.5, 211.0].into_iter().all(|capacity| kpa(capacity).is_ok()));
        let error = kpa(-0.5).expect_err("between the two");
        assert_eq!(error, "target-burst-capacity: -0.5 is neither -1 nor at least 0");
        assert!(kpa(-2.0).is_err());
    }

    #[test]
    fn a_direction_without_any_policy_is_off() {
        let off = values(&[("scaleDown.Percent", 0.0)]);
        let Ok(Autoscaler::Hpa(hpa, _)) = Kind::Hpa.autoscaler(&off, 1.0) else { panic!("an HPA") };
        assert_eq!(hpa.down.select, Select::Disabled);
    }
}
