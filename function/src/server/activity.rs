//! The state of a connection that decides whether it can be closed to make room.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A connection that has been idle for less is not closed to make room: its request may be in
/// transit. With 512 spare places, 5,000 half-sent bodies hold a probe up for less than half a
/// second.
pub(super) const SETTLES: Duration = Duration::from_millis(50);

/// After so long without progress the client is taken not to read its answer, and may be closed to
/// make room. Lost packets are sent again after 200 ms and more (Linux' least time-out).
pub(super) const STALLS: Duration = Duration::from_millis(400);

/// What would be lost by closing a connection that waits for its client or for a place, and for how
/// long it has waited: the longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It never sent a whole request head.
    Stranger(Reverse<Duration>),
    /// It is idle between requests, or its request waits for a place.
    Idle(Reverse<Duration>),
    /// An answer that the client does not read.
    Answer(Reverse<Duration>),
}

/// The state of one connection. Written by its own task, read by the search for a connection to
/// close.
///
/// Times are milliseconds since `accepted`, plus one; 0 stands for none. The fields are independent
/// of each other, and a connection that loses its place checks its own state again: `Relaxed` is
/// enough.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// Since when it waits for its client's request, or for a place. None until the connection's
    /// own task has tried to read: when the process is short of CPU, requests wait in the kernel.
    idle: AtomicU64,
    /// Since when the client has taken nothing of what is written to it.
    stalled: AtomicU64,
    /// When the head began that is not complete yet.
    head: AtomicU64,
    served: AtomicBool,
    serving: AtomicBool,
    waiting: AtomicBool,
    /// Bytes came in since the last request that was read to its end.
    unread: AtomicBool,
    /// All bytes that came in were looked at since the last request began.
    drained: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            idle: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            head: AtomicU64::new(0),
            served: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            drained: AtomicBool::new(true),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn begin_unless_begun(&self, time: &AtomicU64) -> bool {
        let begins = time.load(Ordering::Relaxed) == 0;
        if begins {
            time.store(self.now(), Ordering::Relaxed);
        }
        begins
    }

    fn since(&self, time: &AtomicU64) -> Option<Duration> {
        let began = time.load(Ordering::Relaxed);
        (began != 0).then(|| Duration::from_millis(self.now().saturating_sub(began)))
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        self.unread.store(true, Ordering::Relaxed);
        // A head that comes in drops is idle from the first on.
        if !self.serving.load(Ordering::Relaxed) && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now(), Ordering::Relaxed);
            self.idle.store(0, Ordering::Relaxed);
        }
    }

    /// No more bytes are there.
    pub(super) fn awaits(&self) {
        self.drained.store(true, Ordering::Relaxed);
        self.begin_unless_begun(&self.idle);
    }

    /// The connection is being closed, and what the client still sends is thrown away.
    pub(super) fn lingers(&self) {
        self.begin_unless_begun(&self.idle);
    }

    /// The head of a request is complete. Tells whether it had come before the last request was
    /// answered.
    pub(super) fn begin(&self) -> bool {
        self.serving.store(true, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        !self.drained.swap(false, Ordering::Relaxed)
    }

    /// The body of the request was read to its end.
    pub(super) fn body_ended(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    /// The request was answered or abandoned.
    pub(super) fn end(&self) {
        self.served.store(true, Ordering::Relaxed);
        self.idle.store(0, Ordering::Relaxed);
        self.serving.store(false, Ordering::Relaxed);
    }

    /// The client does not take what is written to it. Tells whether that is new.
    pub(super) fn stalls(&self) -> bool {
        self.begin_unless_begun(&self.stalled)
    }

    /// The client took something of what is written to it, or all of it.
    pub(super) fn progresses(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }

    /// Whether the request waits for one of the places.
    pub(super) fn set_waiting(&self, waiting: bool) {
        self.idle.store(if waiting { self.now() } else { 0 }, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Whether bytes came in since the last request that was read to its end.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered, and its client takes the answer: closing the connection
    /// would lose it.
    pub(super) fn is_busy(&self) -> bool {
        match self.stalled() {
            Some(stalled) => stalled < STALLS,
            None => self.serving.load(Ordering::Relaxed) && !self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Whether it ever sent a whole request head.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) || self.serving.load(Ordering::Relaxed)
    }

    /// How much would be lost by closing the connection, the least first; none while a request is
    /// in progress.
    pub(super) fn need(&self) -> Option<Need> {
        if let Some(stalled) = self.stalled() {
            return (stalled >= STALLS).then_some(Need::Answer(Reverse(stalled)));
        }
        let idle = self.since(&self.idle).filter(|idle| *idle >= SETTLES)?;
        Some(if self.has_served() { Need::Idle(Reverse(idle)) } else { Need::Stranger(Reverse(idle)) })
    }

    /// Whether a request is being answered or waits for a place.
    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// For how long the client has taken nothing of its answer.
    pub(super) fn stalled(&self) -> Option<Duration> {
        self.since(&self.stalled)
    }

    /// How long the head of its request has been incomplete.
    pub(super) fn incomplete_head(&self) -> Option<Duration> {
        self.since(&self.head)
    }
}
