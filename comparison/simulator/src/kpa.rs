//! Knative's pod autoscaler as its documentation and source (serving 1.19 and later) describe it: two sliding windows,
//! panic mode, rate limits, scale-down delay and the way to zero.

use std::collections::VecDeque;

/// Evaluation period (`tick-interval` of the autoscaler).
pub const TICK_S: f64 = 2.0;

/// Settings, under their Knative names; the defaults are Knative's.
#[derive(Debug, Clone, PartialEq)]
pub struct KpaSettings {
    /// Concurrency a pod is meant to hold: target × target utilisation.
    pub target: f64,
    /// `autoscaling.knative.dev/window`, seconds.
    pub stable_window_s: f64,
    /// `panic-window-percentage`.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`.
    pub panic_threshold_percentage: f64,
    /// `max-scale-up-rate`.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`.
    pub max_scale_down_rate: f64,
    /// `min-scale` and `max-scale` (0: no limit).
    pub min_scale: u32,
    /// See `min_scale`.
    pub max_scale: u32,
    /// `activation-scale`.
    pub activation_scale: u32,
    /// `scale-down-delay`, seconds.
    pub scale_down_delay_s: f64,
    /// `scale-to-zero-grace-period`, seconds.
    pub grace_period_s: f64,
    /// `scale-to-zero-pod-retention-period`, seconds.
    pub pod_retention_s: f64,
    /// `target-burst-capacity`; -1 keeps the activator in the path always, 0 only at zero pods.
    pub target_burst_capacity: f64,
}

impl KpaSettings {
    /// Knative's defaults with this effective target.
    pub fn defaults(target: f64) -> Self {
        Self {
            target,
            stable_window_s: 60.0,
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            min_scale: 0,
            max_scale: 0,
            activation_scale: 1,
            scale_down_delay_s: 0.0,
            grace_period_s: 30.0,
            pod_retention_s: 0.0,
            target_burst_capacity: 211.0,
        }
    }
}

/// Average concurrency, a bucket a second, over the last seconds.
#[derive(Debug, Clone)]
pub struct Window {
    seconds: usize,
    buckets: VecDeque<f64>,
}

impl Window {
    /// An empty window of this length.
    pub fn new(seconds: f64) -> Self {
        Self { seconds: seconds.ceil().max(1.0) as usize, buckets: VecDeque::new() }
    }

    /// Adds the average concurrency of the last second.
    pub fn record(&mut self, concurrency: f64) {
        self.buckets.push_back(concurrency);
        if self.buckets.len() > self.seconds {
            self.buckets.pop_front();
        }
    }

    /// Average over what there is: a window that is not full yet is averaged over the part that is.
    pub fn average(&self) -> f64 {
        self.buckets.iter().sum::<f64>() / self.buckets.len().max(1) as f64
    }

    /// Starts over, as after a whole window without data.
    pub fn clear(&mut self) {
        self.buckets.clear();
    }
}

/// The autoscaler of one revision.
#[derive(Debug, Clone)]
pub struct Kpa {
    settings: KpaSettings,
    panic_since: Option<f64>,
    max_panic_pods: f64,
    /// Recent decisions, for the scale-down delay.
    decisions: VecDeque<(f64, f64)>,
    active_since: f64,
    inactive_since: Option<f64>,
    /// Since when the activator has been in the path.
    proxy_since: Option<f64>,
}

impl Kpa {
    /// A revision that has just become active.
    pub fn new(settings: KpaSettings) -> Self {
        Self {
            settings,
            panic_since: None,
            max_panic_pods: 0.0,
            decisions: VecDeque::new(),
            active_since: 0.0,
            inactive_since: None,
            proxy_since: None,
        }
    }

    /// Whether it is in panic mode.
    pub fn panicking(&self) -> bool {
        self.panic_since.is_some()
    }

    /// The first request at zero pods.
    pub fn activate(&mut self, now: f64) {
        self.active_since = now;
        self.inactive_since = None;
    }

