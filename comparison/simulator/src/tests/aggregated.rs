//! Compares the aggregated mode with the event loop.

use rand_pcg::Pcg64;
use scenario::Scenario;
use scenario::rate::RateCurve;

use super::{CORE, kpa, plant};
use crate::Autoscaler;
use crate::aggregate;
use crate::hpa::HpaSettings;
use crate::keda::KedaSettings;
use crate::kpa::KpaSettings;
use crate::plant::{Plant, Start};
use crate::tally::Tally;
use crate::time::{SECOND, micros};
use crate::world::simulate;

#[test]
fn requests_whose_clients_have_gone_ask_for_no_more_pods_in_the_aggregated_mode_either() {
    let slow =
        Plant { starts: vec![Start { running: 60 * SECOND, ready: 60 * SECOND, together: 1 }], ..plant() };
    let rate = RateCurve::new(vec![(0.0, 10.0), (58.0, 10.0)]).expect("a rate");
    let mut tally = Tally::new(80 * SECOND, 60, 48, SECOND / 2);
    let series = aggregate::simulate(&rate, &slow, CORE, &kpa(1.0), 15 * SECOND, 80 * SECOND, 1, &mut tally);
    let most = series.expect("supported").desired.iter().map(|d| d.1).fold(0.0, f64::max);
    assert!((100.0..=200.0).contains(&most), "{most}");
}

/// Pod-seconds and the share answered within half a second, by the aggregated mode and by the event
/// loop: means over seeds, each with its own moments of the clocks.
fn both_modes(rate: &RateCurve, autoscaler: &Autoscaler) -> [[f64; 2]; 2] {
    const SEEDS: u64 = 8;
    let (length, timeout, plant) = (micros(rate.duration()), 15 * SECOND, Plant::default());
    let share = |tally: &Tally| {
        let (sent, good) = tally.sent_and_good();
        good / sent
    };
    let mut sums = [[0.0; 2]; 2];
    for seed in 1..=SEEDS {
        let mut tally = Tally::new(length, 60, 48, SECOND / 2);
        let series = aggregate::simulate(rate, &plant, CORE, autoscaler, timeout, length, seed, &mut tally);
        let aggregated = [series.expect("supported").pod_seconds, share(&tally)];
        let mut tally = Tally::new(length, 60, 48, SECOND / 2);
        let mut random = Pcg64::new(u128::from(seed), 1);
        let arrivals = rate.draw(&mut random).map(micros);
        let run = simulate(
            arrivals,
            &plant,
            CORE,
            autoscaler,
            timeout,
            length,
            None,
            seed,
            |(at, latency, outcome)| {
                tally.add(at, latency, outcome, 1.0);
            },
        );
        let lived = |p: &scenario::recording::Pod| {
            Some((p.gone_s.unwrap_or(rate.duration()) - p.scheduled_s?.max(0.0)).max(0.0))
        };
        let single = [run.pods.iter().filter_map(lived).sum(), share(&tally)];
        for (sum, of) in sums.iter_mut().zip([aggregated, single]) {
            sum.iter_mut().zip(of).for_each(|(sum, value)| *sum += value / SEEDS as f64);
        }
    }
    sums
}

#[test]
fn the_aggregated_mode_is_near_the_event_loop() {
    let wave = Scenario::shipped_named("night-wave").expect("shipped").rate;
    let wave = wave.scaled(1800.0 / wave.duration(), 300.0 / wave.peak());
    let to_zero = HpaSettings { min: 0, ..HpaSettings::defaults(700, 1000) };
    for (autoscaler, within) in [
        (Autoscaler::Kpa(KpaSettings { max_scale: 1000, ..KpaSettings::defaults(1.0) }), 0.2),
        (Autoscaler::Hpa(HpaSettings::defaults(700, 1000), None), 0.1),
        (Autoscaler::Keda(KedaSettings::defaults(700, 1000)), 0.1),
        (Autoscaler::HpaToZero(to_zero), 0.1),
    ] {
        let [[pods, good], [theirs, their_good]] = both_modes(&wave, &autoscaler);
        assert!((pods / theirs - 1.0).abs() < within, "{autoscaler:?}: {pods} and {theirs} pod-seconds");
        assert!((good - their_good).abs() < 0.02, "{autoscaler:?}: {good} and {their_good}");
    }
}
