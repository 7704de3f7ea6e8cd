//! What the pool promises: refusal, deadline, both directions of a changed limit, closing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

type Pool = InferencePool<(), usize>;

fn pool(limit: usize, capacity: usize, deadline: Duration) -> Pool {
    Pool::new((), NonZeroUsize::new(limit).expect("positive"), capacity, deadline)
}

const LONG: Duration = Duration::from_secs(60);

type Answer = tokio::task::JoinHandle<Result<usize, RequestError>>;

/// Starts a job that runs until the first of the returned is dropped, and answers 1.
async fn occupy(pool: &Pool) -> (std::sync::mpsc::Sender<()>, Answer) {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let work = move |_: &(), _| {
        let _ = held.recv();
        Ok(1)
    };
    let occupied = pool.clone();
    let running = tokio::spawn(async move { occupied.run(work).await });
    until(|| pool.shared.dispatch.running() == 1).await;
    (hold, running)
}

/// Queues a job that answers 2.
async fn enqueue(pool: &Pool) -> Answer {
    let full = pool.clone();
    let queued = tokio::spawn(async move { full.run(|_, _| Ok(2)).await });
    until(|| pool.queue_depth() == 1).await;
    queued
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let pool = pool(1, 1, LONG);
    let (hold, running) = occupy(&pool).await;
    let queued = enqueue(&pool).await;

    let refused = pool.run(|_, _| Ok(3)).await;
    assert_eq!(refused, Err(RequestError::Overloaded { retry_after: Duration::from_secs(1) }));
    drop(hold);
    assert_eq!(running.await.expect("no panic"), Ok(1));
    assert_eq!(queued.await.expect("no panic"), Ok(2));
}

#[tokio::test]
async fn a_job_whose_deadline_passes_in_the_queue_is_never_computed() {
    let pool = pool(1, 4, Duration::from_millis(20));
    let (hold, running) = occupy(&pool).await;
    let computed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&computed);
    let late = pool.run(move |_, _| Ok(count.fetch_add(1, Ordering::SeqCst))).await;
    assert!(matches!(late, Err(RequestError::DeadlineExceeded(_))));
    drop(hold);
    assert_eq!(running.await.expect("no panic"), Ok(1), "a job that started in time is answered");
    assert_eq!(pool.run(|_, _| Ok(7)).await, Ok(7));
    assert_eq!(computed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_job_that_panics_costs_neither_the_thread_nor_the_next_answer() {
    let pool = pool(1, 4, LONG);
    assert_eq!(pool.run(|_, _| panic!("a defect")).await, Err(RequestError::Internal));
    assert_eq!(pool.run(|_, _| Ok(5)).await, Ok(5));
}

#[tokio::test]
async fn raising_the_limit_runs_more_jobs_at_once() {
    let pool = pool(1, 8, LONG);
    pool.set_limit(NonZeroUsize::new(3).expect("positive"));
    // The barrier opens only when three jobs are inside at the same time.
    let barrier = Arc::new(Barrier::new(3));
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let (pool, barrier) = (pool.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                pool.run(move |_, _| {
                    barrier.wait();
                    Ok(0)
                })
                .await
            })
        })
        .collect();
    for job in jobs {
        assert_eq!(job.await.expect("no panic"), Ok(0));
    }
}

