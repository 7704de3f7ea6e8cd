//! Summarizes requests for a results file: quantiles, counts by outcome, a row per second, and the
//! lateness of the load generator.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Outcome, RequestRecord};

/// Three significant digits: a p99.9 of 123.4 ms is distinguished from 123.5 ms.
const SIGNIFICANT_DIGITS: u8 = 3;

/// An hour: no time-out is longer.
const LONGEST_US: u64 = 3_600_000_000;

/// A request is late if it left later than its send time by more than this share of the objective.
/// Lateness is part of the latency that is reported, so this bounds the error of a request that is
/// not late: 10 ms of 500.
pub const LATE_SHARE_OF_OBJECTIVE: f64 = 0.02;

/// How many may be late: one in a hundred, as with the objective itself ...
pub const MAX_LATE_SHARE: f64 = 0.01;

/// ... but always this many: of 200 requests, one stall of a busy machine meets more than two.
pub const LATE_TOLERATED: u64 = 5;

/// Largest deviation of the offered rate from the schedule's; beyond it, latencies are not valid.
pub const MAX_RATE_ERROR: f64 = 0.005;

/// Share of a second's requests that may break the objective before the second does.
pub const SLO_TOLERATED_SHARE: f64 = 0.01;

/// The offered load of one run, and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSummary {
    /// Arrivals in the schedule.
    pub planned: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests by outcome; outcomes that did not occur are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Mean requests a second, by the schedule and as sent, between first and last arrival.
    pub planned_rate: f64,
    /// See `planned_rate`.
    pub offered_rate: f64,
    /// 2xx answers a second over the length of the schedule.
    pub achieved_rate: f64,
    /// How late requests left: 50th, 99th percentile and maximum, microseconds.
    pub lateness_us: [u64; 3],
    /// Requests that left more than [`LATE_SHARE_OF_OBJECTIVE`] late.
    pub late: u64,
    /// Latency of 2xx answers: `[upper end of the bucket in microseconds, count]`.
    pub latency_us: Vec<[u64; 2]>,
    /// Sum and maximum of the same, exact.
    pub latency_sum_us: u64,
    /// See `latency_sum_us`.
    pub latency_max_us: u64,
    /// Requests answered 2xx within the objective.
    pub within_slo: u64,
    /// One row for each second of the schedule.
    pub seconds: Vec<LoadSecond>,
    /// For each upward step of the rate: when, and the latency of the first request after it
    /// (microseconds).
    pub first_after_step: Vec<FirstAnswer>,
}

/// The outcome of the requests intended for one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadSecond {
    /// Requests intended for this second.
    pub planned: u64,
    /// 2xx.
    pub ok: u64,
    /// 429 and 503.
    pub refused: u64,
    /// Everything else that is not 2xx.
    pub failed: u64,
    /// Requests that broke the objective: not 2xx, or slower.
    pub broke_slo: u64,
    /// Median and 99th percentile of the 2xx answers, milliseconds.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
}

/// The first request after a load change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstAnswer {
    /// When the rate stepped up, seconds.
    pub step_s: f64,
    /// Latency of the first request after it.
    pub latency_us: u64,
    /// Its outcome.
    pub outcome: Outcome,
}

impl LoadSecond {
    /// Whether more than [`SLO_TOLERATED_SHARE`] of its requests broke the objective.
    pub fn violates_slo(&self) -> bool {
        self.broke_slo as f64 > SLO_TOLERATED_SHARE * self.planned as f64
    }
}

