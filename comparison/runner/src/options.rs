//! Numbers on the command line: what each kind of option takes.

use std::ops::RangeInclusive;

/// Most of what is counted: repeats, seeds, chances, candidates. More is a slip of the keyboard.
pub const MOST_COUNTED: u32 = 10_000;
/// Most threads of a load generator: no machine has more CPUs to spare for it.
pub const MOST_THREADS: u32 = 256;
/// Most of a scale, a stretch, a load in pods, or minutes: within it, no product of two overflows a
/// duration.
pub const MOST_FACTOR: f64 = 1e6;
/// Most seconds waited or watched: a week. No cluster's autoscaler takes as long.
pub const MOST_SECONDS: u64 = 7 * 24 * 3600;

/// A number above zero.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number <= MOST_FACTOR);
    number.ok_or_else(|| format!("it takes a number above 0 and at most {MOST_FACTOR}"))
}

/// Seconds, with or without a fraction.
pub fn seconds(text: &str) -> Result<f64, String> {
    let range = 0.0..=MOST_SECONDS as f64;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it takes seconds from 0 to {MOST_SECONDS}"))
}

/// Whole seconds.
pub fn whole_seconds(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number <= MOST_SECONDS);
    number.ok_or_else(|| format!("it takes whole seconds from 0 to {MOST_SECONDS}"))
}

/// How many of something, or the number of one of them.
pub fn count(text: &str) -> Result<u32, String> {
    within(text, 1..=MOST_COUNTED)
}

/// Threads.
pub fn threads(text: &str) -> Result<u32, String> {
    within(text, 1..=MOST_THREADS)
}

fn within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it takes a whole number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_number_ends_at_its_bounds() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for bad in ["0", "-1", "-0", "NaN", "inf", "-inf", "1e300", "five", ""] {
            assert!(positive(bad).expect_err(bad).contains("above 0 and at most 1000000"));
        }
        assert_eq!(seconds("0"), Ok(0.0));
        for bad in ["-1", "NaN", "inf", "1e300", "604801"] {
            assert!(seconds(bad).expect_err(bad).contains("from 0 to 604800"));
        }
        assert_eq!(whole_seconds("604800"), Ok(604_800));
        assert!(whole_seconds("-1").is_err() && whole_seconds("604801").is_err());
        assert_eq!(count("1"), Ok(1));
        for bad in ["0", "-1", "1.5", "10001", "99999999999"] {
            assert!(count(bad).expect_err(bad).contains("from 1 to 10000"));
        }
        assert!(threads("0").is_err() && threads("257").is_err());
    }
}
