//! Every metric of the function: instruments, names, buckets. Names follow OpenTelemetry's semantic
//! conventions where they have one; labels come from closed sets only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry::metrics::{Counter, Gauge, Histogram, MeterProvider, UpDownCounter};
use opentelemetry::{KeyValue, metrics::Meter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::concurrency::Concurrency;
use super::exemplars::{Exemplars, SampledSpan};
use super::{openmetrics, process};
use crate::config::TelemetryConfig;
use crate::verdict::State;

/// Bucket bounds of request durations in seconds: from a refusal to the deadline, fine enough
/// around an inference (tens of milliseconds) that a quantile is off by 20 % at most.
const REQUEST_SECONDS: [f64; 24] = [
    0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1,
    0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0,
];

/// The histogram whose buckets have exemplars, as it is called in a scrape.
const REQUEST_DURATION: &str = "http_server_request_duration_seconds";

/// Bucket bounds of stage durations in seconds: the short stages take tens of microseconds.
const STAGE_SECONDS: [f64; 20] = [
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Formats of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Exposition {
    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Parts of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for an inference thread.
    Queue,
    /// Bytes to pixels.
    Decode,
    /// Pixels to the model's input.
    Preprocess,
    /// The model.
    Inference,
    /// Boxes, NMS, verdict.
    Postprocess,
}

impl Stage {
    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
        }
    }
}

/// Parts of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupPhase {
    /// From the exec to `main`.
    Process,
    /// Taking the weights from the binary.
    Weights,
    /// The first inference.
    Warmup,
    /// From the exec to ready.
    Ready,
}

impl StartupPhase {
    fn label(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Weights => "weights",
            Self::Warmup => "warmup",
            Self::Ready => "ready",
        }
    }
}

/// All instruments; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    registry: Registry,
    meter: Meter,
    request_duration: Histogram<f64>,
    active_requests: UpDownCounter<i64>,
    stage_duration: Histogram<f64>,
    results: Counter<u64>,
    rejected: Counter<u64>,
    startup: Gauge<f64>,
    concurrency: Concurrency,
    /// None without metrics.
    exemplars: Option<Exemplars>,
    /// The last rendering in each format, and when it began.
    rendered: Mutex<[Option<(Instant, Bytes)>; 2]>,
    // Keeps the readers alive.
    _provider: SdkMeterProvider,
}

/// The labels of `eye_state_build_info`.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The model's name.
    pub model_name: &'static str,
    /// The model's version.
    pub model_version: &'static str,
}

impl Metrics {
    /// Creates every instrument.
    pub fn new(build: BuildInfo, config: &TelemetryConfig) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut provider = SdkMeterProvider::builder().with_resource(super::resource(config));
        if config.metrics {
            provider = provider.with_reader(exporter);
        }
        // Without a reader every instrument does nothing.
        let provider = provider.build();
        let meter = provider.meter(super::DEFAULT_SERVICE_NAME);
        let concurrency = Concurrency::default();
        observe_concurrency(&meter, &concurrency);
        observe_process(&meter);

        let instruments = Instruments {
            request_duration: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Duration of HTTP requests, from the head to the answer")
                .with_boundaries(REQUEST_SECONDS.to_vec())
                .build(),
            active_requests: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_unit("{request}")
                .with_description("HTTP requests being handled, probes and scrapes included")
                .build(),
            stage_duration: meter
                .f64_histogram("eye_state.stage.duration")
                .with_unit("s")
                .with_description("Duration of each stage of a classification")
                .with_boundaries(STAGE_SECONDS.to_vec())
                .build(),
            results: meter
                .u64_counter("eye_state.results")
                .with_unit("{image}")
                .with_description("Images classified, by state")
                .build(),
            rejected: meter
                .u64_counter("eye_state.rejected")
                .with_unit("{request}")
                .with_description(
                    "Classification requests answered with an error, and others without a place, by reason",
                )
                .build(),
            startup: meter
                .f64_gauge("eye_state.startup.duration")
                .with_unit("s")
                .with_description("Duration of each phase of the start; ready is the sum from the exec")
                .build(),
            concurrency,
            exemplars: config.metrics.then(|| Exemplars::new(&REQUEST_SECONDS)),
            rendered: Mutex::default(),
            registry,
            meter,
            _provider: provider,
        };
        let info = instruments
            .meter
            .u64_gauge("eye_state.build_info")
            .with_description("1, labelled with what this build is")
            .build();
        info.record(
            1,
            &[
                KeyValue::new("version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("model_name", build.model_name),
                KeyValue::new("model_version", build.model_version),
            ],
        );
        // A counter that is absent until its first event makes rates and alerts miss that event.
        for state in State::ALL {
            instruments.results.add(0, &[KeyValue::new("state", state.label())]);
        }
        for reason in ["overloaded", "deadline-exceeded", "draining", "no-threads", "internal"] {
            instruments.rejected.add(0, &[KeyValue::new("reason", reason)]);
        }
        Ok(Self(Arc::new(instruments)))
    }