#[tokio::test]
async fn lowering_the_limit_runs_fewer_jobs_at_once() {
    let pool = pool(4, 64, LONG);
    pool.set_limit(NonZeroUsize::MIN);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..16)
        .map(|_| {
            let (pool, inside, most) = (pool.clone(), Arc::clone(&inside), Arc::clone(&most));
            tokio::spawn(async move {
                pool.run(move |_, _| {
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                    Ok(inside.fetch_sub(1, Ordering::SeqCst))
                })
                .await
            })
        })
        .collect();
    for job in jobs {
        job.await.expect("no panic").expect("runs");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn threads_that_a_lowered_limit_leaves_idle_are_counted() {
    let pool = pool(3, 4, LONG);
    pool.set_limit(NonZeroUsize::MIN);
    assert_eq!((pool.limit(), pool.threads()), (1, 3));
}

#[tokio::test]
async fn closing_refuses_new_and_queued_jobs_and_finishes_the_running_ones() {
    let pool = pool(1, 4, LONG);
    let (hold, running) = occupy(&pool).await;
    let queued = enqueue(&pool).await;
    pool.close();
    assert_eq!(pool.run(|_, _| Ok(3)).await, Err(RequestError::Draining));
    assert_eq!(queued.await.expect("no panic"), Err(RequestError::Draining));
    drop(hold);
    assert_eq!(running.await.expect("no panic"), Ok(1));
}

#[tokio::test]
async fn a_requester_that_goes_away_frees_its_place() {
    let pool = pool(1, 1, LONG);
    let (hold, running) = occupy(&pool).await;
    let gone = enqueue(&pool).await;
    gone.abort();
    until(|| pool.queue_depth() == 0).await;
    drop(hold);
    assert_eq!(running.await.expect("no panic"), Ok(1));
}

#[tokio::test]
async fn the_advised_time_is_the_one_until_the_next_job_ends_not_until_the_queue_is_empty() {
    let pool = pool(2, 16, LONG);
    *pool.shared.service_time.lock().expect("not poisoned") = 6.5;
    assert_eq!(
        pool.shared.overloaded(),
        RequestError::Overloaded { retry_after: Duration::from_secs(4) },
        "two at once that take 6.5 s each: one ends every 3.25 s"
    );
}

#[tokio::test]
async fn a_requester_that_closed_its_side_goes_last_and_yields_to_a_newcomer() {
    let pool = pool(1, 2, LONG);
    let (hold, running) = occupy(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let job = |name: &'static str, closed: bool| {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let closed = async move {
                if !closed {
                    std::future::pending::<()>().await;
                }
            };
            let work = move |_: &(), _| {
                order.lock().expect("not poisoned").push(name);
                Ok(0)
            };
            pool.run_for(closed, work).await
        })
    };
    let first = job("closed", true);
    until(|| pool.queue_depth() == 1).await;
    // The requester's future runs on after the job was queued.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = job("attended", false);
    until(|| pool.queue_depth() == 2).await;
    let third = job("newcomer", false);
    assert!(matches!(first.await.expect("no panic"), Err(RequestError::Overloaded { .. })));
    drop(hold);
    for job in [running, second, third] {
        job.await.expect("no panic").expect("computed");
    }
    assert_eq!(*order.lock().expect("not poisoned"), ["attended", "newcomer"]);
}

#[tokio::test]
async fn a_requester_that_closed_its_side_is_answered_where_there_is_room() {
    let pool = pool(1, 2, LONG);
    assert_eq!(pool.run_for(std::future::ready(()), |_, _| Ok(4)).await, Ok(4));
}

static THREADS_REFUSED: AtomicBool = AtomicBool::new(true);

fn refusing(name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    if THREADS_REFUSED.load(Ordering::SeqCst) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    spawn_thread(name, work)
}

#[tokio::test]
async fn without_threads_requests_are_refused_at_once_until_one_can_be_started() {
    let two = NonZeroUsize::new(2).expect("positive");
    let pool = Pool::with_spawn((), two, 4, LONG, refusing);
    assert_eq!(pool.limit(), 0);
    for _ in 0..3 {
        assert_eq!(pool.run(|_, _| Ok(1)).await, Err(RequestError::NoThreads));
    }
    THREADS_REFUSED.store(false, Ordering::SeqCst);
    *pool.shared.thread_refused.lock().expect("not poisoned") = Instant::now().checked_sub(THREAD_RETRY);
    assert_eq!(pool.run(|_, _| Ok(1)).await, Ok(1));
    assert_eq!(pool.limit(), 2);
}

#[tokio::test]
async fn poisoned_locks_change_nothing() {
    let pool = pool(1, 4, LONG);
    let shared = Arc::clone(&pool.shared);
    let panicked = std::thread::spawn(move || {
        let _service_time = shared.service_time.lock();
        let _refused = shared.thread_refused.lock();
        shared.dispatch.poison();
    });
    panicked.join().expect_err("panics");
    assert!(pool.shared.service_time.is_poisoned() && pool.shared.thread_refused.is_poisoned());
    assert_eq!(pool.run(|_, _| Ok(1)).await, Ok(1));
    pool.set_limit(NonZeroUsize::new(2).expect("positive"));
    assert_eq!(pool.limit(), 2);
    assert_eq!(pool.run(|_, _| panic!("a defect")).await, Err(RequestError::Internal));
    assert!(matches!(pool.shared.overloaded(), RequestError::Overloaded { .. }));
    pool.close();
    assert_eq!(pool.run(|_, _| Ok(1)).await, Err(RequestError::Draining));
}

/// A context that cannot be copied at first.
struct Fragile;

static COPIES_FAIL: AtomicBool = AtomicBool::new(true);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!COPIES_FAIL.load(Ordering::SeqCst), "a defect outside of any job");
        Self
    }
}

#[tokio::test]
async fn a_thread_that_ended_is_started_again() {
    let pool: InferencePool<Fragile, usize> = InferencePool::new(Fragile, NonZeroUsize::MIN, 4, LONG);
    until(|| pool.limit() == 0).await;
    COPIES_FAIL.store(false, Ordering::SeqCst);
    assert_eq!(pool.run(|_, _| Ok(1)).await, Ok(1));
}
