//! CPU use of other processes on the node during a run: node-exporter's busy time minus that of the
//! containers of all pods and, on the same node, of the load generator. The rest is the kubelet,
//! the container runtime and unrelated programs.

use anyhow::Result;

use super::prometheus::{Prometheus, Series};
use super::usage::{LOOK_BACK_S, Range, cores};

/// Averaging window in seconds: cAdvisor samples every 10 to 15 s, not at each scrape.
const WINDOW_S: f64 = 30.0;

/// Share of the node's CPUs that neither pods nor `own_cores` (this process) used, over time; empty
/// without a node-exporter, or with several nodes.
pub async fn share(
    prometheus: &Prometheus,
    busy: &[(f64, f64)],
    cpus: f64,
    own_cores: f64,
    range: Range,
) -> Result<Vec<(f64, f64)>> {
    if busy.is_empty() {
        return Ok(vec![]);
    }
    let selector = r#"container_cpu_usage_seconds_total{container!="",container!="POD"}"#;
    let all = prometheus.samples(selector, range.from - LOOK_BACK_S, range.to).await?;
    Ok(rest(busy, &cores(&one_each(all), range), cpus, own_cores))
}

/// One series a container: see `usage`.
fn one_each(series: Vec<Series>) -> Vec<Series> {
    let mut seen = std::collections::BTreeSet::new();
    let key = |s: &Series| ["namespace", "pod", "container"].map(|name| s.label(name).to_owned());
    series.into_iter().filter(|s| seen.insert(key(s))).collect()
}

/// Busy minus pods minus this process, means over [`WINDOW_S`].
fn rest(busy: &[(f64, f64)], pods: &[(f64, f64)], cpus: f64, own_cores: f64) -> Vec<(f64, f64)> {
    let mean = |series: &[(f64, f64)], to: f64| {
        let inside: Vec<f64> =
            series.iter().filter(|p| p.0 > to - WINDOW_S && p.0 <= to).map(|p| p.1).collect();
        (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64)
    };
    let last = busy.last().map_or(0.0, |b| b.0);
    let windows = (1..=(last / WINDOW_S) as usize).map(|i| i as f64 * WINDOW_S);
    let share = |to: f64| {
        let other = mean(busy, to)? - (mean(pods, to)? + own_cores) / cpus;
        Some((to, other.clamp(0.0, 1.0)))
    };
    windows.filter_map(share).collect()
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

/// CPU time of this process so far, seconds: user and system time of /proc/self/stat, which counts
/// in hundredths on Linux (USER_HZ).
pub fn own_cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().ok());
    Some((ticks.next()?? + ticks.next()??) / 100.0)
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
    fn what_neither_pods_nor_the_load_account_for_is_the_others() {
        // Two CPUs half busy, half a core of it pods, a tenth of a core this process; then a
        // compiler starts.
        let busy: Vec<(f64, f64)> =
            (1..=12).map(|i| (f64::from(i) * 5.0, if i > 6 { 0.9 } else { 0.5 })).collect();
        let pods: Vec<(f64, f64)> = (1..=12).map(|i| (f64::from(i) * 5.0, 0.5)).collect();
        let other = rest(&busy, &pods, 2.0, 0.1);
        assert_eq!(other.len(), 2);
        assert!((other[0].1 - 0.2).abs() < 1e-9 && (other[1].1 - 0.6).abs() < 1e-9, "{other:?}");
        assert_eq!(fault(&other, [0.0, 25.0], 0.3), None, "it came after what counts");
        let fault = fault(&other, [0.0, 60.0], 0.3).expect("disturbed");
        assert!(
            fault.starts_with("others took 60 % of the node's CPU in the 30 s before second 60"),
            "{fault}"
        );
    }

    #[test]
    fn this_process_has_used_some_cpu_on_a_machine_with_a_boot_id() {
        assert!(own_cpu_s().is_some_and(|s| s >= 0.0));
        assert!(!on_node("another machine's"));
    }
}
