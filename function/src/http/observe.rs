//! Measures a request from its head to its answer.

use std::time::Instant;

use warp::http::{HeaderMap, Method};
use warp::reply::Response;

use super::route::Route;
use crate::telemetry::exemplars::SampledSpan;
use crate::telemetry::{Metrics, traces};

/// A request in progress. Dropped without a status, it counts as one whose client disconnected
pub(super) struct Observation {
    metrics: Metrics,
    method: &'static str,
    route: &'static str,
    status: Option<u16>,
    /// The caller's span until there is an answer, then the request's own.
    span: Option<SampledSpan>,
    start: Instant,
}

impl Observation {
    pub(super) fn begin(metrics: &Metrics, method: &Method, headers: &HeaderMap, route: Route) -> Self {
        metrics.request_began();
        let route = route.label(method);
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::OPTIONS => "OPTIONS",
            _ => "_OTHER",
        };
        let span = traces::sampled(headers);
        Self { metrics: metrics.clone(), method, route, status: None, span, start: Instant::now() }
    }

    pub(super) fn answered(&mut self, response: &Response) {
        self.status = Some(response.status().as_u16());
        self.span = traces::sampled(response.headers()).or(self.span);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.metrics.request_ended(self.method, self.route, self.status, self.start.elapsed(), self.span);
    }
}