impl LoadSummary {
    /// Sums up the requests of a run of `duration_s` seconds whose rate stepped up at `steps_up`.
    pub fn new(
        records: &mut [RequestRecord],
        unsent: usize,
        slo_ms: u64,
        duration_s: f64,
        steps_up: &[f64],
    ) -> Self {
        records.sort_by_key(|r| r.at_us);
        let slo_us = slo_ms * 1000;
        let mut latency = histogram();
        let mut lateness = histogram();
        let mut outcomes = BTreeMap::new();
        let mut sum = 0;
        for r in records.iter() {
            *outcomes.entry(label(r.outcome)).or_insert(0) += 1;
            lateness.saturating_record(r.late_us.max(1));
            if r.outcome == Outcome::Ok {
                latency.saturating_record(r.latency_us.max(1));
                sum += r.latency_us;
            }
        }
        let ok = outcomes.get("ok").copied().unwrap_or(0);
        let late_us = (slo_us as f64 * LATE_SHARE_OF_OBJECTIVE) as u64;
        let (planned_rate, offered_rate) = rates(records);
        let first_after = |step: f64| {
            let first = records.iter().find(|r| r.at_us as f64 >= step * 1e6)?;
            Some(FirstAnswer { step_s: step, latency_us: first.latency_us, outcome: first.outcome })
        };
        Self {
            planned: (records.len() + unsent) as u64,
            sent: records.len() as u64,
            planned_rate,
            offered_rate,
            achieved_rate: if duration_s > 0.0 { ok as f64 / duration_s } else { 0.0 },
            lateness_us: [lateness.value_at_quantile(0.5), lateness.value_at_quantile(0.99), lateness.max()],
            late: records.iter().filter(|r| r.late_us > late_us).count() as u64,
            latency_us: latency
                .iter_recorded()
                .map(|v| [v.value_iterated_to(), v.count_at_value()])
                .collect(),
            latency_sum_us: sum,
            latency_max_us: records
                .iter()
                .filter(|r| r.outcome == Outcome::Ok)
                .map(|r| r.latency_us)
                .max()
                .unwrap_or(0),
            within_slo: records.iter().filter(|r| !breaks(r, slo_us)).count() as u64,
            seconds: seconds(records, slo_us, duration_s),
            first_after_step: steps_up.iter().filter_map(|&s| first_after(s)).collect(),
            outcomes,
        }
    }

    /// The same with requests, outcomes and latencies of those only that were intended for a part
    /// of the run; rows of seconds, rates and lateness stay those of the whole. `records` are what
    /// it was made from.
    pub fn within(self, records: &[RequestRecord], slo_ms: u64, counted: Option<[f64; 2]>) -> Self {
        let Some([from, to]) = counted else { return self };
        let inside = |us: u64| (from..to).contains(&(us as f64 / 1e6));
        let mut part: Vec<RequestRecord> = records.iter().copied().filter(|r| inside(r.at_us)).collect();
        let part = Self::new(&mut part, 0, slo_ms, to - from, &[]);
        Self {
            planned_rate: self.planned_rate,
            offered_rate: self.offered_rate,
            lateness_us: self.lateness_us,
            late: self.late,
            seconds: self.seconds,
            first_after_step: self
                .first_after_step
                .into_iter()
                .filter(|f| (from..to).contains(&f.step_s))
                .collect(),
            ..part
        }
    }

    /// Latency of 2xx answers at a quantile in milliseconds; `None` without any.
    pub fn latency_ms(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.latency_us.iter().map(|b| b[1]).sum();
        let rank = (quantile * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.latency_us.iter().find(|b| {
            seen += b[1];
            seen >= rank
        });
        bucket.map(|b| b[0].min(self.latency_max_us) as f64 / 1000.0)
    }

    /// Seconds in which more than [`SLO_TOLERATED_SHARE`] of the requests broke the objective.
    pub fn slo_violation_seconds(&self) -> u64 {
        self.seconds.iter().filter(|s| s.violates_slo()).count() as u64
    }

    /// Requests with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&label(outcome)).copied().unwrap_or(0)
    }

    /// The reason why this load is not valid, if it is not.
    pub fn generator_fault(&self) -> Option<String> {
        let error = (self.offered_rate - self.planned_rate).abs() / self.planned_rate.max(f64::MIN_POSITIVE);
        if self.sent < self.planned {
            let missing = self.planned - self.sent;
            return Some(format!(
                "{missing} of {} requests were not sent: too many were under way at once",
                self.planned
            ));
        }
        let tolerated = ((MAX_LATE_SHARE * self.sent as f64) as u64).max(LATE_TOLERATED);
        if self.late > tolerated {
            let [_, p99, max] = self.lateness_us.map(|us| us as f64 / 1000.0);
            return Some(format!(
                "{} of {} requests left late, {tolerated} may (99th percentile {p99:.1} ms behind the schedule, most {max:.1} ms)",
                self.late, self.sent
            ));
        }
        if self.planned_rate > 0.0 && error > MAX_RATE_ERROR {
            let (offered, planned) = (self.offered_rate, self.planned_rate);
            return Some(format!("offered {offered:.2} requests a second, the schedule says {planned:.2}"));
        }
        None
    }
}

