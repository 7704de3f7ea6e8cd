//! The runner against a fake cluster: a whole run, what is made of the node for it, sessions and
//! refusals. Recordings of a real cluster are in comparison/results.

mod played;
mod refusals;
mod sessions;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use comparison::analysis::measures::measure;
use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::runner::compare;
use comparison::files::{read_runs, read_scenarios};
use played::{FIT, Fake, Stage};
use scenario::arms::Arm;
use serde_json::{Value, json};

/// One short run.
fn plan(stage: &Stage) -> Plan {
    Plan {
        scenarios: read_scenarios(&stage.folder.join("scenarios"), &["short".into()]).expect("valid"),
        arms: vec![Arm::named("hpa-vpa").expect("listed")],
        repeats: 1,
        scale: 20.0,
        pod_load: None,
        calibrate: false,
        stretch: 1.0,
        seed: 1,
        tail_s: 0.5,
        longest_tail: Duration::ZERO,
        patience: Duration::from_secs(2),
        calm: Duration::ZERO,
        forget: Duration::ZERO,
        spread_s: 0.0,
        as_is: false,
        minutes: None,
        begin_again: false,
        images: Stage::images(),
        results: stage.results(),
        threads: 1,
        commit: "test".into(),
    }
}

fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<()> {
    compare(plan, &ClusterConfig::read(&stage.cluster_file()).expect("valid"), &stage.kubectl)
}

fn error_of(stage: &Stage, plan: &Plan) -> String {
    let error = format!("{:#}", run(stage, plan).expect_err("this cannot work"));
    assert!(!stage.results().exists(), "no result that looks like one");
    assert!(!stage.applied(), "nothing is left on the cluster");
    error
}

/// A busy test machine may send a run of two seconds too late; the refusal itself is tested
/// elsewhere.
fn patiently(mut attempt: impl FnMut() -> Result<(), String>) {
    for left in (0..5).rev() {
        match attempt() {
            Err(error) if error.contains("too slow") && left > 0 => {}
            outcome => return outcome.expect("a run"),
        }
    }
}

#[test]
fn a_whole_run_is_recorded_and_not_done_twice() {
    let stage = Stage::new("whole", FIT);
    patiently(|| run(&stage, &plan(&stage)).map_err(|e| format!("{e:#}")));
    assert!(!stage.applied(), "it cleans up after itself");
    let runs = read_runs(&stage.results()).expect("results");
    let [one] = &runs[..] else { panic!("one run") };
    assert_eq!(one.environment["Kubernetes"], "v1.36.0");
    assert_eq!(
        (&*one.environment["Image"], &*one.environment["Image ID"]),
        ("dev.local/eye-state:1", "sha256:77")
    );
    assert_eq!(one.environment["Pod limits"], "500m CPU, 192Mi");
    assert!(one.environment.contains_key("Settings of k8s-autoscalers, defaults"));
    assert_eq!(one.draw.steps_up, [1.0]);
    let names: Vec<&str> = one.recording.pods.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["coming", "standing"]);
    let values = measure(one);
    // The existing pod all the time; the new one from about 0.6 s on, ready 0.6 s later, which is
    // 0.2 s after the step.
    assert!((values["pod_seconds"] - (2.5 + 1.9)).abs() < 0.6, "{}", values["pod_seconds"]);
    assert!((values["core_seconds_requested"] - values["pod_seconds"] * 0.5).abs() < 1e-6);
    assert_eq!((values["pods_max"], values["pods_end"], values["pod_starts"]), (2.0, 2.0, 1.0));
    assert!(values["lag_ready_s"] < 0.9, "{}", values["lag_ready_s"]);
    assert!(values["components_core_seconds"] > 0.0 && values["core_seconds_used"] > 0.0);
    assert_eq!(values["good_share"], 100.0);
    assert!(one.recording.gib_used.iter().any(|used| used.1 == 0.25), "{:?}", one.recording.gib_used);
    let [adapter] = &one.recording.components[..] else { panic!("one component") };
    assert!(adapter.cores_used.iter().any(|used| used.1 > 0.0) && !adapter.gib_used.is_empty());
    let pushed = stage.pushed();
    let marks = |push: &Value| push["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].clone();
    let mark = &marks(&pushed[0])[0];
    assert_eq!(mark["name"], "comparison_run", "dashboards find the run by it");
    let moment = |push: &Value, at: usize, which: &str| {
        let mark = &marks(push)[at];
        assert_eq!(mark["name"], format!("comparison_run_{which}_timestamp_seconds"));
        mark["gauge"]["dataPoints"][0]["asDouble"].as_f64().expect("seconds")
    };
    let last = pushed.last().expect("marks");
    let (started, ended) = (moment(last, 1, "start"), moment(last, 2, "end"));
    assert!(
        (ended - started - one.recording.observed_s).abs() < 1e-3,
        "dashboards put runs side by side by them"
    );
    let announced = moment(&pushed[0], 1, "start");
    assert!(started > announced && started < announced + 2.0, "the first request's moment comes last");
    let name = json!({"key": "run", "value": {"stringValue": "short-k8s-autoscalers-defaults-1"}});
    let attributes = mark["gauge"]["dataPoints"][0]["attributes"].as_array().expect("labels");
    assert!(attributes.contains(&name), "{attributes:?}");
    let arm = json!({"key": "arm", "value": {"stringValue": "HPA + VPA"}});
    assert!(attributes.contains(&arm), "dashboards call the side by it: {attributes:?}");

    let again = Instant::now();
    run(&stage, &plan(&stage)).expect("nothing to do");
    assert!(again.elapsed() < Duration::from_secs(2), "a run that has its file is skipped");
}

