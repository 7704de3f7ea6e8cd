//! What the report states of runs: intervals, claims, and how to record them again.

use comparison::analysis::MEASURES;
use comparison::analysis::statistics::{ALPHA, Spread};
use comparison::files::read_runs;
use comparison::report::claims::claims;
use comparison::report::findings::findings;
use comparison::report::html::page;
use comparison::report::table::{arm_runs, groups};
use rand_pcg::Pcg64;
use scenario::rate::uniform;
use scenario::recording::{Origin, QUOTA_PERIOD, Run};

use crate::{run, two_pods};

/// A scenario in which claims are registered.
const CLAIMED: &str = "spike-apart";

fn run_of(variant: &str, configuration: &str, repeat: u32) -> Run {
    let mut run = run(two_pods(), &[]);
    (run.variant, run.configuration, run.repeat) = (variant.into(), configuration.into(), repeat);
    run
}

/// A run whose good answers and cost are drawn from the same distribution, whatever the arm.
fn noise(variant: &str, configuration: &str, repeat: u32, random: &mut Pcg64) -> Run {
    let mut noise = run_of(variant, configuration, repeat);
    noise.scenario = CLAIMED.into();
    noise.load.planned = 1000;
    noise.load.within_slo = 800 + (uniform(random) * 150.0) as u64;
    noise.recording.pods[0].containers[0].requests[0].1 = 0.5 + uniform(random);
    noise
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
fn a_different_speed_of_every_session_cancels_in_the_differences() {
    let mut runs = vec![];
    for repeat in 1..=9 {
        for (variant, advantage) in [("knative", 0), ("k8s-autoscalers", 30)] {
            let mut one = run_of(variant, "defaults", repeat);
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
    let whole = page(&runs, &[]);
    assert!(
        whole.contains("The runs come from 4 sessions")
            && whole.contains("Every block was recorded in one session.")
    );
    assert!(whole.contains("<td>3 percentage points [3 … 3]</td>"), "two shares differ by points, not by %");
    runs[1].session = Some("1".into());
    let continued = page(&runs, &[]);
    assert!(continued.contains("1 of 9 blocks were continued in a later session"));
    assert!(!continued.contains("Every block was recorded in one session."));
}

#[test]
fn the_report_says_how_to_record_its_runs_again_and_which_seconds_count() {
    let mut runs = vec![];
    for (variant, configuration) in [("knative", "defaults"), ("knative", "defaults+cfs-100ms")] {
        for repeat in 1..=2 {
            let mut one = run_of(variant, configuration, repeat);
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

#[test]
fn a_claim_with_too_few_pairs_keeps_those_after_it_from_being_shown() {
    let arms =
        [("knative", "defaults", 0), ("k8s-autoscalers", "defaults", 30), ("k8s-autoscalers", "keda", 60)];
    let shown = |repeats: [u32; 3]| {
        let mut runs = vec![];
        for ((variant, configuration, advantage), repeats) in arms.into_iter().zip(repeats) {
            for repeat in 1..=repeats {
                let mut one = run_of(variant, configuration, repeat);
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
