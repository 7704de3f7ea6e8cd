//! Compares the model of pods with queueing theory and with hand calculations.

mod aggregated;

use scenario::recording::Recording;
use scenario::schedule::Schedule;
use scenario::{Outcome, Scenario};

use crate::Autoscaler;
use crate::hpa::HpaSettings;
use crate::keda::KedaSettings;
use crate::kpa::KpaSettings;
use crate::plant::{Plant, PodSize, Start};
use crate::time::{Micros, SECOND, micros};
use crate::vpa::{self, VpaSettings};
use crate::world::{Ended, simulate};

const MEBIBYTE: f64 = 1024.0 * 1024.0;
const CORE: PodSize = PodSize { millicores: 1000, memory: 256.0 * MEBIBYTE };

fn plant() -> Plant {
    Plant {
        work: SECOND / 10,
        hop: 0,
        activator_hop: 0,
        starts: vec![Start { running: 2 * SECOND, ready: 3 * SECOND, together: 1 }],
        queue: 1000,
        deadline: 60 * SECOND,
        ..Plant::default()
    }
}

fn run(
    points: &[(f64, f64)],
    plant: &Plant,
    size: PodSize,
    autoscaler: &Autoscaler,
    tail_s: f64,
) -> (Vec<Ended>, Recording) {
    let scenario = Scenario {
        name: "test".into(),
        title: String::new(),
        about: String::new(),
        slo_ms: 500,
        timeout_ms: 15_000,
        images: vec![("any".into(), 1.0)],
        rate: scenario::rate::RateCurve::new(points.to_vec()).expect("a valid curve"),
        trace: None,
        counted: scenario::Counted::UntilRest,
    };
    let schedule = Schedule::draw(&scenario, 1.0, 1.0, 1);
    let arrivals = schedule.arrivals.iter().map(|a| a.at.as_micros() as i64);
    let mut ended = vec![];
    let until = micros(schedule.duration() + tail_s);
    let recording = simulate(arrivals, plant, size, autoscaler, 15 * SECOND, until, None, 7, |request| {
        ended.push(request)
    });
    assert_eq!(ended.len(), schedule.arrivals.len(), "every request ends once");
    ended.sort_by_key(|e| e.0);
    (ended, recording)
}

const VPA: VpaSettings =
    VpaSettings { cpu: (100, 2000), memory: (0.0, f64::MAX), min_replicas: 1, tolerance: vpa::TOLERANCE };

/// An HPA with exactly one pod.
fn fixed() -> Autoscaler {
    Autoscaler::Hpa(HpaSettings { max: 1, ..HpaSettings::defaults(2000, 1) }, None)
}

fn hpa(target_milli: i64) -> Autoscaler {
    Autoscaler::Hpa(HpaSettings::defaults(target_milli, 20), None)
}

fn kpa(target: f64) -> Autoscaler {
    Autoscaler::Kpa(KpaSettings { utilization: 1.0, ..KpaSettings::defaults(target) })
}

#[test]
fn one_pod_waits_as_queueing_theory_says() {
    // M/D/1: mean wait = ρ·s / (2(1-ρ)); at 60 % load of 0.1 s that is 0.075 s.
    let (ended, _) = run(&[(0.0, 6.0), (20_000.0, 6.0)], &plant(), CORE, &fixed(), 20.0);
    let mean = ended.iter().map(|e| e.1 as f64 / 1e6).sum::<f64>() / ended.len() as f64;
    assert!((mean - 0.175).abs() < 0.005, "{mean}");
    assert!(ended.iter().all(|e| e.2 == Outcome::Ok));
}

#[test]
fn work_done_is_requests_times_service_time() {
    let (ended, recording) = run(&[(0.0, 5.0), (600.0, 5.0)], &plant(), CORE, &fixed(), 20.0);
    let used: f64 = recording.pods.iter().flat_map(|p| &p.containers).map(|c| c.core_seconds).sum();
    assert!((used - ended.len() as f64 * 0.1).abs() < 1e-6);
}

