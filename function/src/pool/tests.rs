//! What the pool promises: refusal, deadline, both directions of a changed limit, closing.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

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
    until(|| pool.shared.lock().running == 1).await;
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
    assert!(
        matches!(refused, Err(RequestError::Overloaded { retry_after }) if retry_after >= Duration::from_secs(1))
    );
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
