//! Measures a request from its head to its answer.

use std::time::Instant;

use warp::http::Method;

use super::route::Route;
use crate::telemetry::Metrics;

/// A request in progress. Dropped without a status, it counts as one whose client disconnected
pub(super) struct Observation {
    metrics: Metrics,
    method: &'static str,
    route: &'static str,
    pub(super) status: Option<u16>,
    start: Instant,
}

impl Observation {
    pub(super) fn begin(metrics: &Metrics, method: &Method, route: Route) -> Self {
        metrics.request_began();
        let route = route.label(method);
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::OPTIONS => "OPTIONS",
            _ => "_OTHER",
        };
        Self { metrics: metrics.clone(), method, route, status: None, start: Instant::now() }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.metrics.request_ended(self.method, self.route, self.status, self.start.elapsed());
    }
}