#[test]
fn work_done_is_that_of_the_part_that_counts() {
    let arrivals = (0..100).map(|second| second * SECOND);
    let idle = Plant { background_millicores: 10.0, ..plant() };
    let part = Some([20 * SECOND, 50 * SECOND - 1]);
    let recording = simulate(arrivals, &idle, CORE, &fixed(), 15 * SECOND, 100 * SECOND, part, 7, |_| {});
    let used: f64 = recording.pods.iter().flat_map(|p| &p.containers).map(|c| c.core_seconds).sum();
    assert!((used - (30.0 * 0.1 + 30.0 * 0.01)).abs() < 1e-3, "thirty requests and seconds: {used}");
}

#[test]
fn a_full_queue_refuses_and_nothing_is_lost() {
    let small = Plant { queue: 2, ..plant() };
    let (ended, _) = run(&[(0.0, 30.0), (60.0, 30.0)], &small, CORE, &fixed(), 20.0);
    let count = |outcome| ended.iter().filter(|e| e.2 == outcome).count();
    assert_eq!(count(Outcome::Ok) + count(Outcome::Refused), ended.len());
    // One pod can answer ten requests per second.
    assert!((590..=603).contains(&count(Outcome::Ok)), "{}", count(Outcome::Ok));
}

#[test]
fn a_quota_limits_the_rate_and_stretches_the_latency() {
    // 150 ms of CPU per second at 8 ms per request allow 18.75 answers per second at any higher
    // load.
    let small = Plant { work: 8_000, queue: 16, ..plant() };
    let size = PodSize { millicores: 150, ..CORE };
    let (ended, _) = run(&[(0.0, 60.0), (100.0, 60.0)], &small, size, &fixed(), 20.0);
    let ok = ended.iter().filter(|e| e.2 == Outcome::Ok).count();
    assert!((1860..=1895).contains(&ok), "{ok} in 100 s");
    let (ended, _) = run(&[(0.0, 3.0), (300.0, 3.0)], &small, size, &fixed(), 20.0);
    let quick = ended.iter().filter(|e| e.1 == 8_000).count() as f64 / ended.len() as f64;
    assert!((0.5..0.99).contains(&quick), "{quick} find the full quota and an empty queue");
}

#[test]
fn requests_whose_clients_have_gone_ask_for_no_more_pods() {
    // Ten a second for a minute, each given up after 15 s: 150 wait at a time, and 600 would if
    // they stayed until the first pod runs.
    let slow =
        Plant { starts: vec![Start { running: 60 * SECOND, ready: 60 * SECOND, together: 1 }], ..plant() };
    let (ended, recording) = run(&[(0.0, 10.0), (58.0, 10.0)], &slow, CORE, &kpa(1.0), 20.0);
    let most = recording.desired.iter().map(|d| d.1).fold(0.0, f64::max);
    assert!((100.0..=200.0).contains(&most), "{most}");
    assert!(
        ended.iter().filter(|e| e.0 < 40 * SECOND).all(|e| e.2 == Outcome::Timeout && e.1 == 15 * SECOND)
    );
}

#[test]
fn knative_at_zero_holds_the_first_request_until_a_pod_answers_probes() {
    // A new revision has no decision yet, so that the first request waits for a tick.
    let quiet = [
        (0.0, 0.0),
        (10.0, 0.0),
        (10.0, 0.5),
        (40.0, 0.5),
        (40.0, 0.0),
        (300.0, 0.0),
        (300.0, 0.5),
        (310.0, 0.5),
    ];
    let (ended, recording) = run(&quiet, &plant(), CORE, &kpa(2.0), 200.0);
    assert!(ended.iter().all(|e| e.2 == Outcome::Ok));
    let first = ended[0].1 as f64 / 1e6;
    assert!(
        (2.1..5.4).contains(&first),
        "{first}: up to 3 s to a tick with data, 2 s to running, a probe, 0.1 s of service"
    );
    let again = ended.iter().find(|e| e.0 > 290 * SECOND).expect("a second wave").1 as f64 / 1e6;
    assert!((2.1..2.4).contains(&again), "{again}: from zero it is evaluated at once");
    let last = ended.iter().rfind(|e| e.0 < 290 * SECOND).expect("some").0 as f64 / 1e6;
    let zero = recording.desired.iter().find(|d| d.1 == 0.0 && d.0 > last).expect("back to zero").0;
    assert!((60.0..75.0).contains(&(zero - last)), "{} s after the last request", zero - last);
}

