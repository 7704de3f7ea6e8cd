//! State of the KPA: averages over its windows, and its highest recent decision.

use std::collections::VecDeque;

use super::TICK;
use crate::time::{Micros, SECOND};

/// Sums by second over a window (`aggregation.TimedFloat64Buckets` with a granularity of one
/// second).
#[derive(Debug, Clone)]
pub struct Window {
    window: Micros,
    buckets: Vec<f64>,
    total: f64,
    /// Seconds of the first and last recorded value.
    written: Option<(i64, i64)>,
}

impl Window {
    /// An empty window of this many seconds.
    pub fn new(seconds: f64) -> Self {
        let window = crate::time::micros(seconds);
        let buckets = vec![0.0; (seconds.ceil() as usize).max(1)];
        Self { window, buckets, total: 0.0, written: None }
    }

    fn index(&self, second: i64) -> usize {
        second.rem_euclid(self.buckets.len() as i64) as usize
    }

    /// Adds to the bucket of the current second. Time must not decrease.
    pub fn record(&mut self, now: Micros, value: f64) {
        let second = now.div_euclid(SECOND);
        match self.written {
            Some((first, last)) if (second - last) * SECOND < self.window => {
                for skipped in last + 1..=second {
                    let index = self.index(skipped);
                    self.total -= self.buckets[index];
                    self.buckets[index] = 0.0;
                }
                self.written = Some((first, second));
            }
            _ => {
                self.buckets.fill(0.0);
                self.total = 0.0;
                self.written = Some((second, second));
            }
        }
        let index = self.index(second);
        self.buckets[index] += value;
        self.total += value;
    }

    /// Whether nothing was recorded during the last window.
    pub fn is_empty(&self, now: Micros) -> bool {
        self.written.is_none_or(|(_, last)| (now.div_euclid(SECOND) - last) * SECOND > self.window)
    }

    /// Average over the recorded seconds, at most over the window.
    pub fn average(&self, now: Micros) -> f64 {
        let Some((first, last)) = self.written else { return 0.0 };
        let second = now.div_euclid(SECOND);
        let since = (second - last).max(0);
        if since > 0 && since * SECOND >= self.window {
            return 0.0;
        }
        let outdated = (last + 1..=second).map(|s| self.buckets[self.index(s)]);
        let total = outdated.fold(self.total, |total, value| total - value);
        let valid = (last - first + 1).min(self.buckets.len() as i64 - since);
        (total / valid as f64 * 1e6).round() / 1e6
    }
}

/// The highest of the recent decisions (`aggregation/max.TimeWindow` with the tick's granularity).
#[derive(Debug, Clone)]
pub(super) struct DelayWindow {
    buckets: i64,
    /// `(index, value)` in the order of decreasing values.
    maxima: VecDeque<(i64, i64)>,
}

impl DelayWindow {
    pub(super) fn new(delay_s: f64) -> Self {
        let buckets = (crate::time::micros(delay_s) as f64 / TICK as f64).ceil() as i64;
        Self { buckets, maxima: VecDeque::new() }
    }

    pub(super) fn record(&mut self, now: Micros, mut value: i64) -> i64 {
        let index = now.div_euclid(SECOND) / (TICK / SECOND);
        while self.maxima.back().is_some_and(|m| value >= m.1) {
            self.maxima.pop_back();
        }
        while self.maxima.front().is_some_and(|m| index - m.0 >= self.buckets) {
            self.maxima.pop_front();
        }
        if let Some(&(last, highest)) = self.maxima.back().filter(|m| m.0 == index) {
            debug_assert_eq!(last, index);
            value = value.max(highest);
            self.maxima.pop_back();
        }
        self.maxima.push_back((index, value));
        self.maxima[0].1
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers follow from `pkg/autoscaler/aggregation/bucketing.go`.
    use super::*;

    #[test]
    fn windows_average_over_what_they_have() {
        let mut window = Window::new(60.0);
        (0..6).for_each(|s| window.record(s * SECOND, 10.0));
        assert_eq!(window.average(5 * SECOND), 10.0);
        (6..60).for_each(|s| window.record(s * SECOND, 0.0));
        assert_eq!(window.average(59 * SECOND), 1.0);
        assert_eq!(window.average(62 * SECOND), 0.526_316, "30 over the 57 seconds that are left");
        assert!(!window.is_empty(119 * SECOND) && window.is_empty(120 * SECOND));
    }
}
