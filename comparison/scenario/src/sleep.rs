//! The night wave: the number of people asleep at each moment of a day, over all time zones.

use anyhow::{Context, Result};
use serde::Deserialize;

/// When people sleep: bedtime and wake time as normal distributions over local hours.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// Mean bedtime, local hour (23.25 is a quarter past eleven).
    pub bedtime: f64,
    /// Mean wake time, local hour.
    pub wake: f64,
    /// Standard deviation of both, hours.
    pub spread_h: f64,
}

/// People by UTC offset.
pub type Population = Vec<(f64, f64)>;

/// Points of the night wave in a day: every 15 minutes.
const POINTS_A_DAY: usize = 96;

impl Sleep {
    /// Share of people asleep at a local hour.
    pub fn asleep(&self, local_hour: f64) -> f64 {
        // The night is centred on the middle of sleep, so that no night is cut at midnight.
        let length = (self.wake - self.bedtime).rem_euclid(24.0);
        let middle = self.bedtime + length / 2.0;
        let from_middle = (local_hour - middle + 12.0).rem_euclid(24.0) - 12.0;
        let in_bed = normal_cdf((from_middle + length / 2.0) / self.spread_h);
        let not_up_yet = 1.0 - normal_cdf((from_middle - length / 2.0) / self.spread_h);
        in_bed * not_up_yet
    }
}

/// Millions asleep over a day from 00:00 UTC as `(share of the day, millions)`, both ends included.
pub fn night_wave(population: &Population, sleep: &Sleep) -> Vec<(f64, f64)> {
    let asleep = |share: f64| {
        let utc = share * 24.0;
        population.iter().map(|(offset, people)| people * sleep.asleep(utc + offset)).sum()
    };
    (0..=POINTS_A_DAY).map(|i| i as f64 / POINTS_A_DAY as f64).map(|share| (share, asleep(share))).collect()
}

/// Parses `utc_offset_hours,population_millions` rows; `#` lines and the heading are skipped.
pub fn parse_population(text: &str) -> Result<Population> {
    let rows = text.lines().filter(|l| !l.starts_with('#') && !l.starts_with("utc_") && !l.trim().is_empty());
    rows.map(|line| {
        let (offset, people) =
            line.split_once(',').with_context(|| format!("population table: no comma in {line:?}"))?;
        Ok((offset.trim().parse()?, people.trim().parse()?))
    })
    .collect()
}

/// The standard normal distribution (Abramowitz and Stegun 26.2.17; error below 7.5e-8).
fn normal_cdf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let tail = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let polynomial = tail.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let upper = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if x >= 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEP: Sleep = Sleep { bedtime: 23.25, wake: 7.1667, spread_h: 1.25 };

    #[test]
    fn nearly_everyone_sleeps_at_three_and_nearly_nobody_at_three_in_the_afternoon() {
        assert!(SLEEP.asleep(3.0) > 0.99);
        assert!(SLEEP.asleep(15.0) < 0.001);
        assert!((SLEEP.asleep(23.25) - 0.5).abs() < 0.001);
        assert!((SLEEP.asleep(7.1667) - 0.5).abs() < 0.001);
        assert_eq!(SLEEP.asleep(27.0), SLEEP.asleep(3.0));
    }

    #[test]
    fn the_area_under_the_share_asleep_is_the_hours_of_sleep() {
        let hours: f64 = (0..2400).map(|i| SLEEP.asleep(f64::from(i) / 100.0) / 100.0).sum();
        assert!((hours - 7.9167).abs() < 0.01, "{hours} h");
    }

    #[test]
    fn a_zone_sleeps_when_its_own_clock_says_night() {
        let wave = night_wave(&vec![(8.0, 100.0)], &SLEEP);
        let at = |utc: f64| wave[(utc / 24.0 * POINTS_A_DAY as f64) as usize].1;
        assert!(at(19.0) > 99.0, "03:00 at UTC+8");
        assert!(at(7.0) < 0.1, "15:00 at UTC+8");
        assert_eq!(wave[0].1, wave[POINTS_A_DAY].1);
    }
}
