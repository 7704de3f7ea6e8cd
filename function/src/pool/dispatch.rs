//! Dispatches jobs to threads: a bounded queue, a limit on concurrent jobs, and the state of each
//! job.
//!
//! Independent of tokio, of time and of what a job does. The primitives come from `super::sync`, so
//! that a model checker can replace them: `function/loom` runs this file through every
//! interleaving.

use std::collections::VecDeque;

use super::sync::{AtomicBool, AtomicU8, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

/// The state of a job: queued, started, or abandoned.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: AtomicU8,
    /// Its requester may have disconnected.
    unattended: AtomicBool,
}

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const ABANDONED: u8 = 2;

impl Ticket {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(QUEUED), unattended: AtomicBool::new(false) }
    }

    /// Claims the job for a thread. Exactly one of `start` and `abandon` succeeds.
    pub(crate) fn start(&self) -> bool {
        self.leave_queue(STARTED)
    }

    /// Abandons the job for its requester.
    pub(crate) fn abandon(&self) -> bool {
        self.leave_queue(ABANDONED)
    }

    fn leave_queue(&self, to: u8) -> bool {
        self.state.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == ABANDONED
    }

    /// Gives other jobs priority from now on.
    pub(crate) fn set_unattended(&self) {
        self.unattended.store(true, Ordering::Relaxed);
    }

    fn is_unattended(&self) -> bool {
        self.unattended.load(Ordering::Relaxed)
    }
}

/// A job in the queue.
pub(crate) trait Queued {
    fn ticket(&self) -> &Ticket;
}

/// Why a job was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue is full.
    Full,
    /// The queue is closed.
    Closed,
    /// There is no thread to run it.
    NoThreads,
}

#[derive(Debug)]
struct State<J> {
    queue: VecDeque<J>,
    running: usize,
    limit: usize,
    threads: usize,
    closed: bool,
}

/// The queue, and what its threads share.
#[derive(Debug)]
pub(crate) struct Dispatch<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    capacity: usize,
}

impl<J: Queued> Dispatch<J> {
    pub(crate) fn new(limit: usize, capacity: usize) -> Self {
        let queue = VecDeque::with_capacity(capacity);
        let state = State { queue, running: 0, limit, threads: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing under this lock panics between two changes, so the state of a poisoned lock is
        // consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how many jobs run at once. Running ones are never interrupted.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.lock().limit = limit;
        self.wake.notify_all();
    }

    /// Threads that live, those included that a lowered limit leaves nothing to do.
    pub(crate) fn threads(&self) -> usize {
        self.lock().threads
    }

    /// Concurrent jobs: the limit, or the number of threads if that is smaller.
    pub(crate) fn at_once(&self) -> usize {
        self.lock().at_once()
    }

    /// Counts a thread that is about to start, if one is missing.
    pub(crate) fn claim_thread(&self) -> Option<usize> {
        let mut state = self.lock();
        let missing = !state.closed && state.threads < state.limit;
        missing.then(|| {
            state.threads += 1;
            state.threads - 1
        })
    }

    /// The thread that was claimed could not be started, or has ended.
    pub(crate) fn release_thread(&self) {
        self.lock().threads -= 1;
    }

    /// Jobs that run now.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// Panics while it holds the lock.
    #[cfg(test)]
    pub(crate) fn poison(&self) {
        let _held = self.lock();
        panic!("while the lock is held");
    }

    /// Jobs that wait now.
    pub(crate) fn depth(&self) -> usize {
        let mut state = self.lock();
        state.forget_abandoned();
        state.queue.len()
    }

    /// Queues a job. Where there is room for it only in place of one whose requester may have
    /// disconnected, the displaced job is returned.
    pub(crate) fn push(&self, job: J) -> Result<Option<J>, Refusal> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.threads == 0 {
            return Err(Refusal::NoThreads);
        }
        let mut displaced = None;
        if state.is_full(self.capacity) {
            state.forget_abandoned();
        }
        if state.is_full(self.capacity) {
            let unattended = state.queue.iter().position(|job| job.ticket().is_unattended());
            displaced = unattended.and_then(|at| state.queue.remove(at));
            if displaced.is_none() {
                return Err(Refusal::Full);
            }
        }
        state.queue.push_back(job);
        drop(state);
        self.wake.notify_one();
        Ok(displaced)
    }

    /// Waits for a job, and says how many run with it. `None`: there will be no more.
    #[expect(clippy::disallowed_methods, reason = "this is what an inference thread does")]
    pub(crate) fn next(&self) -> Option<(J, usize)> {
        let mut state = self.lock();
        loop {
            let job = if state.running < state.limit { state.pop() } else { None };
            match job {
                Some(job) if job.ticket().start() => {
                    state.running += 1;
                    return Some((job, state.running));
                }
                // Abandoned in the queue.
                Some(_) => {}
                None if state.closed && state.queue.is_empty() => return None,
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Marks a job of `next` as done.
    pub(crate) fn done(&self) {
        self.lock().running -= 1;
    }

    /// Closes the queue and returns the waiting jobs; running jobs are finished.
    pub(crate) fn close(&self) -> VecDeque<J> {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.queue);
        drop(state);
        self.wake.notify_all();
        waiting
    }
}

impl<J: Queued> State<J> {
    fn at_once(&self) -> usize {
        self.limit.min(self.threads)
    }

    fn is_full(&self, capacity: usize) -> bool {
        self.running + self.queue.len() >= self.at_once() + capacity
    }

    /// Abandoned jobs do not count.
    fn forget_abandoned(&mut self) {
        self.queue.retain(|job| !job.ticket().is_abandoned());
    }

    /// The oldest job whose requester is certainly connected, or else the oldest of all.
    fn pop(&mut self) -> Option<J> {
        let attended = self.queue.iter().position(|job| !job.ticket().is_unattended());
        self.queue.remove(attended.unwrap_or(0))
    }
}
