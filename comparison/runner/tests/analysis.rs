//! The analysis of synthetic recordings with known results.

use std::collections::BTreeMap;

use comparison::analysis::measures::{measure, measure_until};
use comparison::analysis::statistics::{ALPHA, Spread};
use comparison::analysis::{MEASURES, by_key};
use comparison::files::{read_run, read_runs, write_run};
use comparison::report::claims::claims;
use comparison::report::findings::findings;
use comparison::report::html::page;
use comparison::report::table::{arm_runs, groups};
use rand_pcg::Pcg64;
use scenario::arms::Arm;
use scenario::joinable::joinable;
use scenario::rate::uniform;
use scenario::recording::{
    Component, Container, Cost, Draw, Origin, Pod, QUOTA_PERIOD, Recording, Run, SCHEMA,
};
use scenario::summary::LoadSummary;
use scenario::{Outcome, RequestRecord};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

fn pod(name: &str, created: f64, ready: f64, gone: Option<f64>) -> Pod {
    Pod {
        name: name.into(),
        created_s: created,
        scheduled_s: Some(created + 0.5),
        started_s: Some(created + 1.5),
        ready: vec![(ready, true)],
        gone_s: gone,
        containers: vec![
            Container {
                name: "eye-state".into(),
                requests: vec![(created, 1.0, GIB / 4.0)],
                core_seconds: 7.0,
                gib_seconds: 2.0,
            },
            Container {
                name: "queue-proxy".into(),
                requests: vec![(created, 0.025, 0.0)],
                core_seconds: 0.5,
                gib_seconds: 0.1,
            },
        ],
        startup: BTreeMap::from([("weights".into(), 0.02), ("warmup".into(), 0.03), ("ready".into(), 0.06)]),
    }
}

fn run(recording: Recording, steps_up: &[f64]) -> Run {
    let mut requests: Vec<RequestRecord> = (0..100)
        .map(|i| RequestRecord {
            at_us: i * 1_000_000,
            late_us: 10,
            latency_us: 20_000,
            outcome: Outcome::Ok,
        })
        .collect();
    requests[10].latency_us = 900_000;
    requests[20].outcome = Outcome::Refused;
    requests[30].outcome = Outcome::Timeout;
    requests[40].outcome = Outcome::Unavailable;
    Run {
        schema: SCHEMA.into(),
        origin: Origin::Simulated,
        scenario: "made-up".into(),
        variant: "knative".into(),
        configuration: "defaults".into(),
        repeat: 1,
        started: String::new(),
        draw: Draw {
            scale: 1.0,
            pod_load: None,
            stretch: 1.0,
            seed: 1,
            fingerprint: String::new(),
            slo_ms: 500,
            steps_up: steps_up.to_vec(),
            rate: vec![(0.0, 1.0), (100.0, 1.0)],
            counted: None,
        },
        environment: BTreeMap::new(),
        load: LoadSummary::new(&mut requests, 0, 500, 100.0, steps_up),
        recording,
        calibration: None,
        session: None,
        throughput: None,
        void: None,
    }
}

fn two_pods() -> Recording {
    Recording {
        observed_s: 160.0,
        pods: vec![pod("a", -100.0, -97.0, None), pod("b", 20.0, 24.0, Some(90.5))],
        desired: vec![(0.0, 1.0), (19.0, 2.0), (80.0, 1.0)],
        seen: vec![(10.0, 0.8), (14.0, 1.4), (18.0, 2.0)],
        ..Recording::default()
    }
}

#[test]
fn known_pods_give_known_pod_seconds() {
    let values = measure(&run(two_pods(), &[]));
    // a: the whole 160 s; b: scheduled at 20.5, gone at 90.5.
    assert_eq!(values["pod_seconds"], 160.0 + 70.0);
    assert_eq!((values["pods_max"], values["pods_end"]), (2.0, 1.0));
}

