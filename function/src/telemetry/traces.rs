//! Spans: W3C trace context in and out, OTLP over HTTP when an endpoint is configured.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;
use warp::http::{HeaderMap, HeaderName, HeaderValue};

/// Endpoint of the collector, such as `http://collector:4318`; unset or empty: no traces.
pub const ENV_OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The same for traces alone; wins over the general one.
pub const ENV_OTLP_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The header of W3C Trace Context, section 3.2.
const TRACEPARENT: &str = "traceparent";

/// Span fields that end up as OpenTelemetry attributes; all spans of a request are at this target.
pub const TARGET: &str = "eye_state::request";

/// A provider that sends to the configured collector, or none.
pub(super) fn provider() -> anyhow::Result<Option<SdkTracerProvider>> {
    let configured = |name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if !configured(ENV_OTLP_ENDPOINT) && !configured(ENV_OTLP_TRACES_ENDPOINT) {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider =
        SdkTracerProvider::builder().with_resource(super::resource()).with_batch_exporter(exporter).build();
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

/// Makes `span` a child of the caller's span and returns the trace id, where there is one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) -> Option<String> {
    let parent = TraceContextPropagator::new().extract(&Incoming(headers));
    // Without a collector there is no layer to take the parent; the caller's trace id still goes into the logs.
    if span.set_parent(parent).is_err() {
        return headers.get(TRACEPARENT)?.to_str().ok()?.split('-').nth(1).map(str::to_owned);
    }
    use opentelemetry::trace::TraceContextExt;
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Writes the span's context into the headers of an answer, so that the caller can find the trace.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(headers));
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
