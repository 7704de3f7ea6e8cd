//! The inference threads: bounded concurrency, a short bounded queue in front, deadlines.
//!
//! A job is decoded, letterboxed, run and judged on one of these threads, never on an async one. At
//! most `limit` jobs run at once; the limit follows the CPU allotment while running. At most
//! `capacity` jobs wait; one more is refused with the time after which a place is expected to be
//! free. A job whose deadline passes while it waits is answered at that moment and never computed.
//! Where no thread can be started, every request is refused at once (503).

mod dispatch;

/// The primitives of [`dispatch`].
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

use std::io;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::dispatch::{Dispatch, Queued, Refusal, Ticket};
use crate::error::RequestError;

/// Weight of the newest job in the running mean of the service time: about the last ten jobs count.
const SERVICE_TIME_WEIGHT: f64 = 0.1;

/// Service time assumed before the first job is done.
const INITIAL_SERVICE_TIME: Duration = Duration::from_millis(50);

/// Longest `Retry-After` that is ever advised.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Time between two attempts to start a thread that could not be had (a limit of the cgroup or the
/// system).
const THREAD_RETRY: Duration = Duration::from_secs(1);

/// Facts that a job gets when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Time spent in the queue.
    pub waited: Duration,
    /// Jobs running now, this one included.
    pub running: usize,
}

/// The work of a job on an inference thread.
type Work<C, T> = Box<dyn FnOnce(&C, Turn) -> Result<T, RequestError> + Send>;

struct Job<C, T> {
    work: Work<C, T>,
    answer: oneshot::Sender<Result<T, RequestError>>,
    ticket: Arc<Ticket>,
    enqueued: Instant,
}

impl<C, T> Queued for Job<C, T> {
    fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

/// Marks the job as abandoned when its requester's future is dropped.
struct AbandonOnDrop(Arc<Ticket>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Releases the slot of a thread when it ends, also by a panic: the next request starts another.
struct ThreadPlace<'a, J: Queued>(&'a Dispatch<J>);

impl<J: Queued> Drop for ThreadPlace<'_, J> {
    fn drop(&mut self) {
        self.0.release_thread();
    }
}

/// Starts a thread of this name; a parameter so that a test can let it fail.
type Spawn = fn(String, Box<dyn FnOnce() + Send>) -> io::Result<()>;

fn spawn_thread(name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}

