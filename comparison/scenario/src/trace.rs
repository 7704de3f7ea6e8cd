//! Recorded arrivals: a window of a trace instead of a Poisson process. The seed selects the
//! window, so that repeats differ and all arms of a repeat see the same one.

use anyhow::{Context, Result, ensure};
use rand_pcg::Pcg64;

use crate::rate::{RateCurve, uniform};

/// Arrivals of a trace, from its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Seconds, never falling; the first is 0.
    arrivals: Vec<f64>,
    /// The scale at which the trace is sent as recorded.
    unit: f64,
    /// Length of the window that a run takes, seconds.
    length_s: f64,
}

/// Length of the bins from which the rate over time is drawn, seconds.
const BIN_S: f64 = 5.0;

impl Trace {
    /// From gaps between arrivals in milliseconds, separated by white space; lines with `#` are
    /// comments.
    pub fn parse(text: &str, unit: f64, length_s: f64) -> Result<Self> {
        let mut at_ms = 0_u64;
        let mut arrivals = vec![];
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for gap in lines.flat_map(str::split_whitespace) {
            at_ms += gap.parse::<u64>().with_context(|| format!("{gap:?} is no gap in milliseconds"))?;
            arrivals.push(at_ms as f64 / 1000.0);
        }
        let length = arrivals.last().copied().unwrap_or(0.0);
        ensure!(unit > 0.0, "the unit of a trace is a rate above zero, not {unit}");
        ensure!(
            length_s > 0.0 && length_s <= length,
            "a window of {length_s} s does not fit into a trace of {length} s"
        );
        Ok(Self { arrivals, unit, length_s })
    }

    /// Its length in seconds.
    pub fn duration(&self) -> f64 {
        self.arrivals.last().copied().unwrap_or(0.0)
    }

    /// Mean of the whole trace, in units of the scale.
    pub fn mean_rate(&self) -> f64 {
        self.arrivals.len() as f64 / self.duration() / self.unit
    }

    /// A window of it, seconds from the window's beginning. A scale below the unit drops arrivals
    /// at random; one above it adds further windows. A stretch changes the length of the window,
    /// not the speed of the trace.
    pub fn draw(&self, scale: f64, stretch: f64, random: &mut Pcg64) -> Vec<f64> {
        let factor = scale / self.unit;
        let windows = factor.ceil().max(1.0);
        let length = self.length_s * stretch;
        let mut drawn = vec![];
        for _ in 0..windows as usize {
            let from = uniform(random) * self.duration();
            for at in &self.arrivals {
                // The window wraps around at the trace's end.
                let at = (at - from).rem_euclid(self.duration());
                if uniform(random) < factor / windows && at < length {
                    drawn.push(at);
                }
            }
        }
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    /// The rate over time of arrivals, as a curve without steps.
    pub fn curve(arrivals: &[f64], length_s: f64) -> RateCurve {
        let bins = (length_s / BIN_S).ceil().max(1.0) as usize;
        let width = length_s / bins as f64;
        let mut counts = vec![0.0; bins];
        for at in arrivals {
            counts[((at / width) as usize).min(bins - 1)] += 1.0 / width;
        }
        let middle = |(i, rate): (usize, &f64)| ((i as f64 + 0.5) * width, *rate);
        let ends = [(0.0, counts[0]), (length_s, counts[bins - 1])];
        let mut points = vec![ends[0]];
        points.extend(counts.iter().enumerate().map(middle));
        points.push(ends[1]);
        RateCurve::new(points).expect("bins are in the order of time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    fn azure() -> Trace {
        Scenario::shipped_named("azure-llm-code").expect("shipped").trace.expect("a trace")
    }

    #[test]
    fn the_shipped_trace_is_the_published_one() {
        // Counted in the published file: 8,819 requests in 3,435.948 s, 67 in the busiest second.
        let trace = azure();
        assert_eq!((trace.arrivals.len(), trace.duration()), (8819, 3435.948));
        let mut seconds = vec![0; 3436];
        trace.arrivals.iter().for_each(|at| seconds[*at as usize] += 1);
        assert_eq!(seconds.iter().max(), Some(&67));
    }

    #[test]
    fn at_its_unit_a_window_has_the_gaps_of_the_trace() {
        let trace = azure();
        let drawn = trace.draw(trace.unit, 1.0, &mut Pcg64::new(5, 1));
        let gap = |a: f64, b: f64| ((b - a) * 1000.0).round() as i64;
        let own: Vec<i64> = drawn.windows(2).map(|w| gap(w[0], w[1])).collect();
        let all: Vec<i64> = trace.arrivals.windows(2).map(|w| gap(w[0], w[1])).collect();
        assert!(own.len() > 50 && all.windows(own.len()).any(|w| w == own), "{} gaps", own.len());
        assert!(drawn.iter().all(|at| (0.0..trace.length_s).contains(at)));
    }

    #[test]
    fn a_smaller_scale_thins_and_a_larger_one_adds() {
        let trace = Trace { length_s: azure().duration(), ..azure() };
        for factor in [0.25, 1.0, 2.5] {
            let count = trace.draw(trace.unit * factor, 1.0, &mut Pcg64::new(1, 1)).len() as f64;
            assert!((count / 8819.0 / factor - 1.0).abs() < 0.05, "{factor}: {count}");
        }
    }

    #[test]
    fn another_seed_is_another_window() {
        let draw = |seed| azure().draw(12.0, 1.0, &mut Pcg64::new(seed, 1));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1).len(), draw(2).len());
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(Trace::parse("1 2 x", 1.0, 1.0).is_err());
        let error = Trace::parse("# comment\n0 500 500", 1.0, 2.0).expect_err("too long").to_string();
        assert!(error.contains("a window of 2 s does not fit into a trace of 1 s"), "{error}");
    }
}
