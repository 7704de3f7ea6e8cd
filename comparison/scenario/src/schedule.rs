//! The schedule: the send time of each image. A scenario, a scale, a stretch and a seed give one
//! schedule, always the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand_pcg::Pcg64;

use crate::Scenario;
use crate::rate::{RateCurve, uniform};
use crate::trace::Trace;

/// One scheduled request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its send time, from the start of the run.
    pub at: Duration,
    /// Index into [`Schedule::images`].
    pub image: usize,
    /// The index of the picture of that kind, modulo their number.
    pub pick: u32,
}

/// All scheduled requests.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Kinds of image.
    pub images: Vec<String>,
    /// In the order of time.
    pub arrivals: Vec<Arrival>,
    /// The rate curve: requests a second over seconds.
    pub rate: RateCurve,
}

/// Arrivals and images have separate random streams: another image mix does not change the
/// arrivals.
const ARRIVAL_STREAM: u128 = 1;
const IMAGE_STREAM: u128 = 2;

/// Most requests of a schedule: every arrival and every answer is kept in memory. Drawing that many
/// takes half a gigabyte.
pub const MOST_REQUESTS: f64 = 1e7;
/// Longest schedule: a week. Results have a row for each second.
pub const LONGEST_S: f64 = 7.0 * 24.0 * 3600.0;

impl Schedule {
    /// Checks that a schedule has a size at which it can be drawn.
    pub fn ensure_bounded(scenario: &Scenario, scale: f64, stretch: f64) -> Result<()> {
        let Scenario { name, rate, trace, .. } = scenario;
        let duration_s = rate.duration();
        let requests = rate.expected(0.0, duration_s) * scale * stretch;
        ensure!(
            requests <= MOST_REQUESTS,
            "{name} has about {requests:.0} requests at scale {scale} and stretch {stretch}, more than \
             the {MOST_REQUESTS} that a schedule may have"
        );
        let stretched_s = duration_s * stretch;
        ensure!(
            stretched_s <= LONGEST_S,
            "{name} takes {stretched_s:.0} s at stretch {stretch}, more than the {LONGEST_S} s that a \
             schedule may take"
        );
        if let Some(trace) = trace {
            let recorded_s = trace.duration();
            ensure!(
                stretched_s <= recorded_s,
                "{name} takes {stretched_s:.0} s at stretch {stretch}, and its trace has {recorded_s:.0} s"
            );
        }
        Ok(())
    }

    /// Draws the schedule of a scenario: `scale` requests a second for each 1.0 of its rate, time
    /// times `stretch`.
    pub fn draw(scenario: &Scenario, scale: f64, stretch: f64, seed: u64) -> Self {
        let mut rate = scenario.rate.scaled(stretch, scale);
        let mut random = Pcg64::new(u128::from(seed), ARRIVAL_STREAM);
        let moments = match &scenario.trace {
            Some(trace) => {
                let drawn = trace.draw(scale, stretch, &mut random);
                rate = Trace::curve(&drawn, rate.duration());
                drawn
            }
            None => rate.arrivals(&mut random),
        };
        let mut mix = Pcg64::new(u128::from(seed), IMAGE_STREAM);
        let arrivals = moments.into_iter().map(|second| {
            let image = pick(&scenario.images, uniform(&mut mix));
            let pick = (uniform(&mut mix) * f64::from(u32::MAX)) as u32;
            // Whole microseconds, so that a printed schedule is exact.
            Arrival { at: Duration::from_micros((second * 1e6) as u64), image, pick }
        });
        let arrivals = arrivals.collect();
        Self { images: scenario.images.iter().map(|i| i.0.clone()).collect(), arrivals, rate }
    }

    /// Length of the run in seconds, including the time after the last request.
    pub fn duration(&self) -> f64 {
        self.rate.duration()
    }

    /// A fingerprint, to compare the offered load of two results files.
    pub fn fingerprint(&self) -> String {
        // FNV-1a: a few lines, and the same on every machine and toolchain.
        let bytes = self.arrivals.iter().flat_map(|a| {
            let (at, image) = (a.at.as_micros() as u64, a.image as u64);
            [at, image, u64::from(a.pick)].into_iter().flat_map(u64::to_le_bytes)
        });
        fnv(bytes)
    }

    /// `second,image` rows.
    pub fn to_csv(&self) -> String {
        let rows =
            self.arrivals.iter().map(|a| format!("{:.6},{}\n", a.at.as_secs_f64(), self.images[a.image]));
        std::iter::once("second,image\n".to_owned()).chain(rows).collect()
    }
}

