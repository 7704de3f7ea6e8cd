//! How fast the simulator is, and how far the aggregated mode is from the event loop.
//!
//!     cargo run --release -p comparison --example simulator_speed  # the tables of its README
//!     cargo run --release -p comparison --example simulator_speed -- world   # a billion sleepers

use std::io::Write;

use anyhow::{Context, Result};
use rand_pcg::Pcg64;
use scenario::Scenario;
use scenario::rate::RateCurve;
use scenario::sleep::{Sleep, night_wave, parse_population};
use simulator::aggregate;
use simulator::hpa::HpaSettings;
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::tally::Tally;
use simulator::time::{Micros, SECOND, micros};
use simulator::world;
use simulator::{Autoscaler, Plant, PodSize};

const DAY_S: f64 = 86_400.0;
const TIMEOUT: Micros = 15 * SECOND;
const OBJECTIVE: Micros = SECOND / 2;
const SIZE: PodSize = PodSize { millicores: 1000, memory: 268_435_456.0 };
const MANY_PODS: i64 = 1_000_000;

/// Defaults except for the target: one that suits pods that process one request at a time.
fn autoscalers() -> [(&'static str, Autoscaler); 3] {
    let kpa = KpaSettings { max_scale: MANY_PODS, ..KpaSettings::defaults(1.0) };
    [
        ("KPA", Autoscaler::Kpa(kpa)),
        ("HPA", Autoscaler::Hpa(HpaSettings::defaults(700, MANY_PODS), None)),
        ("KEDA", Autoscaler::Keda(KedaSettings::defaults(700, MANY_PODS))),
    ]
}

/// The compared values: requests, good answers in per cent, p99 in ms, pod-seconds, time.
struct Outcome {
    sent: f64,
    good: f64,
    p99: f64,
    pods: f64,
    took: f64,
}

fn outcome(tally: &Tally, pods: f64, took: f64) -> Outcome {
    let (sent, good) = tally.sent_and_good();
    let p99 = tally.all_latencies().quantile_ms(0.99).unwrap_or(0.0);
    Outcome { sent, good: good / sent.max(1.0) * 100.0, p99, pods, took }
}

/// Time that this thread has had a processor, seconds: other work on the machine does not count.
fn processor_time() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("this needs Linux")?;
    let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

/// Both meet the autoscalers' clocks at the same moments.
fn plant() -> Plant {
    Plant { kpa_phases: vec![SECOND], hpa_phases: vec![7 * SECOND], ..Plant::default() }
}

fn one_by_one(rate: &RateCurve, autoscaler: &Autoscaler) -> Result<Outcome> {
    let length = micros(rate.duration());
    let mut tally = Tally::new(length, 720, 48, OBJECTIVE);
    let mut random = Pcg64::new(1, 1);
    let plant = plant();
    let arrivals = rate.draw(&mut random).map(|s| (s * SECOND as f64) as i64);
    let began = processor_time()?;
    let counted = |(at, latency, outcome)| tally.add(at, latency, outcome, 1.0);
    let run = world::simulate(arrivals, &plant, SIZE, autoscaler, TIMEOUT, length, 1, counted);
    let took = processor_time()? - began;
    let lived = |p: &scenario::recording::Pod| {
        Some((p.gone_s.unwrap_or(rate.duration()) - p.scheduled_s?.max(0.0)).max(0.0))
    };
    Ok(outcome(&tally, run.pods.iter().filter_map(lived).sum(), took))
}

fn aggregated(rate: &RateCurve, autoscaler: &Autoscaler) -> Result<(Outcome, f64)> {
    let length = micros(rate.duration());
    let mut tally = Tally::new(length, 720, 48, OBJECTIVE);
    let began = processor_time()?;
    let plant = plant();
    let series = aggregate::simulate(rate, &plant, SIZE, autoscaler, TIMEOUT, length, 1, &mut tally)?;
    let took = processor_time()? - began;
    let most = series.ready.iter().map(|r| r.1).fold(0.0, f64::max);
    Ok((outcome(&tally, series.pod_seconds, took), most))
}

fn tables() -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "| a day at | autoscaler | requests | took | requests a second |")?;
    writeln!(out, "|---|---|--:|--:|--:|")?;
    for rate in [100.0, 1000.0, 10_000.0] {
        // The same number of requests at the highest rate, so that it ends.
        let length = if rate > 1000.0 { DAY_S / 10.0 } else { DAY_S };
        let curve = RateCurve::new(vec![(0.0, rate), (length, rate)])?;
        for (name, autoscaler) in autoscalers() {
            let run = one_by_one(&curve, &autoscaler)?;
            writeln!(
                out,
                "| {rate}/s | {name} | {:.1} million | {:.2} s | {:.1} million |",
                run.sent / 1e6,
                run.took,
                run.sent / run.took / 1e6
            )?;
        }
    }
    writeln!(out, "\n| night wave in an hour, peak | autoscaler | good | p99 | pod-seconds | took |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|")?;
    let wave = Scenario::shipped_named("night-wave").context("shipped")?.rate;
    for peak in [100.0, 1000.0, 10_000.0] {
        let curve = wave.scaled(3600.0 / wave.duration(), peak / wave.peak());
        for (name, autoscaler) in autoscalers() {
            let (one, (many, _)) = (one_by_one(&curve, &autoscaler)?, aggregated(&curve, &autoscaler)?);
            writeln!(
                out,
                "| {peak}/s | {name} | {:.2}, {:.2} % | {:.1}, {:.1} ms | {:.0}, {:.0} | {:.2}, {:.2} s |",
                one.good, many.good, one.p99, many.p99, one.pods, many.pods, one.took, many.took
            )?;
        }
    }
    Ok(())
}

/// A billion sleepers at the world's busiest hour, a picture a minute each, from four regions.
fn world() -> Result<()> {
    const SLEEPERS: f64 = 1e9;
    let regions: [(&str, f64, f64); 4] = [
        ("Americas", -12.0, -2.5),
        ("Europe and Africa", -2.5, 3.25),
        ("West and South Asia", 3.25, 6.25),
        ("East Asia and Oceania", 6.25, 14.5),
    ];
    let table = include_str!("../../scenarios/population-by-utc-offset.csv");
    let sleep = Sleep { bedtime: 23.25, wake: 7.1667, spread_h: 1.25 };
    let population = parse_population(table)?;
    let asleep = night_wave(&population, &sleep).iter().map(|p| p.1).fold(0.0, f64::max);
    let scale = SLEEPERS / asleep / 60.0;
    let mut out = std::io::stdout();
    writeln!(out, "| region | autoscaler | requests | busiest | pods | good | p99 | took |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
    for (name, autoscaler) in autoscalers() {
        for (region, from, to) in regions {
            let here: Vec<_> = population.iter().filter(|p| (from..to).contains(&p.0)).copied().collect();
            let wave = night_wave(&here, &sleep);
            let curve =
                RateCurve::new(wave.iter().map(|(share, people)| (share * DAY_S, people * scale)).collect())?;
            let (run, most) = aggregated(&curve, &autoscaler)?;
            writeln!(
                out,
                "| {region} | {name} | {:.0} billion | {:.2} million/s | {most:.0} | {:.2} % | {:.1} ms | {:.1} s |",
                run.sent / 1e9,
                curve.peak() / 1e6,
                run.good,
                run.p99,
                run.took
            )?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("world") { world() } else { tables() }
}
