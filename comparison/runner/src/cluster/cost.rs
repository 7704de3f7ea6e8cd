//! Cost in a second way: by the recording rules of `observability/prometheus/rules`, which are made
//! of what kube-state-metrics says and not of what the runner watched.

use anyhow::Result;

use super::prometheus::{Prometheus, area};
use super::usage::Range;
use scenario::recording::Cost;

const PODS: &str = "variant:eye_state_pods_allocated:sum";
const CORES: &str = "variant_role:eye_state_cpu_cores_requested:sum";
/// A sample is valid for this many scrapes: one may be late.
const HOLD_SCRAPES: f64 = 3.0;

/// By how much the two ways may differ before the runner warns.
pub const MOST_APART: f64 = 0.02;

/// What the variant's pods cost in a range; `None` where Prometheus has no such rules.
pub async fn by_prometheus(prometheus: &Prometheus, variant: &str, range: Range) -> Result<Option<Cost>> {
    // One scrape before: its sample holds at the beginning.
    let from = range.from - HOLD_SCRAPES * range.scrape_s;
    let pods = prometheus.samples(&format!(r#"{PODS}{{variant="{variant}"}}"#), from, range.to).await?;
    let selector = format!(r#"{CORES}{{variant="{variant}",role="function"}}"#);
    let cores = prometheus.samples(&selector, from, range.to).await?;
    let ([pods], [cores]) = (&pods[..], &cores[..]) else { return Ok(None) };
    Ok(Some(Cost {
        pod_seconds: within(&pods.samples, range),
        core_seconds_requested: within(&cores.samples, range),
    }))
}

/// Area under a gauge within a range.
fn within(samples: &[(f64, f64)], range: Range) -> f64 {
    let first = samples.partition_point(|s| s.0 <= range.from).saturating_sub(1);
    let cut: Vec<(f64, f64)> = samples[first..].iter().map(|s| (s.0.max(range.from), s.1)).collect();
    area(&cut, range.to, HOLD_SCRAPES * range.scrape_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_before_a_range_holds_at_its_beginning_and_nothing_counts_outside() {
        let range = Range { from: 102.0, to: 120.0, scrape_s: 5.0 };
        let samples = [(95.0, 9.0), (100.0, 2.0), (105.0, 4.0), (110.0, 4.0), (115.0, 1.0)];
        // 3 s of two, 10 s of four, 5 s of one.
        assert_eq!(within(&samples, range), 6.0 + 40.0 + 5.0);
        assert_eq!(within(&[(110.0, 4.0)], range), 40.0, "nothing is made up before the first sample");
    }
}
