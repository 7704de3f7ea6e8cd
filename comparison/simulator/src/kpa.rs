//! Knative's pod autoscaler (serving 1.23): `pkg/autoscaler` (aggregation windows, panic mode,
//! rates, scale-down delay), and from `pkg/reconciler/autoscaling/kpa` the scaler and the activity
//! rules (bounds, scale to zero, activator in or out of the path).
//!
//! Decisions are compared with that code itself: see `oracles/kpa` and `tests/conformance.rs`.

mod settings;
mod window;

use crate::time::{Micros, SECOND};
pub use settings::KpaSettings;
use window::DelayWindow;
pub use window::Window;

/// Evaluation period (`tickInterval` of the autoscaler).
pub const TICK: Micros = 2 * SECOND;
/// `progress-deadline` plus the buffer that the scaler adds: the time within which a revision has
/// to become active.
const ACTIVATION_TIMEOUT: Micros = (600 + 30) * SECOND;
/// `scaleUnknown`: no decision yet.
const UNKNOWN: i64 = -1;

/// Whether a revision is active, and since when (the PodAutoscaler's `Active` condition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Active(Micros),
    Activating(Micros),
    /// The flag tells whether the revision failed to become active within [`ACTIVATION_TIMEOUT`].
    Inactive(Micros, bool),
}

/// The autoscaler of one revision: the number of pods it decides, and how it is applied.
#[derive(Debug, Clone)]
pub struct Kpa {
    settings: KpaSettings,
    stable: Window,
    panic: Window,
    panic_since: Option<Micros>,
    max_panic_pods: i64,
    delay: Option<DelayWindow>,
    /// The desired number of pods; -1 before the first data.
    desired: i64,
    /// Spare capacity beyond the target burst capacity. If it is negative, the activator is in the
    /// path.
    pub(crate) excess: i64,
    activity: Activity,
    /// Since when the activator has been in the path.
    proxied_since: Option<Micros>,
}

