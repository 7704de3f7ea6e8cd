//! The horizontal pod autoscaler (`autoscaling/v2`, Kubernetes 1.36): `horizontal.go` and
//! `replica_calculator.go` of kube-controller-manager for one Pods metric with an `AverageValue`,
//! and for metrics that exist at zero pods, with which it scales to zero (`HPAScaleToZero`).
//!
//! Decisions are compared with that code itself: see `oracles/hpa` and `tests/conformance.rs`.

mod settings;

use crate::time::{Micros, SECOND};
pub use settings::{HpaSettings, Policy, Rules, Select, TOLERANCE};

/// The default of `--horizontal-pod-autoscaler-sync-period`.
pub const SYNC: Micros = scenario::arms::DEFAULT_HPA_SYNC_S as Micros * SECOND;

/// The pods as the HPA observes them at one sync. Pods that are being deleted or have failed are
/// not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Sum of the metric over the pods that have one, in thousandths.
    pub sum_milli: i64,
    /// Running pods with a metric, whether or not they are ready.
    pub measured: i64,
    /// Running pods without a metric.
    pub missing: i64,
    /// Pending pods.
    pub pending: i64,
}

/// The controller's state for one object.
#[derive(Debug, Clone)]
pub struct Hpa {
    settings: HpaSettings,
    /// `(time, replicas)`.
    pub(crate) recommendations: Vec<(Micros, i64)>,
    /// Scale-up events: `(time, change)`.
    pub(crate) ups: Vec<(Micros, i64)>,
    /// Scale-down events in the same form; the change is positive too.
    pub(crate) downs: Vec<(Micros, i64)>,
    /// The condition `ScaledToZero`: the HPA itself took the last pod away.
    scaled_to_zero: bool,
}

impl Hpa {
    /// A new object without history.
    pub fn new(settings: HpaSettings) -> Self {
        let (recommendations, ups, downs) = (Vec::new(), Vec::new(), Vec::new());
        Self { settings, recommendations, ups, downs, scaled_to_zero: false }
    }

    /// An object that scaled its pods to zero long ago.
    pub fn at_zero(settings: HpaSettings) -> Self {
        Self { scaled_to_zero: true, ..Self::new(settings) }
    }

    /// Its settings.
    pub fn settings(&self) -> &HpaSettings {
        &self.settings
    }

    /// One sync: the replicas to set (`reconcileAutoscaler`).
    pub fn sync(&mut self, now: Micros, current: i64, observed: &Observed) -> i64 {
        self.reconcile(now, current, |hpa| hpa.recommendation(current, observed))
    }

    /// The same for an External metric with an `AverageValue`, which does not depend on the pods.
    pub fn sync_external(&mut self, now: Micros, current: i64, usage_milli: i64) -> i64 {
        self.reconcile(now, current, |hpa| Some(hpa.external(current, usage_milli)))
    }

    /// The same for two metrics of an object: one as above, and one that asks for a single pod
    /// while `waiting`, because its target is far above any value. The highest wish counts.
    pub fn sync_to_zero(&mut self, now: Micros, current: i64, usage_milli: i64, waiting: bool) -> i64 {
        self.reconcile(now, current, |hpa| Some(hpa.external(current, usage_milli).max(waiting.into())))
    }

    /// The same for the requests in flight in all pods, and those per second that found none. What
    /// serves an object's metrics, prometheus-adapter, cuts a value to thousandths.
    pub fn sync_object(&mut self, now: Micros, current: i64, in_flight: f64, unserved: f64) -> i64 {
        let milli = |value: f64| (value * 1000.0) as i64;
        self.sync_to_zero(now, current, milli(in_flight), milli(unserved) > 0)
    }

    fn reconcile(
        &mut self,
        now: Micros,
        current: i64,
        recommendation: impl FnOnce(&Self) -> Option<i64>,
    ) -> i64 {
        if self.recommendations.is_empty() {
            // recordInitialRecommendation
            self.recommendations.push((now, current));
        }
        let HpaSettings { min, max, .. } = self.settings;
        let replicas = if current == 0 && !self.scaled_to_zero {
            // Scaling is disabled: someone else has set zero replicas.
            0
        } else if current > max {
            max
        } else if 0 < current && current < min {
            min
        } else {
            let Some(wanted) = recommendation(self) else { return current };
            let stabilized = self.stabilize(now, current, wanted);
            self.limit(now, current, stabilized)
        };
        if replicas != current {
            self.store(now, replicas - current);
            self.scaled_to_zero = replicas == 0 && min == 0;
        }
        replicas
    }

