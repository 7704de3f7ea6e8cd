//! Spans: W3C trace context in and out, exported where an endpoint is configured.
//!
//! Whether a request is traced is decided once, when it comes in. An untraced request creates no
//! spans, so that tracing a tenth of the requests costs a tenth.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::field::Empty;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use super::exemplars::SampledSpan;
use super::otlp;
use crate::config::TelemetryConfig;

/// The header of W3C Trace Context, section 3.2.
const TRACEPARENT: &str = "traceparent";

/// Target of the spans that are exported: a traced request and its stages.
pub const TARGET: &str = "eye_state::request";

/// Whether there is a collector. Process-wide, like the subscriber that the spans go to.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// A provider that sends to the configured collector, or none.
pub(super) fn provider(
    config: &TelemetryConfig,
    runtime: &Handle,
) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Some(export) = &config.traces else { return Ok(None) };
    let provider = SdkTracerProvider::builder()
        .with_resource(super::resource(config))
        .with_batch_exporter(otlp::exporter(export, runtime)?)
        .build();
    EXPORTING.store(true, Ordering::Relaxed);
    Ok(Some(provider))
}

/// The layer that turns this crate's request spans into OpenTelemetry's.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl tracing_subscriber::Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    use tracing_subscriber::Layer as _;
    let layer: OpenTelemetryLayer<S, SdkTracer> = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(super::DEFAULT_SERVICE_NAME))
        .with_location(false);
    layer.with_filter(tracing_subscriber::filter::filter_fn(|metadata| metadata.target() == TARGET))
}

/// The span of a request to `route`. A caller's decision not to sample is followed with every
/// sampler; where the caller sampled or decided nothing, `OTEL_TRACES_SAMPLER` decides. A request
/// that is not traced gets a span only to put its caller's trace id into the log, and none where
/// there is no id.
pub fn request(headers: &HeaderMap, route: &'static str) -> Span {
    let parent = headers
        .contains_key(TRACEPARENT)
        .then(|| TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers)));
    let caller = parent.as_ref().map(|parent| parent.span().span_context().clone());
    let caller = caller.filter(|caller| caller.is_valid());
    if EXPORTING.load(Ordering::Relaxed) && caller.as_ref().is_none_or(|caller| caller.is_sampled()) {
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.name = %format_args!("POST {route}"),
            otel.kind = "server",
            http.request.method = "POST",
            http.route = route,
            http.response.status_code = Empty,
            error.type = Empty,
            eye_state.state = Empty,
            trace_id = Empty,
        );
        if let Some(parent) = parent {
            // Fails only without an OpenTelemetry layer, and then nothing below is sampled either.
            let _ = span.set_parent(parent);
        }
        let context = span.context();
        let decided = context.span().span_context().clone();
        if decided.is_sampled() {
            span.record("trace_id", decided.trace_id().to_string());
            return span;
        }
    }
    match caller {
        Some(caller) => tracing::info_span!("request", trace_id = %caller.trace_id()),
        None => Span::none(),
    }
}

/// Whether the current request is traced.
pub fn is_traced() -> bool {
    Span::current().metadata().is_some_and(|metadata| metadata.target() == TARGET)
}

/// The span of a stage of the current request, if it is traced: `stage!("decode", bytes = 5)`.
macro_rules! stage {
    ($($span:tt)+) => {
        if $crate::telemetry::traces::is_traced() {
            tracing::info_span!(target: $crate::telemetry::traces::TARGET, $($span)+)
        } else {
            tracing::Span::none()
        }
    };
}
pub(crate) use stage;

/// Writes a traced request's context into the headers of its answer, so that the caller can find
/// the trace.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if span.metadata().is_some_and(|metadata| metadata.target() == TARGET) {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(headers));
    }
}

/// The span that `headers` name, if it was sampled: a request's caller, or in an answer the request
/// itself.
pub fn sampled(headers: &HeaderMap) -> Option<SampledSpan> {
    headers.get(TRACEPARENT)?;
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers));
    let span = context.span();
    let span = span.span_context();
    (span.is_valid() && span.is_sampled())
        .then(|| SampledSpan { trace_id: span.trace_id(), span_id: span.span_id() })
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
