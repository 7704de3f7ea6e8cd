//! Statistics over repeats: means with their spread, paired differences with interval and test, and
//! the correction for several claims.
//!
//! Repeats are paired by seed: both variants receive the same arrivals. A difference is tested by
//! the exact sign-flip test (Fisher's randomization test on paired differences) and described by
//! Student's t interval. Claims are tested in an order fixed beforehand, each at the full level,
//! and no further than to the first that is not shown (Maurer, Hothorn and Lehmacher 1995; Westfall
//! and Krishen, J. Statist. Plann. Inference 99, 2001).

use rand_pcg::Pcg64;
use scenario::rate::uniform;
use statrs::distribution::{Continuous as _, ContinuousCDF as _, Normal, StudentsT};

/// Pairs below which nothing is claimed. The smallest p-value of the sign-flip test on n pairs is
/// 2^(1-n): with five pairs it is 0.0625, so that not even a single claim can pass [`ALPHA`].
pub const LEAST_PAIRS: usize = 6;

/// Probability of at least one false claim in a table, at most.
pub const ALPHA: f64 = 0.05;

/// Coverage of all intervals.
pub const COVERAGE: f64 = 0.95;

/// Power that is planned for, the usual choice.
pub const POWER: f64 = 0.8;

/// Up to here the sign-flip test enumerates all signs (a million at most); above, it samples as
/// many.
const EXACT_PAIRS: usize = 20;

/// A mean over repeats and its spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Mean of the repeats.
    pub mean: f64,
    /// The range of the repeats, or the interval of the mean.
    pub spread: Spread,
    /// Number of repeats that have the value ...
    pub repeats: usize,
    /// ... of so many.
    pub of: usize,
}

/// The spread of repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// A single run.
    Unknown,
    /// Smallest and largest of fewer than [`LEAST_PAIRS`] repeats. Not an interval for the mean: of
    /// three normal values, the range covers the mean in 75 % of cases.
    Range(f64, f64),
    /// Student's t interval for the mean, with a coverage of [`COVERAGE`] for normal values.
    Interval(f64, f64),
}

/// Mean and spread; `None` for no values.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    if values.is_empty() {
        return None;
    }
    let spread = match values.len() {
        1 => Spread::Unknown,
        n if n < LEAST_PAIRS => {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            Spread::Range(low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        }
        _ => {
            let (low, high) = t_interval(values);
            Spread::Interval(low, high)
        }
    };
    Some(Estimate { mean: mean(values), spread, repeats: values.len(), of: values.len() })
}

/// A paired difference with everything needed to judge it.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Number of pairs.
    pub pairs: usize,
    /// Mean of the differences.
    pub mean: f64,
    /// Student's t interval of the mean difference.
    pub interval: (f64, f64),
    /// Two-sided p-value of the sign-flip test, uncorrected.
    pub p: f64,
}

/// The difference of at least [`LEAST_PAIRS`] pairs; `None` for fewer.
pub fn difference(differences: &[f64]) -> Option<Difference> {
    (differences.len() >= LEAST_PAIRS).then(|| Difference {
        pairs: differences.len(),
        mean: mean(differences),
        interval: t_interval(differences),
        p: sign_flip(differences),
    })
}

/// p-values corrected for claims that are tested in this order, each only if all before it are
/// shown: none is less than any before it. The probability of at least one false claim is that of a
/// single test, whichever differences are real: only the first that is not can bring one in.
pub fn in_sequence(p: &[f64]) -> Vec<f64> {
    let most = |most: &mut f64, p: &f64| {
        *most = most.max(*p);
        Some(*most)
    };
    p.iter().scan(0.0_f64, most).collect()
}

/// Pairs needed to show a mean difference of `effect` with standard deviation `deviation`, with a
/// power of [`POWER`]. `None` where a thousand pairs do not suffice.
pub fn pairs_needed(effect: f64, deviation: f64) -> Option<usize> {
    const MOST: usize = 1000;
    if effect == 0.0 {
        return None;
    }
    (LEAST_PAIRS..=MOST).find(|&n| deviation == 0.0 || power(effect.abs() / deviation, n) >= POWER)
}

/// The probability that the sign-flip test on `pairs` normal differences has p at most [`ALPHA`],
/// where their mean is `shift` of their standard deviations.
///
/// Of few pairs it is simulated: with six the test passes only where all agree, which a t test of
/// the same size does not need. Of more it is a t test's, by the normal approximation.
pub fn power(shift: f64, pairs: usize) -> f64 {
    const SIMULATED: usize = 10;
    const SETS: usize = 4_000;
    if pairs > SIMULATED {
        let distance = shift * (pairs as f64).sqrt();
        return Normal::standard().cdf(distance - t_quantile(1.0 - ALPHA / 2.0, pairs));
    }
    // The same draws for every shift: the power then grows with it.
    simulated_power(&mut Pcg64::new(20_260_102, pairs as u128), SETS, shift, pairs)
}