#[test]
fn of_cycles_only_those_count_that_are_no_warm_up() {
    let mut cycles = run(two_pods(), &[12.0, 60.0]);
    cycles.draw.counted = Some([50.0, 100.0]);
    let values = measure(&cycles);
    // a: 50 s; b: until 90.5. The bad seconds lie before.
    assert_eq!(values["pod_seconds"], 50.0 + 40.5);
    assert!((values["core_seconds_requested"] - 90.5 * 1.025).abs() < 1e-9);
    assert_eq!((values["slo_violation_s"], values["pod_starts"]), (0.0, 0.0));
    assert!(!values.contains_key("lag_decided_s"), "the step that was reacted to is part of the warm-up");
    assert!(!values.contains_key("pods_end"), "the run goes on behind what counts");
}

#[test]
fn cost_counts_until_all_arms_are_at_rest() {
    // b goes at 90.5 s, so one pod is left from then on; another arm needs until 200 s.
    let one = run(two_pods(), &[]);
    assert_eq!(one.recording.at_rest_s(1), Some(90.5));
    assert_eq!(one.recording.at_rest_s(0), None, "a pod is left");
    let values = measure_until(&one, Some(200.0));
    assert_eq!(values["pod_seconds"], 200.0 + 70.0);
    let mut other = run(two_pods(), &[]);
    (other.variant, other.configuration) = ("k8s-autoscalers".into(), "defaults".into());
    other.recording.pods[1].gone_s = Some(150.0);
    let runs = [one, other];
    let arms = arm_runs(&runs);
    // Knative rests at zero pods, which it does not reach here: nothing is known of the end.
    assert_eq!(arms[0].estimate("pod_seconds").map(|e| e.mean), Some(160.0 + 70.0));
    let mut runs = runs;
    runs[0].recording.pods[0].gone_s = Some(120.0);
    let arms = arm_runs(&runs);
    assert_eq!(arms[0].estimate("pod_seconds").map(|e| e.mean), Some(120.0 + 70.0));
    assert_eq!(arms[1].estimate("pod_seconds").map(|e| e.mean), Some(150.0 + 129.5), "until 150 s");
}

#[test]
fn a_pod_that_no_node_has_room_for_costs_nothing() {
    let mut recording = two_pods();
    recording.pods[1].scheduled_s = None;
    assert_eq!(measure(&run(recording, &[]))["pod_seconds"], 160.0);
}

#[test]
fn requests_of_sidecars_are_counted() {
    let values = measure(&run(two_pods(), &[]));
    assert!((values["core_seconds_requested"] - 230.0 * 1.025).abs() < 1e-9);
    assert!((values["gib_seconds_requested"] - 230.0 * 0.25).abs() < 1e-9);
    assert_eq!(values["core_seconds_used"], 15.0);
    assert!((values["gib_seconds_used"] - 4.2).abs() < 1e-12);
}

#[test]
fn a_resize_in_place_counts_from_its_moment_and_is_a_move() {
    let mut recording = two_pods();
    recording.pods[0].containers[0].requests.push((60.0, 0.5, GIB / 4.0));
    let values = measure(&run(recording, &[]));
    // 100 s at half a core less.
    assert!((values["core_seconds_requested"] - (230.0 * 1.025 - 50.0)).abs() < 1e-9);
    assert_eq!(values["vpa_moves"], 1.0);
}

#[test]
fn a_known_delay_is_the_decision_lag() {
    let values = measure(&run(two_pods(), &[12.0]));
    assert_eq!(values["lag_seen_s"], 2.0);
    assert_eq!(values["lag_decided_s"], 7.0);
    assert_eq!(values["lag_ready_s"], 12.0);
}

