//! Whether the simulation puts the arms of a scenario in the order that recorded runs have.

use std::collections::BTreeMap;
use std::fmt::Write;

use scenario::recording::{Origin, Run};

use super::summary::{both, groups};
use super::{Difference, Group, group_of};
use crate::analysis::measures::measure;
use crate::report::table::number;

/// By which arms are put in an order.
const MEASURES: [(&str, &str); 3] = [
    ("good_share", "good answers, %"),
    ("p99_ms", "p99, ms"),
    ("core_seconds_requested", "core-seconds requested"),
];

/// Two arms of one scenario that no recorded run puts in another order.
#[derive(Debug, PartialEq)]
struct Pair {
    lower: Group,
    higher: Group,
    /// Means: recorded, simulated, of the lower and the higher one.
    recorded: [f64; 2],
    simulated: [f64; 2],
}

impl Pair {
    fn right(&self) -> bool {
        self.simulated[0] < self.simulated[1]
    }
}

fn pairs(differences: &[Difference], recorded: &[Run], key: &str) -> Vec<Pair> {
    let mut values: BTreeMap<Group, Vec<f64>> = BTreeMap::new();
    for run in recorded.iter().filter(|r| r.origin == Origin::Measured) {
        if let Some(value) = measure(run).get(key) {
            values.entry(group_of(run)).or_default().push(*value);
        }
    }
    let groups = groups(differences);
    let simulated = |group: &Group| both(groups.get(group)?, key)[1];
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut pairs = vec![];
    for (lower, low) in &values {
        for (higher, high) in values.iter().filter(|(group, _)| group.0 == lower.0) {
            let most = low.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ordered = high.iter().all(|value| *value > most);
            if let (true, Some(a), Some(b)) = (ordered, simulated(lower), simulated(higher)) {
                pairs.push(Pair {
                    lower: lower.clone(),
                    higher: higher.clone(),
                    recorded: [mean(low), mean(high)],
                    simulated: [a, b],
                });
            }
        }
    }
    pairs
}

/// Pairs of arms of one scenario whose recorded repeats do not overlap, how many of them the
/// simulation puts in the same order, and the others.
pub fn table(differences: &[Difference], recorded: &[Run]) -> String {
    let mut text =
        "| order of arms by | pairs in an order | same in the simulation |\n|---|--:|--:|\n".to_owned();
    let mut wrong = String::new();
    for (key, title) in MEASURES {
        let pairs = pairs(differences, recorded, key);
        let right = pairs.iter().filter(|pair| pair.right()).count();
        let _ = writeln!(text, "| {title} | {} | {right} |", pairs.len());
        for pair in pairs.iter().filter(|pair| !pair.right()) {
            let arm = |group: &Group| format!("{} {}", group.1, group.2);
            let shown = |values: [f64; 2]| values.map(number).join(" < ");
            let _ = writeln!(
                wrong,
                "- {}, {title}: {} below {}: recorded {}, simulated {}",
                pair.lower.0,
                arm(&pair.lower),
                arm(&pair.higher),
                shown(pair.recorded),
                pair.simulated.map(number).join(" and "),
            );
        }
    }
    if !wrong.is_empty() {
        let _ = write!(text, "\nIn another order:\n\n{wrong}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Arms, Measured};
    use scenario::Scenario;
    use simulator::Drawn;

    #[test]
    fn only_arms_whose_repeats_do_not_overlap_have_an_order() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let arms = Arms { root, platform: Some("two-cores".into()), measured: Measured::default() };
        let scenario = Scenario::shipped_named("idle-wake").expect("shipped");
        let run = |configuration: &str, repeat: u32| {
            let drawn = Drawn { scale: 12.0, stretch: 0.5, seed: u64::from(repeat), chance: 0 };
            let arm = arms.arm("k8s-autoscalers", configuration).expect("shipped");
            Run { origin: Origin::Measured, ..arm.run(&scenario, repeat, drawn, 30.0) }
        };
        let recorded = [run("defaults", 1), run("defaults", 2), run("tuned", 1), run("tuned", 2)];
        let trial = super::super::Trial { chances: 1, without: &[], own_begin: false, keep: None };
        let found = super::super::differences(&recorded, std::slice::from_ref(&scenario), &arms, trial)
            .expect("known");
        let key = "core_seconds_requested";
        let pairs = pairs(&found, &recorded, key);
        assert_eq!(pairs.len(), 1, "the tuned one keeps three pods");
        assert!(pairs[0].higher.2 == "tuned" && pairs[0].right());
        assert!(table(&found, &recorded).contains("| core-seconds requested | 1 | 1 |"));
        // A repeat of the one that lies among the other's.
        let mut mixed = recorded.to_vec();
        mixed.push(Run { configuration: "tuned".into(), ..recorded[0].clone() });
        assert!(super::pairs(&found, &mixed, key).is_empty());
    }
}
