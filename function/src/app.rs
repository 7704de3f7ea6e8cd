//! What all requests share: inference pool, limits, metrics, and the phase that the process is in.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::annotate::{self, PictureFormat, annotate};
use crate::body::Body;
use crate::classifier::{Classification, Classifier};
use crate::config::{Config, Origins, RequestLimits, Thresholds};
use crate::cpu;
use crate::error::{Large, RequestError};
use crate::memory::{self, Deadline, Memory, Reservation};
use crate::pool::{InferencePool, Turn};
use crate::server::Peer;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Stage;
use crate::telemetry::traces;
use picture::{BitDepth, Frame, Pixels, Undecoded};

/// The phase of the process; phases never go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The model has not run yet.
    Starting,
    /// Takes requests.
    Ready,
    /// Draining: not ready, so that no more requests are routed here; those that arrive are
    /// answered.
    Draining,
}

/// Shared by all requests.
pub struct App {
    /// The inference threads.
    pub pool: InferencePool<Classifier, ()>,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// Default thresholds.
    pub thresholds: Thresholds,
    /// Origins whose pages may use the function.
    pub origins: Origins,
    /// All instruments.
    pub metrics: Metrics,
    /// The memory budget of all requests.
    pub memory: Memory,
    /// URL of the source of this build, if known.
    pub source_url: Option<String>,
    phase: AtomicU8,
    cpus: Arc<AtomicUsize>,
    concurrency: Option<NonZeroUsize>,
}

/// The result for one image.
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
    /// The picture with boxes, if requested.
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
        let container = memory::container_limit().unwrap_or_else(|error| {
            // What watches the limit reads it again in a second.
            tracing::warn!(%error, "the memory limit cannot be read: none is assumed until it can");
            None
        });
        Arc::new(Self {
            pool,
            limits: config.limits,
            thresholds: config.thresholds,
            origins: config.origins.clone(),
            metrics,
            memory: Memory::new(
                container,
                limit.get(),
                config.max_connections,
                config.limits.max_body_memory,
            ),
            source_url: config.source_url.clone(),
            phase: AtomicU8::new(Phase::Starting as u8),
            cpus: Arc::new(AtomicUsize::new(cpus.get())),
            concurrency: config.concurrency,
        })
    }

    /// The phase of the process.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Enters `phase`, unless a later one was reached.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Adapts to a changed CPU allotment: concurrent inferences, unless their number is fixed, and
    /// threads per inference.
    pub fn set_cpus(&self, cpus: NonZeroUsize) {
        self.cpus.store(cpus.get(), Ordering::Relaxed);
        if self.concurrency.is_none() {
            self.pool.set_limit(cpus);
        }
        // Another number of threads leaves another part of the same limit.
        self.set_memory(self.memory.container());
    }

    /// Adapts to a changed memory limit.
    pub fn set_memory(&self, container: Option<usize>) {
        self.memory.resize(container, self.pool.threads());
    }

    /// Classifies one image on an inference thread. Once `peer` has closed its side, other requests
    /// have priority.
    pub async fn classify(
        &self,
        body: Body,
        depth: Option<BitDepth>,
        thresholds: Thresholds,
        picture: Option<PictureFormat>,
        peer: Option<Peer>,
    ) -> Result<Analysis, RequestError> {
        let image = Image::Encoded { bytes: body, depth };
        self.run(peer, move |worker| worker.analyse(image, thresholds, picture)).await
    }

    /// Runs `work` on an inference thread; expensive parsing also runs there. Once `peer` has
    /// closed its side, other requests have priority.
    pub async fn run<T: Send + 'static>(
        &self,
        peer: Option<Peer>,
        work: impl FnOnce(&Worker<'_>) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let (metrics, memory) = (self.metrics.clone(), self.memory.clone());
        let (limits, longest_wait) = (self.limits, self.pool.deadline());
        let request = tracing::Span::current();
        let queued = traces::stage!("queue");
        let cpus = Arc::clone(&self.cpus);
        let (done, mut made) = oneshot::channel();
        let work = move |classifier: &Classifier, turn: Turn| {
            drop(queued);
            metrics.stage(Stage::Queue, turn.waited);
            // A single inference uses all CPUs; concurrent ones divide them.
            model_runtime::threads::set_threads(cpus.load(Ordering::Relaxed) / turn.running);
            let _entered = request.enter();
            let deadline = Deadline::new(longest_wait, turn.waited);
            let worker = Worker { classifier, limits, memory: &memory, deadline, metrics: &metrics };
            // The receiver is dropped if the client disconnected.
            let _ = done.send(work(&worker)?);
            Ok(())
        };
        let closed = async {
            match &peer {
                Some(peer) => peer.closed().await,
                None => std::future::pending().await,
            }
        };
        self.pool.run_for(closed, work).await?;
        made.try_recv().map_err(|_| RequestError::Internal)
    }
}