#[test]
fn a_step_without_a_reaction_has_no_lag() {
    let values = measure(&run(two_pods(), &[95.0]));
    assert!(!values.contains_key("lag_decided_s") && !values.contains_key("lag_ready_s"));
    // The reaction to a later step is not attributed to an earlier one.
    let values = measure(&run(two_pods(), &[0.0, 11.0]));
    assert_eq!(values["lag_decided_s"], 8.0);
}

#[test]
fn a_step_is_got_over_when_ten_good_seconds_begin() {
    // The bad seconds are 10, 20, 30 and 40 (see `run`).
    let recovery = |steps: &[f64]| measure(&run(two_pods(), steps))["recovery_s"];
    assert_eq!(recovery(&[50.0]), 0.0, "good at once");
    assert_eq!(recovery(&[38.0]), 3.0, "second 40 is the last bad one");
    assert_eq!(recovery(&[5.0]), 36.0, "nine good seconds between bad ones are too few");
    assert_eq!(recovery(&[5.0, 15.0, 50.0]), 10.0, "not before the next step; the median of 10, 26 and 0");
    assert!(!measure(&run(two_pods(), &[])).contains_key("recovery_s"), "no step");
}

#[test]
fn pods_that_are_there_at_a_step_are_counted() {
    assert_eq!(measure(&run(two_pods(), &[12.0]))["pods_at_step"], 1.0);
    assert_eq!(measure(&run(two_pods(), &[12.0, 30.0]))["pods_at_step"], 1.5);
}

#[test]
fn starts_have_parts_that_add_up() {
    let values = measure(&run(two_pods(), &[]));
    assert_eq!((values["pod_starts"], values["cold_starts"]), (1.0, 0.0));
    assert_eq!(values["start_s"], 4.0);
    assert_eq!(values["start_schedule_s"] + values["start_container_s"] + values["start_ready_s"], 4.0);
    assert_eq!(values["start_function_s"], 0.06);
}

#[test]
fn a_pod_made_while_none_is_ready_is_a_cold_start() {
    let recording = Recording {
        observed_s: 100.0,
        pods: vec![pod("a", -50.0, -47.0, Some(10.0)), pod("b", 20.0, 23.0, None)],
        ..Recording::default()
    };
    assert_eq!(measure(&run(recording, &[]))["cold_starts"], 1.0);
}

#[test]
fn turns_of_the_wanted_count_are_the_oscillation() {
    let mut recording = two_pods();
    recording.desired = vec![(0.0, 1.0), (10.0, 4.0), (20.0, 2.0), (30.0, 3.0), (40.0, 3.0), (50.0, 5.0)];
    assert_eq!(measure(&run(recording, &[]))["direction_changes"], 2.0);
}

#[test]
fn refusals_failures_and_slow_answers_are_told_apart() {
    let values = measure(&run(two_pods(), &[]));
    assert_eq!(
        (values["requests"], values["refused"], values["failed"], values["good_share"]),
        (100.0, 2.0, 1.0, 96.0)
    );
    assert_eq!(values["slo_violation_s"], 4.0);
    assert!((values["max_ms"] - 900.0).abs() < 1.0 && values["p50_ms"] < 20.1);
    assert!((values["cost_per_1000"] - 230.0 * 1.025 / 96.0 * 1000.0).abs() < 1e-6);
}

#[test]
fn what_the_platform_costs_is_kept_apart() {
    let mut recording = two_pods();
    assert!(
        !measure(&run(recording.clone(), &[])).contains_key("components_core_seconds"),
        "unknown is not zero"
    );
    recording.components = vec![
        Component {
            name: "activator".into(),
            requested_cores: 0.3,
            core_seconds: 4.0,
            ..Component::default()
        },
        Component {
            name: "autoscaler".into(),
            requested_cores: 0.1,
            core_seconds: 1.5,
            ..Component::default()
        },
    ];
    let values = measure(&run(recording, &[]));
    assert_eq!((values["components_core_seconds"], values["components_requested"]), (5.5, 64.0));
}