    /// Whether the ratio of load to target is within the tolerances.
    fn near(&self, ratio: f64) -> bool {
        1.0 - self.settings.down.tolerance <= ratio && ratio <= 1.0 + self.settings.up.tolerance
    }

    /// `GetExternalPerPodMetricReplicas`.
    pub(crate) fn external(&self, current: i64, usage_milli: i64) -> i64 {
        let target = self.settings.target_milli as f64;
        let usage = usage_milli as f64;
        if self.near(usage / (target * current as f64)) { current } else { (usage / target).ceil() as i64 }
    }

    /// The replicas for the metric, before behaviour and bounds (`calcPlainMetricReplicas`); `None`
    /// without any metric.
    pub fn recommendation(&self, current: i64, observed: &Observed) -> Option<i64> {
        let &Observed { sum_milli, measured, missing, pending } = observed;
        if measured == 0 {
            return None;
        }
        let target = self.settings.target_milli;
        // The average is truncated to whole thousandths.
        let ratio = |sum: i64, pods: i64| (sum / pods) as f64 / target as f64;
        let near = |ratio: f64| self.near(ratio);
        let first = ratio(sum_milli, measured);
        let pending = if first > 1.0 { pending } else { 0 };
        if pending == 0 && missing == 0 {
            return Some(if near(first) { current } else { (first * measured as f64).ceil() as i64 });
        }
        // Missing pods count as idle for a scale-up and as on target for a scale-down. Pending pods
        // count as idle for a scale-up. If that reverses the direction, the replicas stay as they
        // are.
        let (mut sum, mut pods) = (sum_milli, measured + pending);
        if first < 1.0 {
            sum += missing * target;
        }
        if first != 1.0 {
            pods += missing;
        }
        let second = ratio(sum, pods);
        if near(second) || (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0) {
            return Some(current);
        }
        let replicas = (second * pods as f64).ceil() as i64;
        let turned = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
        Some(if turned { current } else { replicas })
    }

    /// The current count, raised to the lowest and lowered to the highest recommendation within the
    /// stabilization window of each direction (`stabilizeRecommendationWithBehaviors`).
    pub(crate) fn stabilize(&mut self, now: Micros, current: i64, wanted: i64) -> i64 {
        let up = now - self.settings.up.stabilization_s * SECOND;
        let down = now - self.settings.down.stabilization_s * SECOND;
        let within = |cutoff: Micros| self.recommendations.iter().filter(move |r| r.0 > cutoff).map(|r| r.1);
        let lowest = within(up).fold(wanted, i64::min);
        let highest = within(down).fold(wanted, i64::max);
        self.recommendations.retain(|r| r.0 > up.min(down));
        self.recommendations.push((now, wanted));
        current.max(lowest).min(highest)
    }

    /// Applies policies and bounds (`convertDesiredReplicasWithBehaviorRate`).
    pub(crate) fn limit(&self, now: Micros, current: i64, wanted: i64) -> i64 {
        if wanted > current {
            let most = self.bound(now, current, &self.settings.up, 1).max(current);
            wanted.min(most.min(self.settings.max))
        } else if wanted < current {
            let least = self.bound(now, current, &self.settings.down, -1).min(current);
            wanted.max(least.max(self.settings.min))
        } else {
            wanted
        }
    }