/// The same as a share of `sets` draws.
fn simulated_power(random: &mut Pcg64, sets: usize, shift: f64, pairs: usize) -> f64 {
    let shown = |_: &usize| {
        let differences: Vec<f64> = normals(random, pairs).iter().map(|v| v + shift).collect();
        sign_flip(&differences) <= ALPHA
    };
    (0..sets).filter(shown).count() as f64 / sets as f64
}

/// Standard normal values.
fn normals(random: &mut Pcg64, n: usize) -> Vec<f64> {
    let normal = Normal::standard();
    (0..n).map(|_| normal.inverse_cdf(uniform(random).clamp(1e-12, 1.0 - 1e-12))).collect()
}

/// Standard deviation of a sample; zero for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn t_quantile(p: f64, n: usize) -> f64 {
    let t = StudentsT::new(0.0, 1.0, (n - 1) as f64).expect("positive degrees of freedom");
    // The library's inverse is accurate to about 1e-5; one Newton step makes it exact at the
    // printed precision.
    let x = t.inverse_cdf(p);
    x - (t.cdf(x) - p) / t.pdf(x)
}

fn t_interval(values: &[f64]) -> (f64, f64) {
    let half =
        t_quantile((1.0 + COVERAGE) / 2.0, values.len()) * deviation(values) / (values.len() as f64).sqrt();
    (mean(values) - half, mean(values) + half)
}