/// FNV-1a, 64 bits, in hexadecimal.
pub fn fnv(bytes: impl Iterator<Item = u8>) -> String {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// The kind whose slice of [0, 1) the number falls into.
fn pick(images: &[(String, f64)], number: f64) -> usize {
    let mut sum = 0.0;
    let found = images.iter().position(|(_, share)| {
        sum += share;
        number < sum
    });
    found.unwrap_or(images.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str) -> Scenario {
        Scenario::shipped_named(name).expect("shipped")
    }

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_seed_another() {
        let draw = |seed| Schedule::draw(&scenario("spike"), 10.0, 1.0, seed);
        assert_eq!(draw(1).arrivals, draw(1).arrivals);
        assert_eq!(draw(1).fingerprint(), draw(1).fingerprint());
        assert_ne!(draw(1).fingerprint(), draw(2).fingerprint());
    }

    #[test]
    fn a_seed_means_the_same_on_every_machine() {
        // A regression value: a change makes old results incomparable with new ones.
        let schedule = Schedule::draw(&scenario("soak"), 1.0, 1.0, 42);
        let first: Vec<u128> = schedule.arrivals[..4].iter().map(|a| a.at.as_micros()).collect();
        assert_eq!(first, FIRST_OF_SEED_42);
    }

    const FIRST_OF_SEED_42: [u128; 4] = [423_158, 566_192, 776_867, 784_405];

    #[test]
    fn every_scenario_offers_what_it_says() {
        for name in [
            "idle-wake",
            "late-spike",
            "night-wave",
            "ramp",
            "sawtooth",
            "soak",
            "spike",
            "spike-apart",
            "spike-cycles",
            "spike-long-apart",
            "spike-once",
            "steady",
        ] {
            let scenario = scenario(name);
            let schedule = Schedule::draw(&scenario, 40.0, 1.0, 3);
            let mean = scenario.rate.expected(0.0, scenario.rate.duration()) * 40.0;
            let count = schedule.arrivals.len() as f64;
            assert!((count - mean).abs() < 4.0 * mean.sqrt(), "{name}: {count} for {mean}");
            assert!(schedule.arrivals.is_sorted_by_key(|a| a.at));
        }
    }

    #[test]
    fn scale_multiplies_the_rate_and_stretch_the_time() {
        let scenario = scenario("soak");
        let plain = Schedule::draw(&scenario, 10.0, 1.0, 5);
        let short = Schedule::draw(&scenario, 10.0, 0.1, 5);
        assert_eq!(short.duration(), plain.duration() / 10.0);
        assert_eq!(short.rate.rate(3.0), plain.rate.rate(3.0));
        assert_eq!(Schedule::draw(&scenario, 20.0, 1.0, 5).rate.rate(3.0), 2.0 * plain.rate.rate(3.0));
    }

    #[test]
    fn a_schedule_that_is_too_large_or_too_long_to_be_drawn_is_refused() {
        let soak = scenario("soak");
        Schedule::ensure_bounded(&soak, 100.0, 1.0).expect("a large one");
        let refused = |scale, stretch| {
            Schedule::ensure_bounded(&soak, scale, stretch).expect_err("too much").to_string()
        };
        assert!(refused(1e6, 1.0).contains("more than the 10000000"), "{}", refused(1e6, 1.0));
        assert!(refused(1e-6, 1e6).contains("more than the 604800 s"), "{}", refused(1e-6, 1e6));
    }

    #[test]
    fn a_trace_is_not_stretched_beyond_what_was_recorded() {
        let trace = scenario("azure-llm-code");
        Schedule::ensure_bounded(&trace, 12.0, 5.0).expect("50 of 57 minutes");
        let error = Schedule::ensure_bounded(&trace, 12.0, 10.0).expect_err("100 minutes").to_string();
        assert!(error.contains("takes 6000 s") && error.contains("its trace has"), "{error}");
    }

    #[test]
    fn images_come_in_their_shares_and_leave_the_arrivals_alone() {
        let mut scenario = scenario("soak");
        let before = Schedule::draw(&scenario, 20.0, 1.0, 9);
        let share = |s: &Schedule, i| {
            s.arrivals.iter().filter(|a| a.image == i).count() as f64 / s.arrivals.len() as f64
        };
        for (i, (kind, wanted)) in scenario.images.iter().enumerate() {
            // 36000 draws: five standard deviations are below 0.01.
            assert!((share(&before, i) - wanted).abs() < 0.01, "{kind}");
        }
        scenario.images = vec![("open".into(), 1.0)];
        let after = Schedule::draw(&scenario, 20.0, 1.0, 9);
        assert!(before.arrivals.iter().map(|a| a.at).eq(after.arrivals.iter().map(|a| a.at)));
    }

    #[test]
    fn the_csv_has_a_row_for_each_arrival() {
        let schedule = Schedule::draw(&scenario("idle-wake"), 4.0, 1.0, 1);
        let csv = schedule.to_csv();
        assert_eq!(csv.lines().count(), schedule.arrivals.len() + 1);
        assert!(schedule.arrivals[0].at.as_secs() >= 10, "nobody asks in the first ten seconds");
    }
}
