//! Which runs are read, and which of them stand in one table.

use comparison::files::{read_run, read_runs, write_run};
use scenario::arms::Arm;
use scenario::joinable::joinable;
use scenario::recording::{Origin, QUOTA_PERIOD, Run, SCHEMA};

use crate::{run, two_pods};

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
        ("campaigns/spike-apart-keda", 16),
        ("campaigns/spike-apart-target", 16),
        ("campaigns/spike-apart-tuned", 16),
        ("campaigns/steady-ablations", 12),
        ("campaigns/spike-once-ablations", 15),
        ("campaigns/steady-cfs-5ms", 6),
        ("campaigns/steady-requests", 15),
        ("campaigns/trace", 48),
        ("campaigns/spike-apart-zero", 12),
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
    let on = |repeat: u32, hardware: &str| {
        let mut one = of(repeat, "2 CPUs", 11.4);
        one.environment.insert("Hardware".into(), hardware.into());
        one
    };
    assert!(joined(&on(1, "one"), &on(2, "another")).is_ok());
    assert!(joined(&on(1, "one"), &on(1, "another")).is_err(), "one block, two kinds of machine");
    assert!(joined(&on(1, "one"), &of(1, "2 CPUs", 11.4)).is_ok(), "one did not say");
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
