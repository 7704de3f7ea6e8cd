//! Counts of requests by outcome in bins of time. The memory does not depend on the number of
//! requests.

use scenario::Outcome;

use crate::time::Micros;

/// Binary logarithm of the number of latency buckets per factor of two. With 32 buckets, a
/// percentile is at most 3.2 % too high.
const PER_OCTAVE_BITS: u32 = 5;
/// Number of fraction bits of a float that do not select a bucket.
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - PER_OCTAVE_BITS;
/// Lower bound of the first bucket: 64 µs. The last bucket ends after more than an hour.
const FIRST_US: f64 = 64.0;
const OCTAVES: usize = 26;
const BUCKETS: usize = OCTAVES << PER_OCTAVE_BITS;

/// Latencies of answered requests, by bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    counts: Vec<f64>,
    total: f64,
    sum_us: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0.0; BUCKETS], total: 0.0, sum_us: 0.0 }
    }
}

impl Latencies {
    /// Adds `count` requests with this latency.
    #[inline]
    pub fn add(&mut self, latency: Micros, count: f64) {
        let us = latency as f64;
        let bucket = ((us.max(FIRST_US).to_bits() >> SHIFT) - (FIRST_US.to_bits() >> SHIFT)) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += count;
        self.total += count;
        self.sum_us += us * count;
    }

    /// Adds all counts of another histogram.
    pub fn join(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.total += other.total;
        self.sum_us += other.sum_us;
    }

    /// The quantile `share` of the latencies, milliseconds; `None` without answers.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let mut seen = 0.0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            // Counts can be fractions, so that their sum has rounding errors.
            *count > 0.0 && seen >= share * self.total * (1.0 - 1e-12)
        })?;
        let end = (FIRST_US.to_bits() >> SHIFT) + found as u64 + 1;
        Some(f64::from_bits(end << SHIFT) / 1000.0)
    }

    /// Mean latency, milliseconds.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.sum_us / self.total / 1000.0)
    }
}

/// One bin of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bin {
    /// Requests sent in it.
    pub sent: f64,
    /// Of these: answered within the latency objective.
    pub good: f64,
    /// Of these: refused by a full queue, or sent while there was no pod.
    pub refused: f64,
    /// Of these: answered after the objective, dropped or timed out.
    pub late: f64,
}

/// Requests by bin, and latencies of all answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Length of a bin.
    pub bin: Micros,
    /// Bins in order of time.
    pub bins: Vec<Bin>,
    /// Latencies of answered requests, one histogram for every [`Tally::bins_per_latencies`] bins.
    pub latencies: Vec<Latencies>,
    /// See `latencies`.
    pub bins_per_latencies: usize,
    objective: Micros,
}

impl Tally {
    /// A tally for a run of this length with `bins` bins, and with `coarse` bins for latencies.
    pub fn new(length: Micros, bins: usize, coarse: usize, objective: Micros) -> Self {
        let bins_per_latencies = bins.div_ceil(coarse.max(1)).max(1);
        Self {
            bin: (length as u64).div_ceil(bins.max(1) as u64).max(1) as Micros,
            bins: vec![Bin::default(); bins],
            latencies: vec![Latencies::default(); bins.div_ceil(bins_per_latencies)],
            bins_per_latencies,
            objective,
        }
    }

    /// Counts `count` requests that were sent at a given time.
    #[inline]
    pub fn add(&mut self, at: Micros, latency: Micros, outcome: Outcome, count: f64) {
        let number = ((at / self.bin).max(0) as usize).min(self.bins.len() - 1);
        let bin = &mut self.bins[number];
        bin.sent += count;
        match outcome {
            Outcome::Ok => {
                if latency <= self.objective {
                    bin.good += count;
                } else {
                    bin.late += count;
                }
                self.latencies[number / self.bins_per_latencies].add(latency, count);
            }
            Outcome::Refused | Outcome::Unavailable => bin.refused += count,
            _ => bin.late += count,
        }
    }

    /// Numbers of all requests and of the good ones.
    pub fn sent_and_good(&self) -> (f64, f64) {
        self.bins.iter().fold((0.0, 0.0), |(sent, good), bin| (sent + bin.sent, good + bin.good))
    }

    /// Latencies of the whole run.
    pub fn all_latencies(&self) -> Latencies {
        let mut all = Latencies::default();
        self.latencies.iter().for_each(|part| all.join(part));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn quantiles_of_a_known_distribution_are_known() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(ms * 1000, 1.0));
        for (share, ms) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let got = latencies.quantile_ms(share).expect("there are answers");
            assert!((ms..=ms * 1.032).contains(&got), "{got} for {ms}");
        }
        assert_eq!(latencies.mean_ms(), Some(500.5));
        assert_eq!(Latencies::default().quantile_ms(0.5), None);
    }

    #[test]
    fn each_request_is_counted_once_and_in_the_second_it_was_sent_in() {
        let mut tally = Tally::new(10 * SECOND, 10, 2, SECOND / 2);
        tally.add(0, SECOND / 2, Outcome::Ok, 1.0);
        tally.add(5 * SECOND - 1, SECOND, Outcome::Ok, 2.0);
        tally.add(4 * SECOND + 9, 0, Outcome::Refused, 3.0);
        tally.add(20 * SECOND, SECOND, Outcome::Timeout, 4.0);
        assert_eq!(tally.bins[0], Bin { sent: 1.0, good: 1.0, ..Bin::default() });
        assert_eq!(tally.bins[4], Bin { sent: 5.0, late: 2.0, refused: 3.0, ..Bin::default() });
        assert_eq!(tally.bins[9], Bin { sent: 4.0, late: 4.0, ..Bin::default() });
        assert_eq!(tally.sent_and_good(), (10.0, 1.0));
        assert_eq!(tally.all_latencies().mean_ms(), Some(2500.0 / 3.0));
    }
}
