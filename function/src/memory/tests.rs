//! What the budget promises: who waits, who is refused, what a container of some size has room for.

use super::container::{limit_of, watch_limit};
use super::*;

const MIB: usize = 1024 * 1024;

/// What one inference thread and one place, with those beside it, leave nothing of.
const FIXED: usize = PROCESS_BYTES + THREAD_BYTES + 65 * CONNECTION_BYTES;

/// Work on an image that may wait for longer than any test takes.
fn work(memory: &Memory, bytes: usize) -> Result<Reservation, RequestError> {
    memory.work(bytes, Large::Image, Deadline::new(Duration::from_secs(60), Duration::ZERO))
}

/// Waits until so much work waits.
fn until_waiting(memory: &Memory, count: usize) {
    while memory.0.lock().waiting.len() < count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn work_waits_for_work_and_is_refused_where_it_could_never_fit() {
    let memory = Memory::new(Some(FIXED + 100 * MIB), 1, 1, 20 * MIB);
    assert_eq!(memory.parts().map(|part| part.limit), [20 * MIB, 80 * MIB]);
    let error = work(&memory, 81 * MIB).expect_err("more than there is");
    assert_eq!(error.label(), "too-much-memory");
    let first = work(&memory, 50 * MIB).expect("fits");
    let waiting = std::thread::spawn({
        let memory = memory.clone();
        move || work(&memory, 50 * MIB).map(|reservation| reservation.bytes())
    });
    std::thread::sleep(Duration::from_millis(20));
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.join().expect("no panic"), Ok(50 * MIB));
    assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
}

#[test]
fn small_work_does_not_overtake_large_work_that_waits() {
    let memory = Memory::new(Some(FIXED + 100 * MIB), 1, 1, 20 * MIB);
    let first = work(&memory, 50 * MIB).expect("fits");
    let order = Arc::new(Mutex::new(Vec::new()));
    let begin = |name: &'static str, bytes: usize| {
        let (memory, order) = (memory.clone(), Arc::clone(&order));
        std::thread::spawn(move || {
            let reservation = work(&memory, bytes).expect("fits in the end");
            order.lock().expect("not poisoned").push(name);
            drop(reservation);
        })
    };
    // All that there is for work: nothing runs beside it.
    let large = begin("large", 80 * MIB);
    until_waiting(&memory, 1);
    let small = begin("small", MIB);
    until_waiting(&memory, 2);
    assert_eq!(memory.parts()[1].taken, 50 * MIB, "there would be room for the small one");
    drop(first);
    large.join().expect("no panic");
    small.join().expect("no panic");
    assert_eq!(*order.lock().expect("not poisoned"), ["large", "small"]);
    assert_eq!(memory.parts()[1].taken, 0);
}

#[test]
fn work_is_given_up_at_its_deadline_and_what_came_after_it_goes_on() {
    let memory = Memory::new(Some(FIXED + 100 * MIB), 1, 1, 20 * MIB);
    let _running = work(&memory, 50 * MIB).expect("fits");
    let limit = Duration::from_millis(300);
    let large = std::thread::spawn({
        let memory = memory.clone();
        move || memory.work(80 * MIB, Large::Image, Deadline::new(limit, Duration::ZERO)).map(drop)
    });
    // It may also have been given up already.
    while memory.0.lock().waiting.is_empty() && !large.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(work(&memory, MIB).expect("nothing is in its way any more"));
    assert_eq!(large.join().expect("no panic"), Err(RequestError::DeadlineExceeded(limit)));
    // The time is over before it asks.
    let late = Deadline::new(limit, limit);
    drop(memory.work(30 * MIB, Large::Image, late).expect("there is room, so it need not wait"));
    let error = memory.work(31 * MIB, Large::Image, late).expect_err("it would have to wait");
    assert_eq!(error, RequestError::DeadlineExceeded(limit));
    assert!(memory.0.lock().waiting.is_empty());
}

#[test]
fn bytes_in_transit_are_refused_where_they_do_not_fit_now() {
    let memory = Memory::new(None, 1, 1, 10 * MIB);
    let mut first = memory.transit(6 * MIB, Large::Body).expect("fits");
    assert_eq!(memory.transit(5 * MIB, Large::Body).expect_err("taken").label(), "overloaded");
    assert_eq!(memory.transit(11 * MIB, Large::Body).expect_err("never").label(), "too-many-bytes");
    first.grow(10 * MIB, Large::Body).expect("fits");
    assert_eq!(first.grow(11 * MIB, Large::Body).expect_err("never").label(), "too-many-bytes");
    drop(first);
    assert_eq!(memory.parts()[0].taken, 0);
}

