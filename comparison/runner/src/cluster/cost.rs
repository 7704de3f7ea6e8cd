//! Cost in a second way: by the recording rules of `observability/prometheus/rules`, which are made
//! of what kube-state-metrics says and not of what the runner watched.
//!
//! A rule's sample is of the scrape before its evaluation. Counted at its own time it would be late
//! by that lag, and counted until the next sample by half an interval more: a variant that grows by
//! four pods within a range would cost twenty pod-seconds too little. So samples are moved back to
//! their scrape, and between two of them the value is taken to change evenly.

use anyhow::Result;

use super::prometheus::{Prometheus, Series};
use super::usage::Range;
use scenario::recording::Cost;

const PODS: &str = "variant:eye_state_pods_allocated:sum";
const CORES: &str = "variant_role:eye_state_cpu_cores_requested:sum";
/// Of the same scrapes as what the rules are made of.
const SCRAPED: &str = "kube_pod_status_phase";
/// A sample is valid for this many scrapes: one may be late.
const HOLD_SCRAPES: f64 = 3.0;

/// By how much the two ways may differ before the runner warns.
pub const MOST_APART: f64 = 0.02;

/// What the variant's pods cost in a range; `None` where Prometheus has no such rules.
pub async fn by_prometheus(prometheus: &Prometheus, variant: &str, range: Range) -> Result<Option<Cost>> {
    // Before and after: samples that hold at the ends, moved back by up to a scrape.
    let hold = HOLD_SCRAPES * range.scrape_s;
    let (from, to) = (range.from - hold, range.to + hold);
    let pods = prometheus.samples(&format!(r#"{PODS}{{variant="{variant}"}}"#), from, to).await?;
    let selector = format!(r#"{CORES}{{variant="{variant}",role="function"}}"#);
    let cores = prometheus.samples(&selector, from, to).await?;
    let ([pods], [cores]) = (&pods[..], &cores[..]) else { return Ok(None) };
    let selector = format!(r#"{SCRAPED}{{variant="{variant}",phase="Running"}}"#);
    let scrapes = moments(&prometheus.samples(&selector, from, to).await?);
    let within = |series: &Series| {
        let lag = lag(&series.samples, &scrapes).unwrap_or(range.scrape_s / 2.0);
        let moved: Vec<_> = series.samples.iter().map(|s| (s.0 - lag, s.1)).collect();
        within(&moved, range)
    };
    Ok(Some(Cost { pod_seconds: within(pods), core_seconds_requested: within(cores) }))
}

/// When any of these series was scraped, in the order of time.
fn moments(series: &[Series]) -> Vec<f64> {
    let mut moments: Vec<f64> = series.iter().flat_map(|s| &s.samples).map(|s| s.0).collect();
    moments.sort_by(f64::total_cmp);
    moments.dedup();
    moments
}

/// How much later than its scrape a rule's sample is: the median, since both have a clock of their
/// own with the same interval. `None` without a scrape: while there is no pod, nothing says it.
fn lag(samples: &[(f64, f64)], scrapes: &[f64]) -> Option<f64> {
    let of = |at: f64| scrapes[..scrapes.partition_point(|s| *s <= at)].last().map(|scrape| at - scrape);
    let mut lags: Vec<f64> = samples.iter().filter(|s| s.1 > 0.0).filter_map(|s| of(s.0)).collect();
    lags.sort_by(f64::total_cmp);
    lags.get(lags.len() / 2).copied()
}

/// Area within a range under a gauge that changes evenly from sample to sample. Where they are
/// further apart than the hold, each counts for half of it.
fn within(samples: &[(f64, f64)], range: Range) -> f64 {
    let hold = HOLD_SCRAPES * range.scrape_s;
    let part = |(from, first): (f64, f64), (to, last): (f64, f64)| {
        let (begin, end) = (from.max(range.from), to.min(range.to));
        if end <= begin {
            return 0.0;
        }
        let at = |t: f64| first + (last - first) * (t - from) / (to - from);
        (at(begin) + at(end)) / 2.0 * (end - begin)
    };
    let between = samples.windows(2).map(|pair| match (pair[0], pair[1]) {
        (a, b) if b.0 - a.0 <= hold => part(a, b),
        (a, b) => part(a, (a.0 + hold / 2.0, a.1)) + part((b.0 - hold / 2.0, b.1), b),
    });
    let after = samples.last().map_or(0.0, |last| part(*last, (last.0 + hold, last.1)));
    between.sum::<f64>() + after
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { from: 102.0, to: 120.0, scrape_s: 5.0 };

    #[test]
    fn a_gauge_changes_evenly_between_samples_and_nothing_counts_outside_of_the_range() {
        let samples = [(95.0, 9.0), (100.0, 2.0), (105.0, 4.0), (110.0, 4.0), (115.0, 1.0)];
        // 2.8 to 4 in 3 s, 5 s of four, 4 to 1 in 5 s, 5 s of one.
        assert!((within(&samples, RANGE) - (3.4 * 3.0 + 20.0 + 12.5 + 5.0)).abs() < 1e-9);
        assert_eq!(within(&[(110.0, 4.0)], RANGE), 40.0, "nothing is made up before the first sample");
    }

    #[test]
    fn missing_samples_are_not_bridged() {
        let samples = [(60.0, 4.0), (118.0, 2.0)];
        assert_eq!(within(&samples, RANGE), 2.0 * 7.5 + 2.0 * 2.0, "half a hold before, 2 s after");
        assert_eq!(within(&[], RANGE), 0.0);
    }

    #[test]
    fn growth_costs_the_same_at_every_phase_of_the_clocks() {
        // From no pod to four at second 30 of 90, as a run from rest has it.
        let range = Range { from: 1000.0, to: 1090.0, scrape_s: 5.0 };
        let pods = |t: f64| if t >= 1030.0 { 4.0 } else { 0.0 };
        let mut areas = Vec::new();
        for (scrape, rule) in [(0.0, 0.5), (1.0, 4.9), (2.5, 3.0), (4.0, 1.0), (3.0, 2.9)] {
            let scrapes: Vec<f64> = (190..225).map(|i| f64::from(i) * 5.0 + scrape).collect();
            let last = |t: f64| *scrapes.iter().rev().find(|s| **s <= t).expect("scraped before");
            let samples: Vec<_> =
                (192..225).map(|i| f64::from(i) * 5.0 + rule).map(|t| (t, pods(last(t)))).collect();
            let late = lag(&samples, &scrapes).expect("scraped");
            let moved: Vec<_> = samples.iter().map(|s| (s.0 - late, s.1)).collect();
            areas.push(within(&moved, range));
        }
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!(areas.iter().all(|a| (a - 240.0).abs() <= 4.0 * 2.5), "half a scrape: {areas:?}");
        assert!((mean / 240.0 - 1.0).abs() < 0.02, "{areas:?}");
    }
}
