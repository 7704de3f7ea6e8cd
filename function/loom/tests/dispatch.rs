//! The hand-off of jobs to inference threads (`function/src/pool/dispatch.rs`, the very file), run
//! through every interleaving of its threads with at most [`PREEMPTIONS`] preemptions. loom also
//! fails on a deadlock: a wake-up that is lost, or a thread that never ends, is one.

/// What the dispatch is built from: loom's primitives in place of the standard library's.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../../src/pool/dispatch.rs"]
mod dispatch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dispatch::{Dispatch, Queued, Refusal, Ticket};
use loom::thread;

/// Most defects in concurrent code need two (Musuvathi and Qadeer, "Iterative context bounding",
/// 2007).
const PREEMPTIONS: usize = 3;

struct Job {
    ticket: Arc<Ticket>,
    number: usize,
}

impl Queued for Job {
    fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

fn job(number: usize) -> (Job, Arc<Ticket>) {
    let ticket = Arc::new(Ticket::new());
    (Job { ticket: Arc::clone(&ticket), number }, ticket)
}

/// How often each job was computed, and how many ran at once.
#[derive(Default)]
struct Record {
    computed: [AtomicUsize; 3],
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Record {
    fn computed(&self, number: usize) -> usize {
        self.computed[number].load(Ordering::SeqCst)
    }
}

type Pool = Arc<Dispatch<Job>>;

/// A pool with `limit` jobs at once, and a thread for each of `threads`.
fn pool(limit: usize, capacity: usize, threads: usize) -> (Pool, Arc<Record>, Vec<thread::JoinHandle<()>>) {
    let (pool, record) = (Arc::new(Dispatch::<Job>::new(threads, capacity)), Arc::new(Record::default()));
    let workers = (0..threads)
        .map(|_| {
            pool.claim_thread().expect("one is missing");
            let (pool, record) = (Arc::clone(&pool), Arc::clone(&record));
            thread::spawn(move || {
                while let Some((job, _)) = pool.next() {
                    let running = record.running.fetch_add(1, Ordering::SeqCst) + 1;
                    record.most.fetch_max(running, Ordering::SeqCst);
                    thread::yield_now();
                    record.computed[job.number].fetch_add(1, Ordering::SeqCst);
                    record.running.fetch_sub(1, Ordering::SeqCst);
                    pool.done();
                }
            })
        })
        .collect();
    pool.set_limit(limit);
    (pool, record, workers)
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(check);
}

#[test]
fn a_job_is_either_computed_or_given_up_never_both_and_never_neither() {
    model(|| {
        let (pool, record, workers) = pool(1, 1, 1);
        let (queued, ticket) = job(0);
        assert!(pool.push(queued).is_ok());
        let given_up = ticket.abandon();
        assert!(given_up || !ticket.is_abandoned());
        if !given_up {
            // It started: a requester waits for it, and so does the end of the thread.
            assert!(pool.close().is_empty());
        } else {
            pool.close();
        }
        for worker in workers {
            worker.join().expect("no panic");
        }
        assert_eq!(record.computed(0), usize::from(!given_up));
    });
}

#[test]
fn every_queued_job_is_computed_once_and_the_limit_holds() {
    model(|| {
        let (pool, record, workers) = pool(1, 2, 2);
        for number in 0..2 {
            let (queued, _) = job(number);
            assert!(pool.push(queued).is_ok());
        }
        let waiting = pool.close().len();
        for worker in workers {
            worker.join().expect("no panic");
        }
        assert_eq!(record.computed(0) + record.computed(1) + waiting, 2);
        assert!(record.most.load(Ordering::SeqCst) <= 1, "more at once than the limit");
        assert_eq!(pool.running(), 0);
    });
}

#[test]
fn a_queued_job_wakes_a_thread_and_so_does_a_higher_limit() {
    model(|| {
        // A thread sleeps or is about to; the limit does not let it run a job yet.
        let pool: Pool = Arc::new(Dispatch::new(1, 1));
        pool.claim_thread().expect("one is missing");
        pool.set_limit(0);
        let computed = Arc::new(loom::sync::Notify::new());
        let worker = {
            let (pool, computed) = (Arc::clone(&pool), Arc::clone(&computed));
            thread::spawn(move || {
                while pool.next().is_some() {
                    pool.done();
                    computed.notify();
                }
            })
        };
        assert!(pool.push(job(0).0).is_ok());
        pool.set_limit(1);
        // Nothing but the pool wakes the thread: a wake-up that is lost is a deadlock here.
        computed.wait();
        pool.close();
        worker.join().expect("no panic");
    });
}

#[test]
fn closing_while_a_job_is_queued_loses_none() {
    model(|| {
        let (pool, record, workers) = pool(1, 2, 1);
        let pushing = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.push(job(0).0).map(|_| ()))
        };
        let given_back = pool.close().len();
        let pushed = pushing.join().expect("no panic");
        for worker in workers {
            worker.join().expect("no panic");
        }
        match pushed {
            Ok(()) => assert_eq!(record.computed(0) + given_back, 1),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Closed);
                assert_eq!(record.computed(0) + given_back, 0);
            }
        }
    });
}

#[test]
fn a_job_that_is_displaced_is_not_computed() {
    model(|| {
        let (pool, record, workers) = pool(1, 0, 1);
        let (first, ticket) = job(0);
        assert!(pool.push(first).is_ok());
        ticket.set_unattended();
        let second = pool.push(job(1).0);
        let given_back = pool.close();
        for worker in workers {
            worker.join().expect("no panic");
        }
        let displaced = usize::from(matches!(&second, Ok(Some(job)) if job.number == 0));
        let back = |number| given_back.iter().filter(|job| job.number == number).count();
        assert_eq!(record.computed(0) + displaced + back(0), 1, "the first job");
        assert_eq!(record.computed(1) + back(1), usize::from(second.is_ok()), "the second job");
    });
}