#[test]
fn how_busy_the_node_was_counts_while_there_was_load() {
    let mut recording = two_pods();
    assert!(!measure(&run(recording.clone(), &[])).contains_key("node_busy"), "unknown is not zero");
    recording.node_busy = vec![(-5.0, 1.0), (0.0, 1.0), (5.0, 0.25), (10.0, 0.75), (130.0, 1.0)];
    let values = measure(&run(recording.clone(), &[]));
    assert_eq!((values["node_busy"], values["node_busy_max"], values["late_p99_ms"]), (50.0, 75.0, 0.01));
    assert!(!values.contains_key("node_components"), "files from before it was recorded have none");
    recording.node_components = vec![(0.0, 1.0), (30.0, 0.125), (60.0, 0.375), (150.0, 1.0)];
    let values = measure(&run(recording, &[]));
    assert_eq!((values["node_components"], values["node_components_max"]), (25.0, 37.5));
}

#[test]
fn runs_of_different_images_settings_or_requests_are_not_joined() {
    let of = |name: &str, value: &str, repeat: u32| {
        let mut one = run(two_pods(), &[]);
        one.origin = Origin::Measured;
        one.repeat = repeat;
        one.environment.insert(name.into(), value.into());
        one
    };
    let joined = |a: &Run, b: &Run| joinable(&[a.clone(), b.clone()]);
    assert!(joined(&of("Image ID", "sha256:1", 1), &of("Image ID", "sha256:1", 2)).is_ok());
    let error =
        joined(&of("Image ID", "sha256:1", 1), &of("Image ID", "sha256:2", 2)).expect_err("another image");
    assert!(error.to_string().contains("differ in Image ID: sha256:1 and sha256:2"), "{error}");
    let built = |id: &str, commit: &str| {
        let mut one = of("Image ID", id, 2);
        one.environment.insert("Image built from".into(), commit.into());
        one
    };
    assert!(
        joined(&built("sha256:1", "abc"), &built("sha256:2", "abc")).is_ok(),
        "built again from the same"
    );
    assert!(joined(&built("sha256:1", "abc"), &built("sha256:2", "def")).is_err());
    let settings = "Settings of knative, defaults";
    assert!(joined(&of(settings, "a", 1), &of(settings, "b", 2)).is_err());
    assert!(joined(&of("Date", "today", 1), &of("Date", "tomorrow", 2)).is_ok(), "days may differ");
    let (one, mut other) = (of("x", "", 1), of("x", "", 1));
    other.draw.fingerprint = "something else".into();
    assert!(joined(&one, &other).is_err(), "the same repeat is offered the same requests");
    other.draw.scale = 2.0;
    assert!(joined(&one, &other).expect_err("another scale").to_string().contains("scale 1"));
    other.origin = Origin::Simulated;
    assert!(joined(&one, &other).is_ok(), "a simulation is never in the same table");
}

#[test]
fn cost_by_prometheus_is_compared_over_the_time_of_the_run_alone() {
    let mut one = run(two_pods(), &[]);
    assert!(!measure(&one).contains_key("cost_apart"), "unknown is not zero");
    let cost = |cores: f64| Some(Cost { pod_seconds: 230.0, core_seconds_requested: cores });
    one.recording.by_prometheus = cost(230.0 * 1.025 * 1.01);
    // Another arm rests later, which is no time of this run.
    let apart = |run: &Run| measure_until(run, Some(500.0))["cost_apart"];
    assert!((apart(&one) - 1.0).abs() < 1e-9, "{}", apart(&one));
    one.draw.counted = Some([50.0, 100.0]);
    one.recording.by_prometheus = cost(90.5 * 1.025 * 0.98);
    assert!((apart(&one) + 2.0).abs() < 1e-9, "{}", apart(&one));
}

