//! The autoscalers' decisions against those of the real code, which `oracles/` drive with the same
//! random traces.
//!
//! The fixtures are what the oracles printed; `make oracles` makes them again where there is Go.

#[path = "conformance/traces.rs"]
mod traces;

use traces::Case;

/// Ticks of each case of HPA and KPA.
const TICKS: usize = 2000;
/// Share of ticks at which HPA and KPA must decide as the real ones do.
const EQUAL: f64 = 0.999;
/// How far a VPA's recommendation may be from the real one.
const VPA_WITHIN: f64 = 0.01;

/// Decisions by case: words, each with how often it is repeated (`5x12`: twelve times 5).
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

/// Ticks, and those at which both agree.
fn compared(fixture: &str, case: fn(u64, usize) -> Case, same: fn(&str, &str) -> bool) -> (usize, usize) {
    let (mut all, mut equal) = (0, 0);
    for (number, decisions) in decided(fixture).iter().enumerate() {
        let own = case(number as u64, decisions.len()).decisions;
        let agree = |(theirs, ours): &(&String, &String)| same(theirs, ours);
        all += own.len();
        equal += decisions.iter().zip(&own).filter(agree).count();
    }
    (all, equal)
}

fn identical(theirs: &str, ours: &str) -> bool {
    theirs == ours
}

/// Target, lower and upper bound, each within [`VPA_WITHIN`].
fn near(theirs: &str, ours: &str) -> bool {
    let numbers = |text: &str| text.split('/').map(|n| n.parse().expect("a number")).collect::<Vec<f64>>();
    let [theirs, ours] = [theirs, ours].map(numbers);
    theirs.len() == ours.len() && theirs.iter().zip(&ours).all(|(a, b)| (a - b).abs() <= VPA_WITHIN * a)
}

#[test]
fn the_hpa_decides_as_kube_controller_manager() {
    let (all, equal) = compared(include_str!("fixtures/hpa.txt"), traces::hpa, identical);
    assert!(all >= 10 * TICKS, "{all} ticks are too few to tell");
    assert!(equal as f64 >= EQUAL * all as f64, "{equal} of {all} decisions equal");
}

#[test]
fn the_hpa_with_an_external_metric_decides_as_kube_controller_manager() {
    let (all, equal) = compared(include_str!("fixtures/hpa-external.txt"), traces::hpa_external, identical);
    assert!(all >= 10 * TICKS, "{all} ticks are too few to tell");
    assert!(equal as f64 >= EQUAL * all as f64, "{equal} of {all} decisions equal");
}

#[test]
fn the_kpa_decides_as_knatives_autoscaler_and_its_reconciler() {
    let (all, equal) = compared(include_str!("fixtures/kpa.txt"), traces::kpa, identical);
    assert!(all >= 10 * TICKS, "{all} ticks are too few to tell");
    assert!(equal as f64 >= EQUAL * all as f64, "{equal} of {all} decisions equal");
}

#[test]
fn the_vpa_recommends_within_a_hundredth_of_the_real_one() {
    let (all, equal) = compared(include_str!("fixtures/vpa.txt"), traces::vpa, near);
    assert!(all >= TICKS, "{all} rounds are too few to tell");
    assert_eq!(equal, all, "rounds within {VPA_WITHIN}");
}

#[test]
fn the_same_number_is_the_same_trace() {
    for case in [traces::hpa, traces::hpa_external, traces::kpa, traces::vpa] {
        let [one, again, other] = [3, 3, 4].map(|number| case(number, 50));
        assert!(one.trace == again.trace && one.decisions == again.decisions);
        assert_ne!(one.trace, other.trace);
    }
}