#[test]
fn a_pod_that_runs_answers_the_activator_only_when_its_process_is_there() {
    let load = [(0.0, 0.0), (10.0, 0.0), (10.0, 0.5), (40.0, 0.5)];
    let first = |answers: Vec<(i64, u32)>| {
        let (ended, _) = run(&load, &Plant { answers, ..plant() }, CORE, &kpa(2.0), 100.0);
        ended[0].1
    };
    let [at_once, later, after_ready] = [0, SECOND / 2, 2 * SECOND].map(|answers| first(vec![(answers, 1)]));
    assert_eq!(later - at_once, SECOND / 2);
    assert_eq!(after_ready - at_once, 2 * SECOND, "a pod is ready a second after it runs");
    let alike = first(vec![(SECOND / 2, 1), (SECOND / 2, 1), (5 * SECOND, 10), (5 * SECOND, 10)]);
    assert_eq!(alike, later, "one pod starts as those that started alone");
}

#[test]
fn prometheus_takes_up_a_new_pod_with_its_next_round_of_discovery() {
    // The first pod is overloaded from the beginning, the others are not.
    let seen = |discovery: i64| {
        let plant = Plant { discovery, hpa_phases: vec![10 * SECOND], ..plant() };
        let autoscaler = Autoscaler::Hpa(HpaSettings::defaults(1000, 20), None);
        let (_, recording) = run(&[(0.0, 20.0), (60.0, 20.0)], &plant, CORE, &autoscaler, 0.0);
        recording.seen.iter().map(|s| s.1).collect::<Vec<f64>>()
    };
    let [soon, never] = [1, 10_000 * SECOND].map(seen);
    assert_eq!(soon[0], never[0], "the first pod has long been scraped");
    assert!(never[1] > 2.0 * soon[1], "without a metric of the new pods: {never:?} and {soon:?}");
}

#[test]
fn threads_of_the_gateway_send_requests_at_the_same_time_to_the_same_pod() {
    let latencies = |gateway_workers: usize| {
        let plant = Plant { gateway_workers, ..plant() };
        let autoscaler =
            Autoscaler::Hpa(HpaSettings { min: 5, max: 5, ..HpaSettings::defaults(2000, 5) }, None);
        let (ended, _) = run(&[(0.0, 5.0), (2_000.0, 5.0)], &plant, CORE, &autoscaler, 20.0);
        ended.iter().filter(|e| e.1 > SECOND / 10).count() as f64 / ended.len() as f64
    };
    // With one turn a pod gets every fifth request: it is busy if five came within its 0.1 s.
    let [one, two] = [1, 2].map(latencies);
    assert!(one < 0.005, "{one}");
    // Of the requests that find one in flight (39 %), half go to another thread, whose turn is at
    // the busy pod in one case of five.
    assert!((0.02..0.08).contains(&two), "{two}");
}

#[test]
fn keda_wakes_an_object_at_its_next_poll_and_takes_it_back_to_zero_after_its_cooldown() {
    let keda = KedaSettings { polling_s: 10.0, cooldown_s: 60.0, ..KedaSettings::defaults(1000, 20) };
    let wave = [(0.0, 0.0), (30.0, 0.0), (30.0, 8.0), (120.0, 8.0), (120.0, 0.0), (400.0, 0.0)];
    let (ended, recording) = run(&wave, &plant(), CORE, &Autoscaler::Keda(keda), 0.0);
    let unavailable = ended.iter().filter(|e| e.2 == Outcome::Unavailable);
    let last = unavailable.map(|e| e.0).max().expect("nobody serves the first requests");
    // Two scrapes until the gateway's counter has a rate, one poll, and the pod's start.
    assert!((33 * SECOND..=56 * SECOND).contains(&last), "{last}");
    assert!(ended.iter().filter(|e| e.0 > last).all(|e| e.2 == Outcome::Ok));
    let zero = recording.desired.iter().rev().find(|d| d.1 == 0.0).expect("back to zero").0;
    // The rate window, the cooldown and one poll.
    assert!((180.0..=220.0).contains(&zero), "{zero}");
    let most = recording.desired.iter().map(|d| d.1).fold(0.0, f64::max);
    assert!((2.0..=6.0).contains(&most), "{most} pods: more than one, and then one in flight in each");
}

