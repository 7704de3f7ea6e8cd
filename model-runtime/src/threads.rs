//! The threads of one inference: a small pool whose workers spin briefly between layers, then
//! sleep.
//!
//! burn's Flex has none here (its `rayon` feature is off): a layer takes 50–500 µs, so the next
//! layer's work must reach the other cores within a microsecond or two.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How long a worker spins for the next layer before it sleeps. Longer than the gap between two
/// layers of one inference, short enough that an idle function uses no measurable CPU time. Miri,
/// where each takes microseconds, so gets to the sleep as well.
const SPINS_BEFORE_SLEEP: u32 = if cfg!(miri) { 10 } else { 20_000 };
/// More threads never made a network of this size faster; the bound also limits the effect of a
/// wrong setting.
const MAX_THREADS: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(1);
static POOL: Mutex<Pool> = Mutex::new(Pool { workers: Vec::new() });

thread_local! {
    /// Set inside workers and inside `parallel_for`, so that nested calls run sequentially.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Sets how many threads one inference may use, from the next layer on. Zero counts as one.
///
/// Process-wide; follows the CPU allotment when a container is resized. Where several threads run
/// inferences at the same time, one is best: an inference that finds the pool in use runs on its
/// own thread alone.
pub fn set_threads(threads: usize) {
    THREADS.store(threads.clamp(1, MAX_THREADS), Ordering::Relaxed);
}

/// How many threads one inference may use.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// State that the workers share with the caller during one `parallel_for`.
struct Job {
    /// The caller's closure with its lifetime erased; valid until `parallel_for` returns.
    task: *const (dyn Fn(usize) + Sync),
    chunks: usize,
    /// Of this job alone: the pool's next caller must neither see nor clear it.
    panicked: AtomicBool,
}

struct Mailbox {
    /// A counter; each change wakes the worker.
    sequence: AtomicUsize,
    /// The address of the job: a `Job` on the caller's stack.
    job: AtomicUsize,
    progress: Arc<JobProgress>,
    asleep: Mutex<bool>,
    wake: Condvar,
    stop: AtomicBool,
}

/// Counters of the running job, one set for the whole pool.
#[derive(Default)]
struct JobProgress {
    next_chunk: AtomicUsize,
    busy: AtomicUsize,
}

struct Pool {
    workers: Vec<Arc<Mailbox>>,
}

impl Pool {
    fn grow(&mut self, workers: usize) {
        let progress = self.workers.first().map_or_else(Arc::default, |first| Arc::clone(&first.progress));
        while self.workers.len() < workers {
            let mailbox = Arc::new(Mailbox {
                sequence: AtomicUsize::new(0),
                job: AtomicUsize::new(0),
                progress: Arc::clone(&progress),
                asleep: Mutex::new(false),
                wake: Condvar::new(),
                stop: AtomicBool::new(false),
            });
            let worker = Arc::clone(&mailbox);
            let name = format!("model-runtime-{}", self.workers.len() + 1);
            // If no thread can be started, the inference runs on the existing ones.
            if std::thread::Builder::new().name(name).spawn(move || worker.run()).is_err() {
                break;
            }
            self.workers.push(mailbox);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.stop.store(true, Ordering::Release);
            worker.post(0);
        }
    }
}

impl Mailbox {
    /// Hands the worker a job (the address of a `Job`) and wakes it if it sleeps.
    fn post(&self, job: usize) {
        self.job.store(job, Ordering::Relaxed);
        // SeqCst pairs with the worker's check under the lock: either the worker sees the new
        // sequence or this thread sees it asleep.
        self.sequence.fetch_add(1, Ordering::SeqCst);
        let asleep = lock(&self.asleep);
        if *asleep {
            self.wake.notify_one();
        }
    }

    fn run(&self) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let job = self.job.load(Ordering::Relaxed) as *const Job;
            // SAFETY: `parallel_for` keeps the job alive until `busy` is zero, which is the
            // worker's last access to it.
            let job = unsafe { &*job };
            job.work(&self.progress);
            self.progress.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until the sequence differs from `seen`; returns it.
    fn wait(&self, seen: usize) -> usize {
        for _ in 0..SPINS_BEFORE_SLEEP {
            let now = self.sequence.load(Ordering::Acquire);
            if now != seen {
                return now;
            }
            std::hint::spin_loop();
        }
        let mut asleep = lock(&self.asleep);
        loop {
            let now = self.sequence.load(Ordering::SeqCst);
            if now != seen {
                *asleep = false;
                return now;
            }
            *asleep = true;
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Job {
    fn work(&self, progress: &JobProgress) {
        // SAFETY: see `Job::task`.
        let task = unsafe { &*self.task };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            loop {
                let chunk = progress.next_chunk.fetch_add(1, Ordering::Relaxed);
                if chunk >= self.chunks {
                    return;
                }
                task(chunk);
            }
        }));
        if let Err(payload) = outcome {
            // Dropping it could panic, and unwind past the job that others still work on.
            std::mem::forget(payload);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// Chunks of work per thread, so that a thread that starts late finishes with the others.
pub(crate) const CHUNKS_PER_THREAD: usize = 4;

/// Calls `task` for `chunks` ranges of about the same length that make up `0..total`, on all
/// threads.
pub(crate) fn parallel_ranges(total: usize, chunks: usize, task: &(dyn Fn(Range<usize>) + Sync)) {
    parallel_for(chunks, &|chunk| task(chunk * total / chunks..(chunk + 1) * total / chunks));
}

/// Calls `task` once for every number below `chunks`, on as many threads as are allowed; returns
/// when all are done.
///
/// # Panics
/// If `task` panics.
pub(crate) fn parallel_for(chunks: usize, task: &(dyn Fn(usize) + Sync)) {
    let threads = threads().min(chunks);
    if threads <= 1 || INSIDE.get() {
        return (0..chunks).for_each(task);
    }
    // Another inference uses the pool: running alone is faster than waiting.
    let Ok(mut pool) = POOL.try_lock() else {
        return (0..chunks).for_each(task);
    };
    pool.grow(threads - 1);
    let helpers = &pool.workers[..pool.workers.len().min(threads - 1)];
    let Some(progress) = helpers.first().map(|first| Arc::clone(&first.progress)) else {
        return (0..chunks).for_each(task);
    };
    // SAFETY: only the lifetime changes; no worker touches the job after `busy` has reached zero,
    // which we wait for.
    let task = unsafe {
        std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(
            task,
        )
    };
    let job = Job { task, chunks, panicked: AtomicBool::new(false) };
    progress.next_chunk.store(0, Ordering::Relaxed);
    progress.busy.store(helpers.len(), Ordering::Release);
    for helper in helpers {
        helper.post(std::ptr::from_ref(&job) as usize);
    }
    INSIDE.set(true);
    job.work(&progress);
    INSIDE.set(false);
    let mut spins = 0_u32;
    while progress.busy.load(Ordering::Acquire) != 0 {
        spins += 1;
        if spins.is_multiple_of(1024) {
            // With fewer cores than threads, spinning would keep a worker from the core that it
            // needs.
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    drop(pool);
    assert!(!job.panicked.load(Ordering::Relaxed), "a worker thread panicked");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The thread count is process-wide, so tests that set it take turns.
    static TURN: Mutex<()> = Mutex::new(());

    #[test]
    fn a_panic_reaches_its_own_caller_whoever_uses_the_pool_next() {
        let _turn = lock(&TURN);
        set_threads(2);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Takes the pool as soon as it is free.
            let others = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    parallel_for(2, &|_| {});
                }
            });
            let lost = (0..2_000).filter(|_| {
                // Without the hook, which would write each of them out.
                let fails = || parallel_for(2, &|_| std::panic::resume_unwind(Box::new("expected")));
                std::panic::catch_unwind(fails).is_ok()
            });
            let lost = lost.count();
            stop.store(true, Ordering::Relaxed);
            assert!(others.join().is_ok(), "another caller's panic");
            assert_eq!(lost, 0, "panics of 2,000 that nobody saw");
        });
    }

    #[test]
    fn every_chunk_runs_exactly_once_whatever_the_thread_count() {
        let _turn = lock(&TURN);
        for threads in [1, 2, 3, 7] {
            set_threads(threads);
            for chunks in [0, 1, 2, 5, 100] {
                let counts: Vec<AtomicU32> = (0..chunks).map(|_| AtomicU32::new(0)).collect();
                for _ in 0..10 {
                    parallel_for(chunks, &|chunk| {
                        counts[chunk].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 10));
            }
        }
        set_threads(1);
    }

    #[test]
    fn a_nested_loop_runs_in_line_instead_of_waiting_for_itself() {
        let _turn = lock(&TURN);
        set_threads(2);
        let count = AtomicU32::new(0);
        parallel_for(4, &|_| {
            parallel_for(4, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        set_threads(1);
        assert_eq!(count.load(Ordering::Relaxed), 16);
    }

    #[test]
    fn workers_that_fell_asleep_wake_up_again() {
        let _turn = lock(&TURN);
        set_threads(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(if cfg!(miri) { 1 } else { 20 }));
            let count = AtomicU32::new(0);
            parallel_for(8, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 8);
        }
        set_threads(1);
    }
}
