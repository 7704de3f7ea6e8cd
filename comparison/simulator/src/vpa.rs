//! The vertical pod autoscaler 1.8: the recommender's decaying histogram and its CPU estimators.
//! [`crate::updater`] selects the pods that are resized.
//!
//! Recommendations are compared with that code itself: see `oracles/vpa` and
//! `tests/conformance.rs`.

use crate::time::{Micros, SECOND};
use crate::updater::{Seen, updated};

/// `--recommender-interval` and `--updater-interval`.
pub const INTERVAL: Micros = 60 * SECOND;
/// `--cpu-histogram-decay-half-life`.
const HALF_LIFE: Micros = DAY;
/// Ratio of the widths of neighbouring buckets.
const BUCKET_RATIO: f64 = 1.05;
/// Width of the first bucket: 10 millicores. CPU histograms end at 1000 cores.
const FIRST_CPU_BUCKET: f64 = 0.01;
const MOST_CPU: f64 = 1000.0;
/// Weight of a CPU sample before decay.
const SAMPLE_WEIGHT: f64 = 0.1;
/// `--recommendation-margin-fraction`.
const MARGIN: f64 = 0.15;
/// `--pod-recommendation-min-cpu-millicores`.
const LEAST_CPU: i64 = 25;
/// `--pod-recommendation-min-memory-mb`. The function needs less memory, so that this minimum is
/// recommended. A pod that requests less is outside the recommended range.
const LEAST_MEMORY: f64 = 250.0 * 1024.0 * 1024.0;
const DAY: Micros = 86_400 * SECOND;
const MINUTES_A_DAY: f64 = 1440.0;

/// Buckets of a histogram. Each is wider than the one before by a ratio; with a ratio of 1 all are
/// as wide as the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) first: f64,
    pub(crate) ratio: f64,
    /// The histogram ends here. Larger values are in the last bucket.
    pub(crate) most: f64,
}

impl Buckets {
    /// CPU use in cores.
    const CPU: Self = Self { first: FIRST_CPU_BUCKET, ratio: BUCKET_RATIO, most: MOST_CPU };

    /// How many widths of the first bucket fit below a value, as a fraction of buckets.
    fn position(&self, value: f64) -> f64 {
        if self.ratio == 1.0 {
            return value / self.first;
        }
        (value * (self.ratio - 1.0) / self.first + 1.0).ln() / self.ratio.ln()
    }

    pub(crate) fn count(&self) -> usize {
        self.position(self.most).ceil() as usize + 1
    }

    /// The bucket that contains a value.
    pub(crate) fn of(&self, value: f64) -> usize {
        if value < self.first {
            return 0;
        }
        (self.position(value) as usize).min(self.count() - 1)
    }

    /// The lower end of a bucket.
    pub(crate) fn start(&self, bucket: usize) -> f64 {
        if self.ratio == 1.0 {
            return self.first * bucket as f64;
        }
        self.first * (self.ratio.powf(bucket as f64) - 1.0) / (self.ratio - 1.0)
    }
}

/// Percentiles of weighted samples in buckets. Old samples lose weight.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Buckets,
    half_life: Micros,
    weights: Vec<f64>,
    total: f64,
    /// Lowest and highest non-empty bucket.
    used: Option<(usize, usize)>,
    /// Time at which a sample has its own weight.
    reference: Option<Micros>,
}

impl Histogram {
    /// A histogram of CPU use in cores.
    pub fn cpu() -> Self {
        Self::new(Buckets::CPU, HALF_LIFE)
    }

    pub(crate) fn new(buckets: Buckets, half_life: Micros) -> Self {
        let weights = vec![0.0; buckets.count()];
        Self { buckets, half_life, weights, total: 0.0, used: None, reference: None }
    }

    /// Adds a sample of CPU use.
    pub fn add(&mut self, cores: f64, at: Micros) {
        self.add_weighted(cores, SAMPLE_WEIGHT, at);
    }

    /// Adds a sample. A later sample has a larger weight, which is equivalent to a decay of the
    /// earlier ones.
    pub(crate) fn add_weighted(&mut self, value: f64, weight: f64, at: Micros) {
        let bucket = self.buckets.of(value);
        let reference = *self.reference.get_or_insert(at);
        let weight = weight * ((at - reference) as f64 / self.half_life as f64).exp2();
        self.weights[bucket] += weight;
        self.total += weight;
        let (low, high) = self.used.unwrap_or((bucket, bucket));
        self.used = Some((low.min(bucket), high.max(bucket)));
    }

