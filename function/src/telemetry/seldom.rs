//! When a warning about something that goes on for hours is due.

use std::time::{Duration, Instant};

/// Least time between two warnings about the same thing.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Whether there was a warning lately.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether a warning is due. One that is counts as given.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= WARNING_INTERVAL);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_at_once_and_then_once_a_minute() {
        let (mut warnings, start) = (Seldom::default(), Instant::now());
        let due: Vec<u64> =
            (0..150).filter(|second| warnings.due(start + Duration::from_secs(*second))).collect();
        assert_eq!(due, [0, 60, 120]);
    }
}
