//! How much the throughput of one pod may change between two calibrations.

use scenario::recording::Calibration;

/// Most change in the throughput of one pod between the calibrations around a run: beyond it, the
/// rates of the runs are not comparable.
pub const MOST_DRIFT: f64 = 0.10;

/// Share by which the throughput changed.
pub fn drift(before: &Calibration, saturated: f64) -> f64 {
    (saturated / before.saturated - 1.0).abs()
}
