//! The outcome of a request, sent by the load generator or by the simulator.

use serde::{Deserialize, Serialize};

/// The `type` of the problem (RFC 9457) with which the function answers 504.
pub const DEADLINE_EXCEEDED: &str = "urn:nv-micro:problem:deadline-exceeded";

/// The outcome of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx.
    Ok,
    /// 429: the function refused it, as it should when its queue is full.
    Refused,
    /// 503: no ready pod, or a proxy's queue is full.
    Unavailable,
    /// 504 by the function itself: the request waited in its queue beyond the deadline and was not
    /// computed.
    Expired,
    /// Any other 5xx, a gateway's 504 among them.
    ServerError,
    /// Any other 4xx, and every status that is not an answer to a classification (1xx, 3xx).
    ClientError,
    /// No connection.
    Connect,
    /// The connection broke before the answer was complete.
    Broken,
    /// No complete answer in time.
    Timeout,
}

impl Outcome {
    /// Every outcome, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Refused,
        Self::Unavailable,
        Self::Expired,
        Self::ServerError,
        Self::ClientError,
        Self::Connect,
        Self::Broken,
        Self::Timeout,
    ];

    /// The outcome of an answer with this status. Only the body shows who sent a 504: see
    /// [`DEADLINE_EXCEEDED`].
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            429 => Self::Refused,
            503 => Self::Unavailable,
            500..=599 => Self::ServerError,
            _ => Self::ClientError,
        }
    }
}

/// The record of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRecord {
    /// Intended send time, microseconds from the start.
    pub at_us: u64,
    /// The delay of the actual send time.
    pub late_us: u64,
    /// From the **intended** send time to the last byte of the answer, or to the failure.
    pub latency_us: u64,
    /// The outcome.
    pub outcome: Outcome,
}