/// Has the cluster file make the quota's period, by writing it into the returned file and what
/// `more` does.
fn make_periods(stage: &Stage, more: &str) -> PathBuf {
    let made = stage.folder.join("made");
    let text = std::fs::read_to_string(stage.cluster_file()).expect("a file");
    let set = format!("echo {{value}} >> {}{more}", made.display());
    let node = format!("[node.cfs_period_ms]\nvalue = 10\nset = [\"{set}\"]\n");
    std::fs::write(stage.cluster_file(), format!("{text}\n{node}")).expect("written");
    made
}

#[test]
fn a_setting_of_the_node_is_made_before_the_runs_that_need_it_and_is_as_usual_afterwards() {
    let stage = Stage::new("node", FIT);
    let made = make_periods(&stage, "");
    let names = ["hpa-vpa", "hpa-vpa+cfs-100ms"];
    let both = Plan { arms: names.map(|n| Arm::named(n).expect("listed")).into(), ..plan(&stage) };
    patiently(|| {
        let _ = (std::fs::remove_file(&made), std::fs::remove_dir_all(stage.results()));
        run(&stage, &both).map_err(|e| format!("{e:#}"))
    });
    let mut runs = read_runs(&stage.results()).expect("results");
    runs.sort_by(|a, b| a.started.cmp(&b.started));
    let expected: Vec<&str> = runs
        .iter()
        .map(|run| if run.configuration.contains("cfs-100ms") { "100" } else { "10" })
        .chain(["10"])
        .collect();
    let text = std::fs::read_to_string(&made).expect("it was made");
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_setting_of_the_node_that_fails_is_an_error_and_is_put_right() {
    let stage = Stage::new("unsettable", FIT);
    let made = make_periods(&stage, "; test {value} = 10");
    let arms = vec![Arm::named("hpa-vpa+cfs-100ms").expect("listed")];
    let said = error_of(&stage, &Plan { arms, ..plan(&stage) });
    assert!(said.contains("setting cfs_period_ms of the node"), "{said}");
    let text = std::fs::read_to_string(&made).expect("it was tried");
    assert_eq!(text.lines().collect::<Vec<_>>(), ["100", "10"]);
}

#[test]
fn a_prometheus_that_takes_no_marks_costs_a_warning_and_not_the_run() {
    let stage = Stage::new("unmarked", Fake { push: "404 Not Found", ..FIT });
    let mut attempts = 0;
    patiently(|| {
        attempts += 1;
        run(&stage, &plan(&stage)).map_err(|e| format!("{e:#}"))
    });
    assert_eq!(stage.pushed().len(), attempts, "it is tried once a run");
}

#[test]
fn the_settings_of_an_arm_reach_the_command_that_deploys_it() {
    let stage = Stage::new("settings", FIT);
    let text = std::fs::read_to_string(stage.cluster_file()).expect("a file");
    let told = stage.folder.join("told");
    let apply = format!("apply = [\"echo {{settings}} > {}\", ", told.display());
    std::fs::write(stage.cluster_file(), text.replace("apply = [", &apply)).expect("written");
    let mut changed = plan(&stage);
    changed.arms = vec![Arm::named("hpa-vpa+vpa-floor").expect("listed")];
    patiently(|| run(&stage, &changed).map_err(|e| format!("{e:#}")));
    assert_eq!(std::fs::read_to_string(told).expect("told"), "defaults+vpa-floor\n");
    let runs = read_runs(&stage.results()).expect("results");
    assert_eq!(runs[0].id(), "short-k8s-autoscalers-defaults+vpa-floor-1");
}
