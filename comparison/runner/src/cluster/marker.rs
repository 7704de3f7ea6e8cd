//! Marks a run in Prometheus while it lasts, so that dashboards can show its start, end and name.
//!
//! `comparison_run{run, scenario, variant, configuration} 1`, and with the same labels its first
//! and last moment as `comparison_run_start_timestamp_seconds` and
//! `comparison_run_end_timestamp_seconds`, in Unix seconds. Pushed over OTLP in JSON
//! (opentelemetry-proto, metrics/v1): Prometheus cannot scrape the runner, which may run outside of
//! the cluster.

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
    pushing: JoinHandle<()>,
}

impl Marker {
    /// Marks a run of at least this length that begins now. The first mark is pushed before this
    /// returns, so that a Prometheus without OTLP is reported. Push errors after the first are
    /// ignored, because the run does not depend on the marks.
    pub async fn start(
        prometheus: Prometheus,
        labels: BTreeMap<&'static str, String>,
        length: Duration,
    ) -> Result<Self> {
        let begun = SystemTime::now();
        prometheus.push(&document(&labels, begun, length)).await.with_context(|| {
            "Prometheus takes no marks of runs, so dashboards cannot name this one \
             (start it with --web.enable-otlp-receiver)"
        })?;
        let (again, named) = (prometheus.clone(), labels.clone());
        let pushing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let _ = again.push(&document(&named, begun, length)).await;
            }
        });
        Ok(Self { prometheus, labels, pushing })
    }

    /// Pushes a last mark with the moment of the first request, which only the load generator
    /// knows, and the length of the run as it was: later than the marks before said, so that the
    /// largest start and end of a run are the exact ones.
    pub async fn end(self, started: SystemTime, length: Duration) {
        self.pushing.abort();
        let _ = self.prometheus.push(&document(&self.labels, started, length)).await;
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.pushing.abort();
    }
}

fn document(labels: &BTreeMap<&'static str, String>, started: SystemTime, length: Duration) -> Value {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let attributes: Vec<Value> =
        labels.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    let gauge = |name: &str, value: f64| {
        let time = nanoseconds.to_string();
        let point = json!({"asDouble": value, "timeUnixNano": time, "attributes": attributes});
        json!({"name": name, "gauge": {"dataPoints": [point]}})
    };
    let metrics = [
        gauge("comparison_run", 1.0),
        gauge("comparison_run_start_timestamp_seconds", clock::unix(started)),
        gauge("comparison_run_end_timestamp_seconds", clock::unix(started + length)),
    ];
    json!({"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"metrics": metrics}]}]})
}
