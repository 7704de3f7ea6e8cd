//! The vertical pod autoscaler 1.6 and later: decaying histograms, percentile estimators with margin and confidence, and
//! the updater's rule for when a pod is touched.

/// `--recommender-interval` and `--updater-interval`.
pub const INTERVAL_S: f64 = 60.0;
/// `--cpu-histogram-decay-half-life`.
const HALF_LIFE_S: f64 = 86_400.0;
/// Each bucket is this much wider than the one before it.
const BUCKET_RATIO: f64 = 1.05;
/// CPU histograms begin at 10 millicores and end at 1000 cores.
const FIRST_CPU_BUCKET: f64 = 0.01;
const MOST_CPU: f64 = 1000.0;
/// `--recommendation-margin-fraction`.
const MARGIN: f64 = 0.15;
/// `--pod-recommendation-min-cpu-millicores`.
const LEAST_CPU: f64 = 0.025;
/// `--pod-update-threshold`, and how long a pod must live before that alone is a reason.
const UPDATE_THRESHOLD: f64 = 0.1;
const SETTLED_POD_S: f64 = 43_200.0;
const DAY_S: f64 = 86_400.0;

/// Percentiles of weighted samples in exponential buckets; old samples lose weight.
#[derive(Debug, Clone)]
pub struct Histogram {
    weights: Vec<f64>,
    first_bucket: f64,
}

impl Histogram {
    /// For CPU in cores.
    pub fn cpu() -> Self {
        let buckets = (MOST_CPU * (BUCKET_RATIO - 1.0) / FIRST_CPU_BUCKET + 1.0).ln() / BUCKET_RATIO.ln();
        Self { weights: vec![0.0; buckets.ceil() as usize + 1], first_bucket: FIRST_CPU_BUCKET }
    }

    /// Adds a sample taken at a second. Later samples weigh more by what the earlier ones have lost.
    pub fn add(&mut self, value: f64, second: f64) {
        let bucket = if value < self.first_bucket {
            0.0
        } else {
            (value * (BUCKET_RATIO - 1.0) / self.first_bucket + 1.0).ln() / BUCKET_RATIO.ln()
        };
        let last = self.weights.len() - 1;
        self.weights[(bucket as usize).min(last)] += (second / HALF_LIFE_S).exp2();
    }

    /// The upper end of the bucket that holds the percentile (0..1); 0 when empty.
    pub fn percentile(&self, percentile: f64) -> f64 {
        let total: f64 = self.weights.iter().sum();
        if total <= 0.0 {
            return 0.0;
        }
        let mut sum = 0.0;
        let last = self.weights.iter().rposition(|w| *w > 0.0).expect("not empty");
        let bucket = self.weights[..last].iter().position(|weight| {
            sum += weight;
            *weight > 0.0 && sum >= percentile * total
        });
        let end = (bucket.unwrap_or(last) + 1).min(self.weights.len() - 1);
        self.first_bucket * (BUCKET_RATIO.powi(end as i32) - 1.0) / (BUCKET_RATIO - 1.0)
    }
}

/// What the recommender says, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recommendation {
    /// What a pod should request.
    pub target: f64,
    /// Below it a pod is updated.
    pub lower: f64,
    /// Above it a pod is updated.
    pub upper: f64,
}

/// The recommender's memory for one container, and the object's bounds.
#[derive(Debug, Clone)]
pub struct Vpa {
    histogram: Histogram,
    samples: u64,
    first_s: Option<f64>,
    last_s: f64,
    /// `minAllowed` and `maxAllowed` for CPU.
    bounds: (f64, f64),
}

impl Vpa {
    /// An object without history.
    pub fn new(min_allowed: f64, max_allowed: f64) -> Self {
        Self {
            histogram: Histogram::cpu(),
            samples: 0,
            first_s: None,
            last_s: 0.0,
            bounds: (min_allowed, max_allowed),
        }
    }

    /// One usage sample of one pod: cores.
    pub fn observe(&mut self, cores: f64, second: f64) {
        self.histogram.add(cores, second);
        self.samples += 1;
        self.first_s.get_or_insert(second);
        self.last_s = self.last_s.max(second);
    }