fn total(memory: &Memory) -> usize {
    memory.parts().iter().fold(0usize, |sum, part| sum.saturating_add(part.limit))
}

#[test]
fn connections_get_their_memory_and_at_most_a_quarter_of_what_there_is() {
    let small = |places| Memory::new(Some(512 * MIB), 1, places, MIB);
    assert_eq!(total(&small(100)) - total(&small(200)), 200 * CONNECTION_BYTES);
    let memory = small(60_000);
    let left = 512 * MIB - PROCESS_BYTES - THREAD_BYTES;
    assert!((1..60_000).contains(&memory.places()));
    assert!((left / 4 * 3..left / 4 * 3 + 3 * CONNECTION_BYTES).contains(&total(&memory)));
    memory.resize(None, 1);
    assert_eq!((memory.places(), total(&memory)), (60_000, usize::MAX));
}

/// The table of what fits into a container, as `docs/hostile-input.md` has it. Bytes a pixel
/// are those of `picture`, beside 1 MiB.
#[test]
fn the_documented_table_is_what_these_numbers_give() {
    let document = include_str!("../../../docs/hostile-input.md");
    let most = crate::config::DEFAULT_MAX_IMAGE_PIXELS as f64;
    for (container, threads) in [(128, 1), (128, 2), (192, 1), (192, 2), (256, 1), (256, 2), (512, 2)] {
        let places = crate::config::DEFAULT_MAX_CONNECTIONS;
        let transit = crate::config::DEFAULT_MAX_BODY_MEMORY;
        let memory = Memory::new(Some(container * MIB), threads, places, transit);
        let [transit, work] = memory.parts().map(|part| part.limit);
        let largest = |bytes: f64| ((work - MIB) as f64 / bytes).min(most) / 1e6;
        let row = format!(
            "| {container} MiB | {threads} | {} of {} | {} MiB | {} MiB | {:.1} | {:.1} | {:.1} |",
            memory.places(),
            connections(memory.places()),
            transit / MIB,
            work / MIB,
            largest(1.0),
            largest(6.0),
            largest(7.0),
        );
        assert!(document.contains(&row), "docs/hostile-input.md should have\n{row}");
    }
}

#[test]
fn a_poisoned_lock_changes_nothing() {
    let memory = Memory::new(None, 1, 1, 10 * MIB);
    let poisoning = memory.clone();
    let panicked = std::thread::spawn(move || {
        let _held = poisoning.0.state.lock();
        panic!("while the lock is held");
    });
    panicked.join().expect_err("panics");
    assert!(memory.0.state.is_poisoned());
    drop(work(&memory, MIB).expect("fits"));
    drop(memory.transit(MIB, Large::Body).expect("fits"));
    assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
}

#[test]
fn a_grown_limit_lets_waiting_work_in() {
    let memory = Memory::new(Some(FIXED + 80 * MIB), 1, 1, 20 * MIB);
    let _running = work(&memory, 50 * MIB).expect("fits");
    let waiting = std::thread::spawn({
        let memory = memory.clone();
        move || work(&memory, 50 * MIB).is_ok()
    });
    memory.resize(Some(FIXED + 160 * MIB), 1);
    assert!(waiting.join().expect("no panic"));
}

#[tokio::test]
async fn a_limit_that_is_changed_while_running_changes_the_budget() {
    let mount = std::env::temp_dir().join(format!("cgroup-resized-{}", std::process::id()));
    std::fs::create_dir_all(&mount).expect("made");
    let set = |limit: &str| std::fs::write(mount.join("memory.max"), limit).expect("written");
    let memory = Memory::new(None, 1, 1, MIB);
    set("max\n");
    let interval = Duration::from_millis(1);
    let limit = || limit_of("0::/\n", &mount);
    let watched = watch_limit(interval, limit, None, |limit| memory.resize(limit, 1));
    let resized = async {
        let limits = [
            ("268435456\n", 256 * MIB - FIXED),
            ("134217728\n", 128 * MIB - FIXED),
            ("536870912\n", 512 * MIB - FIXED),
            ("max\n", usize::MAX),
        ];
        for (limit, budget) in limits {
            set(limit);
            while total(&memory) != budget {
                tokio::time::sleep(interval).await;
            }
        }
    };
    tokio::select! {
        () = watched => unreachable!("it never ends"),
        () = resized => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the budget is {}", total(&memory)),
    }
    std::fs::remove_dir_all(&mount).expect("removed");
}
