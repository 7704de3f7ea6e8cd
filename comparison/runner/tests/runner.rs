//! The runner against a fake cluster: a whole run, an interruption and the resumption, and error
//! messages. Recordings of a real cluster are in comparison/results.

mod played;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use comparison::analysis::measures::measure;
use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::runner::compare;
use comparison::files::{read_runs, read_scenarios, write_calibration, write_run};
use played::{FIT, Fake, Stage};
use scenario::arms::Arm;
use scenario::recording::{Calibration, Run};
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

fn error(stage: &Stage) -> String {
    error_of(stage, &plan(stage))
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

#[test]
fn a_session_begins_no_run_that_does_not_fit_into_its_time_and_the_next_one_goes_on() {
    let stage = Stage::new("minutes", FIT);
    let short = Plan { minutes: Some(1.0), ..plan(&stage) };
    run(&stage, &short).expect("nothing fits, and that is no error");
    assert!(!stage.results().exists() && !stage.applied());
    patiently(|| run(&stage, &plan(&stage)).map_err(|e| format!("{e:#}")));
    let runs = read_runs(&stage.results()).expect("results");
    assert!(runs[0].session.is_some(), "a run says in which session it was made");
}

#[test]
fn a_block_that_was_begun_elsewhere_is_passed_over_and_the_next_ones_are_done() {
    let stage = Stage::new("speed", FIT);
    patiently(|| run(&stage, &plan(&stage)).map_err(|e| format!("{e:#}")));
    let one_pod = |saturated: f64| Calibration {
        at: "2026-11-26T19:12:13Z".into(),
        slo_ms: 500,
        capacity: saturated,
        saturated,
        rate_at_one: None,
        steps: vec![],
    };
    let mut begun = read_runs(&stage.results()).expect("results").remove(0);
    write_calibration(&stage.results(), &one_pod(29.0)).expect("written");
    let both = vec![Arm::named("hpa-vpa").expect("listed"), Arm::named("hpa-vpa+vpa-floor").expect("listed")];
    let only_begun = Plan { arms: both.clone(), ..plan(&stage) };
    let passed_over = |begun: &Run| {
        write_run(begun, &stage.results()).expect("written");
        let mut here = ClusterConfig::read(&stage.cluster_file()).expect("valid");
        here.environment.insert("Hardware".into(), "this machine".into());
        let error = compare(&only_begun, &here, &stage.kubectl).expect_err("nothing can be done");
        let error = format!("{error:#}");
        assert!(error.contains("1 runs are left") && error.contains("--begin-again"), "{error}");
    };
    begun.calibration = Some(one_pod(29.0));
    begun.environment.insert("Hardware".into(), "another machine".into());
    passed_over(&begun);
    begun.environment.insert("Hardware".into(), "this machine".into());
    begun.calibration = Some(one_pod(38.0));
    passed_over(&begun);
    let two = Plan { arms: both, repeats: 2, ..plan(&stage) };
    patiently(|| run(&stage, &two).map_err(|e| format!("{e:#}")));
    let mut done: Vec<String> = read_runs(&stage.results()).expect("results").iter().map(Run::id).collect();
    done.sort();
    let ids = ["defaults+vpa-floor-2", "defaults-1", "defaults-2"];
    assert_eq!(done, ids.map(|id| format!("short-k8s-autoscalers-{id}")));
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

/// The program itself, with two scenarios to run.
fn start(stage: &Stage) -> Child {
    let path = |p: &Path| p.display().to_string();
    Command::new(env!("CARGO_BIN_EXE_comparison"))
        .args(["run", "--cluster", &path(&stage.cluster_file()), "--kubectl", &stage.kubectl])
        .args(["--scenarios", &path(&stage.folder.join("scenarios")), "--images", &path(&Stage::images())])
        .args(["--results", &path(&stage.results()), "--arms", "hpa-vpa"])
        .args([
            "--repeats",
            "1",
            "--scale",
            "20",
            "--tail",
            "0.5",
            "--longest-tail",
            "0",
            "--no-calibration",
            "--forget",
            "0",
            "--spread",
            "0",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn ended(child: Child) -> (bool, String) {
    let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
    (status.success(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn an_interrupted_comparison_keeps_what_it_has_cleans_up_and_goes_on_there() {
    let stage = Stage::new("interrupted", FIT);
    let (first, second) =
        ("short-k8s-autoscalers-defaults-1.json", "shorter-k8s-autoscalers-defaults-1.json");
    patiently(|| {
        let mut child = start(&stage);
        while !stage.results().join(first).exists() && child.try_wait().expect("asked").is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        // In the middle of the second run.
        while !stage.applied() && child.try_wait().expect("asked").is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        // It may have ended already, too late for its load; then there is no process to stop.
        if child.try_wait().expect("asked").is_none() {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        }
        let (good, said) = ended(child);
        if said.contains("too slow") {
            let _ = std::fs::remove_dir_all(stage.results());
            return Err(said);
        }
        assert!(!good && said.contains("interrupted: the same command goes on"), "{said}");
        Ok(())
    });
    assert!(!stage.applied(), "nothing is left on the cluster");
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(stage.results())
            .expect("results")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files(), [first]);
    let before = std::fs::read(stage.results().join(first)).expect("a result");
    patiently(|| {
        let (good, said) = ended(start(&stage));
        assert!(said.contains("1 of 2 runs are recorded, 1 runs to do"), "{said}");
        if good { Ok(()) } else { Err(said) }
    });
    assert_eq!(files(), [first, second]);
    assert!(
        std::fs::read(stage.results().join(first)).expect("a result") == before,
        "what was done stays as it was"
    );
}

#[test]
fn runs_of_another_image_are_not_put_beside_the_old_ones() {
    let stage = Stage::new("other", FIT);
    patiently(|| run(&stage, &plan(&stage)).map_err(|e| format!("{e:#}")));
    let path = stage.results().join("short-k8s-autoscalers-defaults-1.json");
    let text = std::fs::read_to_string(&path).expect("a result");
    std::fs::write(&path, text.replace("sha256:77", "sha256:66")).expect("written");
    let mut more = plan(&stage);
    more.repeats = 2;
    let begun = stage.pushed().len();
    let said = format!("{:#}", run(&stage, &more).expect_err("another image"));
    assert!(
        said.contains("choose another one") && said.contains("Image ID: sha256:66 and sha256:77"),
        "{said}"
    );
    assert_eq!(stage.pushed().len(), begun, "no load is sent for a run that cannot stand beside them");
    assert_eq!(read_runs(&stage.results()).expect("results").len(), 1);
}

#[test]
fn without_kubectl_or_cluster_it_says_so() {
    let mut stage = Stage::new("nowhere", FIT);
    stage.kubectl = "/nowhere/kubectl".into();
    assert!(error(&stage).contains("install kubectl"));
    stage.kubectl = stage.folder.join("refuses").display().to_string();
    std::fs::write(&stage.kubectl, "#!/bin/sh\necho 'current-context is not set' >&2\nexit 1\n")
        .expect("written");
    let executable = Command::new("chmod").args(["+x", &stage.kubectl]).status().expect("chmod");
    assert!(executable.success());
    let said = error(&stage);
    assert!(said.contains("no cluster") && said.contains("current-context is not set"), "{said}");
}

#[test]
fn an_unfit_cluster_names_everything_that_is_wrong_at_once() {
    let said = error(&Stage::new("unfit", Fake { minor: "30", cadvisor: false, vpa: false, ..FIT }));
    assert!(said.contains("1.35 or newer is needed") && said.contains("v1.30.0"), "{said}");
    assert!(said.contains("Prometheus has no container_cpu_usage_seconds_total"), "{said}");
    assert!(said.contains("the Vertical Pod Autoscaler is not installed"), "{said}");
}

#[test]
fn pods_of_others_are_named_and_nothing_is_loaded() {
    let said = error(&Stage::new("shared", Fake { others: &["kube-system", "shop", "monitoring"], ..FIT }));
    assert!(said.contains("pods of others run here: shop/pod; stop them"), "{said}");
    let described = Stage::new("described", Fake { others: &["shop"], ..FIT });
    let text = std::fs::read_to_string(described.cluster_file()).expect("a file");
    std::fs::write(described.cluster_file(), format!("platform = [\"sh*\"]\n{text}")).expect("written");
    patiently(|| run(&described, &plan(&described)).map_err(|e| format!("{e:#}")));
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
fn without_prometheus_it_says_so() {
    let stage = Stage::new("unwatched", FIT);
    let text = std::fs::read_to_string(stage.cluster_file()).expect("a file");
    // Port 9 (discard) is not served on a test machine.
    let start = text.find("prometheus = ").expect("described");
    let end = start + text[start..].find('\n').expect("a line");
    std::fs::write(
        stage.cluster_file(),
        text.replace(&text[start..end], "prometheus = \"http://127.0.0.1:9\""),
    )
    .expect("written");
    let said = error(&stage);
    assert!(said.contains("cannot reach http://127.0.0.1:9/api/v1/query"), "{said}");
}

#[test]
fn a_variant_that_never_answers_gives_no_result() {
    let said = error(&Stage::new("silent", Fake { gateway: "503 Service Unavailable", ..FIT }));
    assert!(said.contains("hpa-vpa never got ready") && said.contains("Unavailable"), "{said}");
}

#[test]
fn an_autoscaler_without_its_metric_gives_no_result() {
    let said = error(&Stage::new("blind", Fake { scaling_active: "False", ..FIT }));
    assert!(said.contains("never got ready") && said.contains("not ScalingActive: no metric"), "{said}");
}

#[test]
fn an_autoscaler_that_cannot_be_watched_gives_no_result() {
    let fake = Fake { unwatched: Some("verticalpodautoscalers"), ..FIT };
    let said = error(&Stage::new("unwatched", fake));
    assert!(said.contains("a watch was never opened") && said.contains("403"), "{said}");
}

#[test]
fn a_load_that_cannot_be_sent_in_time_gives_no_result() {
    let stage = Stage::new("late", FIT);
    let mut strict = plan(&stage);
    // No machine sends within 2 % of a millisecond.
    strict.scenarios[0].slo_ms = 1;
    let said = error_of(&stage, &strict);
    assert!(said.contains("too slow here, before anything was sent") && said.contains("ms late"), "{said}");
}

#[test]
fn an_arm_of_a_variant_that_the_cluster_file_lacks_names_the_known_ones() {
    let stage = Stage::new("unknown", FIT);
    let mut wrong = plan(&stage);
    wrong.arms = vec![Arm::named("kpa").expect("listed")];
    assert!(error_of(&stage, &wrong).contains("there are k8s-autoscalers"));
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
