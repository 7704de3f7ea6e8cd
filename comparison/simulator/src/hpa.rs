//! The horizontal pod autoscaler (`autoscaling/v2`, kube-controller-manager) on a Pods metric with `AverageValue`: tolerance,
//! pods that are not ready, behaviour policies and stabilisation windows, as documented and as in `replica_calculator.go`.

/// `--horizontal-pod-autoscaler-sync-period`.
pub const SYNC_S: f64 = 15.0;

/// One policy of a behaviour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// Up to this many pods in the period (seconds).
    Pods(f64, f64),
    /// Up to this many per cent in the period (seconds).
    Percent(f64, f64),
}

/// Scaling rules of one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `stabilizationWindowSeconds`.
    pub stabilization_s: f64,
    /// `tolerance`: how far from the target is near enough.
    pub tolerance: f64,
    /// `policies`, of which the one allowing the largest change counts (`selectPolicy: Max`).
    pub policies: Vec<Policy>,
}

/// Settings of one object; the defaults are Kubernetes'.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSettings {
    /// `averageValue` of the metric.
    pub target: f64,
    /// `minReplicas`.
    pub min: u32,
    /// `maxReplicas`.
    pub max: u32,
    /// `behavior.scaleUp`.
    pub up: Rules,
    /// `behavior.scaleDown`.
    pub down: Rules,
}

impl HpaSettings {
    /// Kubernetes' defaults: double or four pods per 15 s without delay; down by anything after five quiet minutes.
    pub fn defaults(target: f64, max: u32) -> Self {
        let up = Rules {
            stabilization_s: 0.0,
            tolerance: 0.1,
            policies: vec![Policy::Percent(100.0, 15.0), Policy::Pods(4.0, 15.0)],
        };
        let down =
            Rules { stabilization_s: 300.0, tolerance: 0.1, policies: vec![Policy::Percent(100.0, 15.0)] };
        Self { target, min: 1, max, up, down }
    }
}

/// What the HPA knows of the pods at one sync.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Metric of each ready pod that has one.
    pub ready: Vec<f64>,
    /// Ready pods without a metric.
    pub missing: usize,
    /// Pods that are not ready (pending, starting).
    pub unready: usize,
}

/// The controller's memory for one object.
#[derive(Debug, Clone)]
pub struct Hpa {
    settings: HpaSettings,
    recommendations: Vec<(f64, u32)>,
    /// Changes made: `(when, by how many)`, upwards positive.
    changes: Vec<(f64, f64)>,
}

impl Hpa {
    /// A new object without history.
    pub fn new(settings: HpaSettings) -> Self {
        Self { settings, recommendations: Vec::new(), changes: Vec::new() }
    }

    /// One sync: the replicas to set.
    pub fn sync(&mut self, now: f64, current: u32, observed: &Observed) -> u32 {
        let wanted = self.recommendation(current, observed);
        let stabilised = self.stabilise(now, current, wanted);
        let limited = self.limit(now, current, stabilised);
        let replicas = limited.clamp(self.settings.min, self.settings.max);
        if replicas != current {
            self.changes.push((now, f64::from(replicas) - f64::from(current)));
        }
        replicas
    }

    /// The metric's verdict, before behaviour and bounds.
    pub fn recommendation(&self, current: u32, observed: &Observed) -> u32 {
        let Observed { ready, missing, unready } = observed;
        if ready.is_empty() {
            return current;
        }
        let sum: f64 = ready.iter().sum();
        let ratio = |sum: f64, pods: usize| sum / pods as f64 / self.settings.target;
        let near = |ratio: f64| {
            let tolerance =
                if ratio > 1.0 { self.settings.up.tolerance } else { self.settings.down.tolerance };
            (1.0 - ratio).abs() <= tolerance
        };
        let first = ratio(sum, ready.len());
        let rebalance = *unready > 0 && first > 1.0;
        if !rebalance && *missing == 0 {
            return if near(first) { current } else { (first * ready.len() as f64).ceil() as u32 };
        }
        // Missing pods count as idle on the way up and as on target on the way down; pods that are not ready
        // count as idle on the way up. If that turns the direction round, nothing is done.
        let mut pods = ready.len() + missing;
        let mut total = sum;
        if first < 1.0 {
            total += *missing as f64 * self.settings.target;
        }
        if rebalance {
            pods += unready;
        }
        let second = ratio(total, pods);
        if near(second) || (first < 1.0) != (second < 1.0) {
            return current;
        }
        let replicas = (second * pods as f64).ceil() as u32;
        let turned = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
        if turned { current } else { replicas }
    }

    /// Up: the lowest recommendation of the window; down: the highest.
    fn stabilise(&mut self, now: f64, current: u32, wanted: u32) -> u32 {
        let (up, down) = (self.settings.up.stabilization_s, self.settings.down.stabilization_s);
        let within =
            |window: f64| self.recommendations.iter().filter(move |r| r.0 > now - window).map(|r| r.1);
        let stabilised = if wanted >= current {
            within(up).fold(wanted, u32::min)
        } else {
            within(down).fold(wanted, u32::max)
        };
        self.recommendations.retain(|r| r.0 >= now - up.max(down));
        self.recommendations.push((now, wanted));
        stabilised
    }