    /// The pods it would like, from both windows' averages and the pods that are ready. Without bounds and zero handling.
    pub fn desired(&mut self, now: f64, stable: f64, panic: f64, ready: u32) -> u32 {
        let s = &self.settings;
        let ready_or_one = f64::from(ready.max(1));
        let most = (s.max_scale_up_rate * ready_or_one).ceil();
        let least = (ready_or_one / s.max_scale_down_rate).floor();
        let wanted_stable = (stable / s.target).ceil();
        let wanted_panic = (panic / s.target).ceil();
        let limited = |wanted: f64| {
            let bounded = wanted.max(least).min(most);
            if wanted > 0.0 { bounded.max(f64::from(s.activation_scale)) } else { bounded }
        };
        let over = wanted_panic / ready_or_one >= s.panic_threshold_percentage / 100.0;
        if over {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| since + s.stable_window_s < now) {
            self.panic_since = None;
            self.max_panic_pods = 0.0;
        }
        let mut desired = limited(wanted_stable);
        if self.panic_since.is_some() {
            // Nothing is taken away in a panic.
            self.max_panic_pods = self.max_panic_pods.max(desired).max(limited(wanted_panic));
            desired = self.max_panic_pods;
        }
        if s.scale_down_delay_s > 0.0 {
            self.decisions.push_back((now, desired));
            let oldest = now - s.scale_down_delay_s;
            while self.decisions.front().is_some_and(|d| d.0 < oldest) {
                self.decisions.pop_front();
            }
            desired = self.decisions.iter().map(|d| d.1).fold(desired, f64::max);
        }
        desired as u32
    }

