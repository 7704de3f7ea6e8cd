//! The rate curve: how many requests a second a scenario offers at each moment, and exact arrivals
//! drawn from it.
//!
//! A curve is straight lines between points; two points at one second are a step. Everything a
//! scenario describes (steps, ramps, a day of the world's sleep) becomes such a curve, so there is
//! one way to draw arrivals from it.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// Requests a second over time, piecewise linear.
#[derive(Debug, Clone, PartialEq)]
pub struct RateCurve {
    /// `(second, requests a second)`, seconds never falling.
    points: Vec<(f64, f64)>,
}

/// Why a list of points is not a rate curve.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CurveError {
    /// Fewer than two points describe no time at all.
    #[error("a rate needs at least two points")]
    TooShort,
    /// The first point must be at second 0.
    #[error("the first point is at second {0}, not at 0")]
    LateStart(f64),
    /// Time runs backwards or is not a number.
    #[error("point {index}: second {second} comes before the one before it")]
    TimeRunsBack {
        /// Which point, counted from 0.
        index: usize,
        /// Its second.
        second: f64,
    },
    /// A rate is negative, infinite or not a number.
    #[error("point {index}: {rate} is not a rate")]
    NotARate {
        /// Which point, counted from 0.
        index: usize,
        /// Its rate.
        rate: f64,
    },
}

impl RateCurve {
    /// Checks the points and takes them.
    pub fn new(points: Vec<(f64, f64)>) -> Result<Self, CurveError> {
        if points.len() < 2 {
            return Err(CurveError::TooShort);
        }
        if points[0].0 != 0.0 {
            return Err(CurveError::LateStart(points[0].0));
        }
        for (index, &(second, rate)) in points.iter().enumerate() {
            let before = if index == 0 { 0.0 } else { points[index - 1].0 };
            if !(second.is_finite() && second >= before) {
                return Err(CurveError::TimeRunsBack { index, second });
            }
            if !(rate.is_finite() && rate >= 0.0) {
                return Err(CurveError::NotARate { index, rate });
            }
        }
        Ok(Self { points })
    }

    /// The same curve `times` times in a row.
    pub fn repeated(&self, times: usize) -> Self {
        let duration = self.duration();
        let points =
            (0..times).flat_map(|lap| self.points.iter().map(move |&(t, r)| (t + lap as f64 * duration, r)));
        Self { points: points.collect() }
    }

    /// The same shape with time stretched and rates scaled.
    pub fn scaled(&self, stretch: f64, scale: f64) -> Self {
        Self { points: self.points.iter().map(|&(t, r)| (t * stretch, r * scale)).collect() }
    }

    /// The points it is made of.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// Length in seconds.
    pub fn duration(&self) -> f64 {
        self.points.last().expect("a curve has points").0
    }

    /// The highest rate.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|p| p.1).fold(0.0, f64::max)
    }

    /// Requests a second at a moment; at a step, the rate after it.
    pub fn rate(&self, second: f64) -> f64 {
        if second >= self.duration() {
            return self.points.last().expect("a curve has points").1;
        }
        let after = self.points.partition_point(|p| p.0 <= second);
        let (t0, r0) = self.points[after - 1];
        let (t1, r1) = self.points[after];
        r0 + (r1 - r0) * (second - t0) / (t1 - t0)
    }

    /// How many requests are expected between two moments: the area under the curve.
    pub fn expected(&self, from: f64, to: f64) -> f64 {
        let area = |(t0, r0): (f64, f64), (t1, r1): (f64, f64)| {
            let (a, b) = (t0.max(from), t1.min(to));
            if b <= a || t1 <= t0 {
                return 0.0;
            }
            let at = |t: f64| r0 + (r1 - r0) * (t - t0) / (t1 - t0);
            (at(a) + at(b)) / 2.0 * (b - a)
        };
        self.points.windows(2).map(|w| area(w[0], w[1])).sum()
    }

    /// Moments at which the rate jumps up: the load changes that a decision lag is counted from.
    pub fn steps_up(&self) -> Vec<f64> {
        self.points.windows(2).filter(|w| w[0].0 == w[1].0 && w[1].1 > w[0].1).map(|w| w[0].0).collect()
    }

    /// Draws the arrivals of a non-homogeneous Poisson process with this rate, in seconds, exactly:
    /// unit-rate exponential gaps, mapped back through the inverse of the area under the curve.
    pub fn arrivals(&self, random: &mut Pcg64) -> Vec<f64> {
        let mut arrivals = Vec::with_capacity(self.expected(0.0, self.duration()).ceil() as usize);
        arrivals.extend(self.draw(random));
        arrivals
    }

    /// The same one by one, for schedules that are too long to be kept.
    pub fn draw<'a>(&'a self, random: &'a mut Pcg64) -> Arrivals<'a> {
        let area_left = exponential(random);
        Arrivals { points: &self.points, done: 0.0, area_left, random }
    }
}

