//! The state that a run had when its load began: its autoscaler's clock, and the VPA.

use scenario::recording::{Pod, Run};
use simulator::Plant;
use simulator::kpa::TICK;
use simulator::plant::VpaBegin;
use simulator::time::{SECOND, micros};
use simulator::vpa::INTERVAL;

use super::{MeasuredBegin, rounded};

/// An event recorded before this time describes the state at the start of the recording, seconds.
const AT_THE_START_S: f64 = 0.05;

/// The offset of the autoscaler's clock within its period, seconds. The KPA is known to have ticked
/// when its decision changed, the HPA when its metric did.
pub(super) fn phase(run: &Run) -> Option<f64> {
    let (ticked, period) = match &*run.variant {
        "knative" => (first_after_start(&run.recording.desired), TICK as f64 / SECOND as f64),
        _ => {
            let changed = run.recording.seen.iter().find(|s| s.0 > AT_THE_START_S);
            (changed.map(|s| s.0), run.hpa_sync_period_s())
        }
    };
    Some(ticked?.rem_euclid(period))
}

/// Gives a plant the state that one run had when its load began: the phases of its autoscalers'
/// clocks, and the VPA's.
pub fn begin_as(run: &Run, plant: &mut Plant) {
    if let Some(phase) = phase(run).map(micros) {
        (plant.kpa_phases, plant.hpa_phases) = (vec![phase], vec![phase]);
    }
    if let Some(begin) = vpa_begin(run) {
        plant.vpa_begins = vec![begin_of(&begin)];
    }
}

pub(super) fn vpa_begin(run: &Run) -> Option<MeasuredBegin> {
    let first = run.recording.vpa_target_cores.first()?.0;
    let there = run.recording.pods.iter().filter(|pod| pod.ready_at(0.0));
    let requested = |pod: &Pod| {
        let own = pod.containers.first()?.requests.iter().rev().find(|r| r.0 <= AT_THE_START_S)?.1;
        Some((own * 1000.0).round() as i64)
    };
    Some(MeasuredBegin {
        first_s: if first < AT_THE_START_S { 0.0 } else { rounded(first) },
        at_rest: there.filter_map(requested).collect(),
        updater_s: resized(run).map(|at| rounded(at.rem_euclid(INTERVAL as f64 / SECOND as f64))),
    })
}

/// The same for the simulator.
pub(super) fn begin_of(begin: &MeasuredBegin) -> VpaBegin {
    let updater = begin.updater_s.map(micros);
    VpaBegin { first: micros(begin.first_s), at_rest: begin.at_rest.clone(), updater }
}

/// When the updater first resized a pod.
fn resized(run: &Run) -> Option<f64> {
    let resizes = run.recording.pods.iter().filter_map(|pod| {
        let later = pod.containers.first()?.requests.iter().skip(1);
        later.map(|request| request.0).find(|at| *at > AT_THE_START_S)
    });
    resizes.min_by(f64::total_cmp)
}

fn first_after_start(series: &[(f64, f64)]) -> Option<f64> {
    series.iter().find(|p| p.0 > AT_THE_START_S && p.1 > 0.0).map(|p| p.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use scenario::Scenario;
    use simulator::Drawn;

    use super::*;
    use crate::fit::{Arms, Measured};

    #[test]
    fn a_run_begins_as_another_one_did() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let arms = Arms { root, platform: Some("two-cores".into()), measured: Measured::default() };
        let arm = arms.arm("k8s-autoscalers", "defaults").expect("shipped");
        let scenario = Scenario::shipped_named("spike").expect("shipped");
        let begin = VpaBegin { first: micros(12.0), at_rest: vec![100], updater: Some(micros(31.0)) };
        let mut told = arm.clone();
        told.plant.hpa_phases = vec![micros(7.5)];
        told.plant.vpa_begins = vec![begin.clone()];
        let drawn = Drawn { scale: 12.0, stretch: 0.5, seed: 1, chance: 0 };
        let run = told.run(&scenario, 1, drawn, 90.0);
        let mut plant = arm.plant.clone();
        begin_as(&run, &mut plant);
        assert_eq!(plant.hpa_phases, told.plant.hpa_phases);
        assert_eq!((plant.vpa_begins[0].first, &plant.vpa_begins[0].at_rest), (begin.first, &begin.at_rest));
        let updater = plant.vpa_begins[0].updater;
        assert!(updater.is_none_or(|at| at == micros(31.0)), "{updater:?}");
    }
}