#[test]
fn every_measure_is_defined_once() {
    let values = measure(&run(two_pods(), &[12.0]));
    for key in values.keys() {
        assert!(by_key(key).is_some(), "{key} has no definition");
    }
    for measure in MEASURES {
        assert_eq!(MEASURES.iter().filter(|m| m.key == measure.key).count(), 1, "{}", measure.key);
    }
}

#[test]
fn a_results_file_comes_back_as_it_was_and_a_foreign_one_is_refused() {
    let folder = std::env::temp_dir().join(format!("comparison-{}", std::process::id()));
    let original = run(two_pods(), &[12.0]);
    let path = write_run(&original, &folder).expect("written");
    assert_eq!(read_run(&path).expect("read"), original);
    assert_eq!(read_runs(&folder).expect("one").len(), 1);
    let text = std::fs::read_to_string(&path).expect("text");
    let old = text.replace(SCHEMA, "nv-micro/comparison-run/v2");
    std::fs::write(&path, old).expect("rewritten");
    let run = read_run(&path).expect("version 2 is still read");
    assert_eq!(run.configuration, "hpa-target", "what version 2 called the KPA's defaults");
    let other = text.replace(SCHEMA, "something/else");
    std::fs::write(&path, other).expect("rewritten");
    let refused = format!("{:#}", read_run(&path).expect_err("refused"));
    assert!(refused.contains("schema") && refused.contains("made-up"), "{refused}");
    std::fs::remove_dir_all(&folder).expect("cleaned");
}

#[test]
fn every_committed_recording_is_read_and_belongs_to_an_arm() {
    for (folder, least) in [
        ("results", 72),
        ("campaigns/spike-apart", 13),
        ("campaigns/quota", 12),
        ("campaigns/spike-once", 14),
    ] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let runs = read_runs(&folder).expect("the committed recordings");
        assert!(runs.len() >= least, "{}", folder.display());
        joinable(&runs).expect("they belong together");
        for run in &runs {
            assert!(Arm::of(&run.variant, &run.configuration).is_some(), "{}", run.id());
        }
    }
}

#[test]
fn no_interval_leaves_what_its_measure_can_be() {
    let campaigns = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../campaigns");
    let read = |name: &str| read_runs(&campaigns.join(name)).expect("the committed recordings");
    let (spike, quota) = (read("spike-apart"), read("quota"));
    let (mut cut_at_zero, mut cut_at_hundred) = (0, 0);
    for arm in arm_runs(&spike).iter().chain(&arm_runs(&quota)) {
        for measure in MEASURES {
            let (least, most) = measure.range();
            let Some(found) = arm.estimate(measure.key) else { continue };
            let Spread::Interval(low, high) = found.spread else { continue };
            assert!(low >= least && high <= most, "{}: {low} … {high}", measure.title);
            assert!(low <= found.mean && found.mean <= high, "{}: {low} … {high}", measure.title);
            cut_at_zero += usize::from(low == least && found.mean > least);
            cut_at_hundred += usize::from(high == most && found.mean < most);
        }
    }
    assert!(cut_at_zero > 0, "latencies of the HPA, whose runs differ much, would leave it");
    assert!(cut_at_hundred > 0, "good answers that are nearly all of them would leave it");
}

#[test]
fn blocks_of_sessions_on_different_machines_are_joined_and_runs_within_a_block_are_not() {
    let of = |repeat: u32, node: &str, scale: f64| {
        let mut one = run(two_pods(), &[]);
        (one.origin, one.repeat) = (Origin::Measured, repeat);
        (one.draw.scale, one.draw.pod_load) = (scale, Some(0.6));
        one.draw.fingerprint = format!("{repeat} {scale}");
        one.session = Some(format!("session on {node}"));
        one.environment.insert("Node".into(), node.into());
        one
    };
    let joined = |a: &Run, b: &Run| joinable(&[a.clone(), b.clone()]);
    assert!(joined(&of(1, "fast", 11.4), &of(2, "slow", 6.6)).is_ok(), "the same load in units of a pod");
    assert!(joined(&of(1, "fast", 11.4), &of(1, "slow", 11.4)).is_err(), "one block, two machines");
    assert!(joined(&of(1, "fast", 11.4), &of(1, "fast", 6.6)).is_err(), "one block, two loads");
    let mut other = of(2, "slow", 6.6);
    other.draw.pod_load = Some(0.9);
    let error = joined(&of(1, "fast", 11.4), &other).expect_err("another load");
    assert!(
        error.to_string().contains("0.6 of a pod") && error.to_string().contains("0.9 of a pod"),
        "{error}"
    );
}

