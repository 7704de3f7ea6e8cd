//! The plan of a comparison: its runs, their duration, and the differences that they could show.

use std::fmt::Write;

use super::blocks::Plan;
use super::blocks::{CALIBRATION_S, Job, RECALIBRATION_S, blocks, sessions};
use crate::analysis::statistics::{self, ALPHA, LEAST_PAIRS, POWER};
use crate::report::table::number;
use scenario::arms;

/// A table of the runs, their duration, what fits into the time given, and whether the repeats
/// could show a difference.
pub fn describe(plan: &Plan) -> String {
    let mut text = String::from("| scenario | load | until rest | runs | time |\n|---|--:|--:|--:|--:|\n");
    let runs = plan.arms.len() * plan.repeats as usize;
    let mut total = 0.0;
    for scenario in &plan.scenarios {
        let (load, rest) = plan.parts_s(scenario);
        let time = plan.run_s(scenario) * runs as f64;
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
        let checks = plan.repeats * plan.scenarios.len() as u32;
        let time = CALIBRATION_S + RECALIBRATION_S * f64::from(checks);
        total += time;
        let _ = writeln!(text, "| calibration | | | {} | {} min |", checks + 1, number(time / 60.0));
    }
    let titles: Vec<&str> = plan.arms.iter().map(|a| &*a.title).collect();
    let _ = writeln!(
        text,
        "\nArms: {}. About {} h in all, at most {} s of it a run's wait for rest.",
        titles.join("; "),
        number(total / 3600.0),
        plan.longest_tail.as_secs()
    );
    text + &progress(plan) + &power(plan)
}

/// What is recorded already, and what fits into a session.
fn progress(plan: &Plan) -> String {
    let blocks = blocks(plan);
    let left: Vec<Vec<Job>> = blocks.iter().map(|b| b.left(&plan.results)).collect();
    let (all, runs) =
        (blocks.iter().map(|b| b.jobs.len()).sum::<usize>(), left.iter().map(Vec::len).sum::<usize>());
    let whole = left.iter().filter(|jobs| jobs.is_empty()).count();
    let mut text = format!("{} blocks of {} runs", blocks.len(), plan.arms.len());
    let _ = writeln!(
        text,
        ", a block is one seed under every arm; {whole} blocks and {} of {all} runs are recorded.",
        all - runs
    );
    let Some(next) = left.iter().flatten().next() else { return text };
    let Some(minutes) = plan.minutes else {
        let _ = writeln!(text, "The next run is {}.", next.id());
        return text;
    };
    let Some(sessions) = sessions(plan) else {
        let _ = writeln!(
            text,
            "Nothing fits into {} minutes: a run takes {}.",
            number(minutes),
            number(plan.run_s(&next.scenario) / 60.0)
        );
        return text;
    };
    let _ = writeln!(
        text,
        "Into {} minutes fit {} runs ({} min), from {} on: {} blocks are complete then. All that is left takes {} such sessions.",
        number(minutes),
        sessions[0].runs,
        number(sessions[0].seconds / 60.0),
        next.id(),
        whole + sessions[0].blocks,
        sessions.len()
    );
    text
}

/// What the number of repeats can show.
fn power(plan: &Plan) -> String {
    let here = |name: &String| plan.arms.iter().any(|a| a.name == *name);
    let planned = |scenario: &String| plan.scenarios.iter().any(|s| s.name == *scenario);
    let (all, own) = (
        arms::claims().len(),
        arms::claims().iter().filter(|c| planned(&c.scenario) && c.arms.iter().all(here)).count(),
    );
    if own == 0 {
        return format!(
            "None of the {all} registered claims is about these arms and scenarios: the runs describe.\n"
        );
    }
    let repeats = plan.repeats as usize;
    let mut text = format!("{own} of the {all} registered claims. ");
    if repeats < LEAST_PAIRS {
        let _ = writeln!(
            text,
            "{repeats} repeats cannot show any of them at {ALPHA}: at least {LEAST_PAIRS} are needed."
        );
        return text;
    }
    let shown =
        (1..=60).map(|i| f64::from(i) / 10.0).find(|shift| statistics::power(*shift, repeats) >= POWER);
    let size = shown.map_or("no difference of up to six standard deviations".into(), |e| {
        format!("a difference of {} standard deviations of the paired differences", number(e))
    });
    let _ = writeln!(
        text,
        "{repeats} repeats show {size} with a power of {POWER}, if every claim before it is shown. `comparison power` says \
         what recorded runs suggest."
    );
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use scenario::Scenario;
    use scenario::arms::Arm;

    use super::*;

    pub(in super::super) fn plan(repeats: u32, arms: &[&str]) -> Plan {
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
            minutes: None,
            begin_again: false,
            images: "images".into(),
            results: "results".into(),
            threads: 1,
            commit: String::new(),
        }
    }

    #[test]
    fn a_plan_says_how_long_it_takes() {
        // Two cycles of five minutes and a minute and a quarter between runs, four runs.
        let text = describe(&plan(2, &["kpa", "hpa-vpa"]));
        assert!(text.contains("| spike-cycles | 600 s | 0 s | 4 | 45 min |"), "{text}");
    }

    #[test]
    fn a_plan_says_when_its_repeats_can_show_nothing() {
        let apart = |repeats, arms: &[&str]| {
            let mut plan = plan(repeats, arms);
            plan.scenarios = vec![Scenario::shipped_named("spike-apart").expect("shipped")];
            describe(&plan)
        };
        let few = apart(3, &["kpa", "hpa-vpa"]);
        assert!(few.contains("3 repeats cannot show any of them") && few.contains("at least 6"), "{few}");
        let enough = apart(12, &["kpa", "hpa-vpa"]);
        assert!(
            enough.contains("2 of the 12 registered claims. 12 repeats show a difference of"),
            "{enough}"
        );
        assert!(apart(12, &["kpa"]).contains("None of the 12 registered claims"));
    }

    #[test]
    fn a_plan_says_what_fits_into_a_session() {
        let mut session = plan(4, &["kpa", "hpa", "hpa-vpa"]);
        session.minutes = Some(100.0);
        let text = describe(&session);
        assert!(text.contains("4 blocks of 3 runs") && text.contains("0 of 12 runs are recorded"), "{text}");
        // 360 s of calibration, 675 s a run, 200 s behind each block of three and at the end.
        assert!(text.contains("Into 100 minutes fit 7 runs (94.8 min)"), "{text}");
        assert!(
            text.contains("2 blocks are complete then. All that is left takes 2 such sessions."),
            "{text}"
        );
        session.minutes = Some(10.0);
        assert!(describe(&session).contains("Nothing fits into 10 minutes"));
    }
}
