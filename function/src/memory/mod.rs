//! One memory budget for everything that requests allocate, derived from the container's limit.
//!
//! The budget is the container's memory limit less the memory of the process, its threads and its
//! connections, whose number follows the limit. One part of it is for bytes in transit: bodies that
//! are read or wait, and pictures that are sent back; where they do not fit, the request is refused
//! at once. The other part is for work on the inference threads: what decoders work in, pixels,
//! drawings. Work that does not fit beside the running work waits in order of arrival, until the
//! deadline of its request; work that could never fit is refused. Work that waits holds nothing of
//! this part, and it never waits for bytes in transit, so that no deadlock is possible.

mod container;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Large, RequestError};
use crate::server::{connections, places_in};

pub use self::container::{container_limit, watch};

/// Memory of the process without requests and connections: 22 MiB of code, weights, threads and
/// telemetry after the start, and what telemetry and the allocator come to keep.
/// `docs/hostile-input.md` has it measured, like the others.
const PROCESS_BYTES: usize = 28 * 1024 * 1024;

/// Largest head of a request, and what hyper reads at a time: Node's limit, too.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Memory of a connection that sent this much of a head: [`MAX_HEAD_BYTES`], and what hyper and the
/// allocator add.
const HEAD_BYTES: usize = 24 * 1024;

/// What the kernel may hold of answers that a client does not take. It would grow to 4 MiB for each
/// connection. Most answers are smaller than this.
pub const SEND_BUFFER: usize = 8 * 1024;

/// What the kernel may hold of requests that are not read: while the request before them is
/// answered, or while the process is short of CPU. It would grow to 6 MiB and more for each
/// connection that once sent a large body. The TCP window is as large: over a way of 50 ms there
/// and back it lets 1.3 MB a second in, more than a slow uplink brings.
pub const RECEIVE_BUFFER: usize = 64 * 1024;

/// Linux takes twice the size that it is told (socket(7)).
const KERNEL_FACTOR: usize = 2;

/// Memory of each connection. In cgroups of version 2 the kernel's part counts as the container's.
const CONNECTION_BYTES: usize = HEAD_BYTES + KERNEL_FACTOR * (SEND_BUFFER + RECEIVE_BUFFER);

/// Connections get at most this part of what process and threads leave: a few hundred suffice
/// behind a gateway, and images need the rest.
const CONNECTION_FRACTION: usize = 4;

/// Memory of an inference thread: the network's maps, the letterboxed picture, and memory that the
/// allocator keeps of earlier work.
const THREAD_BYTES: usize = 12 * 1024 * 1024;

/// Least part of the budget for work, however small the container: a VGA picture of any format.
const LEAST_WORK_BYTES: usize = 8 * 1024 * 1024;

/// Bytes in transit get at most this part of the budget: work, which grows with pixels, needs the
/// most.
const TRANSIT_FRACTION: usize = 4;

/// `Retry-After` when bytes in transit use all of their part of the budget.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The budget, shared by all requests.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Work ended or was given up, or the budget grew.
    freed: Condvar,
    /// Upper bound of the bytes in transit, independent of the container's limit.
    most_transit: usize,
    /// Upper bound of the places for connections, independent of the container's limit.
    most_places: usize,
    places: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    transit: Part,
    work: Part,
    /// The container's limit that both parts were made for.
    container: Option<usize>,
    /// Numbers of the work that waits, in order of arrival. Only the first may be let in: work that
    /// needs much would otherwise wait for as long as work comes that needs little.
    waiting: VecDeque<u64>,
    /// The number of the work that comes next.
    next: u64,
}

/// A part of the budget, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Total bytes.
    pub limit: usize,
    /// Reserved bytes.
    pub taken: usize,
}

impl Part {
    fn fits(&self, bytes: usize) -> bool {
        self.taken.saturating_add(bytes) <= self.limit
    }
}

/// When a request that waits is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// How long it may wait in all.
    limit: Duration,
    /// When that is over.
    at: Instant,
}

impl Deadline {
    /// Of a request that may wait for `limit`, and has done so for `waited`.
    pub fn new(limit: Duration, waited: Duration) -> Self {
        Self { limit, at: Instant::now() + limit.saturating_sub(waited) }
    }
}

/// Which part a reservation is of.
#[derive(Clone, Copy, Debug)]
enum Use {
    Transit,
    Work,
}