#[test]
fn runs_of_different_periods_of_the_quota_are_joined_only_as_an_ablation() {
    let of = |variant: &str, configuration: &str, period: &str| {
        let mut one = run(two_pods(), &[]);
        (one.origin, one.repeat) = (Origin::Measured, 1);
        (one.variant, one.configuration) = (variant.into(), configuration.into());
        one.environment.insert(QUOTA_PERIOD.into(), period.into());
        one
    };
    let kpa = of("knative", "defaults", "10 ms");
    let joined = |other: Run| joinable(&[kpa.clone(), other]).is_ok();
    assert!(joined(of("k8s-autoscalers", "defaults", "10 ms")));
    assert!(joined(of("knative", "defaults+cfs-100ms", "100 ms")), "that is the ablation");
    assert!(joined(of("knative", "defaults+no-limit", "100 ms")), "it has no quota");
    assert!(joined(of("k8s-autoscalers", "defaults", "not known")));
    assert!(!joined(of("k8s-autoscalers", "defaults", "100 ms")), "two arms on different nodes");
    assert!(!joined(of("knative", "defaults", "100 ms")), "one arm on different nodes");
}

#[test]
fn a_different_speed_of_every_session_cancels_in_the_differences() {
    let mut runs = vec![];
    for repeat in 1..=9 {
        for (variant, advantage) in [("knative", 0), ("k8s-autoscalers", 30)] {
            let mut one = run(two_pods(), &[]);
            (one.variant, one.configuration, one.repeat) = (variant.into(), "defaults".into(), repeat);
            one.scenario = CLAIMED.into();
            one.session = Some(format!("{}", repeat / 3));
            one.load.planned = 1000;
            // The machine of a session is worth 200 answers, the arm 30, and chance a few.
            one.load.within_slo = 300 + u64::from(repeat / 3) * 200 + advantage + u64::from(repeat % 3);
            runs.push(one);
        }
    }
    let arms = arm_runs(&runs);
    let groups = groups(&arms);
    let row = groups[0].row("good_share").expect("measured");
    assert!(row.differences.iter().all(|d| (d - 3.0).abs() < 1e-9), "{:?}", row.differences);
    let claims = claims(&groups, Origin::Simulated);
    assert!(claims[0].is_shown(), "nine pairs: {}", claims[0].corrected_p);
    let page = page(&runs, &[]);
    assert!(page.contains("The runs come from 4 sessions") && page.contains("0 of 9 blocks were continued"));
}

#[test]
fn the_report_says_how_to_record_its_runs_again_and_which_seconds_count() {
    let mut runs = vec![];
    for (variant, configuration) in [("knative", "defaults"), ("knative", "defaults+cfs-100ms")] {
        for repeat in 1..=2 {
            let mut one = run(two_pods(), &[]);
            (one.variant, one.configuration, one.repeat) = (variant.into(), configuration.into(), repeat);
            (one.origin, one.scenario) = (Origin::Measured, "steady".into());
            (one.draw.pod_load, one.draw.counted) = (Some(0.6), Some([20.0, 90.0]));
            let period = if configuration == "defaults" { "10 ms" } else { "100 ms" };
            one.environment.insert(QUOTA_PERIOD.into(), period.into());
            runs.push(one);
        }
    }
    let page = page(&runs, &[]);
    for part in [
        "Of <strong>steady</strong> seconds 20 to 90 of each run count.",
        "# The node's quota period: 10 ms",
        "[node.cfs_period_ms]",
        "make compare CLUSTER=YOURS.toml RESULTS=NEW_FOLDER POD_LOAD=0.6 SCENARIOS=steady ARMS=kpa,kpa+cfs-100ms REPEATS=2\n",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("hpa_sync_period_s"));
}