struct Shared<C, T> {
    dispatch: Dispatch<Job<C, T>>,
    /// Running mean in seconds.
    service_time: Mutex<f64>,
    /// Last time that a thread could not be started.
    thread_refused: Mutex<Option<Instant>>,
    deadline: Duration,
    context: C,
    spawn: Spawn,
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
        Self::with_spawn(context, limit, capacity, deadline, spawn_thread)
    }

    fn with_spawn(
        context: C,
        limit: NonZeroUsize,
        capacity: usize,
        deadline: Duration,
        spawn: Spawn,
    ) -> Self {
        let shared = Shared {
            dispatch: Dispatch::new(limit.get(), capacity),
            service_time: Mutex::new(INITIAL_SERVICE_TIME.as_secs_f64()),
            thread_refused: Mutex::new(None),
            deadline,
            context,
            spawn,
        };
        let pool = Self { shared: Arc::new(shared) };
        pool.ensure_threads();
        pool
    }

    /// Changes how many jobs run at once. Running ones are never interrupted.
    pub fn set_limit(&self, limit: NonZeroUsize) {
        self.shared.dispatch.set_limit(limit.get());
        self.ensure_threads();
    }

    /// Starts the threads that are missing, and says whether there are any at all. A thread that
    /// cannot be had is tried again later; the others do its work.
    pub fn ensure_threads(&self) -> bool {
        let dispatch = &self.shared.dispatch;
        while let Some(number) = dispatch.claim_thread() {
            let mut refused = self.shared.thread_refused.lock().unwrap_or_else(PoisonError::into_inner);
            let started = if refused.is_some_and(|at| at.elapsed() < THREAD_RETRY) {
                None
            } else {
                let shared = Arc::clone(&self.shared);
                let work = Box::new(move || {
                    let _place = ThreadPlace(&shared.dispatch);
                    shared.work();
                });
                Some((self.shared.spawn)(format!("inference-{number}"), work))
            };
            match started {
                Some(Ok(())) => *refused = None,
                Some(Err(error)) => {
                    *refused = Some(Instant::now());
                    dispatch.release_thread();
                    tracing::error!(%error, "an inference thread could not be started: is there a limit on threads?");
                    break;
                }
                None => {
                    dispatch.release_thread();
                    break;
                }
            }
        }
        dispatch.at_once() > 0
    }

    /// Jobs that may run at once.
    pub fn limit(&self) -> usize {
        self.shared.dispatch.at_once()
    }

    /// Inference threads that live, those included that a lowered limit leaves nothing to do: each
    /// keeps its memory.
    pub fn threads(&self) -> usize {
        self.shared.dispatch.threads()
    }

    /// Jobs waiting now.
    pub fn queue_depth(&self) -> usize {
        self.shared.dispatch.depth()
    }

    /// Longest wait in the queue.
    pub fn deadline(&self) -> Duration {
        self.shared.deadline
    }

    /// Runs `work` on an inference thread, or says at once that there is no room.
    pub async fn run(
        &self,
        work: impl FnOnce(&C, Turn) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        self.run_for(std::future::pending(), work).await
    }

    /// As `run`, for a requester that may disconnect. Once `closed` completes, other jobs run
    /// first, and when the queue is full, a new one displaces this one.
    pub async fn run_for(
        &self,
        closed: impl Future<Output = ()>,
        work: impl FnOnce(&C, Turn) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        self.ensure_threads();
        let ticket = Arc::new(Ticket::new());
        let (answer, mut answered) = oneshot::channel();
        let enqueued = Instant::now();
        let job = Job { work: Box::new(work), answer, ticket: Arc::clone(&ticket), enqueued };
        match self.shared.dispatch.push(job) {
            Ok(None) => {}
            Ok(Some(displaced)) => {
                let _ = displaced.answer.send(Err(self.shared.overloaded()));
            }
            Err(Refusal::Full) => return Err(self.shared.overloaded()),
            Err(Refusal::Closed) => return Err(RequestError::Draining),
            Err(Refusal::NoThreads) => return Err(RequestError::NoThreads),
        }

        let abandon = AbandonOnDrop(ticket);
        let unattended = async {
            closed.await;
            abandon.0.set_unattended();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            result = &mut answered => return result.unwrap_or(Err(RequestError::Internal)),
            () = tokio::time::sleep_until((enqueued + self.shared.deadline).into()) => {}
            () = unattended => {}
        }
        if abandon.0.abandon() {
            return Err(RequestError::DeadlineExceeded(self.shared.deadline));
        }
        // It started in time, so its result is awaited.
        answered.await.unwrap_or(Err(RequestError::Internal))
    }

    /// Refuses queued and new jobs; running ones are finished.
    pub fn close(&self) {
        for job in self.shared.dispatch.close() {
            let _ = job.answer.send(Err(RequestError::Draining));
        }
    }
}

impl<C, T> Shared<C, T> {
    /// With a full queue, a place becomes free each time that a job ends: `at_once` of them per
    /// service time.
    fn overloaded(&self) -> RequestError {
        let service_time = *self.service_time.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = (service_time / self.dispatch.at_once().max(1) as f64).ceil().max(1.0);
        RequestError::Overloaded { retry_after: Duration::from_secs_f64(seconds).min(MAX_RETRY_AFTER) }
    }
}

impl<C: Clone, T> Shared<C, T> {
    fn work(&self) {
        let context = self.context.clone();
        while let Some((job, running)) = self.dispatch.next() {
            let started = Instant::now();
            let turn = Turn { waited: started - job.enqueued, running };
            // A panic on one image must not end the thread, and reduce capacity with it.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| (job.work)(&context, turn)));
            let elapsed = started.elapsed().as_secs_f64();
            if matches!(result, Ok(Ok(_))) {
                let mut mean = self.service_time.lock().unwrap_or_else(PoisonError::into_inner);
                *mean += SERVICE_TIME_WEIGHT * (elapsed - *mean);
            }
            self.dispatch.done();
            // Free the place before sending the answer: a client that sends its next request on
            // the answer finds room.
            let _ = job.answer.send(result.unwrap_or(Err(RequestError::Internal)));
        }
    }
}

#[cfg(test)]
mod tests;