    /// The limit in a direction (1 or -1), relative to the replicas at the start of each policy's
    /// period.
    fn bound(&self, now: Micros, current: i64, rules: &Rules, direction: i64) -> i64 {
        let changed = |changes: &[(Micros, i64)], period: i64| -> i64 {
            changes.iter().filter(|c| c.0 > now - period * SECOND).map(|c| c.1).sum()
        };
        let start = |period: i64| current - changed(&self.ups, period) + changed(&self.downs, period);
        let proposals = rules.policies.iter().map(|policy| match *policy {
            Policy::Pods(pods, period) => start(period) + direction * pods,
            Policy::Percent(percent, period) if direction > 0 => {
                (start(period) as f64 * (1.0 + percent as f64 / 100.0)).ceil() as i64
            }
            Policy::Percent(percent, period) => {
                (start(period) as f64 * (1.0 - percent as f64 / 100.0)) as i64
            }
        });
        let change = |bound: &i64| direction * bound;
        let bound = match rules.select {
            Select::Disabled => None,
            Select::Max => proposals.max_by_key(change),
            Select::Min => proposals.min_by_key(change),
        };
        bound.unwrap_or(current)
    }

    /// Stores a scale event. An older event of the same direction that is beyond the longest period
    /// of that direction's policies is overwritten, although a policy of the other direction may
    /// still use it (`storeScaleEvent`).
    fn store(&mut self, now: Micros, change: i64) {
        let (rules, changes) = if change > 0 {
            (&self.settings.up, &mut self.ups)
        } else {
            (&self.settings.down, &mut self.downs)
        };
        let periods = rules.policies.iter().map(|policy| match *policy {
            Policy::Pods(_, period) | Policy::Percent(_, period) => period,
        });
        let cutoff = now - periods.max().unwrap_or(0) * SECOND;
        match changes.iter().rposition(|c| c.0 < cutoff) {
            Some(outdated) => changes[outdated] = (now, change.abs()),
            None => changes.push((now, change.abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those of the Kubernetes documentation ("Horizontal Pod Autoscaling")
    //! and of KEP-853.
    use super::*;

    /// Pods with a metric each, in the metric's unit.
    fn pods(values: &[f64]) -> Observed {
        let sum: f64 = values.iter().sum();
        Observed { sum_milli: (sum * 1000.0) as i64, measured: values.len() as i64, ..Observed::default() }
    }

    fn many(value: f64, count: i64) -> Observed {
        pods(&vec![value; count as usize])
    }

    fn hpa(change: impl Fn(&mut HpaSettings)) -> Hpa {
        let mut settings = HpaSettings::defaults(100_000, 1000);
        change(&mut settings);
        Hpa::new(settings)
    }

    #[test]
    fn twice_the_target_doubles_and_half_the_target_halves() {
        assert_eq!(hpa(|_| {}).recommendation(1, &pods(&[200.0])), Some(2));
        assert_eq!(hpa(|_| {}).recommendation(2, &pods(&[50.0, 50.0])), Some(1));
    }

    #[test]
    fn within_a_tenth_of_the_target_nothing_happens() {
        assert_eq!(hpa(|_| {}).recommendation(4, &many(109.0, 4)), Some(4));
        assert_eq!(hpa(|_| {}).recommendation(4, &many(91.0, 4)), Some(4));
        assert_eq!(hpa(|_| {}).recommendation(4, &many(112.0, 4)), Some(5));
        let strict = hpa(|s| s.up.tolerance = 0.05);
        assert_eq!(strict.recommendation(4, &many(109.0, 4)), Some(5), "tolerance per direction");
    }

    #[test]
    fn pending_pods_dampen_a_scale_up() {
        let observed = Observed { pending: 2, ..pods(&[250.0, 250.0]) };
        let wanted = hpa(|_| {}).recommendation(4, &observed);
        assert_eq!(wanted, Some(5), "500 over 100, with the two pending counted as idle");
        let observed = Observed { pending: 2, ..pods(&[150.0, 150.0]) };
        let wanted = hpa(|_| {}).recommendation(4, &observed);
        assert_eq!(wanted, Some(4), "would turn into a scale-down: nothing is done");
    }

    #[test]
    fn a_missing_metric_counts_against_the_direction() {
        let observed = Observed { missing: 2, ..pods(&[10.0, 10.0]) };
        assert_eq!(hpa(|_| {}).recommendation(4, &observed), Some(3), "20 + 2 × 100 over 100");
    }

    #[test]
    fn by_default_four_pods_or_the_double_per_15_seconds() {
        let mut a = hpa(|_| {});
        let mut replicas = 1;
        let mut seen = vec![];
        for sync in 0..5 {
            replicas = a.sync(sync * SYNC, replicas, &many(1e6, replicas));
            seen.push(replicas);
        }
        assert_eq!(seen, [5, 10, 20, 40, 80]);
    }

    #[test]
    fn by_default_a_scale_down_waits_for_five_quiet_minutes() {
        let mut a = hpa(|_| {});
        a.sync(0, 4, &many(100.0, 4));
        let down = (1..60).map(|i| i * SYNC).find(|now| a.sync(*now, 4, &many(0.0, 4)) < 4);
        assert_eq!(down, Some(300 * SECOND));
    }

    #[test]
    fn a_wish_for_fewer_pods_never_adds_any() {
        // The highest recommendation of the window is above the current count, because a policy had
        // limited the scale-up.
        let one_more = Rules {
            stabilization_s: 0,
            tolerance: TOLERANCE,
            policies: vec![Policy::Pods(4, 60)],
            select: Select::Max,
        };
        let mut a = hpa(|s| s.up = one_more.clone());
        assert_eq!(a.sync(0, 1, &pods(&[2000.0])), 5, "wants 20, may have 4 more");
        assert_eq!(a.sync(60 * SECOND, 5, &many(40.0, 5)), 5, "wants 2: keeps 5 for five minutes");
    }

    #[test]
    fn the_documented_example_of_percent_and_pods_on_the_way_down() {
        // "10 % or 4 pods a minute, whichever is more": 80 pods lose 8 and 72 pods lose 8 (7.2
        // rounded up). Below 40 pods, 4 are lost.
        let rules = Rules {
            stabilization_s: 0,
            tolerance: TOLERANCE,
            policies: vec![Policy::Pods(4, 60), Policy::Percent(10, 60)],
            select: Select::Max,
        };
        let step = |current: i64| hpa(|s| s.down = rules.clone()).sync(0, current, &many(0.0, current));
        assert_eq!((step(80), step(72), step(39), step(10)), (72, 64, 35, 6));
    }

    #[test]
    fn with_a_minimum_of_zero_the_last_pod_goes_after_five_quiet_minutes_and_comes_back() {
        let mut a = hpa(|s| s.min = 0);
        a.sync_to_zero(0, 1, 50_000, false);
        let idle = (1..60).map(|i| i * SYNC).find(|now| a.sync_to_zero(*now, 1, 0, false) == 0);
        assert_eq!(idle, Some(300 * SECOND));
        assert_eq!(a.sync_to_zero(400 * SECOND, 0, 0, false), 0);
        assert_eq!(a.sync_to_zero(415 * SECOND, 0, 0, true), 1, "one waits: one pod");
        let mut a = Hpa::at_zero(a.settings().clone());
        assert_eq!(a.sync_to_zero(0, 0, 250_000, true), 3, "or as many as the load takes");
        assert_eq!(hpa(|s| s.min = 0).sync_to_zero(0, 0, 0, true), 0, "not where someone else set zero");
    }

    #[test]
    fn kep_853_as_fast_as_possible_is_a_factor_of_ten_a_minute() {
        let rules = Rules {
            stabilization_s: 0,
            tolerance: TOLERANCE,
            policies: vec![Policy::Percent(900, 60)],
            select: Select::Max,
        };
        let mut a = hpa(|s| s.up = rules.clone());
        let mut replicas = 1;
        for minute in 0..3 {
            let now = minute * 60 * SECOND;
            replicas = a.sync(now, replicas, &many(1e6, replicas));
            // No further change is allowed within the minute.
            assert_eq!(a.sync(now + SYNC, replicas, &many(1e6, replicas)), replicas);
        }
        assert_eq!(replicas, 1000);
    }

    #[test]
    fn bounds_hold_and_without_any_metric_nothing_changes() {
        assert_eq!(hpa(|s| s.max = 3).sync(0, 1, &pods(&[1e6])), 3);
        assert_eq!(hpa(|_| {}).sync(0, 7, &Observed { pending: 7, ..Observed::default() }), 7);
        assert_eq!(hpa(|_| {}).sync(0, 0, &pods(&[])), 0, "zero is left alone");
    }
}
