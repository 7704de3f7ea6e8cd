//! A comparison in several sessions: what is begun, interrupted, continued and passed over.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::runner::compare;
use comparison::files::{read_runs, write_calibration, write_run};
use scenario::arms::Arm;
use scenario::recording::{Calibration, Run};

use crate::played::{FIT, Stage};
use crate::{patiently, plan, run};

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
