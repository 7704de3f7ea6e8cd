//! How fast the simulator is, and how far the aggregated mode is from the event loop.
//!
//!     cargo run --release -p comparison --example simulator_speed  # how fast
//!     cargo run --release -p comparison --example simulator_speed -- beside  # how far
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

fn one_by_one(rate: &RateCurve, autoscaler: &Autoscaler, seed: u64) -> Result<Outcome> {
    let length = micros(rate.duration());
    let mut tally = Tally::new(length, 720, 48, OBJECTIVE);
    let mut random = Pcg64::new(u128::from(seed), 1);
    let plant = Plant::default();
    let arrivals = rate.draw(&mut random).map(|s| (s * SECOND as f64) as i64);
    let began = processor_time()?;
    let counted = |(at, latency, outcome)| tally.add(at, latency, outcome, 1.0);
    let run = world::simulate(arrivals, &plant, SIZE, autoscaler, TIMEOUT, length, None, seed, counted);
    let took = processor_time()? - began;
    let lived = |p: &scenario::recording::Pod| {
        Some((p.gone_s.unwrap_or(rate.duration()) - p.scheduled_s?.max(0.0)).max(0.0))
    };
    Ok(outcome(&tally, run.pods.iter().filter_map(lived).sum(), took))
}

fn aggregated(rate: &RateCurve, autoscaler: &Autoscaler, seed: u64) -> Result<(Outcome, f64)> {
    let length = micros(rate.duration());
    let mut tally = Tally::new(length, 720, 48, OBJECTIVE);
    let began = processor_time()?;
    let plant = Plant::default();
    let series = aggregate::simulate(rate, &plant, SIZE, autoscaler, TIMEOUT, length, seed, &mut tally)?;
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
            let run = one_by_one(&curve, &autoscaler, 1)?;
            writeln!(
                out,
                "| {rate}/s | {name} | {:.1} million | {:.2} s | {:.1} million |",
                run.sent / 1e6,
                run.took,
                run.sent / run.took / 1e6
            )?;
        }
    }
    Ok(())
}

/// The aggregated mode beside the event loop: means over as many seeds, each with its own moments
/// of the clocks, and the pod-seconds of the least and the largest of them.
fn beside() -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "| night wave in an hour, peak | autoscaler | good | p99 | pod-seconds | range | took |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|")?;
    let wave = Scenario::shipped_named("night-wave").context("shipped")?.rate;
    for (peak, seeds) in [(100.0, 40), (1000.0, 40), (10_000.0, 10)] {
        let curve = wave.scaled(3600.0 / wave.duration(), peak / wave.peak());
        for (name, autoscaler) in autoscalers() {
            let one = (1..=seeds).map(|seed| one_by_one(&curve, &autoscaler, seed));
            let many = (1..=seeds).map(|seed| Ok(aggregated(&curve, &autoscaler, seed)?.0));
            let [one, many] = [one.collect::<Result<Vec<_>>>()?, many.collect::<Result<Vec<_>>>()?];
            let mean = |of: fn(&Outcome) -> f64| {
                [&one, &many].map(|runs| runs.iter().map(of).sum::<f64>() / runs.len() as f64)
            };
            let range = [&one, &many].map(|runs| {
                let pods = runs.iter().map(|run| run.pods);
                let (low, high) = (pods.clone().fold(f64::INFINITY, f64::min), pods.fold(0.0, f64::max));
                format!("{low:.0} … {high:.0}")
            });
            let [good, p99, pods, took] =
                [mean(|o| o.good), mean(|o| o.p99), mean(|o| o.pods), mean(|o| o.took)];
            writeln!(
                out,
                "| {peak}/s | {name} | {:.2}, {:.2} % | {:.1}, {:.1} ms | {:.0}, {:.0} ({:+.1} %) | {}, {} | {:.2}, {:.2} s |",
                good[0],
                good[1],
                p99[0],
                p99[1],
                pods[0],
                pods[1],
                (pods[1] / pods[0] - 1.0) * 100.0,
                range[0],
                range[1],
                took[0],
                took[1]
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
            let (run, most) = aggregated(&curve, &autoscaler, 1)?;
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
    match std::env::args().nth(1).as_deref() {
        None => tables(),
        Some("beside") => beside(),
        Some("world") => world(),
        Some(other) => anyhow::bail!("{other:?}: nothing, beside or world"),
    }
}
