//! Metrics, traces and logs, set up in one place and flushed in one place.

pub mod concurrency;
pub mod metrics;
mod process;
pub mod traces;

pub use metrics::Metrics;

use std::io::IsTerminal;

use anyhow::Context;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged: a level, or `target=level` pairs separated by commas (tracing-subscriber's `Targets`).
pub const ENV_LOG: &str = "RUST_LOG";
/// Start, stop, configuration and defects; single requests are at `debug`.
pub const DEFAULT_LOG: &str = "info";

/// `true`: neither metrics nor traces, as OpenTelemetry defines it. For measuring what they cost.
pub const ENV_SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// `OTEL_SERVICE_NAME` where it is unset.
pub const DEFAULT_SERVICE_NAME: &str = "eye-state";

/// Flushes what is still to be sent when dropped.
#[derive(Debug)]
#[must_use = "telemetry stops when this is dropped"]
pub struct TelemetryGuard {
    tracer_provider: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.tracer_provider.take().map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

/// Starts logs and, when an OTLP endpoint is configured, traces. JSON lines when standard error is no terminal.
pub fn init() -> anyhow::Result<TelemetryGuard> {
    let filter: Targets = match std::env::var(ENV_LOG) {
        Ok(text) if !text.trim().is_empty() => text.parse().with_context(|| format!("{ENV_LOG}={text:?}"))?,
        _ => DEFAULT_LOG.parse()?,
    };
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = if std::io::stderr().is_terminal() {
        format.with_target(false).boxed()
    } else {
        format.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    let tracer_provider = traces::provider()?;
    let spans = tracer_provider.as_ref().map(traces::layer);
    tracing_subscriber::registry().with(spans).with(logs.with_filter(filter)).try_init()?;
    Ok(TelemetryGuard { tracer_provider })
}

fn is_disabled() -> bool {
    std::env::var(ENV_SDK_DISABLED).is_ok_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Who emits: `service.name`, `.version` and, where the host has a name (in Kubernetes the pod's),
/// `.instance.id`, plus `OTEL_RESOURCE_ATTRIBUTES`.
fn resource() -> Resource {
    let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| DEFAULT_SERVICE_NAME.into());
    let instance = std::env::var("HOSTNAME").ok().map(|pod| KeyValue::new("service.instance.id", pod));
    Resource::builder()
        .with_service_name(name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(instance)
        .build()
}
