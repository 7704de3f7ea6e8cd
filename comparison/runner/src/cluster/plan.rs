//! The plan of a comparison: its runs, their duration, and the differences that they could show.

use std::fmt::Write;

use scenario::Counted;
use scenario::arms;

use super::runner::Plan;
use crate::analysis::statistics::{ALPHA, pairs_needed};
use crate::report::claims::PRIMARY;
use crate::report::table::number;

/// Time between two runs, as measured on a node with two cores: removal, the expiry of the HPA's
/// state, rest, the spread of starts, and reading Prometheus.
const BETWEEN_S: f64 = 75.0;
/// Time from the end of a load until an arm is at rest: the HPA's and KEDA's 300 s, and a drain.
const TO_REST_S: f64 = 340.0;
/// A calibration of one pod, and a check that it has not changed.
const CALIBRATION_S: f64 = 240.0;
const RECALIBRATION_S: f64 = 120.0;

/// A table of the runs, their duration, and whether the repeats could show a difference.
pub fn describe(plan: &Plan) -> String {
    let mut text = String::from("| scenario | load | until rest | runs | time |\n|---|--:|--:|--:|--:|\n");
    let runs = plan.arms.len() * plan.repeats as usize;
    let mut total = 0.0;
    for scenario in &plan.scenarios {
        let load = scenario.rate.duration() * plan.stretch;
        let rest = match scenario.counted {
            Counted::UntilRest => plan.tail_s.max(TO_REST_S),
            Counted::After(_) => 0.0,
        };
        let time = (load + rest + BETWEEN_S) * runs as f64;
        total += time;
        let _ = writeln!(
            text,
            "| {} | {} s | {} s | {runs} | {} min |",
            scenario.name,
            number(load),
            number(rest),
            number(time / 60.0)
        );
    }
    if plan.calibrate {
        let time = CALIBRATION_S + RECALIBRATION_S * f64::from(plan.repeats);
        total += time;
        let _ = writeln!(text, "| calibration | | | {} | {} min |", plan.repeats + 1, number(time / 60.0));
    }
    let titles: Vec<&str> = plan.arms.iter().map(|a| &*a.title).collect();
    let _ = writeln!(
        text,
        "\nArms: {}. About {} h in all, at most {} s of it a run's wait for rest.",
        titles.join("; "),
        number(total / 3600.0),
        plan.longest_tail.as_secs()
    );
    text + &power(plan)
}

/// What the number of repeats can show.
fn power(plan: &Plan) -> String {
    let here = |name: &String| plan.arms.iter().any(|a| a.name == *name);
    let pairs = arms::pairs().iter().filter(|p| !p.retired && p.arms.iter().all(here)).count();
    let claims = pairs * PRIMARY.len() * plan.scenarios.len();
    if claims == 0 {
        return "No pair of arms is compared: the runs describe, and claim nothing.\n".into();
    }
    let least = pairs_needed(1.0, 0.0, claims);
    let repeats = plan.repeats as usize;
    let mut text = format!(
        "{pairs} pairs of arms, {} measures, {} scenarios: {claims} claims. ",
        PRIMARY.len(),
        plan.scenarios.len()
    );
    let needed = least.map_or("over 1000".into(), |n| n.to_string());
    if least.is_none_or(|n| repeats < n) {
        let _ = writeln!(
            text,
            "{repeats} repeats cannot show any of them at {ALPHA}, corrected for all: at least {needed} are needed (or fewer \
             scenarios and arms)."
        );
        return text;
    }
    let shown = (1..=60)
        .map(|i| f64::from(i) / 10.0)
        .find(|e| pairs_needed(*e, 1.0, claims).is_some_and(|n| n <= repeats));
    let size = shown.map_or("no difference of up to six standard deviations".into(), |e| {
        format!("a difference of {} standard deviations of the paired differences", number(e))
    });
    let _ = writeln!(
        text,
        "{repeats} repeats show {size} with a power of 0.8; at least {needed} repeats are needed to show any. `comparison \
         power` says what recorded runs suggest."
    );
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scenario::Scenario;
    use scenario::arms::Arm;

    use super::*;

    fn plan(repeats: u32, arms: &[&str]) -> Plan {
        Plan {
            scenarios: vec![Scenario::shipped_named("spike-cycles").expect("shipped")],
            arms: arms.iter().map(|name| Arm::named(name).expect("listed")).collect(),
            repeats,
            scale: 10.0,
            pod_load: None,
            calibrate: true,
            stretch: 1.0,
            seed: 1,
            tail_s: 30.0,
            longest_tail: Duration::from_secs(600),
            patience: Duration::ZERO,
            as_is: false,
            calm: Duration::ZERO,
            forget: Duration::ZERO,
            spread_s: 0.0,
            images: "images".into(),
            results: "results".into(),
            threads: 1,
            commit: String::new(),
        }
    }

    #[test]
    fn a_plan_says_how_long_it_takes() {
        // Three cycles of five minutes and a minute and a quarter between runs, four runs.
        let text = describe(&plan(2, &["kpa", "hpa-vpa"]));
        assert!(text.contains("| spike-cycles | 900 s | 0 s | 4 | 65 min |"), "{text}");
    }

    #[test]
    fn a_plan_says_when_its_repeats_can_show_nothing() {
        let few = describe(&plan(3, &["kpa", "hpa-vpa"]));
        assert!(few.contains("3 repeats cannot show any of them") && few.contains("at least 7"), "{few}");
        let enough = describe(&plan(12, &["kpa", "hpa-vpa"]));
        assert!(enough.contains("12 repeats show a difference of"), "{enough}");
        assert!(describe(&plan(12, &["kpa"])).contains("No pair of arms is compared"));
    }
}
