//! Metrics, traces and logs, set up in one place and flushed in one place.

pub mod concurrency;
pub mod exemplars;
pub mod metrics;
mod openmetrics;
mod otlp;
mod process;
pub(crate) mod seldom;
pub mod traces;

pub use metrics::Metrics;

use std::io::IsTerminal;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::TelemetryConfig;

/// The service's name where the environment gives none.
pub const DEFAULT_SERVICE_NAME: &str = "eye-state";

/// Flushes pending telemetry when dropped.
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

/// Starts logs and, where a collector is configured, traces, which are sent on `runtime`. JSON
/// lines when standard error is no terminal.
pub fn init(config: &TelemetryConfig, runtime: &Handle) -> anyhow::Result<TelemetryGuard> {
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = if std::io::stderr().is_terminal() {
        format.with_target(false).boxed()
    } else {
        format.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    let tracer_provider = traces::provider(config, runtime)?;
    let spans = tracer_provider.as_ref().map(traces::layer);
    tracing_subscriber::registry().with(spans).with(logs.with_filter(config.log.clone())).try_init()?;
    if !config.without_effect.is_empty() {
        let names = config.without_effect.join(", ");
        tracing::warn!(names, "these variables have no effect here: see function/README.md");
    }
    Ok(TelemetryGuard { tracer_provider })
}

/// The telemetry's resource: `service.name`, `.version` and, where the host has a name (in
/// Kubernetes the pod's), `.instance.id`, plus what `OTEL_SERVICE_NAME` and
/// `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource(config: &TelemetryConfig) -> Resource {
    let instance = std::env::var("HOSTNAME").ok().map(|pod| KeyValue::new("service.instance.id", pod));
    let mut resource = Resource::builder();
    if !config.service_is_named {
        resource = resource.with_service_name(DEFAULT_SERVICE_NAME);
    }
    resource
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(instance)
        .build()
}
