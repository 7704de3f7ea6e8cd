//! CPU use of other processes on the node during a run: what may have disturbed it.
//!
//! Where this program runs on the node, that is the busy time without pods, the node's own
//! components and this program, all from the kernel (see [`super::node_cpu`]). What an arm makes
//! the kubelet, the container runtime and the control plane do is its effect, not a disturbance.
//! Elsewhere it is node-exporter's busy time without the containers of all pods: the node's
//! components are among the others there, and cAdvisor's samples come late.

use anyhow::Result;

use super::node_cpu::Sample;
use super::prometheus::Prometheus;
use super::usage::{LOOK_BACK_S, Range, cores, one_each};

/// Averaging window in seconds: cAdvisor samples every 10 to 15 s, not at each scrape.
const WINDOW_S: f64 = 30.0;

/// Shares of the node's CPUs over time, as means over [`WINDOW_S`]. Those of others may be below
/// 0: the parts are not read in the same instant.
#[derive(Debug, Default, PartialEq)]
pub struct Shares {
    /// Of processes that have nothing to do with the run.
    pub other: Vec<(f64, f64)>,
    /// Of the node's components outside of pods.
    pub components: Vec<(f64, f64)>,
}

/// From samples on the node, for the windows since `start` (seconds since 1970).
pub fn shares(samples: &[Sample], start: f64, cpus: f64) -> Shares {
    let last = samples.last().map_or(start, |s| s.at) - start;
    let at = |t: f64| samples.iter().rfind(|s| s.at - start <= t).or(samples.first());
    let mut shares = Shares::default();
    // The last sample is taken at the end of the last window.
    for to in windows(last + 0.5) {
        let (Some(before), Some(after)) = (at(to - WINDOW_S), at(to)) else { continue };
        // No sample within the window: the machine slept.
        if after.at <= before.at {
            continue;
        }
        let share = |of: fn(&Sample) -> f64| (of(after) - of(before)) / (after.at - before.at) / cpus;
        let other = share(|s| s.busy) - share(|s| s.pods) - share(|s| s.components) - share(|s| s.own);
        shares.other.push((to, other));
        shares.components.push((to, share(|s| s.components)));
    }
    shares
}

/// The ends of all windows until a second of the run.
fn windows(last: f64) -> impl Iterator<Item = f64> {
    (1..=(last / WINDOW_S) as usize).map(|i| i as f64 * WINDOW_S)
}

/// Share of the node's CPUs that no pods used, over time, by Prometheus; empty without a
/// node-exporter, or with several nodes.
pub async fn by_prometheus(
    prometheus: &Prometheus,
    busy: &[(f64, f64)],
    cpus: f64,
    range: Range,
) -> Result<Vec<(f64, f64)>> {
    if busy.is_empty() {
        return Ok(vec![]);
    }
    let selector = r#"container_cpu_usage_seconds_total{container!="",container!="POD"}"#;
    let all = prometheus.samples(selector, range.from - LOOK_BACK_S, range.to).await?;
    Ok(rest(busy, &cores(&one_each(all), range), cpus))
}

/// Busy minus pods, means over [`WINDOW_S`]; below 0 where cAdvisor's samples of pods come late.
fn rest(busy: &[(f64, f64)], pods: &[(f64, f64)], cpus: f64) -> Vec<(f64, f64)> {
    let mean = |series: &[(f64, f64)], to: f64| {
        let inside: Vec<f64> =
            series.iter().filter(|p| p.0 > to - WINDOW_S && p.0 <= to).map(|p| p.1).collect();
        (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64)
    };
    let share = |to: f64| Some((to, mean(busy, to)? - mean(pods, to)? / cpus));
    windows(busy.last().map_or(0.0, |b| b.0)).filter_map(share).collect()
}

/// The reason why a run was disturbed, if it was: in some window of the part that counts, other
/// processes used more than `most` of the node.
pub fn fault(other: &[(f64, f64)], counted: [f64; 2], most: f64) -> Option<String> {
    let inside = other.iter().filter(|o| o.0 > counted[0] && o.0 - WINDOW_S < counted[1]);
    let (at, share) = inside.copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (share > most).then(|| {
        format!(
            "others took {:.0} % of the node's CPU in the {WINDOW_S:.0} s before second {at:.0}, {:.0} % may \
             (other_cpu_most in the cluster file)",
            share * 100.0,
            most * 100.0
        )
    })
}

/// Whether this process runs on the node: compares the kernel's boot id.
pub fn on_node(boot_id: &str) -> bool {
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    !own.trim().is_empty() && own.trim() == boot_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_components_and_the_load_do_not_account_for_is_the_others() {
        // Two CPUs, 60 % busy: half a core of pods, 0.3 of the kubelet, 0.2 of this program and 0.2
        // of something else; after 30 s a compiler starts. The first sample is of before the load.
        let sample = |i: u32| {
            let t = f64::from(i) * 5.0;
            let compiler = (t - 35.0).max(0.0) * 0.8;
            Sample {
                at: 995.0 + t,
                busy: 1.2 * t + compiler,
                pods: 0.5 * t,
                components: 0.3 * t,
                own: 0.2 * t,
            }
        };
        let samples: Vec<Sample> = (0..=13).map(sample).collect();
        let shares = shares(&samples, 1000.0, 2.0);
        let near = |series: &[(f64, f64)], wanted: [(f64, f64); 2]| {
            series.len() == 2
                && series.iter().zip(wanted).all(|(s, w)| s.0 == w.0 && (s.1 - w.1).abs() < 1e-9)
        };
        assert!(near(&shares.other, [(30.0, 0.1), (60.0, 0.5)]), "{shares:?}");
        assert!(near(&shares.components, [(30.0, 0.15), (60.0, 0.15)]), "{shares:?}");
        assert_eq!(fault(&shares.other, [0.0, 25.0], 0.3), None, "it came after what counts");
        let fault = fault(&shares.other, [0.0, 60.0], 0.3).expect("disturbed");
        assert!(
            fault.starts_with("others took 50 % of the node's CPU in the 30 s before second 60"),
            "{fault}"
        );
        assert_eq!(super::shares(&[], 1000.0, 2.0), Shares::default());
    }

    #[test]
    fn parts_that_come_to_more_than_the_whole_leave_less_than_nothing() {
        let sample =
            |at: f64| Sample { at, busy: 0.9 * at, pods: 0.5 * at, components: 0.3 * at, own: 0.2 * at };
        let shares = shares(&[sample(1000.0), sample(1030.0)], 1000.0, 2.0);
        assert!(shares.other.len() == 1 && (shares.other[0].1 + 0.05).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn from_elsewhere_what_no_pod_accounts_for_is_the_others() {
        let busy: Vec<(f64, f64)> =
            (1..=12).map(|i| (f64::from(i) * 5.0, if i > 6 { 0.9 } else { 0.5 })).collect();
        let pods: Vec<(f64, f64)> = (1..=12).map(|i| (f64::from(i) * 5.0, 0.5)).collect();
        let other = rest(&busy, &pods, 2.0);
        assert_eq!(other.len(), 2);
        assert!((other[0].1 - 0.25).abs() < 1e-9 && (other[1].1 - 0.65).abs() < 1e-9, "{other:?}");
    }

    #[test]
    fn another_machine_has_another_boot_id() {
        assert!(!on_node("another machine's") && !on_node(""));
    }
}
