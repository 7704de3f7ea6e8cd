//! What can be set of the pod autoscaler.

/// Settings, under their Knative names.
#[derive(Debug, Clone, PartialEq)]
pub struct KpaSettings {
    /// Concurrency limit of a pod: `target` or `containerConcurrency`.
    pub total: f64,
    /// Share of that limit that the autoscaler aims for: `target-utilization-percentage` / 100.
    pub utilization: f64,
    /// `window`, seconds.
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
    pub min_scale: i64,
    /// See `min_scale`.
    pub max_scale: i64,
    /// `activation-scale`.
    pub activation_scale: i64,
    /// `scale-down-delay`, seconds.
    pub scale_down_delay_s: f64,
    /// `scale-to-zero-grace-period`, seconds.
    pub grace_period_s: f64,
    /// `scale-to-zero-pod-retention-period`, seconds.
    pub pod_retention_s: f64,
    /// `target-burst-capacity`; with -1 the activator is always in the path, with 0 only at zero
    /// pods.
    pub target_burst_capacity: f64,
}

/// The lowest target that Knative accepts (`autoscaling.TargetMin`).
const TARGET_MIN: f64 = 0.01;

impl KpaSettings {
    /// Knative's defaults, except for the concurrency limit of a pod.
    pub fn defaults(total: f64) -> Self {
        Self {
            total,
            utilization: 0.7,
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

    /// Target concurrency of each pod.
    pub fn target(&self) -> f64 {
        (self.total * self.utilization).max(TARGET_MIN)
    }

    /// Length of the panic window.
    pub fn panic_window_s(&self) -> f64 {
        self.stable_window_s * self.panic_window_percentage / 100.0
    }
}
