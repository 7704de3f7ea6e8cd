//! Scenario files: what is offered, to whom, and what counts as good service.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::rate::RateCurve;
use crate::sleep::{Sleep, night_wave, parse_population};

/// One scenario, read from `NAME.toml`.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's stem.
    pub name: String,
    /// For headings.
    pub title: String,
    /// What it is for, one or two sentences.
    pub about: String,
    /// A request slower than this, or failed, breaks the service-level objective.
    pub slo_ms: u64,
    /// When a request is given up.
    pub timeout_ms: u64,
    /// Kind of image and its share of the requests, kinds in alphabetical order.
    pub images: Vec<(String, f64)>,
    /// In units of the scale: 1.0 is as many requests a second as `--scale` says.
    pub rate: RateCurve,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: String,
    about: String,
    slo_ms: u64,
    timeout_ms: u64,
    images: BTreeMap<String, f64>,
    rate: RateFile,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RateFile {
    NightWave { population: String, day_s: f64, peak: f64, sleep: Sleep },
    Points { points: Vec<(f64, f64)>, repeat: Option<usize> },
}

/// How far image shares may be from adding up to 1.
const SHARES_TOLERANCE: f64 = 1e-6;

/// The files of `comparison/scenarios`, by name.
const SHIPPED: [(&str, &str); 7] = [
    ("idle-wake", include_str!("../../scenarios/idle-wake.toml")),
    ("late-spike", include_str!("../../scenarios/late-spike.toml")),
    ("night-wave", include_str!("../../scenarios/night-wave.toml")),
    ("ramp", include_str!("../../scenarios/ramp.toml")),
    ("sawtooth", include_str!("../../scenarios/sawtooth.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
    ("spike", include_str!("../../scenarios/spike.toml")),
];
/// The table that `night-wave` names.
const SHIPPED_POPULATION: &str = include_str!("../../scenarios/population-by-utc-offset.csv");

impl Scenario {
    /// The scenarios of `comparison/scenarios` as they were when this was built, alphabetically.
    pub fn shipped() -> Vec<Self> {
        let parse = |&(name, text): &(&str, &str)| {
            Self::parse(name, text, |_| Ok(SHIPPED_POPULATION.to_owned())).expect("tested: all are valid")
        };
        SHIPPED.iter().map(parse).collect()
    }

    /// One of the shipped scenarios.
    pub fn shipped_named(name: &str) -> Option<Self> {
        Self::shipped().into_iter().find(|s| s.name == name)
    }

    /// Checks the text of a scenario file. `table` gives the text of another file that it names.
    pub fn parse(name: &str, text: &str, table: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let file: ScenarioFile = toml::from_str(text)?;
        let shares: f64 = file.images.values().sum();
        ensure!(
            (shares - 1.0).abs() < SHARES_TOLERANCE,
            "the shares in [images] add up to {shares}, not to 1"
        );
        let rate = match file.rate {
            RateFile::Points { points, repeat } => RateCurve::new(points)?.repeated(repeat.unwrap_or(1)),
            RateFile::NightWave { population, day_s, peak, sleep } => {
                let wave = night_wave(&parse_population(&table(&population)?)?, &sleep);
                let busiest = wave.iter().map(|p| p.1).fold(0.0, f64::max);
                RateCurve::new(
                    wave.iter().map(|&(share, people)| (share * day_s, people / busiest * peak)).collect(),
                )?
            }
        };
        Ok(Self {
            name: name.to_owned(),
            title: file.title,
            about: file.about,
            slo_ms: file.slo_ms,
            timeout_ms: file.timeout_ms,
            images: file.images.into_iter().collect(),
            rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Scenario {
        Scenario::shipped_named(name).expect("shipped")
    }

    #[test]
    fn the_seven_scenarios_are_shipped() {
        let names: Vec<String> = Scenario::shipped().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["idle-wake", "late-spike", "night-wave", "ramp", "sawtooth", "soak", "spike"]);
    }

    #[test]
    fn the_shapes_say_what_their_names_say() {
        assert_eq!(named("soak").rate.steps_up(), Vec::<f64>::new());
        assert_eq!(named("spike").rate.steps_up(), [60.0]);
        assert_eq!(named("late-spike").rate.steps_up(), [120.0]);
        assert_eq!(named("idle-wake").rate.steps_up(), [10.0, 150.0]);
        assert_eq!(named("idle-wake").rate.expected(30.0, 150.0), 0.0);
        assert_eq!(named("ramp").rate.peak(), 6.0);
        let teeth = named("sawtooth").rate;
        assert_eq!((teeth.rate(79.9) > 4.9, teeth.rate(80.0), teeth.duration()), (true, 0.5, 500.0));
    }

    #[test]
    fn the_night_wave_peaks_when_asia_sleeps() {
        let wave = named("night-wave").rate;
        let hour = wave.duration() / 24.0;
        let busiest = (0..96).max_by(|a, b| {
            let rate = |i: i32| wave.rate(f64::from(i) * hour / 4.0);
            rate(*a).total_cmp(&rate(*b))
        });
        let busiest = f64::from(busiest.expect("96 points")) / 4.0;
        // From India (UTC+5:30) to China (UTC+8) it is after midnight between 18:30 and 23:00 UTC.
        assert!((18.0..23.0).contains(&busiest), "busiest at {busiest} UTC");
        assert!(wave.rate(9.0 * hour) < 0.35 * wave.peak(), "Asia and Europe are awake at 09:00 UTC");
        assert!((wave.peak() - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_mistake_in_a_scenario_names_itself() {
        let text =
            "title='x'\nabout=''\nslo_ms=1\ntimeout_ms=1\n[images]\nopen=0.5\n[rate]\npoints=[[0,1],[1,1]]";
        let error = Scenario::parse("x", text, |_| unreachable!("names no other file"))
            .expect_err("shares are wrong");
        assert!(error.to_string().contains("add up to 0.5"), "{error}");
    }
}