    /// The number of requests in flight and its integral.
    pub fn concurrency(&self) -> &Concurrency {
        &self.0.concurrency
    }

    /// Shows the pool's queue and limit.
    pub fn observe_pool(
        &self,
        queue_depth: impl Fn() -> usize + Send + Sync + 'static,
        limit: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        self.0
            .meter
            .u64_observable_gauge("eye_state.queue.depth")
            .with_unit("{request}")
            .with_description("Requests waiting for an inference thread")
            .with_callback(move |observer| observer.observe(queue_depth() as u64, &[]))
            .build();
        self.0
            .meter
            .u64_observable_gauge("eye_state.inference.limit")
            .with_unit("{inference}")
            .with_description("Inferences that may run at once: the CPU allotment, or what is configured")
            .with_callback(move |observer| observer.observe(limit() as u64, &[]))
            .build();
    }

    /// An HTTP request began.
    pub fn request_began(&self) {
        self.0.active_requests.add(1, &[]);
    }

    /// An HTTP request ended; `status` is `None` if the client disconnected first, `span` if it was
    /// not sampled.
    pub fn request_ended(
        &self,
        method: &'static str,
        route: &'static str,
        status: Option<u16>,
        elapsed: Duration,
        span: Option<SampledSpan>,
    ) {
        self.0.active_requests.add(-1, &[]);
        let outcome = match status {
            Some(status) => KeyValue::new("http.response.status_code", i64::from(status)),
            None => KeyValue::new("error.type", "client-went-away"),
        };
        let labels =
            [KeyValue::new("http.request.method", method), KeyValue::new("http.route", route), outcome];
        self.0.request_duration.record(elapsed.as_secs_f64(), &labels);
        if let (Some(exemplars), Some(span)) = (&self.0.exemplars, span) {
            exemplars.record(&labels, elapsed.as_secs_f64(), span);
        }
    }

    /// One stage of a classification took `elapsed`.
    pub fn stage(&self, stage: Stage, elapsed: Duration) {
        self.0.stage_duration.record(elapsed.as_secs_f64(), &[KeyValue::new("stage", stage.label())]);
    }

    /// An image was classified.
    pub fn result(&self, state: State) {
        self.0.results.add(1, &[KeyValue::new("state", state.label())]);
    }

    /// A classification request was answered with an error, or another request found no place.
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejected.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// A phase of the start took `elapsed`.
    pub fn startup(&self, phase: StartupPhase, elapsed: Duration) {
        self.0.startup.record(elapsed.as_secs_f64(), &[KeyValue::new("phase", phase.label())]);
    }

    /// Everything in this format, as it was at `asked` or later.
    ///
    /// A rendering takes as long as fifty probes: all who ask while others wait for their turn
    /// share one.
    pub fn render(&self, format: Exposition, asked: Instant) -> anyhow::Result<Bytes> {
        let mut rendered = self.0.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let rendered = &mut rendered[format as usize];
        if let Some((began, text)) = &*rendered
            && *began >= asked
        {
            return Ok(text.clone());
        }
        let began = Instant::now();
        let text = Bytes::from(match format {
            Exposition::Text => TextEncoder::new().encode_to_string(&self.0.registry.gather())?,
            Exposition::OpenMetrics => {
                // Before the counts, so that each exemplar is one of those counted.
                let exemplars = self.0.exemplars.as_ref().map(Exemplars::snapshot).unwrap_or_default();
                openmetrics::encode(&self.0.registry.gather(), REQUEST_DURATION, &exemplars)
            }
        });
        *rendered = Some((began, text.clone()));
        Ok(text)
    }
}

/// Time since the process was started; zero where procfs is missing.
pub fn process_age() -> Duration {
    process::age().unwrap_or_default()
}

fn observe_concurrency(meter: &Meter, concurrency: &Concurrency) {
    let observed = concurrency.clone();
    meter
        .u64_observable_gauge("eye_state.requests.in_flight")
        .with_unit("{request}")
        .with_description("Classification requests being handled, queued ones included")
        .with_callback(move |observer| observer.observe(observed.in_flight(), &[]))
        .build();
    let observed = concurrency.clone();
    meter
        // The name carries the unit; a declared one would be appended once more.
        .f64_observable_counter("eye_state.concurrency.seconds")
        .with_description("Requests in flight integrated over time: its rate is the average concurrency")
        .with_callback(move |observer| observer.observe(observed.seconds(), &[]))
        .build();
}

fn observe_process(meter: &Meter) {
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("User and system CPU time")
        .with_callback(|observer| {
            if let Some(seconds) = process::cpu_seconds() {
                observer.observe(seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.memory.usage")
        .with_unit("By")
        .with_description("Resident memory")
        .with_callback(|observer| {
            if let Some(bytes) = process::resident_bytes() {
                observer.observe(bytes, &[]);
            }
        })
        .build();
    let started = std::time::Instant::now();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("Time since the start")
        .with_callback(move |observer| observer.observe(started.elapsed().as_secs_f64(), &[]))
        .build();
}
