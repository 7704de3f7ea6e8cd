//! The model of pods against what queueing theory and plain counting say.

use crate::hpa::HpaSettings;
use crate::kpa::KpaSettings;
use crate::world::{Autoscaler, PodModel, simulate};
use scenario::Outcome;
use scenario::Scenario;
use scenario::rate::RateCurve;
use scenario::schedule::Schedule;

fn model() -> PodModel {
    PodModel {
        service_s: 0.1,
        start_s: 3.0,
        cores: 1.0,
        queue: 1000,
        memory: 256.0 * 1024.0 * 1024.0,
        metric_window_s: 15.0,
        timeout_s: 15.0,
    }
}

fn schedule(points: &[(f64, f64)], seed: u64) -> Schedule {
    let scenario = Scenario {
        name: "test".into(),
        title: String::new(),
        about: String::new(),
        slo_ms: 500,
        timeout_ms: 15_000,
        images: vec![("any".into(), 1.0)],
        rate: RateCurve::new(points.to_vec()).expect("a valid curve"),
    };
    Schedule::draw(&scenario, 1.0, 1.0, seed)
}

/// One pod that stays one pod.
fn fixed() -> Autoscaler {
    Autoscaler::Hpa(HpaSettings { max: 1, ..HpaSettings::defaults(2.0, 1) }, None)
}

#[test]
fn one_pod_waits_as_queueing_theory_says() {
    // M/D/1: mean wait = ρ·s / (2(1-ρ)); at 60 % load of 0.1 s that is 0.075 s.
    let (requests, _) = simulate(&schedule(&[(0.0, 6.0), (20_000.0, 6.0)], 1), &model(), &fixed(), 20.0);
    let mean = requests.iter().map(|r| r.latency_us as f64 / 1e6).sum::<f64>() / requests.len() as f64;
    assert!((mean - 0.175).abs() < 0.005, "{mean}");
    assert!(requests.iter().all(|r| r.outcome == Outcome::Ok));
}

#[test]
fn work_done_is_requests_times_service_time() {
    let (requests, recording) = simulate(&schedule(&[(0.0, 5.0), (600.0, 5.0)], 2), &model(), &fixed(), 20.0);
    let used: f64 = recording.pods.iter().flat_map(|p| &p.containers).map(|c| c.core_seconds).sum();
    assert!((used - requests.len() as f64 * 0.1).abs() < 1e-6);
}

#[test]
fn a_full_queue_refuses_and_nothing_is_lost() {
    let small = PodModel { queue: 2, ..model() };
    let (requests, _) = simulate(&schedule(&[(0.0, 30.0), (60.0, 30.0)], 3), &small, &fixed(), 20.0);
    let count = |outcome| requests.iter().filter(|r| r.outcome == outcome).count();
    assert_eq!(count(Outcome::Ok) + count(Outcome::Refused), requests.len());
    // Ten a second is what one pod can do.
    assert!((590..=603).contains(&count(Outcome::Ok)), "{}", count(Outcome::Ok));
}

#[test]
fn knative_at_zero_holds_the_first_request_for_one_start() {
    let quiet = schedule(&[(0.0, 0.0), (10.0, 0.0), (10.0, 0.5), (40.0, 0.5)], 4);
    let (requests, recording) =
        simulate(&quiet, &model(), &Autoscaler::Kpa(KpaSettings::defaults(2.0)), 200.0);
    let first = requests[0].latency_us as f64 / 1e6;
    assert!((3.1..3.3).contains(&first), "{first}: 3 s of start, 0.1 s of service, one step");
    assert!(requests.iter().all(|r| r.outcome == Outcome::Ok));
    let gone = recording.pods.last().expect("one pod").gone_s.expect("back to zero");
    let last = requests.last().expect("some").at_us as f64 / 1e6;
    assert!((60.0..75.0).contains(&(gone - last)), "{} s after the last request", gone - last);
}

#[test]
fn without_a_ready_pod_a_plain_deployment_answers_503() {
    let never = PodModel { start_s: 1e9, ..model() };
    let none = Autoscaler::Hpa(HpaSettings { min: 0, ..HpaSettings::defaults(2.0, 1) }, None);
    let (requests, _) = simulate(&schedule(&[(0.0, 1.0), (30.0, 1.0)], 5), &never, &none, 20.0);
    assert!(requests.iter().all(|r| r.outcome == Outcome::Unavailable));
}

#[test]
fn a_step_to_six_pods_worth_ends_at_about_as_many_pods() {
    // Target 1 in flight a pod, 0.1 s a request: λ·s in flight without waiting.
    let step = schedule(&[(0.0, 1.0), (200.0, 1.0), (200.0, 50.0), (600.0, 50.0)], 6);
    let defaults =
        [Autoscaler::Kpa(KpaSettings::defaults(1.0)), Autoscaler::Hpa(HpaSettings::defaults(1.0, 20), None)];
    for autoscaler in defaults {
        let (_, recording) = simulate(&step, &model(), &autoscaler, 0.0);
        let last = recording.desired.last().expect("decisions").1;
        assert!((5.0..=12.0).contains(&last), "{last} pods");
        let before = recording.desired.iter().rev().find(|d| d.0 < 200.0).expect("decisions").1;
        assert!(before <= 2.0, "{before} pods before the step");
    }
}

#[test]
fn the_kpa_sees_a_spike_within_seconds_and_the_hpa_within_its_period() {
    let step = schedule(&[(0.0, 2.0), (61.0, 2.0), (61.0, 60.0), (120.0, 60.0)], 7);
    let first_rise = |autoscaler: &Autoscaler| {
        let (_, recording) = simulate(&step, &model(), autoscaler, 0.0);
        recording.desired.iter().find(|d| d.0 > 61.0 && d.1 > 1.0).expect("it scales up").0 - 61.0
    };
    assert!(first_rise(&Autoscaler::Kpa(KpaSettings::defaults(2.0))) <= 4.0);
    assert!(first_rise(&Autoscaler::Hpa(HpaSettings::defaults(2.0, 20), None)) <= 15.0);
}

#[test]
fn the_vpa_gives_a_busy_pod_more_and_records_it() {
    let half = PodModel { cores: 0.5, ..model() };
    let one = Autoscaler::Hpa(HpaSettings { max: 1, ..HpaSettings::defaults(2.0, 1) }, Some((0.1, 2.0)));
    let (_, recording) = simulate(&schedule(&[(0.0, 4.9), (3600.0, 4.9)], 8), &half, &one, 0.0);
    let requests = &recording.pods[0].containers[0].requests;
    assert!(requests.len() > 1 && requests.last().expect("moves").1 > 0.5, "{requests:?}");
}
