//! Scenario files: the offered load, its time window, and the objective.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::rate::RateCurve;
use crate::sleep::{Sleep, night_wave, parse_population};
use crate::trace::Trace;

/// One scenario, read from `NAME.toml`.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's stem.
    pub name: String,
    /// For headings.
    pub title: String,
    /// Its purpose, in one or two sentences.
    pub about: String,
    /// A request slower than this, or failed, breaks the service-level objective.
    pub slo_ms: u64,
    /// The time-out of a request.
    pub timeout_ms: u64,
    /// Kind of image and its share of the requests, kinds in alphabetical order.
    pub images: Vec<(String, f64)>,
    /// The rate in units of the scale: 1.0 is `--scale` requests a second. For a trace, its mean.
    pub rate: RateCurve,
    /// Recorded arrivals, instead of arrivals drawn from the rate.
    pub trace: Option<Trace>,
    /// The part of a run that counts.
    pub counted: Counted,
}

/// The part of a run over which quality and cost are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counted {
    /// From the first second until the arm is at rest again: pods that are kept after the load are
    /// billed.
    UntilRest,
    /// From this second to the end of the load: neither the start from rest nor the tail counts.
    After(f64),
}

impl Counted {
    /// The seconds that count, of a run of this length with its time stretched; all when not given.
    pub fn window(self, stretch: f64, duration_s: f64) -> Option<[f64; 2]> {
        match self {
            Self::UntilRest => None,
            Self::After(warm_up_s) => Some([warm_up_s * stretch, duration_s]),
        }
    }
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
    cycles: Option<CyclesFile>,
    warm_up_s: Option<f64>,
}

/// The whole scenario several times in a row, the first ones for warm-up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CyclesFile {
    warm_up: usize,
    counted: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RateFile {
    Trace { trace: String, unit: f64, length_s: f64 },
    NightWave { population: String, day_s: f64, peak: f64, sleep: Sleep },
    Points { points: Vec<(f64, f64)>, repeat: Option<usize> },
}

/// Tolerance of the sum of the image shares.
const SHARES_TOLERANCE: f64 = 1e-6;

