//! Simulated time: whole microseconds since the beginning of a run.

/// A point in time or a duration, microseconds.
pub type Micros = i64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// Converts from seconds, rounded to the nearest microsecond.
pub fn micros(seconds: f64) -> Micros {
    (seconds * SECOND as f64).round() as Micros
}

/// Converts to seconds.
pub fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}
