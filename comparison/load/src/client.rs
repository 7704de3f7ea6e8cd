//! One HTTP request: connection pool, time-out, and the outcome as a class.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::images::Picture;
use scenario::{DEADLINE_EXCEEDED, Outcome};

/// The target of the requests.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://ADDRESS:PORT/path`.
    pub url: Uri,
    /// The `Host` header, if it differs from the address (a gateway routes by it).
    pub host: Option<HeaderValue>,
}

impl Target {
    /// Checks both parts.
    pub fn new(url: &str, host: Option<&str>) -> anyhow::Result<Self> {
        use anyhow::Context;
        let url: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        anyhow::ensure!(url.scheme_str() == Some("http"), "{url}: only http:// is spoken here");
        let host = host.map(HeaderValue::from_str).transpose().context("not a host name")?;
        Ok(Self { url, host })
    }
}

/// Bytes of a problem document that are read: the function's have a few hundred.
const MAX_PROBLEM: usize = 4096;

fn is_deadline_exceeded(problem: &[u8]) -> bool {
    let problem: Option<serde_json::Value> = serde_json::from_slice(problem).ok();
    problem.is_some_and(|p| p["type"] == DEADLINE_EXCEEDED)
}

/// Sends requests over kept-alive connections; cheap to clone.
#[derive(Clone)]
pub struct LoadClient {
    client: Client<HttpConnector, Full<Bytes>>,
    target: Arc<Target>,
    timeout: Duration,
}

impl LoadClient {
    /// A client with an empty pool. The pool keeps as many connections as the load needed at once.
    pub fn new(target: Target, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout));
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, target: Arc::new(target), timeout }
    }

    /// Posts one picture and reads the answer to its end.
    pub async fn send(&self, picture: &Picture) -> Outcome {
        let mut request = Request::new(Full::new(picture.bytes.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.url.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(picture.content_type));
        if let Some(host) = &self.target.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        let exchange = async {
            let response = match self.client.request(request).await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Outcome::Connect,
                Err(_) => return Outcome::Broken,
            };
            let status = response.status();
            let mut body = response.into_body();
            // The body is kept for a 504 only: its problem type distinguishes the function's from a
            // gateway's.
            let mut problem = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return Outcome::Broken };
                if let (StatusCode::GATEWAY_TIMEOUT, Some(data)) = (status, frame.data_ref()) {
                    let room = MAX_PROBLEM.saturating_sub(problem.len());
                    problem.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            if is_deadline_exceeded(&problem) {
                Outcome::Expired
            } else {
                Outcome::of_status(status.as_u16())
            }
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Outcome::Timeout)
    }
}
