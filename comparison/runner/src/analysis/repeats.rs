//! Over repeats: means with bootstrap intervals, and differences between the variants of the same repeat.

use rand_pcg::Pcg64;

use scenario::rate::uniform;

/// Resamples of a bootstrap; the interval's ends then wobble by less than their last printed digit.
const RESAMPLES: usize = 4000;
/// Fixed, so that the same results give the same report.
const SEED: u128 = 20_260_101;

/// Fewer repeats than these say nothing about a difference.
pub const LEAST_REPEATS: usize = 3;

/// A mean over repeats and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Mean of the repeats.
    pub mean: f64,
    /// 95 % percentile bootstrap interval; `None` for a single run.
    pub interval: Option<(f64, f64)>,
    /// How many repeats.
    pub repeats: usize,
}

/// Mean and interval; `None` of nothing.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    if values.is_empty() {
        return None;
    }
    let mean = mean(values);
    Some(Estimate { mean, interval: (values.len() > 1).then(|| bootstrap(values)), repeats: values.len() })
}

/// Whether the differences of paired repeats say something: at least three pairs, all of one sign, and an interval without 0.
pub fn is_clear(differences: &[f64]) -> bool {
    let one_sign = differences.iter().all(|d| *d > 0.0) || differences.iter().all(|d| *d < 0.0);
    let Some(Estimate { interval: Some((low, high)), .. }) = estimate(differences) else { return false };
    differences.len() >= LEAST_REPEATS && one_sign && (low > 0.0 || high < 0.0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut random = Pcg64::new(SEED, 1);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let draw = |_| values[(uniform(&mut random) * values.len() as f64) as usize];
            (0..values.len()).map(draw).sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_has_no_interval_and_none_no_mean() {
        assert_eq!(estimate(&[5.0]), Some(Estimate { mean: 5.0, interval: None, repeats: 1 }));
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn the_interval_of_many_is_about_two_standard_errors_each_way() {
        // 400 values, uniform on 0..1: standard error 0.2887 / 20 = 0.01443.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i) / 399.0).collect();
        let (low, high) = estimate(&values).and_then(|e| e.interval).expect("many");
        assert!(
            (0.5 - low - 1.96 * 0.01443).abs() < 0.002 && (high - 0.5 - 1.96 * 0.01443).abs() < 0.002,
            "{low}..{high}"
        );
    }

    #[test]
    fn the_same_values_give_the_same_interval() {
        assert_eq!(estimate(&[1.0, 2.0, 4.0]), estimate(&[1.0, 2.0, 4.0]));
    }

    #[test]
    fn a_difference_is_clear_only_when_three_repeats_agree() {
        assert!(is_clear(&[1.0, 2.0, 1.5]));
        assert!(is_clear(&[-1.0, -2.0, -1.5]));
        assert!(!is_clear(&[1.0, 2.0]), "two are not enough");
        assert!(!is_clear(&[1.0, 2.0, -0.1]), "they must agree");
        assert!(!is_clear(&[0.0, 0.0, 0.0]));
    }
}
