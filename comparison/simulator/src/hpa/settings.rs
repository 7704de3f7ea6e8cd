//! What can be set of an object, and the controller's tolerance.

/// `--horizontal-pod-autoscaler-tolerance`.
pub const TOLERANCE: f64 = 0.1;

/// One scaling policy: a limit of the change in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// At most this many pods in this many seconds.
    Pods(i64, i64),
    /// At most this many per cent in this many seconds.
    Percent(i64, i64),
}

/// `selectPolicy`: which of several policies applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// Scaling rules of one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `stabilizationWindowSeconds`.
    pub stabilization_s: i64,
    /// `tolerance`: relative deviation from the target that causes no scaling.
    pub tolerance: f64,
    /// `policies`.
    pub policies: Vec<Policy>,
    /// `selectPolicy`.
    pub select: Select,
}

/// Settings of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSettings {
    /// `averageValue` of the metric, in thousandths. Kubernetes computes in whole thousandths.
    pub target_milli: i64,
    /// `minReplicas`; zero for object and external metrics only.
    pub min: i64,
    /// `maxReplicas`.
    pub max: i64,
    /// `behavior.scaleUp`.
    pub up: Rules,
    /// `behavior.scaleDown`.
    pub down: Rules,
}

impl HpaSettings {
    /// Kubernetes' defaults (`SetDefaults_HorizontalPodAutoscalerBehavior`). Scale-up may double
    /// the pods or add four per 15 s, without delay. Scale-down is not limited by policies, but
    /// stays at the highest recommendation of the last five minutes.
    pub fn defaults(target_milli: i64, max: i64) -> Self {
        let up = Rules {
            stabilization_s: 0,
            tolerance: TOLERANCE,
            policies: vec![Policy::Pods(4, 15), Policy::Percent(100, 15)],
            select: Select::Max,
        };
        let down = Rules { stabilization_s: 300, policies: vec![Policy::Percent(100, 15)], ..up.clone() };
        Self { target_milli, min: 1, max, up, down }
    }
}
