//! Prometheus' HTTP API: raw samples of a time range, and OTLP pushes. Rates are computed here,
//! without Prometheus' extrapolation.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http::{Http, encode};

/// One series: its labels, and `(seconds since 1970, value)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// As JSON object of strings.
    pub labels: Value,
    /// In the order of time.
    pub samples: Vec<(f64, f64)>,
}

impl Series {
    /// A label's value, or the empty string.
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

/// A Prometheus server.
#[derive(Clone)]
pub struct Prometheus {
    http: Http,
    base: String,
}

impl Prometheus {
    /// At a base URL without `/api/v1`.
    pub fn new(http: Http, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    /// The raw samples of every series that a selector picks, between two moments (seconds since
    /// 1970).
    pub async fn samples(&self, selector: &str, from: f64, to: f64) -> Result<Vec<Series>> {
        let length = (to - from).ceil().max(1.0);
        let query = encode(&format!("{selector}[{length:.0}s]"));
        let url = format!("{}/api/v1/query?query={query}&time={to:.3}", self.base);
        parse(&self.http.json(&url).await?).with_context(|| format!("Prometheus on {selector}"))
    }

    /// The same, but an empty result is an error that names the missing series.
    pub async fn needed(&self, selector: &str, from: f64, to: f64, why: &str) -> Result<Vec<Series>> {
        let series = self.samples(selector, from, to).await?;
        if series.is_empty() {
            bail!("Prometheus has no {selector}: {why}");
        }
        Ok(series)
    }

    /// Pushes metrics: an OTLP export request as JSON.
    pub async fn push(&self, document: &Value) -> Result<()> {
        self.http.post(&format!("{}/api/v1/otlp/v1/metrics", self.base), document).await
    }
}

fn parse(answer: &Value) -> Result<Vec<Series>> {
    if answer["status"] != "success" {
        bail!("{}: {}", answer["errorType"], answer["error"]);
    }
    let results = answer["data"]["result"].as_array().context("no result in the answer")?;
    let sample = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
    let series = results.iter().map(|r| Series {
        labels: r["metric"].clone(),
        samples: r["values"].as_array().into_iter().flatten().filter_map(sample).collect(),
    });
    Ok(series.collect())
}

/// How much a counter grew within a range. A counter that begins within it (`born`) grew by its
/// first sample too; a decrease is a reset, after which it grew by its new value.
pub fn increase(samples: &[(f64, f64)], born: bool) -> f64 {
    let first = samples.first().map_or(0.0, |s| if born { s.1 } else { 0.0 });
    let steps = samples.windows(2).map(|w| if w[1].1 >= w[0].1 { w[1].1 - w[0].1 } else { w[1].1 });
    first + steps.sum::<f64>()
}

/// Area under a gauge within a range; each sample holds until the next, the last for `hold` seconds
/// at most.
pub fn area(samples: &[(f64, f64)], to: f64, hold: f64) -> f64 {
    let ends = samples.iter().skip(1).map(|s| s.0).chain(std::iter::once(to));
    samples.iter().zip(ends).map(|(s, end)| s.1 * (end - s.0).clamp(0.0, hold)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_becomes_series() {
        let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"pod": "a"}, "values": [[1.5, "2"], [6.5, "3.5"]]},
        ]}});
        let series = parse(&answer).expect("valid");
        assert_eq!(
            (series[0].label("pod"), series[0].samples.as_slice()),
            ("a", &[(1.5, 2.0), (6.5, 3.5)][..])
        );
        let error = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
        assert!(parse(&error).expect_err("an error").to_string().contains("parse error"));
    }

    #[test]
    fn counters_grow_by_their_steps_resets_included() {
        let samples = [(0.0, 10.0), (5.0, 14.0), (10.0, 1.0), (15.0, 3.0)];
        assert_eq!(increase(&samples, false), 4.0 + 1.0 + 2.0);
        assert_eq!(
            increase(&samples, true),
            17.0,
            "what a new pod's counter shows first, it used within the range"
        );
        assert_eq!(increase(&[], true), 0.0);
    }

    #[test]
    fn gauges_hold_until_the_next_sample_but_not_for_ever() {
        assert_eq!(area(&[(0.0, 2.0), (5.0, 4.0)], 10.0, 100.0), 10.0 + 20.0);
        assert_eq!(area(&[(0.0, 2.0)], 100.0, 10.0), 20.0, "the pod is gone");
    }
}
