//! Marks a run in Prometheus while it lasts, so that dashboards know its beginning, its end and its name.
//!
//! `comparison_run{run, scenario, variant, configuration} 1`, pushed over OTLP in JSON (opentelemetry-proto, metrics/v1):
//! the runner is no target that Prometheus could scrape, and it may be anywhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::prometheus::Prometheus;

/// The recording rule `run:eye_state:info` takes a run for ended that was silent for 15 s: two pushes may be lost.
const EVERY: Duration = Duration::from_secs(5);

/// Pushes the mark until it is dropped.
pub struct Marker(JoinHandle<()>);

impl Marker {
    /// The first mark is pushed before this returns, so that a Prometheus without OTLP is reported. Push
    /// errors after the first are ignored, because the run does not depend on the marks.
    pub async fn start(prometheus: Prometheus, labels: BTreeMap<&'static str, String>) -> Result<Self> {
        prometheus.push(&document(&labels)).await.with_context(|| {
            "Prometheus takes no marks of runs, so dashboards cannot name this one \
             (start it with --web.enable-otlp-receiver)"
        })?;
        Ok(Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let _ = prometheus.push(&document(&labels)).await;
            }
        })))
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn document(labels: &BTreeMap<&'static str, String>) -> Value {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let attributes: Vec<Value> =
        labels.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    let point = json!({"asDouble": 1.0, "timeUnixNano": nanoseconds.to_string(), "attributes": attributes});
    let metric = json!({"name": "comparison_run", "gauge": {"dataPoints": [point]}});
    json!({"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"metrics": [metric]}]}]})
}