/// Share of sign assignments whose sum is at least as far from zero as the observed one.
fn sign_flip(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Equal sums of different order differ in their last bits.
    let tolerance = differences.iter().map(|d| d.abs()).sum::<f64>() * 1e-12;
    let extreme = |signs: u64| {
        let sum: f64 = differences
            .iter()
            .enumerate()
            .map(|(i, d)| if signs >> (i % 64) & 1 == 1 { -d } else { *d })
            .sum();
        sum.abs() >= observed - tolerance
    };
    let assignments = 1_u64 << EXACT_PAIRS.min(differences.len());
    if differences.len() <= EXACT_PAIRS {
        return (0..assignments).filter(|signs| extreme(*signs)).count() as f64 / assignments as f64;
    }
    // Fixed seed: the same results give the same report. The observed assignment counts once.
    let mut random = Pcg64::new(20_260_101, 1);
    let mut flipped = differences.to_vec();
    let mut count = 1_u64;
    for _ in 0..assignments {
        for (value, d) in flipped.iter_mut().zip(differences) {
            *value = if uniform(&mut random) < 0.5 { -d } else { *d };
        }
        count += u64::from(flipped.iter().sum::<f64>().abs() >= observed - tolerance);
    }
    count as f64 / (assignments + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_has_no_spread_and_none_no_mean() {
        assert_eq!(
            estimate(&[5.0]),
            Some(Estimate { mean: 5.0, spread: Spread::Unknown, repeats: 1, of: 1 })
        );
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn fewer_than_six_repeats_have_a_range() {
        assert_eq!(estimate(&[2.0, 1.0, 4.0]).map(|e| e.spread), Some(Spread::Range(1.0, 4.0)));
    }

    #[test]
    fn the_t_interval_of_a_published_sample_is_as_r_computes_it() {
        // R 4: t.test(c(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)), the data of Student
        // 1908 (R's data set `sleep`, group 1): mean 0.75, 95 percent interval -0.5297804 to
        // 2.0297804.
        let sleep = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let difference = difference(&sleep).expect("ten pairs");
        assert!((difference.interval.0 + 0.529_780_4).abs() < 1e-6, "{difference:?}");
        assert!((difference.interval.1 - 2.029_780_4).abs() < 1e-6, "{difference:?}");
    }

    #[test]
    fn the_sign_flip_test_counts_assignments() {
        // All six of one sign: only the two assignments with equal signs are as extreme.
        assert_eq!(sign_flip(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 2.0 / 64.0);
        // Fisher's example of Darwin's maize (The Design of Experiments, 1935, section 21): 15
        // differences in eighths of an inch; 1,726 of 32,768 assignments are at least as extreme.
        let maize =
            [49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0, -48.0];
        assert_eq!(sign_flip(&maize) * 32_768.0, 1_726.0);
        assert_eq!(sign_flip(&[0.0; 6]), 1.0);
    }

    #[test]
    fn many_pairs_are_sampled_to_about_the_same() {
        let mut random = Pcg64::new(3, 1);
        let values: Vec<f64> = normals(&mut random, 24).iter().map(|v| v + 0.45).collect();
        let sampled = sign_flip(&values);
        let t = mean(&values) / (deviation(&values) / 24.0_f64.sqrt());
        let by_t = 2.0 * (1.0 - StudentsT::new(0.0, 1.0, 23.0).expect("valid").cdf(t.abs()));
        assert!((sampled - by_t).abs() < 0.02, "{sampled} {by_t}");
    }

    #[test]
    fn a_claim_is_no_surer_than_those_before_it() {
        assert_eq!(in_sequence(&[0.01, 0.04, 0.03, 0.2, 0.001]), [0.01, 0.04, 0.04, 0.2, 0.2]);
        assert!(in_sequence(&[]).is_empty());
    }

    #[test]
    fn intervals_cover_the_mean_as_often_as_stated() {
        const SETS: usize = 20_000;
        for n in [6, 12] {
            let mut random = Pcg64::new(n as u128, 1);
            let covered = (0..SETS)
                .filter(|_| {
                    let (low, high) = t_interval(&normals(&mut random, n));
                    low <= 0.0 && 0.0 <= high
                })
                .count();
            let coverage = covered as f64 / SETS as f64;
            assert!((coverage - COVERAGE).abs() < 0.01, "{n} values: {coverage}");
        }
    }

    #[test]
    fn the_range_of_three_covers_the_mean_in_three_of_four_cases_only() {
        const SETS: usize = 20_000;
        let mut random = Pcg64::new(7, 1);
        let covered = (0..SETS)
            .filter(|_| {
                let spread = estimate(&normals(&mut random, 3)).map(|e| e.spread);
                matches!(spread, Some(Spread::Range(low, high)) if low <= 0.0 && 0.0 <= high)
            })
            .count();
        assert!((covered as f64 / SETS as f64 - 0.75).abs() < 0.01, "{covered}");
    }

    #[test]
    fn tables_claim_something_false_no_more_often_than_stated() {
        const TABLES: usize = 2_000;
        // So many claims, of which the first ones are true, with differences of four deviations.
        for (pairs, claims, real) in [(6, 1, 0), (6, 8, 0), (6, 8, 3), (9, 8, 7)] {
            let mut random = Pcg64::new(pairs as u128 * 100 + real as u128, claims as u128);
            let mut found = 0;
            let false_tables = (0..TABLES)
                .filter(|_| {
                    let p: Vec<f64> = (0..claims)
                        .map(|claim| {
                            let shift = if claim < real { 4.0 } else { 0.0 };
                            let values = normals(&mut random, pairs);
                            sign_flip(&values.iter().map(|v| v + shift).collect::<Vec<f64>>())
                        })
                        .collect();
                    let shown = in_sequence(&p).iter().filter(|p| **p <= ALPHA).count();
                    found += shown.min(real);
                    shown > real
                })
                .count();
            let share = false_tables as f64 / TABLES as f64;
            // The test is exact, so the share is at most ALPHA but for the simulation's own error.
            assert!(share <= ALPHA + 0.015, "{pairs} pairs, {claims} claims, {real} true: {share}");
            assert!(found * 10 >= TABLES * real * 9, "{pairs} pairs, {real} true claims: {found} shown");
        }
    }

    /// How often the test passes on normal differences of one deviation, by other draws.
    fn found(shift: f64, pairs: usize) -> f64 {
        simulated_power(&mut Pcg64::new(11, 1), 2_000, shift, pairs)
    }

    #[test]
    fn six_pairs_show_a_difference_only_where_all_of_them_agree() {
        let normal = Normal::standard();
        for shift in [0.5, 1.0, 1.4, 1.8, 2.5] {
            let all_agree = normal.cdf(shift).powi(6) + normal.cdf(-shift).powi(6);
            let by_simulation = power(shift, 6);
            assert!((by_simulation - all_agree).abs() < 0.02, "{shift}: {by_simulation} {all_agree}");
        }
        assert_eq!(pairs_needed(2.0, 1.0), Some(6));
        assert_eq!(pairs_needed(1.5, 1.0), Some(7));
    }

    #[test]
    fn the_planned_number_of_pairs_finds_the_effect_as_often_as_planned() {
        for effect in [1.0, 1.2, 1.5, 2.0] {
            let pairs = pairs_needed(effect, 1.0).expect("few suffice");
            let power = found(effect, pairs);
            assert!((0.77..0.95).contains(&power), "{effect}: {pairs} pairs find it in {power}");
        }
        assert_eq!(pairs_needed(1.0, 0.0), Some(LEAST_PAIRS));
        assert_eq!(pairs_needed(0.0, 1.0), None);
        assert_eq!(pairs_needed(0.0, 0.0), None, "no number of pairs shows that there is nothing");
    }
}