/// A scenario in which claims are registered.
const CLAIMED: &str = "spike-apart";

/// A run whose good answers and cost are drawn from the same distribution, whatever the arm.
fn noise(variant: &str, configuration: &str, repeat: u32, random: &mut Pcg64) -> Run {
    let mut noise = run(two_pods(), &[]);
    (noise.variant, noise.configuration, noise.repeat) = (variant.into(), configuration.into(), repeat);
    noise.scenario = CLAIMED.into();
    noise.load.planned = 1000;
    noise.load.within_slo = 800 + (uniform(random) * 150.0) as u64;
    noise.recording.pods[0].containers[0].requests[0].1 = 0.5 + uniform(random);
    noise
}

#[test]
fn a_claim_with_too_few_pairs_keeps_those_after_it_from_being_shown() {
    let arms =
        [("knative", "defaults", 0), ("k8s-autoscalers", "defaults", 30), ("k8s-autoscalers", "keda", 60)];
    let shown = |repeats: [u32; 3]| {
        let mut runs = vec![];
        for ((variant, configuration, advantage), repeats) in arms.into_iter().zip(repeats) {
            for repeat in 1..=repeats {
                let mut one = run(two_pods(), &[]);
                (one.variant, one.configuration, one.repeat) = (variant.into(), configuration.into(), repeat);
                one.scenario = CLAIMED.into();
                (one.load.planned, one.load.within_slo) = (1000, 500 + advantage + u64::from(repeat % 3));
                runs.push(one);
            }
        }
        let arms = arm_runs(&runs);
        let claims = claims(&groups(&arms), Origin::Simulated);
        claims.iter().filter(|c| c.is_shown()).map(|c| c.arms[1].clone()).collect::<Vec<_>>()
    };
    let both = ["hpa-vpa", "hpa-vpa", "keda", "keda"];
    assert_eq!(shown([6, 6, 6]), both);
    assert_eq!(shown([6, 6, 5]), both[..2]);
    assert!(shown([6, 5, 6]).is_empty(), "the second pair comes after the first");
    assert_eq!(shown([6, 0, 6]), both[2..], "what was not recorded is no claim");
}

#[test]
fn findings_from_noise_are_stated_no_more_often_than_is_said() {
    const PAGES: u32 = 600;
    let mut random = Pcg64::new(19, 1);
    let mut stated = 0;
    for _ in 0..PAGES {
        let runs: Vec<Run> = (1..=10)
            .flat_map(|repeat| {
                [("knative", "defaults"), ("k8s-autoscalers", "defaults"), ("k8s-autoscalers", "keda")]
                    .map(|(variant, configuration)| noise(variant, configuration, repeat, &mut random))
            })
            .collect();
        let arms = arm_runs(&runs);
        let groups = groups(&arms);
        let claims = claims(&groups, Origin::Simulated);
        assert_eq!(claims.len(), 4, "two pairs, two measures");
        let sentences: Vec<String> = groups.iter().flat_map(|group| findings(group, &claims)).collect();
        let is_claim = |s: &String| s.contains("corrected p") && !s.contains("Not shown");
        stated += u32::from(sentences.iter().any(is_claim));
    }
    let share = f64::from(stated) / f64::from(PAGES);
    // Three standard deviations of 600 pages at ALPHA.
    assert!(share <= ALPHA + 0.027, "{stated} of {PAGES} pages of noise state a finding");
    assert!(stated > 0, "the test would notice claims at all");
}
