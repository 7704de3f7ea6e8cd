//! Exemplars of request durations: for each bucket the last sampled request that fell into it.
//!
//! Kept beside the SDK, whose histograms leave their exemplars empty (opentelemetry_sdk 0.33).
//! Bounded by the histogram itself: one exemplar for each of its buckets, and its labels come from
//! closed sets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};

/// Names and values of a series, as a scrape has them, in order.
pub(super) type Series = Vec<(String, String)>;

/// A span that was sampled, so that whoever has its ids finds its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledSpan {
    /// The trace.
    pub trace_id: TraceId,
    /// The request's own span, or its caller's where the function exports none.
    pub span_id: SpanId,
}

/// One measured value, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) span: SampledSpan,
    pub(super) value: f64,
    pub(super) at: SystemTime,
}

/// The exemplars of each series, by the place of their bucket.
pub(super) type Snapshot = HashMap<Series, Vec<Option<Exemplar>>>;

/// The exemplars of one histogram.
#[derive(Debug)]
pub(super) struct Exemplars {
    bounds: &'static [f64],
    series: Mutex<Snapshot>,
}

impl Exemplars {
    /// None yet; `bounds` are the histogram's.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, series: Mutex::default() }
    }

    /// Replaces the exemplar of the bucket that `value` falls into.
    pub(super) fn record(&self, labels: &[KeyValue], value: f64, span: SampledSpan) {
        let name = |label: &KeyValue| label.key.as_str().replace('.', "_");
        let mut series: Series =
            labels.iter().map(|label| (name(label), label.value.as_str().into())).collect();
        series.sort();
        // A bound belongs to the bucket below it.
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let exemplar = Exemplar { span, value, at: SystemTime::now() };
        let mut all = self.lock();
        all.entry(series).or_insert_with(|| vec![None; self.bounds.len() + 1])[bucket] = Some(exemplar);
    }

    /// All of them at this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_keeps_its_last_exemplar_and_no_more() {
        let exemplars = Exemplars::new(&[0.1, 1.0]);
        let labels = [KeyValue::new("http.route", "/"), KeyValue::new("http.request.method", "GET")];
        for (trace, value) in [(1, 0.05), (2, 0.1), (3, 0.2), (4, 7.0), (5, 9.0)] {
            let span = SampledSpan { trace_id: TraceId::from(trace), span_id: SpanId::from(9) };
            exemplars.record(&labels, value, span);
        }
        let all = exemplars.snapshot();
        let series = [("http_request_method", "GET"), ("http_route", "/")];
        let series: Series = series.map(|(name, value)| (name.into(), value.into())).into();
        let kept: Vec<_> =
            all[&series].iter().map(|one| one.map(|one| (one.span.trace_id, one.value))).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(
            kept,
            [Some((TraceId::from(2), 0.1)), Some((TraceId::from(3), 0.2)), Some((TraceId::from(5), 9.0))]
        );
    }
}