    /// What is applied: bounds, and the way to zero (idle for a stable window, then the grace period with the activator in
    /// the path, then the retention period).
    pub fn applied(&mut self, now: f64, desired: u32, current: u32, ready: u32, panic: f64) -> u32 {
        let s = &self.settings;
        // Excess burst capacity below zero puts the activator into the path.
        let excess = f64::from(ready) * s.target - s.target_burst_capacity - panic;
        let proxied = match s.target_burst_capacity {
            burst if burst < 0.0 => true,
            0.0 => self.inactive_since.is_some() || current == 0,
            _ => excess < 0.0,
        };
        self.proxy_since = if proxied { self.proxy_since.or(Some(now)) } else { None };
        let mut bounded = desired.max(s.min_scale);
        if s.max_scale > 0 {
            bounded = bounded.min(s.max_scale);
        }
        if bounded > 0 {
            if self.inactive_since.take().is_some() {
                self.active_since = now;
            }
            return bounded;
        }
        if current == 0 {
            return 0;
        }
        let Some(inactive_since) = self.inactive_since else {
            if now - self.active_since < s.stable_window_s {
                return 1;
            }
            self.inactive_since = Some(now);
            return current;
        };
        let inactive = now - inactive_since;
        let proxied_for = self.proxy_since.map_or(0.0, |since| now - since);
        let gone = inactive >= s.grace_period_s.max(s.pod_retention_s)
            || (inactive >= s.pod_retention_s && proxied_for >= s.grace_period_s);
        if gone { 0 } else { current }
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those of the tables in knative/serving `pkg/autoscaler/scaling/autoscaler_test.go` and of its
    //! documentation, not this module's own.
    use super::*;

    fn kpa(target: f64, change: impl Fn(&mut KpaSettings)) -> Kpa {
        let mut settings = KpaSettings {
            max_scale_up_rate: 10.0,
            max_scale_down_rate: 10.0,
            ..KpaSettings::defaults(target)
        };
        change(&mut settings);
        Kpa::new(settings)
    }

    #[test]
    fn stable_mode_follows_the_average_over_the_target() {
        let mut a = kpa(10.0, |_| {});
        assert_eq!(a.desired(0.0, 50.0, 10.0, 1), 5);
        assert_eq!(a.desired(0.0, 100.0, 10.0, 1), 10);
        let mut a = kpa(10.0, |_| {});
        assert_eq!(a.desired(0.0, 100.0, 100.0, 8), 10);
        assert_eq!(a.desired(0.0, 50.0, 50.0, 8), 5);
    }

    #[test]
    fn panic_begins_at_twice_the_capacity_and_ends_after_a_quiet_stable_window() {
        let mut a = kpa(1.0, |_| {});
        assert_eq!(a.desired(0.0, 11.0, 25.0, 10), 25);
        assert!(a.panicking());
        assert_eq!(a.desired(30.0, 30.0, 41.0, 40), 41, "still in panic, the window is not over");
        assert_eq!(a.desired(62.0, 50.0, 56.0, 55), 50, "no longer");
        assert!(!a.panicking());
    }

    #[test]
    fn a_second_surge_extends_the_panic() {
        let mut a = kpa(1.0, |_| {});
        a.desired(0.0, 11.0, 25.0, 10);
        assert_eq!(a.desired(30.0, 30.0, 80.0, 40), 80);
        a.desired(62.0, 50.0, 56.0, 80);
        assert!(a.panicking(), "counted from the second surge");
    }

    #[test]
    fn nothing_is_taken_away_in_panic() {
        let mut a = kpa(1.0, |_| {});
        assert_eq!(a.desired(0.0, 6.0, 6.0, 1), 6);
        assert_eq!(a.desired(2.0, 1.0, 1.0, 6), 6);
    }

    #[test]
    fn growth_is_limited_to_the_scale_up_rate_and_shrinking_to_the_scale_down_rate() {
        let mut a = kpa(1.0, |s| s.max_scale_up_rate = 10.0);
        assert_eq!(a.desired(0.0, 1000.0, 1000.0, 1), 10);
        let mut a = kpa(1.0, |s| s.max_scale_down_rate = 2.0);
        assert_eq!(a.desired(0.0, 1.0, 1.0, 100), 50);
    }

    #[test]
    fn the_scale_down_delay_keeps_the_highest_recent_decision() {
        let mut a = kpa(10.0, |s| {
            s.scale_down_delay_s = 300.0;
            s.panic_threshold_percentage = 10_000.0;
        });
        assert_eq!(a.desired(2.0, 40.0, 40.0, 0), 4);
        assert_eq!(a.desired(300.0, 0.0, 0.0, 0), 4);
        assert_eq!(a.desired(303.0, 0.0, 0.0, 0), 0);
    }

    #[test]
    fn activation_scale_floors_any_scale_but_zero() {
        let mut a = kpa(10.0, |s| s.activation_scale = 2);
        assert_eq!(a.desired(0.0, 0.0, 0.0, 1), 0);
        assert_eq!(a.desired(0.0, 1.0, 0.0, 1), 2);
    }

    #[test]
    fn windows_average_over_what_they_have() {
        let mut window = Window::new(60.0);
        (0..6).for_each(|_| window.record(10.0));
        assert_eq!(window.average(), 10.0);
        (0..54).for_each(|_| window.record(0.0));
        assert_eq!(window.average(), 1.0);
    }

    /// Steps a revision with one pod and no traffic until it is at zero.
    fn seconds_to_zero(change: impl Fn(&mut KpaSettings)) -> f64 {
        let mut a = kpa(2.0, change);
        a.activate(0.0);
        (1..200)
            .map(|i| f64::from(i) * TICK_S)
            .find(|now| a.applied(*now, 0, 1, 1, 0.0) == 0)
            .expect("it gets to zero")
    }

    #[test]
    fn with_the_activator_always_in_the_path_zero_comes_right_after_the_window() {
        // 211 burst capacity over a target of 2: the activator has long been in the path, its grace period is over.
        assert!((60.0..=64.0).contains(&seconds_to_zero(|_| {})));
    }

    #[test]
    fn with_the_activator_out_of_the_path_zero_waits_for_the_grace_period() {
        assert!((90.0..=94.0).contains(&seconds_to_zero(|s| s.target_burst_capacity = 0.0)));
    }

    #[test]
    fn pod_retention_keeps_the_last_pod_longer() {
        assert!((120.0..=124.0).contains(&seconds_to_zero(|s| s.pod_retention_s = 60.0)));
    }

    #[test]
    fn bounds_hold() {
        let mut a = kpa(1.0, |s| (s.min_scale, s.max_scale) = (1, 5));
        assert_eq!(a.applied(0.0, 9, 1, 1, 0.0), 5);
        assert_eq!(a.applied(500.0, 0, 1, 1, 0.0), 1);
    }
}