    /// The upper end of the bucket that contains the percentile (0..1); 0 without samples.
    pub fn percentile(&self, percentile: f64) -> f64 {
        let Some((low, high)) = self.used else { return 0.0 };
        let threshold = percentile * self.total;
        let mut sum = 0.0;
        let found = (low..high).find(|bucket| {
            sum += self.weights[*bucket];
            sum >= threshold
        });
        let bucket = found.unwrap_or(high);
        // The last bucket has no upper end.
        self.buckets.start((bucket + 1).min(self.weights.len() - 1))
    }
}

/// The recommender's output in millicores or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// Recommended request.
    pub target: i64,
    /// A pod with a lower request is updated.
    pub lower: i64,
    /// A pod with a higher request is updated.
    pub upper: i64,
}

/// Bounds of one object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VpaSettings {
    /// `minAllowed` and `maxAllowed` for CPU, millicores.
    pub cpu: (i64, i64),
    /// The same for memory, bytes.
    pub memory: (f64, f64),
    /// `minReplicas`: with fewer pods than this, none is updated.
    pub min_replicas: i64,
    /// Share of the replicas that may be disrupted in a round: `--eviction-tolerance`.
    pub tolerance: f64,
}

/// `--min-replicas`.
pub const MIN_REPLICAS: i64 = 2;
/// `--eviction-tolerance`.
pub const TOLERANCE: f64 = 0.5;

/// The recommender's state for one container, and the object's bounds.
#[derive(Debug, Clone)]
pub struct Vpa {
    histogram: Histogram,
    samples: u64,
    first: Option<Micros>,
    last: Micros,
    settings: VpaSettings,
}

impl Vpa {
    /// An object without history.
    pub fn new(settings: VpaSettings) -> Self {
        Self { histogram: Histogram::cpu(), samples: 0, first: None, last: 0, settings }
    }

    /// Adds one CPU usage sample of one pod, millicores.
    pub fn observe(&mut self, millicores: i64, at: Micros) {
        self.histogram.add(millicores as f64 / 1000.0, at);
        self.samples += 1;
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
    }

    /// How much history there is: days between the first sample and the last, or as many samples as
    /// a day has minutes, whichever is less.
    pub(crate) fn confidence(&self) -> Option<f64> {
        let lifespan = (self.last - self.first?) as f64 / DAY as f64;
        Some(lifespan.min(self.samples as f64 / MINUTES_A_DAY))
    }

    /// The 90th percentile with margin, and a range from the 50th and 95th percentile, which is
    /// wider with a short history. The object's own bounds are not applied.
    pub fn uncapped(&self) -> Option<Recommendation> {
        let confidence = self.confidence()?;
        // Each step is truncated to whole millicores.
        let scale = |amount: i64, factor: f64| (amount as f64 * factor).min(1e14) as i64;
        let with_margin = |percentile: f64| {
            let base = (self.histogram.percentile(percentile) * 1000.0) as i64;
            base + scale(base, MARGIN)
        };
        let lower = scale(with_margin(0.5), (1.0 + 0.001 / confidence).powf(-2.0));
        let upper = scale(with_margin(0.95), 1.0 + 1.0 / confidence);
        Some(Recommendation {
            target: with_margin(0.9).max(LEAST_CPU),
            lower: lower.max(LEAST_CPU),
            upper: upper.max(LEAST_CPU),
        })
    }

    /// Limits millicores to `minAllowed` and `maxAllowed`.
    pub fn allowed(&self, millicores: i64) -> i64 {
        let (least, most) = self.settings.cpu;
        millicores.min(most).max(least)
    }

    /// The CPU recommendation within `minAllowed` and `maxAllowed`.
    pub fn recommendation(&self) -> Option<Recommendation> {
        let capped = |millicores: i64| self.allowed(millicores);
        self.uncapped().map(|r| Recommendation {
            target: capped(r.target),
            lower: capped(r.lower),
            upper: capped(r.upper),
        })
    }

    /// The recommended memory, bytes; see [`LEAST_MEMORY`].
    pub fn memory(&self) -> f64 {
        let (least, most) = self.settings.memory;
        LEAST_MEMORY.min(most).max(least)
    }

    /// The recommended memory as a range. The real upper bound is very high with little history,
    /// and is represented by the largest number.
    pub fn memory_range(&self) -> Recommendation {
        let memory = self.memory() as i64;
        Recommendation { target: memory, lower: memory, upper: i64::MAX }
    }