/// An image of a request.
#[derive(Debug)]
pub enum Image {
    /// A file in one of the supported formats.
    Encoded {
        /// The file.
        bytes: Body,
        /// Significant bits of 16-bit samples, if the client states them.
        depth: Option<BitDepth>,
    },
    /// 8-bit samples, row by row from the top left, the channels of a pixel side by side.
    Pixels {
        /// `width` × `height` × channels of `colour` bytes.
        bytes: Body,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What a pixel is made of.
        colour: Colour,
    },
}

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// One channel.
    Gray,
    /// Red, green, blue.
    Rgb,
}

impl Colour {
    /// Samples of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

/// The context of a request on an inference thread.
pub struct Worker<'a> {
    classifier: &'a Classifier,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// The memory budget of all requests.
    pub memory: &'a Memory,
    /// When the request is given up where it waits for memory.
    deadline: Deadline,
    metrics: &'a Metrics,
}

/// Pixels, and what keeps their memory reserved.
type Decoded = (Frame, Reservation);

impl Worker<'_> {
    /// Reserves memory for work on `what`. Blocks while other work holds it, until the request's
    /// deadline.
    pub fn reserve(&self, bytes: usize, what: Large) -> Result<Reservation, RequestError> {
        self.memory.work(bytes, what, self.deadline)
    }

    /// Decodes and classifies an image, and draws the boxes if requested.
    pub fn analyse(
        &self,
        image: Image,
        thresholds: Thresholds,
        picture: Option<PictureFormat>,
    ) -> Result<Analysis, RequestError> {
        let start = Instant::now();
        let (frame, _reserved) = match image {
            Image::Encoded { bytes, depth } => self.decode(&bytes, depth, picture)?,
            Image::Pixels { bytes, width, height, colour } => self.arrange(bytes, (width, height), colour)?,
        };
        let decode = start.elapsed();
        let classification = self.classifier.classify(&frame, thresholds);
        let picture = picture.map(|format| {
            let mut bytes = annotate(&frame, &classification.eyes, format)?;
            // The vector grew by doubling, and only its length is counted.
            bytes.shrink_to_fit();
            let reserved = self.memory.transit(bytes.len(), Large::Picture)?;
            Ok::<_, RequestError>(Picture { _reserved: reserved, bytes })
        });
        let picture = picture.transpose()?;
        self.metrics.stage(Stage::Decode, decode);
        self.metrics.stage(Stage::Preprocess, classification.preprocess);
        self.metrics.stage(Stage::Inference, classification.inference);
        self.metrics.stage(Stage::Postprocess, classification.postprocess);
        self.metrics.result(classification.verdict.state);
        Ok(Analysis { width: frame.width, height: frame.height, classification, decode, picture })
    }

    fn decode(
        &self,
        bytes: &[u8],
        depth: Option<BitDepth>,
        picture: Option<PictureFormat>,
    ) -> Result<Decoded, RequestError> {
        let _span = traces::stage!("decode", bytes = bytes.len()).entered();
        if bytes.is_empty() {
            return Err(RequestError::EmptyBody);
        }
        let undecoded = Undecoded::new(bytes, self.limits.max_image_pixels)?;
        let size = undecoded.dimensions();
        if picture.is_some() {
            annotate::check(size)?;
        }
        let needed = undecoded.memory() + picture.map_or(0, |format| annotate::memory(size, format));
        let reserved = self.reserve(needed, Large::Image)?;
        Ok((undecoded.decode(depth)?, reserved))
    }

    /// Samples of a request in planar order. Gray ones are already planar.
    fn arrange(
        &self,
        bytes: Body,
        (width, height): (u32, u32),
        colour: Colour,
    ) -> Result<Decoded, RequestError> {
        let _span = traces::stage!("decode", bytes = bytes.len()).entered();
        let pixels = u64::from(width) * u64::from(height);
        let limit = self.limits.max_image_pixels;
        if pixels > limit {
            return Err(RequestError::TooManyPixels { width, height, limit });
        }
        assert_eq!(bytes.len() as u64, pixels * colour.channels() as u64, "the caller has checked the shape");
        let (pixels, reserved) = match colour {
            Colour::Gray => {
                let (samples, reserved) = bytes.into_parts();
                (Pixels::Gray(samples), reserved)
            }
            Colour::Rgb => {
                let reserved = self.reserve(bytes.len(), Large::Image)?;
                (Pixels::from_rgb(&bytes), reserved)
            }
        };
        Ok((Frame { width, height, pixels }, reserved))
    }
}
