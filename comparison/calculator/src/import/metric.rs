//! What a metric counts.

use serde_json::Value;
use simulator::WAKES_ONLY;

use crate::quantity;

/// Parts of the names of metrics that count requests in flight.
const IN_FLIGHT: [&str; 6] =
    ["concurrency", "in_flight", "inflight", "in-flight", "active_requests", "requests_active"];

/// Whether a metric never asks for a second pod. Requests in flight do not wake: without a pod
/// there are none.
pub(super) fn wakes_only(metric: &Value) -> bool {
    let (name, target) = (&metric["metric"]["name"], &metric["target"]);
    name.is_string()
        && in_flight(name).is_err()
        && target["type"] == "AverageValue"
        && quantity::quantity(&target["averageValue"]).is_ok_and(|value| value >= WAKES_ONLY)
}

/// What an HPA's metric says, if it exists without any pod.
pub(super) fn exists_at_zero(metric: &Value) -> Option<&Value> {
    match metric["type"].as_str()? {
        "Object" => Some(&metric["object"]),
        "External" => Some(&metric["external"]),
        _ => None,
    }
}

/// An error if a metric's name or query does not say that it counts requests in flight.
pub(super) fn in_flight(metric: &Value) -> Result<(), String> {
    let text = metric.as_str().unwrap_or_default().to_lowercase();
    if IN_FLIGHT.iter().any(|part| text.contains(part)) {
        return Ok(());
    }
    Err(format!(
        "metric {metric}: only requests in flight are simulated (their metric has one of these in its name: \
         {})",
        IN_FLIGHT.join(", ")
    ))
}