    /// The pods that the updater resizes in this round, in its order.
    pub fn updates(&self, pods: &[Seen], replicas: i64) -> Vec<usize> {
        let Some(cpu) = self.recommendation() else { return vec![] };
        updated(pods, replicas, &self.settings, &cpu, &self.memory_range())
    }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are from the documentation of kubernetes/autoscaler (flags.md, and the
    //! comments of recommender.go).
    use super::*;

    fn vpa(least: i64, most: i64) -> Vpa {
        Vpa::new(VpaSettings {
            cpu: (least, most),
            memory: (0.0, f64::MAX),
            min_replicas: 1,
            tolerance: TOLERANCE,
        })
    }

    #[test]
    fn the_documented_widening_of_the_bounds() {
        // One sample of one core per minute. Upper bound: × 3 with a history of 12 h, × 2 with
        // 24 h, and × 1.14 with a week.
        let mut vpa = vpa(0, 1_000_000);
        let mut upper = vec![];
        for minute in 0..=10_080 {
            vpa.observe(1000, minute * INTERVAL);
            if [5, 30, 60, 720, 1440, 10_080].contains(&minute) {
                let r = vpa.uncapped().expect("there are samples");
                upper.push((minute, r.upper as f64 / r.target as f64, r.lower as f64 / r.target as f64));
            }
        }
        let near = |got: f64, documented: f64, within: f64| (got - documented).abs() <= within;
        assert!(near(upper[3].1, 3.0, 0.01) && near(upper[4].1, 2.0, 0.01), "{upper:?}");
        assert!(near(upper[5].1, 1.14, 0.005), "{upper:?}");
        // The documentation has one or two digits: 5 min 0.6, 30 min 0.9, 60 min 0.95.
        assert!(near(upper[0].2, 0.6, 0.015) && near(upper[1].2, 0.9, 0.015), "{upper:?}");
        assert!(near(upper[2].2, 0.95, 0.015), "{upper:?}");
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket_and_at_most_five_percent_and_one_bucket_off() {
        let mut histogram = Histogram::cpu();
        (1..=1000).for_each(|i| histogram.add(f64::from(i) / 1000.0, 0));
        for percentile in [0.5, 0.9, 0.95] {
            let got = histogram.percentile(percentile);
            assert!(
                got >= percentile && got <= percentile * 1.05 + FIRST_CPU_BUCKET,
                "{got} for {percentile}"
            );
        }
        assert_eq!(Histogram::cpu().percentile(0.9), 0.0);
    }

    #[test]
    fn a_sample_a_half_life_old_weighs_half() {
        let mut histogram = Histogram::cpu();
        (0..2).for_each(|_| histogram.add(0.1, 0));
        histogram.add(0.8, HALF_LIFE);
        // Weights 2 × 1 and 1 × 2: exactly half the weight is below.
        assert!(histogram.percentile(0.5) < 0.2);
        assert!(histogram.percentile(0.51) > 0.7);
    }

    #[test]
    fn the_target_is_the_ninetieth_percentile_with_fifteen_percent_on_top() {
        let mut vpa = vpa(0, 100_000);
        (0..1000).for_each(|i| vpa.observe(if i % 10 == 0 { 2000 } else { 500 }, i * INTERVAL));
        let target = vpa.recommendation().expect("there are samples").target;
        assert!((575..633).contains(&target), "{target}");
    }

    #[test]
    fn a_young_pod_is_touched_only_outside_the_bounds_and_never_beyond_what_is_allowed() {
        let mut vpa = vpa(500, 2000);
        let pod = |millicores: i64, memory: f64| {
            [Seen { millicores, memory: memory as i64, age: INTERVAL, pending: false }]
        };
        assert!(vpa.updates(&pod(1000, LEAST_MEMORY), 1).is_empty(), "no history, no update");
        (0..60).for_each(|i| vpa.observe(950, i * INTERVAL));
        assert!(vpa.updates(&pod(1100, LEAST_MEMORY), 1).is_empty(), "within the widened bounds");
        assert_eq!(vpa.updates(&pod(1100, LEAST_MEMORY - 1.0), 1), [0], "its memory is not");
        assert_eq!(vpa.updates(&pod(500, LEAST_MEMORY), 1), [0], "0.5 is far below the lower bound");
        let target = |vpa: &Vpa| vpa.recommendation().expect("there are samples").target;
        assert!((1090..1200).contains(&target(&vpa)), "{}", target(&vpa));
        (60..120).for_each(|i| vpa.observe(30_000, i * INTERVAL));
        assert_eq!(target(&vpa), 2000, "maxAllowed");
    }
}
