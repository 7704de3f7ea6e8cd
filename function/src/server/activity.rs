//! The state of a connection that decides whether it can be closed to make room.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The state of one connection. Written by its own task, read by the search for a connection to
/// close.
///
/// The fields are independent of each other, and a connection that loses its place checks its own
/// state again: `Relaxed` is enough.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// Milliseconds since `accepted` at which a request ended last; 0 before the first.
    ended: AtomicU64,
    /// Milliseconds since `accepted`, plus one, at which the head began that is not complete yet; 0
    /// without one.
    head: AtomicU64,
    served: AtomicBool,
    serving: AtomicBool,
    waiting: AtomicBool,
    writing: AtomicBool,
    unread: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            ended: AtomicU64::new(0),
            head: AtomicU64::new(0),
            served: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        self.unread.store(true, Ordering::Relaxed);
        if !self.serving.load(Ordering::Relaxed) && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// The head of a request is complete.
    pub(super) fn begin(&self) {
        self.serving.store(true, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    /// The body of the request was read to its end.
    pub(super) fn body_ended(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    /// The request was answered or abandoned.
    pub(super) fn end(&self) {
        self.served.store(true, Ordering::Relaxed);
        self.ended.store(self.now(), Ordering::Relaxed);
        self.serving.store(false, Ordering::Relaxed);
    }

    /// Whether the client does not read its answer.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }

    /// Whether the request waits for one of the places.
    pub(super) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Whether bytes came in since the last request that was read to its end.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered: closing the connection would lose the answer.
    pub(super) fn is_busy(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
            || (self.serving.load(Ordering::Relaxed) && !self.waiting.load(Ordering::Relaxed))
    }

    /// Whether it ever sent a whole request head.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) || self.serving.load(Ordering::Relaxed)
    }

    /// How long it has been idle, or has existed.
    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.ended.load(Ordering::Relaxed)))
    }

    /// How long the head of its request has been incomplete.
    pub(super) fn incomplete_head(&self) -> Option<Duration> {
        let began = self.head.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(began)))
    }
}