#[test]
fn an_hpa_with_a_minimum_of_zero_wakes_at_its_next_sync_and_sleeps_after_five_quiet_minutes() {
    let wave = [(0.0, 0.0), (30.0, 0.0), (30.0, 8.0), (120.0, 8.0), (120.0, 0.0), (600.0, 0.0)];
    let hpa = Autoscaler::HpaToZero(HpaSettings { min: 0, ..HpaSettings::defaults(1000, 20) });
    let (ended, recording) = run(&wave, &plant(), CORE, &hpa, 0.0);
    let unavailable = ended.iter().filter(|e| e.2 == Outcome::Unavailable);
    let last = unavailable.map(|e| e.0).max().expect("nobody serves the first requests");
    // Two scrapes until the gateway's counter has a rate, one sync, and the pod's start.
    assert!((33 * SECOND..=61 * SECOND).contains(&last), "{last}");
    assert!(ended.iter().filter(|e| e.0 > last).all(|e| e.2 == Outcome::Ok));
    let zero = recording.desired.iter().rev().find(|d| d.1 == 0.0).expect("back to zero").0;
    // The rate window, the stabilization and one sync.
    assert!((420.0..=460.0).contains(&zero), "{zero}");
}

#[test]
fn without_a_ready_pod_a_plain_deployment_answers_503() {
    let never = Plant { starts: vec![Start { running: 0, ready: i64::MAX / 4, together: 1 }], ..plant() };
    let none = Autoscaler::Hpa(HpaSettings { min: 0, ..HpaSettings::defaults(2000, 1) }, None);
    let (ended, _) = run(&[(0.0, 1.0), (30.0, 1.0)], &never, CORE, &none, 20.0);
    assert!(ended.iter().all(|e| e.2 == Outcome::Unavailable));
}

#[test]
fn a_step_to_six_pods_worth_ends_at_about_as_many_pods() {
    // Target 1 in flight per pod, 0.1 s per request: λ·s requests in flight without waiting.
    let step = [(0.0, 1.0), (200.0, 1.0), (200.0, 50.0), (600.0, 50.0)];
    let plant = Plant { queue: 16, ..plant() };
    for autoscaler in [kpa(1.0), hpa(1000)] {
        let (_, recording) = run(&step, &plant, CORE, &autoscaler, 0.0);
        let last = recording.desired.last().expect("decisions").1;
        assert!((5.0..=12.0).contains(&last), "{last} pods");
        let before = recording.desired.iter().rev().find(|d| d.0 < 200.0).expect("decisions").1;
        assert!(before <= 2.0, "{before} pods before the step");
    }
}

#[test]
fn the_kpa_sees_a_spike_within_seconds_and_the_hpa_within_its_period() {
    let step = [(0.0, 2.0), (61.0, 2.0), (61.0, 60.0), (120.0, 60.0)];
    let first_rise = |autoscaler: &Autoscaler| {
        let (_, recording) = run(&step, &plant(), CORE, autoscaler, 0.0);
        recording.desired.iter().find(|d| d.0 > 61.0 && d.1 > 1.0).expect("it scales up").0 - 61.0
    };
    assert!(first_rise(&kpa(2.0)) <= 4.0);
    assert!(first_rise(&hpa(2000)) <= 25.0, "scrape, rate window and sync period");
}

#[test]
fn an_hpa_that_looks_every_two_seconds_sees_a_spike_sooner() {
    let step = [(0.0, 2.0), (61.0, 2.0), (61.0, 60.0), (120.0, 60.0)];
    let first_rise = |sync: Micros| {
        // Recorded offsets of the default period stand for any other one.
        let plant = Plant { hpa_sync: sync, hpa_phases: vec![14 * SECOND], ..plant() };
        let (_, recording) = run(&step, &plant, CORE, &hpa(2000), 0.0);
        recording.desired.iter().find(|d| d.0 > 61.0 && d.1 > 1.0).expect("it scales up").0 - 61.0
    };
    let [often, seldom] = [2, 15].map(|s| first_rise(s * SECOND));
    assert_eq!(seldom, 13.0, "the first of 14 + 15 n");
    assert!((1.0..=11.0).contains(&often), "scrape, rate window and two seconds: {often}");
}

