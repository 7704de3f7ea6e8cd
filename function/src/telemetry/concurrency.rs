//! Requests in flight and their integral over time.
//!
//! `rate(eye_state_concurrency_seconds_total[w])` is the exact average concurrency over the window
//! `w`, independent of the scrape interval: the quantity that Knative's autoscaler scales on,
//! exported for the HPA.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Counts requests in flight; clones count together.
#[derive(Clone, Debug)]
pub struct Concurrency(Arc<Mutex<Integral>>);

#[derive(Debug)]
struct Integral {
    in_flight: u64,
    seconds: f64,
    since: Instant,
}

impl Integral {
    fn advance(&mut self, now: Instant) {
        self.seconds += self.in_flight as f64 * now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
    }
}

/// One request in flight, until dropped.
#[derive(Debug)]
pub struct InFlight(Concurrency);

impl Default for Concurrency {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Integral { in_flight: 0, seconds: 0.0, since: Instant::now() })))
    }
}

impl Concurrency {
    /// A request came in.
    pub fn enter(&self) -> InFlight {
        let mut integral = self.lock();
        integral.advance(Instant::now());
        integral.in_flight += 1;
        InFlight(self.clone())
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// Request-seconds since the start.
    pub fn seconds(&self) -> f64 {
        let mut integral = self.lock();
        integral.advance(Instant::now());
        integral.seconds
    }

    fn lock(&self) -> MutexGuard<'_, Integral> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut integral = self.0.lock();
        integral.advance(Instant::now());
        integral.in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_integral_is_requests_times_seconds() {
        let mut integral = Integral { in_flight: 0, seconds: 0.0, since: Instant::now() };
        let start = integral.since;
        for (second, in_flight) in [(1, 2), (3, 1), (7, 0), (10, 5)] {
            integral.advance(start + Duration::from_secs(second));
            integral.in_flight = in_flight;
        }
        integral.advance(start + Duration::from_secs(10));
        // 0 for one second, 2 for two, 1 for four, 0 for three.
        assert!((integral.seconds - 8.0).abs() < 1e-9);
    }

    #[test]
    fn a_request_counts_until_it_is_dropped() {
        let concurrency = Concurrency::default();
        let first = concurrency.enter();
        let second = concurrency.enter();
        assert_eq!(concurrency.in_flight(), 2);
        drop((first, second));
        assert_eq!(concurrency.in_flight(), 0);
    }
}
