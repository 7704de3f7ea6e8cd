//! Compares the autoscalers' decisions with those of the real code. `oracles/` drive that code with
//! the same traces: random ones, and loads of recorded runs.
//!
//! The fixtures are the output of the oracles. `make oracles` writes them again if Go is installed.

#[path = "conformance/traces/mod.rs"]
mod traces;

/// Least number of decisions in a fixture.
const LEAST: usize = 5_000;
/// Required share of ticks with equal decisions of HPA, KPA and KEDA.
const EQUAL: f64 = 0.999;
/// Largest allowed relative deviation of a VPA recommendation.
const VPA_WITHIN: f64 = 0.01;

/// Decisions by case, run-length encoded (`5x12`: twelve times 5).
fn decided(fixture: &str) -> Vec<Vec<String>> {
    let words = |line: &str| {
        let word = |text: &str| {
            let (word, times) = text.rsplit_once('x').expect("a word and a count");
            vec![word.to_owned(); times.parse().expect("a count")]
        };
        line.split_whitespace().flat_map(word).collect()
    };
    fixture.lines().filter(|l| !l.starts_with('#')).map(words).collect()
}

/// Numbers of all ticks and of those with equal decisions.
fn compared(name: &str, same: fn(&str, &str) -> bool) -> (usize, usize) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.txt"));
    let fixture = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let make = traces::named(name).expect("a trace of this name");
    let (mut all, mut equal) = (0, 0);
    for (number, decisions) in decided(&fixture).iter().enumerate() {
        let own = make(number as u64, decisions.len()).decisions;
        let agree = |(theirs, ours): &(&String, &String)| same(theirs, ours);
        all += own.len();
        equal += decisions.iter().zip(&own).filter(agree).count();
    }
    (all, equal)
}

#[track_caller]
fn decides_as_the_real_one(name: &str) {
    let (all, equal) = compared(name, |theirs, ours| theirs == ours);
    assert!(all >= LEAST, "{name}: {all} decisions are too few to tell");
    assert!(equal as f64 >= EQUAL * all as f64, "{name}: {equal} of {all} decisions equal");
}

/// Compares target, lower and upper bound, each within [`VPA_WITHIN`].
#[track_caller]
fn recommends_as_the_real_one(name: &str) {
    let (all, equal) = compared(name, |theirs, ours| {
        let numbers =
            |text: &str| text.split('/').map(|n| n.parse().expect("a number")).collect::<Vec<f64>>();
        let [theirs, ours] = [theirs, ours].map(numbers);
        theirs.len() == ours.len() && theirs.iter().zip(&ours).all(|(a, b)| (a - b).abs() <= VPA_WITHIN * a)
    });
    assert!(all >= LEAST / 4, "{name}: {all} rounds are too few to tell");
    assert_eq!(equal, all, "{name}: rounds within {VPA_WITHIN}");
}

#[test]
fn the_hpa_decides_as_kube_controller_manager() {
    decides_as_the_real_one("hpa");
    decides_as_the_real_one("hpa-recorded");
}

#[test]
fn the_hpa_with_an_external_metric_decides_as_kube_controller_manager() {
    decides_as_the_real_one("hpa-external");
}

#[test]
fn the_hpa_goes_to_zero_and_back_as_kube_controller_manager() {
    decides_as_the_real_one("hpa-zero");
}

#[test]
fn keda_goes_to_zero_and_back_as_its_own_executor() {
    decides_as_the_real_one("keda");
}

#[test]
fn the_kpa_decides_as_knatives_autoscaler_and_its_reconciler() {
    decides_as_the_real_one("kpa");
    decides_as_the_real_one("kpa-recorded");
}

#[test]
fn the_vpa_recommends_within_a_hundredth_of_the_real_one() {
    recommends_as_the_real_one("vpa");
    recommends_as_the_real_one("vpa-recorded");
}

#[test]
fn the_updater_resizes_the_pods_that_the_real_one_does() {
    decides_as_the_real_one("vpa-updater");
}

#[test]
fn the_same_number_is_the_same_trace() {
    for (name, make) in traces::ALL {
        let [one, again, other] = [3, 3, 4].map(|number| make(number, 50));
        assert!(one.trace == again.trace && one.decisions == again.decisions, "{name}");
        assert_ne!(one.trace, other.trace, "{name}");
    }
}
