//! How much the throughput of one pod may change between two calibrations.

/// Most change in the throughput of one pod between the calibrations around a run: beyond it, the
/// rates of the runs are not comparable.
pub const MOST_DRIFT: f64 = 0.10;

/// Share by which the throughput changed.
pub fn drift(before: f64, after: f64) -> f64 {
    (after / before - 1.0).abs()
}
