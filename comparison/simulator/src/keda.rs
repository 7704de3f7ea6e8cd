//! KEDA 2.21: the HPA that scales on a Prometheus trigger between one pod and many, and KEDA's own
//! scaling to and from zero (`pkg/scaling/executor/scale_scaledobjects.go`).
//!
//! Decisions are compared with the real code: see `oracles/hpa` for the HPA, `oracles/keda` for the
//! executor, and `tests/conformance.rs`.

use crate::hpa::{Hpa, HpaSettings};
use crate::time::{Micros, SECOND};

/// Settings of a ScaledObject, under KEDA's names.
#[derive(Debug, Clone, PartialEq)]
pub struct KedaSettings {
    /// The HPA that KEDA creates: the trigger's `threshold` as `averageValue` of an external
    /// metric, `minReplicaCount` (at least 1), `maxReplicaCount` and
    /// `advanced.horizontalPodAutoscalerConfig.behavior`.
    pub hpa: HpaSettings,
    /// `minReplicaCount`.
    pub min: i64,
    /// `pollingInterval`, seconds.
    pub polling_s: f64,
    /// `cooldownPeriod`, seconds.
    pub cooldown_s: f64,
    /// `activationThreshold` of the trigger, in the metric's unit.
    pub activation: f64,
}

impl KedaSettings {
    /// KEDA's defaults, except for the threshold and `maxReplicaCount`.
    pub fn defaults(threshold_milli: i64, max: i64) -> Self {
        Self {
            hpa: HpaSettings::defaults(threshold_milli, max),
            min: 0,
            polling_s: 30.0,
            cooldown_s: 300.0,
            activation: 0.0,
        }
    }
}

/// KEDA and its HPA for one object.
#[derive(Debug, Clone)]
pub struct Keda {
    settings: KedaSettings,
    hpa: Hpa,
    /// `status.lastActiveTime`, which the API server stores in whole seconds.
    last_active: Option<Micros>,
}

impl Keda {
    /// A new object without history.
    pub fn new(settings: KedaSettings) -> Self {
        let hpa = HpaSettings { min: settings.min.max(1), ..settings.hpa.clone() };
        Self { hpa: Hpa::new(hpa), settings, last_active: None }
    }

    /// Its settings.
    pub fn settings(&self) -> &KedaSettings {
        &self.settings
    }

    /// The metric value of the scaler in thousandths, rounded as KEDA does.
    pub fn metric_milli(value: f64) -> i64 {
        (value.max(0.0) * 1000.0).round() as i64
    }

    /// One sync of the HPA: the replicas to set.
    pub fn sync(&mut self, now: Micros, current: i64, value: f64) -> i64 {
        self.hpa.sync_external(now, current, Self::metric_milli(value))
    }

    /// One poll of all triggers (`checkScalers`): the replicas to set. The object is active if any
    /// trigger is. The first trigger has the activation threshold, the others have none.
    pub fn poll(&mut self, now: Micros, current: i64, values: &[f64]) -> i64 {
        let threshold = |i: usize| if i == 0 { self.settings.activation } else { 0.0 };
        let active = values.iter().enumerate().any(|(i, value)| *value > threshold(i));
        self.request(now, current, active)
    }

    /// `RequestScale`.
    pub fn request(&mut self, now: Micros, current: i64, active: bool) -> i64 {
        let min = self.settings.min;
        if active {
            self.last_active = Some(now.div_euclid(SECOND) * SECOND);
            return if current == 0 { min.max(1) } else { current };
        }
        if current > 0 && min == 0 {
            let cooldown = crate::time::micros(self.settings.cooldown_s);
            // An object that was never active has no cooldown.
            let cooled = self.last_active.is_none_or(|last| last + cooldown < now);
            return if cooled { 0 } else { current };
        }
        current.max(min)
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those of KEDA's documentation of ScaledObject and of
    //! `scale_scaledobjects_test.go`.
    use super::*;

    fn keda(change: impl Fn(&mut KedaSettings)) -> Keda {
        let mut settings = KedaSettings::defaults(1000, 10);
        change(&mut settings);
        Keda::new(settings)
    }

    #[test]
    fn an_active_trigger_wakes_an_object_to_one_pod_or_to_its_minimum() {
        assert_eq!(keda(|_| {}).poll(0, 0, &[0.5]), 1);
        assert_eq!(keda(|s| s.min = 5).poll(0, 0, &[0.5]), 5);
        assert_eq!(keda(|s| s.activation = 0.5).poll(0, 0, &[0.5]), 0, "at the threshold is not above it");
        assert_eq!(keda(|s| s.activation = 0.5).poll(0, 0, &[0.5, 0.1]), 1, "one trigger is enough");
    }

    #[test]
    fn an_idle_object_goes_to_zero_after_its_cooldown_and_not_below_its_minimum() {
        let mut a = keda(|s| s.cooldown_s = 60.0);
        assert_eq!(a.poll(0, 3, &[1.0]), 3);
        assert_eq!(a.poll(60 * SECOND, 3, &[0.0]), 3, "just 60 s are not more than 60 s");
        assert_eq!(a.poll(61 * SECOND, 3, &[0.0]), 0);
        assert_eq!(keda(|_| {}).poll(0, 3, &[0.0]), 0, "never active: at once");
        assert_eq!(keda(|s| s.min = 2).poll(0, 3, &[0.0]), 3, "the HPA scales to the minimum");
        assert_eq!(keda(|s| s.min = 2).poll(0, 1, &[0.0]), 2);
    }

    #[test]
    fn between_one_and_many_the_hpa_divides_the_metric_by_the_threshold() {
        assert_eq!(keda(|_| {}).sync(0, 2, 4.2), 5);
        assert_eq!(keda(|_| {}).sync(0, 4, 4.2), 4, "within a tenth of the threshold");
        assert_eq!(keda(|_| {}).sync(0, 0, 4.2), 0, "from zero only KEDA itself scales");
    }
}