/// Arrivals in the order of time: see [`RateCurve::draw`].
#[derive(Debug)]
pub struct Arrivals<'a> {
    /// From the start of the piece that it is in.
    points: &'a [(f64, f64)],
    /// Area of that piece up to the last arrival.
    done: f64,
    /// Area to the next arrival.
    area_left: f64,
    random: &'a mut Pcg64,
}

impl Iterator for Arrivals<'_> {
    type Item = f64;

    #[inline]
    fn next(&mut self) -> Option<f64> {
        while let [(t0, r0), (t1, r1), ..] = *self.points {
            let length = t1 - t0;
            if length > 0.0 {
                let area = (r0 + r1) / 2.0 * length;
                if self.done + self.area_left < area {
                    self.done += self.area_left;
                    let slope = (r1 - r0) / length;
                    // Solves r0·τ + slope·τ²/2 = done; this form of the root does not cancel for
                    // small slopes.
                    let root = (r0 * r0 + 2.0 * slope * self.done).max(0.0).sqrt();
                    let tau = 2.0 * self.done / (r0 + root);
                    self.area_left = exponential(self.random);
                    return Some(t0 + tau.min(length));
                }
                self.area_left -= area - self.done;
                self.done = 0.0;
            }
            self.points = &self.points[1..];
        }
        None
    }
}

/// A unit-rate exponential draw.
fn exponential(random: &mut Pcg64) -> f64 {
    -(1.0 - uniform(random)).ln()
}

/// A number in [0, 1) from the upper 53 bits of one draw.
pub fn uniform(random: &mut Pcg64) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spike() -> RateCurve {
        RateCurve::new(vec![(0.0, 1.0), (10.0, 1.0), (10.0, 5.0), (20.0, 5.0), (30.0, 0.0)])
            .expect("a valid curve")
    }

    #[test]
    fn the_rate_at_a_step_is_the_one_after_it() {
        assert_eq!(spike().rate(9.999), 1.0);
        assert_eq!(spike().rate(10.0), 5.0);
        assert_eq!(spike().rate(25.0), 2.5);
    }

    #[test]
    fn expected_requests_are_the_area_under_the_curve() {
        assert_eq!(spike().expected(0.0, 30.0), 10.0 + 50.0 + 25.0);
        assert_eq!(spike().expected(8.0, 12.0), 2.0 + 10.0);
    }

    #[test]
    fn only_jumps_upwards_are_load_changes() {
        assert_eq!(spike().steps_up(), vec![10.0]);
        assert_eq!(spike().repeated(2).steps_up(), vec![10.0, 30.0, 40.0]);
    }

    #[test]
    fn curves_that_run_backwards_or_below_zero_are_refused() {
        assert_eq!(RateCurve::new(vec![(0.0, 1.0)]), Err(CurveError::TooShort));
        assert!(matches!(
            RateCurve::new(vec![(0.0, 1.0), (5.0, 1.0), (4.0, 1.0)]),
            Err(CurveError::TimeRunsBack { index: 2, .. })
        ));
        assert!(matches!(
            RateCurve::new(vec![(0.0, 1.0), (5.0, -1.0)]),
            Err(CurveError::NotARate { index: 1, .. })
        ));
    }

    #[test]
    fn gaps_of_a_constant_rate_are_exponential() {
        // Kolmogorov–Smirnov against 1 - exp(-λx): the 1 % critical value is 1.63 / sqrt(n).
        let curve = RateCurve::new(vec![(0.0, 50.0), (400.0, 50.0)]).expect("a valid curve");
        let arrivals = curve.arrivals(&mut Pcg64::new(7, 1));
        let mut gaps: Vec<f64> = arrivals.windows(2).map(|w| w[1] - w[0]).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().map(|(i, gap)| {
            let model = 1.0 - (-50.0 * gap).exp();
            (model - i as f64 / n).abs().max((model - (i + 1) as f64 / n).abs())
        });
        let distance = distance.fold(0.0, f64::max);
        assert!(distance < 1.63 / n.sqrt(), "distance {distance} over {n} gaps");
    }

    #[test]
    fn every_slice_of_a_changing_rate_gets_its_share() {
        // A count is Poisson: within 5 standard deviations of its mean.
        let curve = spike().scaled(1.0, 200.0);
        let arrivals = curve.arrivals(&mut Pcg64::new(11, 1));
        for slice in 0..30 {
            let (from, to) = (f64::from(slice), f64::from(slice + 1));
            let mean = curve.expected(from, to);
            let count = arrivals.iter().filter(|t| (from..to).contains(*t)).count() as f64;
            assert!((count - mean).abs() <= 5.0 * mean.sqrt() + 1.0, "second {slice}: {count} for {mean}");
        }
    }
}
