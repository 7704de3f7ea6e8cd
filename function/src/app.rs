//! What all requests share: inference pool, limits, metrics, and the phase that the process is in.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::annotate::{self, PictureFormat, annotate};
use crate::body::Body;
use crate::classifier::{Classification, Classifier};
use crate::config::{Config, Origins, RequestLimits, Thresholds};
use crate::cpu;
use crate::error::RequestError;
use crate::memory::{self, Memory, Reservation};
use crate::pool::{InferencePool, Turn};
use crate::server::Peer;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Stage;
use crate::telemetry::traces;
use picture::{BitDepth, Undecoded};

/// The phase that the process is in; it only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The model has not run yet.
    Starting,
    /// Takes requests.
    Ready,
    /// Asked to stop: says that it is not ready, so that no more requests are sent, and answers
    /// those that come.
    Draining,
}

/// Shared by all requests.
pub struct App {
    /// Where classification happens.
    pub pool: InferencePool<Classifier, Analysis>,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// Thresholds where the request names none.
    pub thresholds: Thresholds,
    /// Pages of which origins may use the function.
    pub origins: Origins,
    /// All instruments.
    pub metrics: Metrics,
    /// What all requests together may take.
    pub memory: Memory,
    /// Where the source of what runs here is, where that is known.
    pub source_url: Option<String>,
    phase: AtomicU8,
    cpus: Arc<AtomicUsize>,
    concurrency: Option<NonZeroUsize>,
}

/// What came out for one image.
#[derive(Debug)]
pub struct Analysis {
    /// Width of the upright image.
    pub width: u32,
    /// Height of the upright image.
    pub height: u32,
    /// Eyes and verdict.
    pub classification: Classification,
    /// Time for decoding.
    pub decode: Duration,
    /// The picture with boxes, where it was asked for.
    pub picture: Option<Picture>,
}

/// An encoded picture, and its share of the memory budget until it is sent.
#[derive(Debug)]
pub struct Picture {
    bytes: Vec<u8>,
    _reserved: Reservation,
}

impl AsRef<[u8]> for Picture {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl App {
    /// Starts the inference threads; the app is ready once [`App::set_phase`] says so.
    pub fn new(config: &Config, classifier: Classifier, metrics: Metrics) -> Arc<Self> {
        let cpus = cpu::allotment();
        let limit = config.concurrency.unwrap_or(cpus);
        let pool = InferencePool::new(classifier, limit, config.queue_capacity, config.request_deadline);
        let (depth, at_once) = (pool.clone(), pool.clone());
        metrics.observe_pool(move || depth.queue_depth(), move || at_once.limit());
        Arc::new(Self {
            pool,
            limits: config.limits,
            thresholds: config.thresholds,
            origins: config.origins.clone(),
            metrics,
            memory: Memory::new(memory::container_limit(), limit.get(), config.limits.max_body_memory),
            source_url: config.source_url.clone(),
            phase: AtomicU8::new(Phase::Starting as u8),
            cpus: Arc::new(AtomicUsize::new(cpus.get())),
            concurrency: config.concurrency,
        })
    }

    /// The phase that the process is in.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Goes forward to `phase`; never back.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Follows a changed CPU allotment: inferences at once, unless that number is fixed, and
    /// threads for each.
    pub fn set_cpus(&self, cpus: NonZeroUsize) {
        self.cpus.store(cpus.get(), Ordering::Relaxed);
        if self.concurrency.is_none() {
            self.pool.set_limit(cpus);
        }
        self.set_memory(memory::container_limit());
    }

    /// Follows a changed memory limit.
    pub fn set_memory(&self, container: Option<usize>) {
        self.memory.resize(container, self.pool.limit());
    }

    /// Classifies one image on an inference thread. When `peer` has closed its side, others go
    /// first.
    pub async fn classify(
        &self,
        body: Body,
        depth: Option<BitDepth>,
        thresholds: Thresholds,
        picture: Option<PictureFormat>,
        peer: Option<Peer>,
    ) -> Result<Analysis, RequestError> {
        let (metrics, memory) = (self.metrics.clone(), self.memory.clone());
        let max_pixels = self.limits.max_image_pixels;
        let request = tracing::Span::current();
        let queued = traces::stage!("queue");
        let cpus = Arc::clone(&self.cpus);
        let work = move |classifier: &Classifier, turn: Turn| {
            drop(queued);
            metrics.stage(Stage::Queue, turn.waited);
            // An inference that runs alone is spread over the CPUs; several share them out.
            model_runtime::threads::set_threads(cpus.load(Ordering::Relaxed) / turn.running);
            let _entered = request.enter();
            let decode = Decode { max_pixels, depth, memory: &memory };
            analyse(classifier, body, &decode, thresholds, picture, &metrics)
        };
        let closed = async {
            match &peer {
                Some(peer) => peer.closed().await,
                None => std::future::pending().await,
            }
        };
        let analysis = self.pool.run_for(closed, work).await?;
        self.metrics.result(analysis.classification.verdict.state);
        Ok(analysis)
    }
}

/// How to decode.
struct Decode<'a> {
    max_pixels: u64,
    depth: Option<BitDepth>,
    memory: &'a Memory,
}

fn analyse(
    classifier: &Classifier,
    body: Body,
    Decode { max_pixels, depth, memory }: &Decode<'_>,
    thresholds: Thresholds,
    picture: Option<PictureFormat>,
    metrics: &Metrics,
) -> Result<Analysis, RequestError> {
    let start = Instant::now();
    let (frame, _reserved) = {
        let _span = traces::stage!("decode", bytes = body.len()).entered();
        if body.is_empty() {
            return Err(RequestError::EmptyBody);
        }
        let undecoded = Undecoded::new(&body, *max_pixels)?;
        let needed =
            undecoded.memory() + picture.map_or(0, |format| annotate::memory(undecoded.dimensions(), format));
        let reserved = memory.work(needed)?;
        (undecoded.decode(*depth)?, reserved)
    };
    let decode = start.elapsed();
    // Free the encoded body before inference.
    drop(body);

    let classification = classifier.classify(&frame, thresholds);
    let picture = picture.map(|format| {
        let bytes = annotate(&frame, &classification.eyes, format)?;
        Ok::<_, RequestError>(Picture { _reserved: memory.transit(bytes.len())?, bytes })
    });
    let picture = picture.transpose()?;
    metrics.stage(Stage::Decode, decode);
    metrics.stage(Stage::Preprocess, classification.preprocess);
    metrics.stage(Stage::Inference, classification.inference);
    metrics.stage(Stage::Postprocess, classification.postprocess);
    Ok(Analysis { width: frame.width, height: frame.height, classification, decode, picture })
}
