//! What a request takes: CPU time, time in its pod, and time outside of it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use scenario::arms::Arm;
use scenario::recording::{LEAST_QUOTA_MS, Run, cpu_limit};

use super::median;

/// Share of the answers assumed to have met no queue and, where a request takes less CPU time than
/// a period gives, no exhausted CPU quota. The time outside the pod is derived from this quantile
/// of the latency.
const UNDISTURBED: f64 = 0.2;

/// CPU time of a request in seconds and CPU use of a pod without requests in cores: least squares
/// over the runs.
pub(super) fn cpu(runs: &[&Run]) -> Option<(f64, f64)> {
    let mut sums = [0.0; 5];
    for run in runs {
        // Where only a part of a run counts, CPU time and answers are that part's, and pods the
        // whole run's. With the part's pods the two unknowns cannot be told apart in `spike-apart`,
        // whose runs are too alike: Knative's pods get 1.7 ms and 20 millicores, those of the HPA,
        // with the same image, 2.9 and 5. What was validated are fits like this one.
        let observed = run.recording.observed_s;
        let answered = run.load.count(scenario::Outcome::Ok) as f64;
        let alive: f64 = run
            .recording
            .pods
            .iter()
            .filter_map(|p| {
                let from = p.started_s?.max(0.0);
                Some((p.gone_s.unwrap_or(observed).min(observed) - from).max(0.0))
            })
            .sum();
        let used: f64 =
            run.recording.pods.iter().filter_map(|p| p.containers.first()).map(|c| c.core_seconds).sum();
        let terms = [answered * answered, answered * alive, alive * alive, answered * used, alive * used];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    let [aa, ab, bb, ay, by] = sums;
    let determinant = aa * bb - ab * ab;
    let (work, background) = ((ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant);
    if background < 0.0 {
        return Some((ay / aa, 0.0)).filter(|w| w.0 > 0.0);
    }
    (work > 0.0).then_some((work, background))
}

/// The part of a request's latency that is not its time in the pod, seconds.
pub(super) fn hop_s(
    runs: &[&Run],
    work_s: f64,
    background: f64,
    quota_ms: Option<f64>,
    quota_share: Option<f64>,
) -> Option<f64> {
    let cores = Some(cores(runs)).filter(|cores| *cores < 1.0);
    let usable = cores.map(|cores| cores * quota_share.unwrap_or(1.0) - background);
    let quota = quota_ms.map(|ms| ms / 1000.0).zip(usable);
    Some((undisturbed(runs)? - in_pod_s(work_s, quota)).max(0.0))
}

/// The quantile [`UNDISTURBED`] of the latency of all answers, seconds.
fn undisturbed(runs: &[&Run]) -> Option<f64> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for bucket in runs.iter().flat_map(|r| &r.load.latency_us) {
        *counts.entry(bucket[0]).or_insert(0) += bucket[1];
    }
    let total: u64 = counts.values().sum();
    let mut seen = 0;
    let found = counts.iter().find(|(_, count)| {
        seen += **count;
        seen as f64 >= UNDISTURBED * total as f64
    });
    found.map(|(us, _)| *us as f64 / 1e6)
}

/// The period of the CPU quota in these runs, ms, if they have it.
pub(super) fn quota_ms(runs: &[&Run]) -> Result<Option<f64>> {
    let first = runs.first().and_then(|run| run.quota_period_ms());
    ensure!(
        runs.iter().all(|run| run.quota_period_ms() == first),
        "{} has runs with several periods of the CPU quota: fit them apart",
        runs[0].variant
    );
    Ok(first)
}

/// What a pod answers a second at most, by the calibrations before the runs and after them, as a
/// share of what its limit would give at the fitted CPU time of a request. The median over the
/// runs, at most 1; `None` without a calibration, for pods of a core or more, and for runs with
/// another period of the quota than the node's usual one, with which one pod is calibrated.
///
/// The recordings do not tell quota that is lost from a CPU time that was fitted too low. The share
/// makes up for both: throughput is what was measured.
pub(super) fn quota_share(runs: &[&Run], work_s: f64, background: f64) -> Option<f64> {
    let share = |run: &&Run| {
        let usual = Arm::of(&run.variant, &run.configuration)?.cfs_period_ms().is_none();
        let answered = match (run.throughput, &run.calibration) {
            (Some([before, after]), _) => (before + after) / 2.0,
            (None, calibration) => calibration.as_ref()?.saturated,
        };
        // The calibrated pod has the same container.
        let limit = cpu_limit(&run.environment).filter(|cores| usual && *cores > 0.0 && *cores < 1.0)?;
        Some((answered * work_s + background) / limit)
    };
    median(runs.iter().filter_map(share).collect()).map(|share| share.min(1.0))
}

/// The cores of a pod's first container: the median over the pods, as they were at the end.
fn cores(runs: &[&Run]) -> f64 {
    let pods = runs.iter().flat_map(|r| &r.recording.pods);
    let last = pods.filter_map(|pod| Some(pod.containers.first()?.requests.last()?.1));
    median(last.collect()).unwrap_or(0.0)
}

/// The time of a request alone in a pod, seconds, at the quantile [`UNDISTURBED`] of the moments
/// within a period at which it may come; `quota` is the period, seconds, and the pod's cores. What
/// a period does not give waits for the next.
fn in_pod_s(work_s: f64, quota: Option<(f64, f64)>) -> f64 {
    let Some((period, cores)) = quota.filter(|(_, cores)| *cores > 0.0 && *cores < 1.0) else {
        return work_s;
    };
    let each = (period * cores).max(LEAST_QUOTA_MS / 1000.0);
    let waits = (work_s / each).ceil() - 1.0;
    if waits < 1.0 {
        return work_s;
    }
    (waits - 1.0 + UNDISTURBED) * period + work_s - waits * each
}
