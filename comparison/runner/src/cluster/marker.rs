//! Marks a run in Prometheus while it lasts, so that dashboards can show its start, end and name.
//!
//! `comparison_run{run, scenario, variant, configuration, arm} 1`, and with the same labels its
//! first and last moment as `comparison_run_start_timestamp_seconds` and
//! `comparison_run_end_timestamp_seconds`, in Unix seconds; where only a part of the run counts,
//! also `comparison_run_counted_start_timestamp_seconds` and `…_counted_end_…`. Pushed over OTLP in
//! JSON (opentelemetry-proto, metrics/v1): Prometheus cannot scrape the runner, which may run
//! outside of the cluster.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::clock;
use super::prometheus::Prometheus;

/// The recording rule `run:eye_state:info` considers a run ended after 15 s without a push: two
/// pushes may be lost.
const EVERY: Duration = Duration::from_secs(5);

/// Pushes the mark until it is dropped.
pub struct Marker {
    prometheus: Prometheus,
    labels: BTreeMap<&'static str, String>,
    counted: Option<[f64; 2]>,
    pushing: JoinHandle<()>,
}

impl Marker {
    /// Marks a run of at least this length that begins now, of which the seconds `counted` count,
    /// or all. The first mark is pushed before this
    /// returns, so that a Prometheus without OTLP is reported. Push errors after the first are
    /// ignored, because the run does not depend on the marks.
    pub async fn start(
        prometheus: Prometheus,
        labels: BTreeMap<&'static str, String>,
        length: Duration,
        counted: Option<[f64; 2]>,
    ) -> Result<Self> {
        let begun = SystemTime::now();
        prometheus.push(&document(&labels, begun, length, counted)).await.with_context(|| {
            "Prometheus takes no marks of runs, so dashboards cannot name this one \
             (start it with --web.enable-otlp-receiver)"
        })?;
        let (again, named) = (prometheus.clone(), labels.clone());
        let pushing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let _ = again.push(&document(&named, begun, length, counted)).await;
            }
        });
        Ok(Self { prometheus, labels, counted, pushing })
    }

    /// Pushes a last mark with the moment of the first request, which only the load generator
    /// knows, and the length of the run as it was: later than the marks before said, so that the
    /// largest start and end of a run are the exact ones.
    pub async fn end(self, started: SystemTime, length: Duration) {
        self.pushing.abort();
        let _ = self.prometheus.push(&document(&self.labels, started, length, self.counted)).await;
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.pushing.abort();
    }
}

fn document(
    labels: &BTreeMap<&'static str, String>,
    started: SystemTime,
    length: Duration,
    counted: Option<[f64; 2]>,
) -> Value {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let attributes: Vec<Value> =
        labels.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    let gauge = |name: &str, value: f64| {
        let time = nanoseconds.to_string();
        let point = json!({"asDouble": value, "timeUnixNano": time, "attributes": attributes});
        json!({"name": name, "gauge": {"dataPoints": [point]}})
    };
    let mut metrics = vec![
        gauge("comparison_run", 1.0),
        gauge("comparison_run_start_timestamp_seconds", clock::unix(started)),
        gauge("comparison_run_end_timestamp_seconds", clock::unix(started + length)),
    ];
    for (which, second) in ["start", "end"].into_iter().zip(counted.into_iter().flatten()) {
        let name = format!("comparison_run_counted_{which}_timestamp_seconds");
        metrics.push(gauge(&name, clock::unix(started) + second));
    }
    json!({"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"metrics": metrics}]}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(counted: Option<[f64; 2]>) -> Vec<(String, f64)> {
        let length = Duration::from_secs(900);
        let document = document(&BTreeMap::new(), UNIX_EPOCH + Duration::from_secs(1000), length, counted);
        let metrics = document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].clone();
        let value = |m: &Value| m["gauge"]["dataPoints"][0]["asDouble"].as_f64().expect("a number");
        let named = |m: &Value| (m["name"].as_str().expect("a name").to_owned(), value(m));
        metrics.as_array().expect("a list").iter().map(named).collect()
    }

    #[test]
    fn of_a_run_in_cycles_the_mark_says_which_part_counts() {
        assert_eq!(names(None).len(), 3);
        let counted = names(Some([300.0, 900.0])).split_off(3);
        assert_eq!(
            counted,
            [
                ("comparison_run_counted_start_timestamp_seconds".to_owned(), 1300.0),
                ("comparison_run_counted_end_timestamp_seconds".to_owned(), 1900.0)
            ]
        );
    }
}
