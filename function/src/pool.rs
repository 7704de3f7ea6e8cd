//! The inference threads: bounded concurrency, a short bounded queue in front, deadlines.
//!
//! A job is decoded, letterboxed, run and judged on one of these threads and never on an async one. At most
//! `limit` jobs run at once; the limit follows the CPU allotment while running. At most `capacity` jobs wait;
//! one more is refused with the time after which a place is expected to be free. A job whose deadline passes
//! while it waits is answered at that moment and never computed.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::RequestError;

/// Weight of the newest job in the running mean of the service time: about the last ten jobs count.
const SERVICE_TIME_WEIGHT: f64 = 0.1;

/// Service time assumed before the first job is done.
const INITIAL_SERVICE_TIME: Duration = Duration::from_millis(50);

/// Longest `Retry-After` that is ever advised.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What a job learns when its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Time spent in the queue.
    pub waited: Duration,
    /// Jobs running now, this one included.
    pub running: usize,
}

/// What a job does on an inference thread.
type Work<C, T> = Box<dyn FnOnce(&C, Turn) -> Result<T, RequestError> + Send>;

struct Job<C, T> {
    work: Work<C, T>,
    answer: oneshot::Sender<Result<T, RequestError>>,
    ticket: Arc<Ticket>,
    enqueued: Instant,
}

/// Who has the job: the queue, a thread, or nobody any more.
#[derive(Default)]
struct Ticket(AtomicU8);

impl Ticket {
    const QUEUED: u8 = 0;
    const STARTED: u8 = 1;
    const ABANDONED: u8 = 2;

    /// Exactly one of `start` and `abandon` succeeds.
    fn leave_queue(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::QUEUED, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::ABANDONED
    }
}

/// Marks the job as given up when its requester goes away.
struct AbandonOnDrop(Arc<Ticket>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.leave_queue(Ticket::ABANDONED);
    }
}

struct State<C, T> {
    queue: VecDeque<Job<C, T>>,
    running: usize,
    limit: usize,
    threads: usize,
    service_time: f64, // seconds
    closed: bool,
}

struct Shared<C, T> {
    state: Mutex<State<C, T>>,
    wake: Condvar,
    capacity: usize,
    deadline: Duration,
    context: C,
}

/// Threads that run jobs with a context `C` (the classifier) and give a `T` back.
pub struct InferencePool<C, T> {
    shared: Arc<Shared<C, T>>,
}

impl<C, T> Clone for InferencePool<C, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Clone + Send + Sync + 'static, T: Send + 'static> InferencePool<C, T> {
    /// Starts `limit` threads.
    pub fn new(context: C, limit: NonZeroUsize, capacity: usize, deadline: Duration) -> Self {
        let state = State {
            queue: VecDeque::with_capacity(capacity),
            running: 0,
            limit: 0,
            threads: 0,
            service_time: INITIAL_SERVICE_TIME.as_secs_f64(),
            closed: false,
        };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), capacity, deadline, context };
        let pool = Self { shared: Arc::new(shared) };
        pool.set_limit(limit);
        pool
    }

    /// Changes how many jobs run at once. Running ones are never interrupted.
    pub fn set_limit(&self, limit: NonZeroUsize) {
        let mut state = self.shared.lock();
        state.limit = limit.get();
        while state.threads < state.limit {
            let shared = Arc::clone(&self.shared);
            let name = format!("inference-{}", state.threads);
            // A thread that cannot be had leaves the limit where the threads are.
            match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                Err(error) => {
                    tracing::error!(%error, "an inference thread could not be started");
                    state.limit = state.threads.max(1);
                    break;
                }
            }
        }
        drop(state);
        self.shared.wake.notify_all();
    }

    /// Jobs that may run at once.
    pub fn limit(&self) -> usize {
        self.shared.lock().limit
    }

    /// Jobs waiting now.
    pub fn queue_depth(&self) -> usize {
        let mut state = self.shared.lock();
        state.forget_abandoned();
        state.queue.len()
    }

    /// Runs `work` on an inference thread, or says at once that there is no room.
    pub async fn run(
        &self,
        work: impl FnOnce(&C, Turn) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let ticket = Arc::new(Ticket::default());
        let (answer, mut answered) = oneshot::channel();
        let enqueued = Instant::now();
        {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(RequestError::Draining);
            }
            if state.running + state.queue.len() >= state.limit + self.shared.capacity {
                state.forget_abandoned();
            }
            if state.running + state.queue.len() >= state.limit + self.shared.capacity {
                return Err(RequestError::Overloaded { retry_after: state.time_until_room() });
            }
            state.queue.push_back(Job {
                work: Box::new(work),
                answer,
                ticket: Arc::clone(&ticket),
                enqueued,
            });
        }
        self.shared.wake.notify_one();

        let abandon = AbandonOnDrop(ticket);
        tokio::select! {
            biased;
            result = &mut answered => return result.unwrap_or(Err(RequestError::Internal)),
            () = tokio::time::sleep_until((enqueued + self.shared.deadline).into()) => {}
        }
        if abandon.0.leave_queue(Ticket::ABANDONED) {
            return Err(RequestError::DeadlineExceeded(self.shared.deadline));
        }
        // It started in time; a result that is nearly there is worth waiting for.
        answered.await.unwrap_or(Err(RequestError::Internal))
    }

    /// Refuses what is queued and what comes; jobs that run are finished.
    pub fn close(&self) {
        let refused = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.queue)
        };
        for job in refused {
            let _ = job.answer.send(Err(RequestError::Draining));
        }
        self.shared.wake.notify_all();
    }
}

impl<C, T> State<C, T> {
    /// Jobs that nobody waits for hold no place.
    fn forget_abandoned(&mut self) {
        self.queue.retain(|job| !job.ticket.is_abandoned());
    }

    /// When the queue is expected to have room: one service time for each round of the jobs before.
    fn time_until_room(&self) -> Duration {
        let rounds = (self.queue.len() + self.running) as f64 / self.limit as f64;
        let seconds = (rounds * self.service_time).ceil().max(1.0);
        Duration::from_secs_f64(seconds).min(MAX_RETRY_AFTER)
    }
}

impl<C: Clone, T> Shared<C, T> {
    fn lock(&self) -> MutexGuard<'_, State<C, T>> {
        // Nothing under this lock panics half-way; what a poisoned lock guards is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "this is what an inference thread does")]
    fn work(&self) {
        let context = self.context.clone();
        let mut state = self.lock();
        loop {
            let job = if state.running < state.limit { state.queue.pop_front() } else { None };
            let Some(job) = job else {
                if state.closed && state.queue.is_empty() {
                    return;
                }
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if !job.ticket.leave_queue(Ticket::STARTED) {
                continue;
            }
            state.running += 1;
            let running = state.running;
            drop(state);

            let started = Instant::now();
            let turn = Turn { waited: started - job.enqueued, running };
            // A defect in one image must not take the thread, and with it the capacity, away.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| (job.work)(&context, turn)));
            let elapsed = started.elapsed().as_secs_f64();
            let succeeded = matches!(result, Ok(Ok(_)));

            state = self.lock();
            state.running -= 1;
            if succeeded {
                state.service_time += SERVICE_TIME_WEIGHT * (elapsed - state.service_time);
            }
            // The place is free before the answer is out: who asks again after it finds room.
            let _ = job.answer.send(result.unwrap_or(Err(RequestError::Internal)));
        }
    }
}

#[cfg(test)]
mod tests;
