//! What may change between two calibrations of one pod, and between two runs of a block.

use std::collections::BTreeMap;

use scenario::joinable::MACHINE;
use scenario::recording::{Calibration, Run};

/// Most change in the throughput of one pod between the calibrations around a run: beyond it, the
/// rates of the runs are not comparable.
pub const MOST_DRIFT: f64 = 0.10;

/// Share by which the throughput changed.
pub fn drift(before: f64, after: f64) -> f64 {
    (after / before - 1.0).abs()
}

/// The reason why a block cannot be continued on a machine with these facts, where one pod carries
/// what it does `now`, if there is one: its arms would be compared on different machines.
pub fn changed(
    recorded: &[Run],
    here: &BTreeMap<String, String>,
    now: Option<&Calibration>,
) -> Option<String> {
    for run in recorded {
        for (name, begun) in MACHINE.iter().filter_map(|name| run.environment.get_key_value(*name)) {
            if let Some(other) = here.get(name).filter(|other| *other != begun) {
                return Some(format!("it was begun on another machine, {name}: {begun}; here {other}"));
            }
        }
    }
    let now = now?;
    let mut begun = recorded.iter().filter_map(|run| run.calibration.as_ref());
    let other = begun.find(|then| drift(then.saturated, now.saturated) > MOST_DRIFT)?;
    Some(format!(
        "it was begun where one pod answered {:.1}/s at most, and here it answers {:.1}/s",
        other.saturated, now.saturated
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files;

    #[test]
    fn a_block_is_continued_only_on_a_like_machine_where_one_pod_carries_the_same() {
        let calibration = |saturated: f64| Calibration {
            at: String::new(),
            slo_ms: 500,
            capacity: saturated * 0.7,
            saturated,
            rate_at_one: None,
            steps: vec![],
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/spike-knative-tuned-1.json");
        let mut run = files::read_run(&path).expect("a recording");
        let facts = |hardware: &str, node: &str| {
            [("Hardware", hardware), ("Node", node), ("Kernel", "6.18")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        let here = facts("one", "2 CPUs");
        let at = |run: &Run, saturated: f64| {
            changed(std::slice::from_ref(run), &here, Some(&calibration(saturated)))
        };
        run.environment = facts("one", "2 CPUs");
        run.environment.insert("Kernel".into(), "6.1".into());
        assert_eq!(at(&run, 19.0), None, "nothing is known of its pod");
        run.calibration = Some(calibration(19.0));
        assert_eq!(at(&run, 18.0), None, "5 % less");
        let reason = at(&run, 11.0).expect("another speed");
        assert!(reason.contains("19.0/s") && reason.contains("11.0/s"), "{reason}");
        assert_eq!(changed(&[run.clone()], &here, None), None, "calibration is switched off");
        run.environment = facts("another", "2 CPUs");
        let reason = at(&run, 19.0).expect("other hardware");
        assert!(reason.contains("Hardware: another; here one"), "{reason}");
        run.environment = facts("one", "4 CPUs");
        assert!(changed(&[run.clone()], &here, None).is_some_and(|reason| reason.contains("4 CPUs")));
        run.environment.clear();
        assert_eq!(at(&run, 19.0), None, "nothing is known of its machine");
    }
}
