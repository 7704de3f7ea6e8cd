//! Exports spans as OTLP over plain HTTP with hyper, and warns when spans are lost.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::seldom::Seldom;
use crate::config::telemetry::TraceExport;

/// Most bytes that are read of a collector's answer, as the OTLP specification recommends.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// An exporter for `export`, whose connections live on `runtime`.
pub(super) fn exporter(export: &TraceExport, runtime: &Handle) -> anyhow::Result<Exporter> {
    let losses = Arc::new(Losses::default());
    let client = Client { runtime: runtime.clone(), timeout: export.timeout, losses: Arc::clone(&losses) };
    let otlp = OtlpExporter::builder()
        .with_http()
        .with_endpoint(export.endpoint.to_string())
        .with_timeout(export.timeout)
        .with_http_client(client)
        .build()?;
    Ok(Exporter { otlp, losses, endpoint: export.endpoint.clone() })
}

/// The OTLP exporter, whose failures become warnings.
#[derive(Debug)]
pub(super) struct Exporter {
    otlp: OtlpExporter,
    losses: Arc<Losses>,
    endpoint: Uri,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.otlp.export(batch).await;
        if let Err(error) = &result {
            self.losses.add(spans, error);
            self.losses.warn(&self.endpoint, Instant::now());
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.losses.warn_of_the_rest(&self.endpoint);
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// Spans that did not reach the collector and that no warning has named yet.
#[derive(Debug, Default)]
struct Losses(Mutex<Loss>);

#[derive(Debug, Default)]
struct Loss {
    spans: usize,
    /// The transport's error: the exporter's own error is only "network error".
    cause: Option<String>,
    /// A batch is exported every 5 s, and a collector can be unreachable for hours.
    warnings: Seldom,
}

impl Losses {
    fn lock(&self) -> MutexGuard<'_, Loss> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_cause(&self, cause: Option<String>) {
        self.lock().cause = cause;
    }

    fn add(&self, spans: usize, error: &impl Display) {
        let mut loss = self.lock();
        loss.spans += spans;
        loss.cause.get_or_insert_with(|| error.to_string());
    }

    /// Warns, unless that was done lately.
    fn warn(&self, endpoint: &Uri, now: Instant) -> bool {
        let mut loss = self.lock();
        let due = loss.warnings.due(now);
        if due {
            loss.report(endpoint);
        }
        due
    }

    fn warn_of_the_rest(&self, endpoint: &Uri) {
        let mut loss = self.lock();
        if loss.spans > 0 {
            loss.report(endpoint);
        }
    }
}

impl Loss {
    fn report(&mut self, endpoint: &Uri) {
        let (spans, cause) = (std::mem::take(&mut self.spans), self.cause.take().unwrap_or_default());
        tracing::warn!(
            spans,
            %endpoint,
            cause,
            "spans were lost: the collector did not take them; check OTEL_EXPORTER_OTLP_ENDPOINT"
        );
    }
}

/// One connection an export. The SDK exports from a thread of its own, so the connection runs on
/// `runtime`.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    timeout: Duration,
    losses: Arc<Losses>,
}

impl HttpClient for Client {
    // The expansion of an async method by `async_trait`, which the trait uses.
    fn send_bytes<'a, 'send>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'send>>
    where
        'a: 'send,
        Self: 'send,
    {
        let limit = self.timeout;
        let sent = self.runtime.spawn(async move {
            tokio::time::timeout(limit, send(request))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis()).into()))
        });
        Box::pin(async move {
            let result = sent.await.unwrap_or_else(|error| Err(error.into()));
            self.losses.set_cause(match &result {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("it answered {}", response.status())),
                Err(error) => Some(error.to_string()),
            });
            result
        })
    }
}

async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = std::mem::take(request.uri_mut());
    let authority = uri.authority().ok_or("the endpoint names no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = tokio::net::TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer, or when `sender` is dropped.
    tokio::spawn(connection);

    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Box::new(ResponseBodyTooLarge::new()).into()
        } else {
            error
        }
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_stays_away_is_warned_of_once_a_minute() {
        let (losses, endpoint) = (Losses::default(), Uri::from_static("http://collector:4318"));
        let start = Instant::now();
        let warnings = (0..36).filter(|export| {
            losses.add(10, &"no answer");
            losses.warn(&endpoint, start + Duration::from_secs(5 * export))
        });
        assert_eq!(warnings.count(), 3);
        assert_eq!(losses.lock().spans, 110, "what came after the last warning");
    }
}