    /// The policies: how far it may go from where it was at the start of each policy's period.
    fn limit(&self, now: f64, current: u32, wanted: u32) -> u32 {
        let changed = |period: f64, sign: f64| {
            let recent = self.changes.iter().filter(|c| c.0 > now - period && c.1 * sign > 0.0);
            recent.map(|c| c.1.abs()).sum::<f64>()
        };
        let here = f64::from(current);
        if wanted > current {
            let bound = |policy: &Policy| match *policy {
                Policy::Pods(pods, period) => here - changed(period, 1.0) + pods,
                Policy::Percent(percent, period) => {
                    ((here - changed(period, 1.0)) * (1.0 + percent / 100.0)).ceil()
                }
            };
            let most = self.settings.up.policies.iter().map(bound).fold(0.0, f64::max).max(here);
            wanted.min(most as u32)
        } else if wanted < current {
            let bound = |policy: &Policy| match *policy {
                Policy::Pods(pods, period) => here + changed(period, -1.0) - pods,
                Policy::Percent(percent, period) => {
                    ((here + changed(period, -1.0)) * (1.0 - percent / 100.0)).floor()
                }
            };
            let least = self.settings.down.policies.iter().map(bound).fold(f64::MAX, f64::min).min(here);
            wanted.max(least.max(0.0) as u32)
        } else {
            wanted
        }
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those of the Kubernetes documentation ("Horizontal Pod Autoscaling") and of KEP-853.
    use super::*;

    fn pods(values: &[f64]) -> Observed {
        Observed { ready: values.to_vec(), ..Observed::default() }
    }

    fn hpa(change: impl Fn(&mut HpaSettings)) -> Hpa {
        let mut settings = HpaSettings::defaults(100.0, 1000);
        change(&mut settings);
        Hpa::new(settings)
    }

    #[test]
    fn twice_the_target_doubles_and_half_the_target_halves() {
        assert_eq!(hpa(|_| {}).recommendation(1, &pods(&[200.0])), 2);
        assert_eq!(hpa(|_| {}).recommendation(2, &pods(&[50.0, 50.0])), 1);
    }

    #[test]
    fn within_a_tenth_of_the_target_nothing_happens() {
        assert_eq!(hpa(|_| {}).recommendation(4, &pods(&[109.0; 4])), 4);
        assert_eq!(hpa(|_| {}).recommendation(4, &pods(&[91.0; 4])), 4);
        assert_eq!(hpa(|_| {}).recommendation(4, &pods(&[112.0; 4])), 5);
        assert_eq!(
            hpa(|s| s.up.tolerance = 0.05).recommendation(4, &pods(&[109.0; 4])),
            5,
            "tolerance per direction"
        );
    }

    #[test]
    fn pods_that_are_not_ready_dampen_a_scale_up() {
        let observed = Observed { ready: vec![250.0, 250.0], unready: 2, ..Observed::default() };
        assert_eq!(
            hpa(|_| {}).recommendation(4, &observed),
            5,
            "500 over 100, with the two unready counted as idle"
        );
        let observed = Observed { ready: vec![150.0, 150.0], unready: 2, ..Observed::default() };
        assert_eq!(
            hpa(|_| {}).recommendation(4, &observed),
            4,
            "would turn into a scale-down: nothing is done"
        );
    }

    #[test]
    fn a_missing_metric_counts_against_the_direction() {
        let observed = Observed { ready: vec![10.0, 10.0], missing: 2, ..Observed::default() };
        assert_eq!(hpa(|_| {}).recommendation(4, &observed), 3, "20 + 2 × 100 over 100");
    }

    #[test]
    fn by_default_four_pods_or_the_double_per_15_seconds() {
        let mut a = hpa(|_| {});
        let mut replicas = 1;
        let mut seen = vec![];
        for sync in 0..5 {
            replicas = a.sync(f64::from(sync) * SYNC_S, replicas, &pods(&vec![1e9; replicas as usize]));
            seen.push(replicas);
        }
        assert_eq!(seen, [5, 10, 20, 40, 80]);
    }

    #[test]
    fn by_default_a_scale_down_waits_for_five_quiet_minutes() {
        let mut a = hpa(|_| {});
        a.sync(0.0, 4, &pods(&[100.0; 4]));
        let down = (1..60).map(|i| f64::from(i) * SYNC_S).find(|now| a.sync(*now, 4, &pods(&[0.0; 4])) < 4);
        assert_eq!(down, Some(300.0));
    }

    #[test]
    fn the_documented_example_of_percent_and_pods_on_the_way_down() {
        // "10 % or 4 pods a minute, whichever is more": 80 pods lose 8, 72 lose 8 (7.2 rounded up), below 40 it is 4.
        let policies = vec![Policy::Pods(4.0, 60.0), Policy::Percent(10.0, 60.0)];
        let rules = Rules { stabilization_s: 0.0, tolerance: 0.1, policies };
        let step = |current: u32| {
            hpa(|s| s.down = rules.clone()).sync(0.0, current, &pods(&vec![0.0; current as usize]))
        };
        assert_eq!((step(80), step(72), step(39), step(10)), (72, 64, 35, 6));
    }

    #[test]
    fn kep_853_as_fast_as_possible_is_a_factor_of_ten_a_minute() {
        let rules =
            Rules { stabilization_s: 0.0, tolerance: 0.1, policies: vec![Policy::Percent(900.0, 60.0)] };
        let mut a = hpa(|s| s.up = rules.clone());
        let mut replicas = 1;
        for minute in 0..3 {
            replicas = a.sync(f64::from(minute) * 60.0, replicas, &pods(&vec![1e9; replicas as usize]));
            // Within the minute nothing more is allowed.
            assert_eq!(
                a.sync(f64::from(minute) * 60.0 + 15.0, replicas, &pods(&vec![1e9; replicas as usize])),
                replicas
            );
        }
        assert_eq!(replicas, 1000);
    }

    #[test]
    fn bounds_hold_and_without_any_metric_nothing_changes() {
        assert_eq!(hpa(|s| s.max = 3).sync(0.0, 1, &pods(&[1e9])), 3);
        assert_eq!(hpa(|_| {}).sync(0.0, 7, &Observed { unready: 7, ..Observed::default() }), 7);
    }
}