    /// 90th percentile with margin; bounds from the 50th and 95th, widened while there is little history.
    pub fn recommendation(&self) -> Option<Recommendation> {
        let first = self.first_s?;
        let confidence = ((self.last_s - first) / DAY_S).min(self.samples as f64 / 1440.0);
        let estimate =
            |percentile: f64| (self.histogram.percentile(percentile) * (1.0 + MARGIN)).max(LEAST_CPU);
        let capped = |cores: f64| cores.clamp(self.bounds.0, self.bounds.1);
        Some(Recommendation {
            target: capped(estimate(0.9)),
            lower: capped(estimate(0.5) * lower_bound_factor(confidence)),
            upper: capped(estimate(0.95) * upper_bound_factor(confidence)),
        })
    }

    /// Whether the updater changes a pod with this request and age.
    pub fn updates(&self, requested: f64, age_s: f64) -> Option<f64> {
        let r = self.recommendation()?;
        let outside = requested < r.lower || requested > r.upper;
        let drifted = age_s >= SETTLED_POD_S && (requested - r.target).abs() / requested >= UPDATE_THRESHOLD;
        (outside || drifted).then_some(r.target)
    }
}

/// `(1 + 0.001/days)^-2`: short history, low lower bound.
fn lower_bound_factor(days: f64) -> f64 {
    if days <= 0.0 { 0.0 } else { (1.0 + 0.001 / days).powi(-2) }
}

/// `1 + 1/days`: short history, high upper bound.
fn upper_bound_factor(days: f64) -> f64 {
    if days <= 0.0 { f64::INFINITY } else { 1.0 + 1.0 / days }
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those that kubernetes/autoscaler documents (flags.md, and the comments of recommender.go).
    use super::*;

    #[test]
    fn the_documented_widening_of_the_bounds() {
        let near = |got: f64, documented: f64, within: f64| {
            assert!((got - documented).abs() <= within, "{got} for {documented}")
        };
        near(upper_bound_factor(0.5), 3.0, 0.001);
        near(upper_bound_factor(1.0), 2.0, 0.001);
        near(upper_bound_factor(7.0), 1.14, 0.005);
        // Documented with one or two digits.
        near(lower_bound_factor(5.0 / 1440.0), 0.6, 0.015);
        near(lower_bound_factor(30.0 / 1440.0), 0.9, 0.015);
        near(lower_bound_factor(60.0 / 1440.0), 0.95, 0.015);
        assert_eq!((lower_bound_factor(0.0), upper_bound_factor(0.0)), (0.0, f64::INFINITY));
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket_and_at_most_five_percent_and_one_bucket_off() {
        let mut histogram = Histogram::cpu();
        (1..=1000).for_each(|i| histogram.add(f64::from(i) / 1000.0, 0.0));
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
        (0..2).for_each(|_| histogram.add(0.1, 0.0));
        histogram.add(0.8, HALF_LIFE_S);
        // 2 × 1 against 1 × 2: exactly half the weight is below.
        assert!(histogram.percentile(0.5) < 0.2);
        assert!(histogram.percentile(0.51) > 0.7);
    }

    #[test]
    fn the_target_is_the_ninetieth_percentile_with_fifteen_percent_on_top() {
        let mut vpa = Vpa::new(0.0, 100.0);
        (0..1000).for_each(|i| vpa.observe(if i % 10 == 0 { 2.0 } else { 0.5 }, f64::from(i) * 60.0));
        let target = vpa.recommendation().expect("there are samples").target;
        assert!((0.5 * 1.15..0.55 * 1.15).contains(&target), "{target}");
    }

    #[test]
    fn a_young_pod_is_touched_only_outside_the_bounds_and_never_beyond_what_is_allowed() {
        let mut vpa = Vpa::new(0.5, 2.0);
        assert_eq!(vpa.updates(1.0, 0.0), None, "no history, no update");
        (0..60).for_each(|i| vpa.observe(0.95, f64::from(i) * 60.0));
        assert_eq!(vpa.updates(1.1, 60.0), None, "1.1 is within the widened bounds");
        let up = vpa.updates(0.5, 60.0).expect("0.5 is far below the lower bound");
        assert!((1.09..1.2).contains(&up), "{up}");
        (60..120).for_each(|i| vpa.observe(30.0, f64::from(i) * 60.0));
        assert_eq!(vpa.updates(0.5, 60.0), Some(2.0), "maxAllowed");
    }
}