impl Kpa {
    /// The autoscaler of a revision with `ready` ready pods. With more than one, it starts
    /// in panic mode and removes no pod before it has enough data.
    pub fn new(settings: KpaSettings, now: Micros, ready: i64) -> Self {
        Self {
            stable: Window::new(settings.stable_window_s),
            panic: Window::new(settings.panic_window_s()),
            panic_since: (ready > 1).then_some(now),
            max_panic_pods: ready,
            delay: (settings.scale_down_delay_s > 0.0).then(|| DelayWindow::new(settings.scale_down_delay_s)),
            desired: UNKNOWN,
            excess: 0,
            activity: if ready > 0 { Activity::Active(now) } else { Activity::Inactive(now, false) },
            proxied_since: Some(now),
            settings,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &KpaSettings {
        &self.settings
    }

    /// Whether it is in panic mode.
    pub fn panicking(&self) -> bool {
        self.panic_since.is_some()
    }

    /// Whether the activator is in the path of requests.
    pub fn proxied(&self) -> bool {
        self.proxied_since.is_some()
    }

    /// The desired number of pods; -1 before the first data.
    pub fn desired(&self) -> i64 {
        self.desired
    }

    /// Average concurrency over the panic window.
    pub fn panic_average(&self, now: Micros) -> f64 {
        self.panic.average(now)
    }

    /// Concurrency of the last second, summed over pods and activator.
    pub fn record(&mut self, now: Micros, concurrency: f64) {
        self.stable.record(now, concurrency);
        self.panic.record(now, concurrency);
    }

    /// One evaluation (`autoscaler.Scale`). Without data it changes nothing.
    pub fn evaluate(&mut self, now: Micros, ready: i64) {
        if !self.stable.is_empty(now) {
            let (stable, panic) = (self.stable.average(now), self.panic.average(now));
            self.scale(now, stable, panic, ready);
        }
    }

    /// The same, with the windows' averages given.
    pub fn scale(&mut self, now: Micros, stable: f64, panic: f64, ready: i64) {
        let s = &self.settings;
        let ready_or_one = ready.max(1) as f64;
        let most = (s.max_scale_up_rate * ready_or_one).ceil();
        let least = (ready_or_one / s.max_scale_down_rate).floor();
        let wanted_stable = (stable / s.target()).ceil();
        let wanted_panic = (panic / s.target()).ceil();
        let limited = |wanted: f64| {
            let bounded = wanted.max(least).min(most) as i64;
            if s.activation_scale > 1 && wanted > 0.0 { bounded.max(s.activation_scale) } else { bounded }
        };
        let (limited_stable, limited_panic) = (limited(wanted_stable), limited(wanted_panic));
        let over = wanted_panic / ready_or_one >= s.panic_threshold_percentage / 100.0;
        if over {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| since + crate::time::micros(s.stable_window_s) < now) {
            self.panic_since = None;
            self.max_panic_pods = 0;
        }
        let mut desired = limited_stable;
        if self.panic_since.is_some() {
            // Panic mode never scales down.
            self.max_panic_pods = self.max_panic_pods.max(desired).max(limited_panic);
            desired = self.max_panic_pods;
        }
        if let Some(delay) = &mut self.delay {
            desired = delay.record(now, desired);
        }
        self.desired = desired;
        self.excess = match s.target_burst_capacity {
            0.0 => 0,
            burst if burst > 0.0 => (ready as f64 * s.total - burst - panic).floor() as i64,
            _ => -1,
        };
    }

    /// One reconciliation (`Reconciler.ReconcileKind`) with `current` pods set and `ready` pods
    /// ready: the pods to set.
    pub fn reconcile(&mut self, now: Micros, current: i64, ready: i64) -> i64 {
        let (want, apply) = self.bounded(now);
        let mut applied = current;
        if apply {
            applied = want;
        }
        let serve = want > 0 && self.excess >= 0;
        self.proxied_since = if serve { None } else { self.proxied_since.or(Some(now)) };
        let enough = ready >= self.settings.min_scale.max(1);
        let inactive = matches!(self.activity, Activity::Inactive(..));
        // A condition that does not change keeps its transition time.
        if want == 0 {
            let failed = matches!(self.activity, Activity::Activating(_));
            if !matches!(self.activity, Activity::Inactive(_, was) if was == failed) {
                self.activity = Activity::Inactive(now, failed);
            }
        } else if want < 0 && inactive {
            if !enough {
                self.mark_no_traffic(now);
            }
        } else if enough {
            if !matches!(self.activity, Activity::Active(_)) {
                self.activity = Activity::Active(now);
            }
        } else if !matches!(self.activity, Activity::Activating(_)) {
            self.activity = Activity::Activating(now);
        }
        applied
    }

    fn mark_no_traffic(&mut self, now: Micros) {
        if !matches!(self.activity, Activity::Inactive(_, false)) {
            self.activity = Activity::Inactive(now, false);
        }
    }

    /// The desired pods within the bounds, and whether they are applied now (`scaler.scale`,
    /// `handleScaleToZero`).
    fn bounded(&self, now: Micros) -> (i64, bool) {
        let s = &self.settings;
        let activating = matches!(self.activity, Activity::Activating(_));
        if self.desired < 0 && !activating {
            return (self.desired, false);
        }
        let mut desired = self.desired.max(s.min_scale);
        if s.max_scale > 0 {
            desired = desired.min(s.max_scale);
        }
        if desired != 0 {
            return (desired, true);
        }
        let [stable, grace, retention] =
            [s.stable_window_s, s.grace_period_s, s.pod_retention_s].map(crate::time::micros);
        match self.activity {
            Activity::Activating(since) if now - since > ACTIVATION_TIMEOUT => (0, true),
            Activity::Activating(_) => (UNKNOWN, false),
            Activity::Active(since) if now - since >= stable => (0, false),
            Activity::Active(_) => (1, true),
            Activity::Inactive(since, _) => {
                let inactive = now - since;
                let proxied = self.proxied_since.map_or(0, |since| now - since);
                let backed = s.target_burst_capacity == -1.0 || self.proxied();
                let gone = inactive >= grace.max(retention) || (inactive >= retention && proxied >= grace);
                (0, backed && gone)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are from the tables in knative/serving
    //! `pkg/autoscaler/scaling/autoscaler_test.go` and from its documentation, not from this
    //! module.
    use super::*;

    fn kpa(target: f64, change: impl Fn(&mut KpaSettings)) -> Kpa {
        let mut settings = KpaSettings {
            utilization: 1.0,
            max_scale_up_rate: 10.0,
            max_scale_down_rate: 10.0,
            ..KpaSettings::defaults(target)
        };
        change(&mut settings);
        Kpa::new(settings, 0, 1)
    }

    fn scaled(a: &mut Kpa, second: i64, stable: f64, panic: f64, ready: i64) -> i64 {
        a.scale(second * SECOND, stable, panic, ready);
        a.desired()
    }

    #[test]
    fn stable_mode_follows_the_average_over_the_target() {
        let mut a = kpa(10.0, |_| {});
        assert_eq!(scaled(&mut a, 0, 50.0, 10.0, 1), 5);
        assert_eq!(scaled(&mut a, 0, 100.0, 10.0, 1), 10);
        let mut a = kpa(10.0, |_| {});
        assert_eq!(scaled(&mut a, 0, 100.0, 100.0, 8), 10);
        assert_eq!(scaled(&mut a, 0, 50.0, 50.0, 8), 5);
    }

    #[test]
    fn panic_begins_at_twice_the_capacity_and_ends_after_a_quiet_stable_window() {
        let mut a = kpa(1.0, |_| {});
        assert_eq!(scaled(&mut a, 0, 11.0, 25.0, 10), 25);
        assert!(a.panicking());
        assert_eq!(scaled(&mut a, 30, 30.0, 41.0, 40), 41, "still in panic, the window is not over");
        assert_eq!(scaled(&mut a, 62, 50.0, 56.0, 55), 50, "no longer");
        assert!(!a.panicking());
    }

    #[test]
    fn a_second_surge_extends_the_panic() {
        let mut a = kpa(1.0, |_| {});
        scaled(&mut a, 0, 11.0, 25.0, 10);
        assert_eq!(scaled(&mut a, 30, 30.0, 80.0, 40), 80);
        scaled(&mut a, 62, 50.0, 56.0, 80);
        assert!(a.panicking(), "counted from the second surge");
    }

    #[test]
    fn nothing_is_taken_away_in_panic() {
        let mut a = kpa(1.0, |_| {});
        assert_eq!(scaled(&mut a, 0, 6.0, 6.0, 1), 6);
        assert_eq!(scaled(&mut a, 2, 1.0, 1.0, 6), 6);
    }

    #[test]
    fn growth_is_limited_to_the_scale_up_rate_and_shrinking_to_the_scale_down_rate() {
        let mut a = kpa(1.0, |s| s.max_scale_up_rate = 10.0);
        assert_eq!(scaled(&mut a, 0, 1000.0, 1000.0, 1), 10);
        let mut a = kpa(1.0, |s| s.max_scale_down_rate = 2.0);
        assert_eq!(scaled(&mut a, 0, 1.0, 1.0, 100), 50);
    }

    #[test]
    fn the_scale_down_delay_keeps_the_highest_recent_decision() {
        let mut a = kpa(10.0, |s| {
            s.scale_down_delay_s = 300.0;
            s.panic_threshold_percentage = 10_000.0;
        });
        assert_eq!(scaled(&mut a, 2, 40.0, 40.0, 0), 4);
        assert_eq!(scaled(&mut a, 300, 0.0, 0.0, 0), 4);
        assert_eq!(scaled(&mut a, 303, 0.0, 0.0, 0), 0);
    }

    #[test]
    fn activation_scale_floors_any_scale_but_zero() {
        let mut a = kpa(10.0, |s| s.activation_scale = 2);
        assert_eq!(scaled(&mut a, 0, 0.0, 0.0, 1), 0);
        assert_eq!(scaled(&mut a, 0, 1.0, 0.0, 1), 2);
    }

    #[test]
    fn an_autoscaler_that_finds_pods_begins_in_panic_and_keeps_them() {
        let mut a = Kpa::new(KpaSettings::defaults(1.0), 0, 6);
        assert_eq!(scaled(&mut a, 2, 0.0, 0.0, 6), 6);
        assert_eq!(scaled(&mut a, 62, 0.0, 0.0, 6), 3, "after a stable window, by at most half");
    }

    /// Steps a revision with one pod and no traffic until it has zero pods.
    fn seconds_to_zero(change: impl Fn(&mut KpaSettings)) -> i64 {
        let mut a = kpa(2.0, change);
        let at_zero = |i: &i64| {
            let now = i * TICK;
            a.record(now, 0.0);
            a.evaluate(now, 1);
            a.reconcile(now, 1, 1) == 0
        };
        (1..200).find(at_zero).expect("it gets to zero") * TICK / SECOND
    }

    #[test]
    fn with_the_activator_always_in_the_path_zero_comes_right_after_the_window() {
        // 211 burst capacity with a target of 2: the activator has long been in the path, and its
        // grace period is over.
        assert!((60..=64).contains(&seconds_to_zero(|_| {})));
    }

    #[test]
    fn with_the_activator_out_of_the_path_zero_waits_for_the_grace_period() {
        assert!((90..=94).contains(&seconds_to_zero(|s| s.target_burst_capacity = 0.0)));
    }

    #[test]
    fn pod_retention_keeps_the_last_pod_longer() {
        assert!((120..=124).contains(&seconds_to_zero(|s| s.pod_retention_s = 60.0)));
    }

    #[test]
    fn bounds_hold() {
        let mut a = kpa(1.0, |s| (s.min_scale, s.max_scale) = (1, 5));
        scaled(&mut a, 0, 9.0, 0.0, 9);
        assert_eq!(a.reconcile(0, 1, 1), 5);
        scaled(&mut a, 500, 0.0, 0.0, 1);
        assert_eq!(a.reconcile(500 * SECOND, 1, 1), 1);
    }
}