#[test]
fn the_vpa_gives_a_busy_pod_more_and_records_it() {
    let half = PodSize { millicores: 500, ..CORE };
    let Autoscaler::Hpa(settings, _) = fixed() else { unreachable!("an HPA") };
    let one = Autoscaler::Hpa(settings, Some(VPA));
    let (_, recording) = run(&[(0.0, 4.9), (3600.0, 4.9)], &plant(), half, &one, 0.0);
    let requests = &recording.pods[0].containers[0].requests;
    assert!(requests.len() > 1 && requests.last().expect("moves").1 > 0.5, "{requests:?}");
}

#[test]
fn draining_pods_hold_their_room_and_new_ones_wait_for_it() {
    let full = Plant { drain: 36 * SECOND, room_millicores: Some(2 * 1025), ..plant() };
    // Load for two pods, a pause until one is removed, and load for two pods again while it drains.
    let again = [(0.0, 12.0), (100.0, 12.0), (100.0, 0.2), (130.0, 0.2), (130.0, 18.0), (250.0, 18.0)];
    let settings = KpaSettings { max_scale: 2, utilization: 1.0, ..KpaSettings::defaults(1.0) };
    let (_, recording) = run(&again, &full, CORE, &Autoscaler::Kpa(settings), 0.0);
    let placed = |at: f64| {
        let there = |p: &&scenario::recording::Pod| {
            p.scheduled_s.is_some_and(|s| s <= at) && p.gone_s.is_none_or(|gone| gone > at)
        };
        recording.pods.iter().filter(there).count()
    };
    assert!((0..250).all(|second| placed(f64::from(second)) <= 2));
    let gone = recording.pods.iter().find_map(|p| p.gone_s).expect("one was taken away");
    let unready = recording.pods.iter().find(|p| p.gone_s == Some(gone)).expect("it").ready[1].0;
    assert!((gone - unready - 36.0).abs() < 0.001);
    let waited = |p: &scenario::recording::Pod| p.scheduled_s.is_some_and(|s| s - p.created_s > 10.0);
    assert!(recording.pods.iter().any(waited), "a pod waited for room");
}

#[test]
fn pods_that_start_at_once_take_as_long_as_those_that_did_so_before() {
    let start = |s: i64, together: u32| Start { running: s * SECOND / 2, ready: s * SECOND, together };
    let starts = (0..8).flat_map(|_| [start(1, 1), start(9, 6)]).collect();
    let measured = Plant { starts, ..plant() };
    let settings = KpaSettings { min_scale: 0, utilization: 1.0, ..KpaSettings::defaults(1.0) };
    let wave = [(0.0, 0.0), (10.0, 0.0), (10.0, 0.4), (30.0, 0.4), (30.0, 80.0), (60.0, 80.0)];
    let (_, recording) = run(&wave, &measured, CORE, &Autoscaler::Kpa(settings), 0.0);
    let took = |p: &scenario::recording::Pod| Some((p.first_ready()? - p.scheduled_s?, p.scheduled_s?));
    let starts: Vec<(f64, f64)> = recording.pods.iter().filter_map(took).collect();
    assert!((starts[0].0 - 1.0).abs() < 0.001, "the first one, alone: {starts:?}");
    let many = starts.iter().filter(|s| s.1 > 31.0 && s.1 < 40.0).map(|s| s.0);
    assert!(many.clone().count() > 5 && many.fold(0.0, f64::max) > 8.9, "{starts:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let step = [(0.0, 1.0), (60.0, 50.0), (200.0, 1.0)];
    let twice = [(); 2].map(|()| run(&step, &plant(), CORE, &kpa(1.0), 60.0));
    assert_eq!(twice[0], twice[1]);
}
