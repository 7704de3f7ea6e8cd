//! Measures of recordings whose values are known.

use comparison::analysis::measures::{measure, measure_until};
use comparison::analysis::{MEASURES, by_key};
use comparison::report::table::arm_runs;
use scenario::recording::{Component, Cost, Recording, Run};

use crate::{GIB, pod, run, two_pods};

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