impl Memory {
    /// A budget out of `container` bytes (`None`: no limit), with `threads` inference threads, at
    /// most `most_places` for connections, and at most `most_transit` bytes in transit.
    pub fn new(container: Option<usize>, threads: usize, most_places: usize, most_transit: usize) -> Self {
        let memory = Self(Arc::new(Shared {
            state: Mutex::default(),
            freed: Condvar::new(),
            most_transit,
            most_places,
            places: AtomicUsize::new(most_places),
        }));
        memory.resize(container, threads);
        memory
    }

    /// Follows a changed limit or number of threads. Reservations stay.
    pub fn resize(&self, container: Option<usize>, threads: usize) {
        let mut state = self.0.lock();
        state.container = container;
        let left = container.map(|limit| limit.saturating_sub(PROCESS_BYTES + threads * THREAD_BYTES));
        let places = left.map_or(usize::MAX, |left| places_in(left / CONNECTION_FRACTION / CONNECTION_BYTES));
        let places = places.min(self.0.most_places);
        self.0.places.store(places, Ordering::Relaxed);
        let connections = connections(places) * CONNECTION_BYTES;
        let budget = left.map(|left| left.saturating_sub(connections).max(LEAST_WORK_BYTES));
        state.transit.limit = match budget {
            Some(budget) => self.0.most_transit.min(budget / TRANSIT_FRACTION),
            None => self.0.most_transit,
        };
        state.work.limit = budget.map_or(usize::MAX, |budget| budget - state.transit.limit);
        drop(state);
        self.0.freed.notify_all();
    }

    /// The container's limit that the budget is made for.
    pub fn container(&self) -> Option<usize> {
        self.0.lock().container
    }

    /// Places for connections, without the spare ones.
    pub fn places(&self) -> usize {
        self.0.places.load(Ordering::Relaxed)
    }

    /// Bytes in transit, and work.
    pub fn parts(&self) -> [Part; 2] {
        let state = self.0.lock();
        [state.transit, state.work]
    }

    /// What a request is answered with that was refused bytes in transit, where it needs `all` at
    /// once: one that would not have room in an idle process would not the next time either.
    pub fn for_ever(&self, error: RequestError, all: usize) -> RequestError {
        let limit = self.0.lock().transit.limit;
        match error {
            RequestError::Overloaded { .. } if all > limit => {
                RequestError::TooMuchMemory { what: Large::Body, needed: all, limit }
            }
            other => other,
        }
    }

    /// Reserves bytes in transit, or fails if there are not enough now. An error calls `what` too
    /// large.
    pub fn transit(&self, bytes: usize, what: Large) -> Result<Reservation, RequestError> {
        let mut reservation = Reservation { memory: self.clone(), part: Use::Transit, bytes: 0 };
        reservation.grow(bytes, what)?;
        Ok(reservation)
    }

    /// Reserves bytes for work on `what`. Blocks while other work holds them or came first, for as
    /// long as `deadline` allows; for inference threads only.
    #[expect(clippy::disallowed_methods, reason = "called on inference threads, which wait")]
    pub fn work(&self, bytes: usize, what: Large, deadline: Deadline) -> Result<Reservation, RequestError> {
        let mut state = self.0.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        let outcome = loop {
            let limit = state.work.limit;
            if bytes > limit {
                break Err(RequestError::TooMuchMemory { what, needed: bytes, limit });
            }
            if state.waiting.front() == Some(&number) && state.work.fits(bytes) {
                state.work.taken += bytes;
                break Ok(());
            }
            // Looked at last: what came late out of the queue and has room at once is not given up.
            let left = deadline.at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(RequestError::DeadlineExceeded(deadline.limit));
            }
            state = self.0.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.retain(|waiting| *waiting != number);
        let others = !state.waiting.is_empty();
        drop(state);
        if others {
            // There may be room for the next one, too.
            self.0.freed.notify_all();
        }
        outcome.map(|()| Reservation { memory: self.clone(), part: Use::Work, bytes })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reservation of the budget, released when dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    part: Use,
    bytes: usize,
}

impl Reservation {
    /// Reserved bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Extends a reservation in transit to `bytes` in all. An error says that `what` is too large.
    pub fn grow(&mut self, bytes: usize, what: Large) -> Result<(), RequestError> {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.memory.0.lock();
        if bytes > state.transit.limit {
            return Err(RequestError::TooManyBytes { what, limit: state.transit.limit });
        }
        if !state.transit.fits(more) {
            return Err(RequestError::Overloaded { retry_after: RETRY_AFTER });
        }
        state.transit.taken += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.memory.0.lock();
        match self.part {
            Use::Transit => state.transit.taken -= self.bytes,
            Use::Work => {
                state.work.taken -= self.bytes;
                drop(state);
                self.memory.0.freed.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests;