/// The snake-case name that JSON uses.
pub fn label(outcome: Outcome) -> String {
    let name = serde_json::to_value(outcome).expect("an outcome is a string");
    name.as_str().expect("an outcome is a string").to_owned()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_US, SIGNIFICANT_DIGITS).expect("three digits are allowed")
}

fn breaks(record: &RequestRecord, slo_us: u64) -> bool {
    record.outcome != Outcome::Ok || record.latency_us > slo_us
}

/// Requests a second between first and last: intended and as sent.
fn rates(records: &[RequestRecord]) -> (f64, f64) {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return (0.0, 0.0) };
    let gaps = (records.len() - 1) as f64;
    let left = |r: &RequestRecord| (r.at_us + r.late_us) as f64;
    let last_left = records.iter().map(left).fold(0.0, f64::max);
    let rate = |micros: f64| if micros > 0.0 { gaps / micros * 1e6 } else { 0.0 };
    (rate((last.at_us - first.at_us) as f64), rate(last_left - left(first)))
}

fn seconds(records: &[RequestRecord], slo_us: u64, duration_s: f64) -> Vec<LoadSecond> {
    (0..duration_s.ceil() as u64)
        .map(|second| {
            let from = records.partition_point(|r| r.at_us < second * 1_000_000);
            let to = records.partition_point(|r| r.at_us < (second + 1) * 1_000_000);
            let slice = &records[from..to];
            let mut latencies: Vec<u64> =
                slice.iter().filter(|r| r.outcome == Outcome::Ok).map(|r| r.latency_us).collect();
            latencies.sort_unstable();
            let refused =
                slice.iter().filter(|r| matches!(r.outcome, Outcome::Refused | Outcome::Unavailable)).count();
            let at = |q: f64| {
                let rank = (q * latencies.len() as f64).ceil().max(1.0) as usize;
                latencies.get(rank - 1).map(|us| *us as f64 / 1000.0)
            };
            LoadSecond {
                planned: slice.len() as u64,
                ok: latencies.len() as u64,
                refused: refused as u64,
                failed: (slice.len() - latencies.len() - refused) as u64,
                broke_slo: slice.iter().filter(|r| breaks(r, slo_us)).count() as u64,
                p50_ms: at(0.5),
                p99_ms: at(0.99),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at_ms: u64, latency_ms: u64, outcome: Outcome) -> RequestRecord {
        RequestRecord { at_us: at_ms * 1000, late_us: 50, latency_us: latency_ms * 1000, outcome }
    }

    #[test]
    fn quantiles_of_a_known_distribution_are_known() {
        let mut records: Vec<_> = (1..=1000).map(|i| request(i, i, Outcome::Ok)).collect();
        let summary = LoadSummary::new(&mut records, 0, 500, 2.0, &[]);
        for (quantile, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)]
        {
            let got = summary.latency_ms(quantile).expect("there are answers");
            assert!((got - expected).abs() <= expected * 0.001, "p{quantile}: {got}");
        }
        assert_eq!(
            (summary.latency_max_us, summary.within_slo, summary.latency_sum_us),
            (1_000_000, 500, 500_500_000)
        );
    }

    #[test]
    fn refused_and_failed_requests_count_but_have_no_latency() {
        let mut records = vec![
            request(0, 10, Outcome::Ok),
            request(100, 1, Outcome::Refused),
            request(200, 1, Outcome::Unavailable),
            request(300, 15_000, Outcome::Timeout),
        ];
        let summary = LoadSummary::new(&mut records, 0, 500, 1.0, &[]);
        assert_eq!(summary.latency_ms(1.0), Some(10.0));
        assert_eq!(
            (summary.count(Outcome::Timeout), summary.count(Outcome::Refused), summary.within_slo),
            (1, 1, 1)
        );
        let second = &summary.seconds[0];
        assert_eq!(
            (second.planned, second.ok, second.refused, second.failed, second.broke_slo),
            (4, 1, 2, 1, 3)
        );
    }

    #[test]
    fn a_second_is_violated_when_more_than_one_in_a_hundred_break_the_objective() {
        let mut records: Vec<_> = (0..300).map(|i| request(i * 10, 10, Outcome::Ok)).collect();
        records[5].latency_us = 600_000;
        records[150].latency_us = 600_000;
        records[151].outcome = Outcome::Refused;
        let summary = LoadSummary::new(&mut records, 0, 500, 3.0, &[]);
        assert_eq!(
            summary.slo_violation_seconds(),
            1,
            "one of 100 is tolerated, two are not, a quiet second is fine"
        );
    }

    #[test]
    fn the_first_request_after_each_step_is_kept() {
        let mut records =
            vec![request(10, 5, Outcome::Ok), request(2100, 900, Outcome::Ok), request(2200, 7, Outcome::Ok)];
        let summary = LoadSummary::new(&mut records, 0, 500, 3.0, &[2.0]);
        let first = &summary.first_after_step[0];
        assert_eq!((first.step_s, first.latency_us, first.outcome), (2.0, 900_000, Outcome::Ok));
    }

    #[test]
    fn what_lies_outside_the_counted_part_does_not_count() {
        let mut records = vec![
            request(500, 900, Outcome::Ok),
            request(1500, 10, Outcome::Ok),
            request(2500, 1, Outcome::Refused),
            request(3000, 1, Outcome::Timeout),
        ];
        let whole = LoadSummary::new(&mut records, 0, 500, 4.0, &[0.5, 2.0]);
        let part = whole.clone().within(&records, 500, Some([1.0, 3.0]));
        assert_eq!((part.planned, part.sent, part.within_slo), (2, 2, 1));
        assert_eq!((part.count(Outcome::Refused), part.count(Outcome::Timeout)), (1, 0));
        assert_eq!((part.latency_max_us, part.achieved_rate), (10_000, 0.5));
        assert_eq!((part.seconds.len(), part.first_after_step.len()), (4, 1), "charts show the whole run");
        assert_eq!(whole.clone().within(&records, 500, None), whole);
    }

    #[test]
    fn of_few_requests_a_handful_may_be_late_and_no_more() {
        let mut few: Vec<_> = (0..100).map(|i| request(i, 5, Outcome::Ok)).collect();
        few[40..45].iter_mut().for_each(|r| r.late_us = 30_000);
        assert_eq!(LoadSummary::new(&mut few, 0, 500, 1.0, &[]).generator_fault(), None);
        few[45].late_us = 30_000;
        let fault = LoadSummary::new(&mut few, 0, 500, 1.0, &[]).generator_fault();
        assert!(fault.is_some_and(|f| f.contains("6 of 100")));
    }

    #[test]
    fn a_generator_that_falls_behind_gives_no_result() {
        let on_time: Vec<_> = (0..1000).map(|i| request(i, 5, Outcome::Ok)).collect();
        let fault = |records: &mut Vec<RequestRecord>, unsent| {
            LoadSummary::new(records, unsent, 500, 1.0, &[]).generator_fault()
        };
        assert_eq!(fault(&mut on_time.clone(), 0), None);
        assert!(fault(&mut on_time.clone(), 3).is_some_and(|f| f.contains("3 of 1003")));
        let mut late = on_time.clone();
        late[500..510].iter_mut().for_each(|r| r.late_us = 50_000);
        assert_eq!(fault(&mut late, 0), None, "one in a hundred may");
        late[600].late_us = 10_001;
        assert!(fault(&mut late, 0).is_some_and(|f| f.contains("11 of 1000 requests left late, 10 may")));
        let mut slow = on_time;
        slow.iter_mut().enumerate().for_each(|(i, r)| r.late_us = i as u64 * 9);
        assert!(fault(&mut slow, 0).is_some_and(|f| f.contains("the schedule says")));
    }
}