/// The files of `comparison/scenarios`, by name.
const SHIPPED: [(&str, &str); 13] = [
    ("azure-llm-code", include_str!("../../scenarios/azure-llm-code.toml")),
    ("idle-wake", include_str!("../../scenarios/idle-wake.toml")),
    ("late-spike", include_str!("../../scenarios/late-spike.toml")),
    ("night-wave", include_str!("../../scenarios/night-wave.toml")),
    ("ramp", include_str!("../../scenarios/ramp.toml")),
    ("sawtooth", include_str!("../../scenarios/sawtooth.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
    ("spike", include_str!("../../scenarios/spike.toml")),
    ("spike-apart", include_str!("../../scenarios/spike-apart.toml")),
    ("spike-cycles", include_str!("../../scenarios/spike-cycles.toml")),
    ("spike-long-apart", include_str!("../../scenarios/spike-long-apart.toml")),
    ("spike-once", include_str!("../../scenarios/spike-once.toml")),
    ("steady", include_str!("../../scenarios/steady.toml")),
];
/// The tables that they refer to.
const TABLES: [(&str, &str); 2] = [
    ("azure-llm-code-2023.gaps", include_str!("../../scenarios/azure-llm-code-2023.gaps")),
    ("population-by-utc-offset.csv", include_str!("../../scenarios/population-by-utc-offset.csv")),
];

impl Scenario {
    /// The scenarios of `comparison/scenarios` as they were when this was built, alphabetically.
    pub fn shipped() -> Vec<Self> {
        let parse = |&(name, text): &(&str, &str)| {
            let table = |name: &str| {
                let found = TABLES.iter().find(|table| table.0 == name).context("no such table")?;
                Ok(found.1.to_owned())
            };
            Self::parse(name, text, table).expect("tested: all are valid")
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
        if let Some((kind, share)) = file.images.iter().find(|(_, share)| !(0.0..=1.0).contains(*share)) {
            bail!("the share of {kind:?} in [images] is {share}, and a share is from 0 to 1");
        }
        ensure!(
            (shares - 1.0).abs() < SHARES_TOLERANCE,
            "the shares in [images] add up to {shares}, not to 1"
        );
        let mut trace = None;
        let rate = match file.rate {
            RateFile::Trace { trace: table_name, unit, length_s } => {
                let found = Trace::parse(&table(&table_name)?, unit, length_s)?;
                let rate = found.mean_rate();
                trace = Some(found);
                RateCurve::new(vec![(0.0, rate), (length_s, rate)])?
            }
            RateFile::Points { points, repeat } => {
                let times = repeat.unwrap_or(1);
                ensure!(times > 0, "repeat is 0: the curve would have no point");
                RateCurve::new(points)?.repeated(times)
            }
            RateFile::NightWave { population, day_s, peak, sleep } => {
                let wave = night_wave(&parse_population(&table(&population)?)?, &sleep);
                let busiest = wave.iter().map(|p| p.1).fold(0.0, f64::max);
                RateCurve::new(
                    wave.iter().map(|&(share, people)| (share * day_s, people / busiest * peak)).collect(),
                )?
            }
        };
        let cycle_s = rate.duration();
        ensure!(cycle_s > 0.0, "the scenario lasts no time: its last point is at second 0");
        let (rate, counted) = match (file.cycles, file.warm_up_s) {
            (None, None) => (rate, Counted::UntilRest),
            (None, Some(warm_up_s)) => (rate, Counted::After(warm_up_s)),
            (Some(CyclesFile { warm_up, counted }), None) => {
                ensure!(trace.is_none(), "a trace has no cycles: give it a warm_up_s");
                ensure!(counted > 0, "[cycles] counts none: its sum would be of nothing");
                (rate.repeated(warm_up + counted), Counted::After(cycle_s * warm_up as f64))
            }
            (Some(_), Some(_)) => bail!("either [cycles] or warm_up_s: both say where counting begins"),
        };
        if let Counted::After(warm_up_s) = counted {
            let length_s = rate.duration();
            ensure!(
                (0.0..length_s).contains(&warm_up_s),
                "warm_up_s is {warm_up_s}, and the scenario lasts {length_s} s"
            );
        }
        Ok(Self {
            name: name.to_owned(),
            title: file.title,
            about: file.about,
            slo_ms: file.slo_ms,
            timeout_ms: file.timeout_ms,
            images: file.images.into_iter().collect(),
            rate,
            trace,
            counted,
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
    fn all_scenarios_of_the_folder_are_shipped() {
        let names: Vec<String> = Scenario::shipped().into_iter().map(|s| s.name).collect();
        let expected = [
            "azure-llm-code",
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
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_shapes_say_what_their_names_say() {
        assert_eq!(named("soak").rate.steps_up(), Vec::<f64>::new());
        assert_eq!(named("steady").rate.steps_up(), Vec::<f64>::new());
        assert_eq!(named("steady").counted.window(1.0, 300.0), Some([120.0, 300.0]));
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
    fn cycles_repeat_the_scenario_and_the_first_do_not_count() {
        let cycles = named("spike-cycles");
        let steps = cycles.rate.steps_up();
        let cycle_s = steps[1] - steps[0];
        assert_eq!(cycles.rate.duration(), cycle_s * steps.len() as f64);
        assert_eq!(cycles.counted, Counted::After(cycle_s));
        let window = cycles.counted.window(0.5, cycles.rate.duration() * 0.5);
        assert_eq!(window, Some([cycle_s * 0.5, cycles.rate.duration() * 0.5]), "whole cycles");
        assert_eq!(named("spike").counted.window(1.0, 300.0), None);
    }

    #[test]
    fn the_counted_part_of_spikes_apart_is_one_period_that_outlasts_every_window() {
        let apart = named("spike-apart");
        let [from, to] = apart.counted.window(1.0, apart.rate.duration()).expect("a part");
        let [step] = apart.rate.steps_up()[..] else { panic!("one spike") };
        assert_eq!(apart.rate.rate(from), apart.rate.rate(to - 0.1), "it begins as it ends");
        // The KPA's stable window and grace before the counted part; the HPA's window, its period
        // and a drain of Knative's pods after the spike.
        assert!(from >= 60.0 + 30.0 && step >= from);
        let over = (0..600).map(f64::from).find(|t| *t > step && apart.rate.rate(*t) < 1.0).expect("an end");
        assert!(to - over >= 300.0 + 15.0 + 30.0, "{over}");
    }

    #[test]
    fn spikes_long_apart_differ_from_spikes_apart_only_by_their_warm_up() {
        let [short, long] = ["spike-apart", "spike-long-apart"].map(named);
        let [a, b] = [&short, &long].map(|s| s.counted.window(1.0, s.rate.duration()).expect("a part"));
        assert_eq!(a[1] - a[0], b[1] - b[0]);
        for t in 0..=435 {
            assert_eq!(short.rate.rate(a[0] + f64::from(t)), long.rate.rate(b[0] + f64::from(t)), "{t}");
        }
        // The KPA's longest window, delay and retention that `explore` tries.
        assert!(b[0] >= 300.0 + 300.0 + 60.0);
    }

    #[test]
    fn a_spike_once_is_that_of_spikes_apart_without_what_follows() {
        let [once, apart] = ["spike-once", "spike-apart"].map(|name| named(name).rate);
        let [from, until] = [once.steps_up()[0], apart.steps_up()[0]];
        for t in -120..75 {
            assert_eq!(
                once.rate(from + f64::from(t)),
                apart.rate(until + f64::from(t)),
                "{t} s after the step"
            );
        }
    }

    #[test]
    fn a_warm_up_that_leaves_nothing_is_refused() {
        let text = "title='x'\nabout=''\nslo_ms=1\ntimeout_ms=1\nwarm_up_s=1\n[images]\nopen=1.0\n[rate]\npoints=[[0,1],[1,1]]";
        let error =
            Scenario::parse("x", text, |_| unreachable!("names no other file")).expect_err("nothing left");
        assert!(error.to_string().contains("the scenario lasts 1 s"), "{error}");
    }

    #[test]
    fn a_mistake_in_a_scenario_names_itself() {
        let text =
            "title='x'\nabout=''\nslo_ms=1\ntimeout_ms=1\n[images]\nopen=0.5\n[rate]\npoints=[[0,1],[1,1]]";
        let error = Scenario::parse("x", text, |_| unreachable!("names no other file"))
            .expect_err("shares are wrong");
        assert!(error.to_string().contains("add up to 0.5"), "{error}");
    }

    #[test]
    fn a_curve_without_a_point_or_a_length_and_shares_below_zero_are_refused() {
        let refused = |images: &str, rate: &str| {
            let text =
                format!("title='x'\nabout=''\nslo_ms=1\ntimeout_ms=1\n[images]\n{images}\n[rate]\n{rate}");
            let parsed = Scenario::parse("x", &text, |_| unreachable!("names no other file"));
            parsed.expect_err("no scenario").to_string()
        };
        let none = refused("open=1.0", "points=[[0,1],[1,1]]\nrepeat=0");
        assert!(none.contains("repeat is 0"), "{none}");
        let short = refused("open=1.0", "points=[[0,1],[0,2]]");
        assert!(short.contains("lasts no time"), "{short}");
        let negative = refused("open=1.5\nclosed=-0.5", "points=[[0,1],[1,1]]");
        assert!(negative.contains("\"closed\" in [images] is -0.5"), "{negative}");
    }
}
