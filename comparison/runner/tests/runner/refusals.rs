//! What gives no result, and what is said then.

use std::process::Command;

use scenario::arms::Arm;

use crate::played::{FIT, Fake, Stage};
use crate::{error_of, patiently, plan, run};

fn error(stage: &Stage) -> String {
    error_of(stage, &plan(stage))
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
