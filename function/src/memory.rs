//! One memory budget for everything that requests allocate, derived from the container's limit.
//!
//! The budget is the container's memory limit less the memory of the process, its threads and its
//! connections, whose number follows the limit. One part of it is for bytes in transit: bodies that
//! are read or wait, and pictures that are sent back; where they do not fit, the request is refused
//! at once. The other part is for work on the inference threads: what decoders work in, pixels,
//! drawings. Work that does not fit beside the running work waits; work that could never fit is
//! refused. Work never waits for bytes in transit, so that no deadlock is possible.

use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cpu;
use crate::error::RequestError;
use crate::server::{connections, places_in};

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
    /// Work ended or the budget grew.
    freed: Condvar,
    /// Upper bound of the bytes in transit, independent of the container's limit.
    most_transit: usize,
    /// Upper bound of the places for connections, independent of the container's limit.
    most_places: usize,
    places: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    transit: Part,
    work: Part,
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

    /// Places for connections, without the spare ones.
    pub fn places(&self) -> usize {
        self.0.places.load(Ordering::Relaxed)
    }

    /// Bytes in transit, and work.
    pub fn parts(&self) -> [Part; 2] {
        let state = self.0.lock();
        [state.transit, state.work]
    }

    /// Reserves bytes in transit, or fails if there are not enough now.
    pub fn transit(&self, bytes: usize) -> Result<Reservation, RequestError> {
        let mut reservation = Reservation { memory: self.clone(), part: Use::Transit, bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves bytes for work. Blocks while other work holds them; for inference threads only.
    #[expect(clippy::disallowed_methods, reason = "called on inference threads, which wait")]
    pub fn work(&self, bytes: usize) -> Result<Reservation, RequestError> {
        let mut state = self.0.lock();
        loop {
            if bytes > state.work.limit {
                return Err(RequestError::TooMuchMemory { needed: bytes, limit: state.work.limit });
            }
            if state.work.fits(bytes) {
                state.work.taken += bytes;
                return Ok(Reservation { memory: self.clone(), part: Use::Work, bytes });
            }
            state = self.0.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Only numbers are changed under this lock, one at a time.
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

    /// Extends a reservation in transit to `bytes` in all.
    pub fn grow(&mut self, bytes: usize) -> Result<(), RequestError> {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.memory.0.lock();
        if bytes > state.transit.limit {
            return Err(RequestError::TooManyBytes { limit: state.transit.limit });
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

/// The least memory limit of this process's cgroups at this moment, version 1 or 2; `None` where
/// there is none.
#[expect(clippy::disallowed_methods, reason = "procfs never touches a disk")]
pub fn container_limit() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of(&groups, Path::new("/sys/fs/cgroup"))
}

/// Calls `changed` whenever the limit is another than `current`, the last one known; for as long as
/// the future is polled.
pub async fn watch(current: Option<usize>, changed: impl FnMut(Option<usize>)) {
    watch_limit(cpu::POLL_INTERVAL, container_limit, current, changed).await;
}

async fn watch_limit(
    interval: Duration,
    limit: impl Fn() -> Option<usize>,
    mut current: Option<usize>,
    mut changed: impl FnMut(Option<usize>),
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = limit();
        if now != current {
            current = now;
            changed(now);
        }
    }
}

/// `groups` is what `/proc/self/cgroup` says (cgroups(7)), `mount` where the file systems are.
fn limit_of(groups: &str, mount: &Path) -> Option<usize> {
    let limits = groups.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Every level counts. In a container the path may be the host's, of which only the root is
        // there.
        let inside = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let inside: PathBuf = inside.collect();
        inside.ancestors().filter_map(|level| read_limit(&root.join(level).join(file))).min()
    });
    limits.min()
}

/// "max" and numbers too large for a pointer are no limit.
#[expect(clippy::disallowed_methods, reason = "cgroupfs never touches a disk")]
fn read_limit(file: &Path) -> Option<usize> {
    /// Version 1 writes "no limit" as the largest number of whole pages.
    const NO_LIMIT: usize = usize::MAX / 4;
    let limit = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// What one inference thread and one place, with those beside it, leave nothing of.
    const FIXED: usize = PROCESS_BYTES + THREAD_BYTES + 65 * CONNECTION_BYTES;

    #[test]
    fn work_waits_for_work_and_is_refused_where_it_could_never_fit() {
        let memory = Memory::new(Some(FIXED + 100 * MIB), 1, 1, 20 * MIB);
        assert_eq!(memory.parts().map(|part| part.limit), [20 * MIB, 80 * MIB]);
        let error = memory.work(81 * MIB).expect_err("more than there is");
        assert_eq!(error.label(), "too-much-memory");
        let first = memory.work(50 * MIB).expect("fits");
        let waiting = std::thread::spawn({
            let memory = memory.clone();
            move || memory.work(50 * MIB).map(|reservation| reservation.bytes())
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.join().expect("no panic"), Ok(50 * MIB));
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
    }

    #[test]
    fn bytes_in_transit_are_refused_where_they_do_not_fit_now() {
        let memory = Memory::new(None, 1, 1, 10 * MIB);
        let mut first = memory.transit(6 * MIB).expect("fits");
        assert_eq!(memory.transit(5 * MIB).expect_err("taken").label(), "overloaded");
        assert_eq!(memory.transit(11 * MIB).expect_err("never").label(), "too-many-bytes");
        first.grow(10 * MIB).expect("fits");
        assert_eq!(first.grow(11 * MIB).expect_err("never").label(), "too-many-bytes");
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
        let document = include_str!("../../docs/hostile-input.md");
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
        drop(memory.work(MIB).expect("fits"));
        drop(memory.transit(MIB).expect("fits"));
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
    }

    #[test]
    fn a_grown_limit_lets_waiting_work_in() {
        let memory = Memory::new(Some(FIXED + 80 * MIB), 1, 1, 20 * MIB);
        let _running = memory.work(50 * MIB).expect("fits");
        let waiting = std::thread::spawn({
            let memory = memory.clone();
            move || memory.work(50 * MIB).is_ok()
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

    #[test]
    fn limits_are_read_from_both_versions_and_every_level() {
        let mount = std::env::temp_dir().join(format!("cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = mount.join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        };
        assert_eq!(limit_of("0::/pod/container\n", &mount), None);
        write("pod/container/memory.max", "max\n");
        write("pod/memory.max", "268435456\n");
        assert_eq!(limit_of("0::/pod/container\n", &mount), Some(256 * MIB));
        // Version 1, inside of a container that sees only its own root.
        write("memory/memory.limit_in_bytes", "134217728\n");
        assert_eq!(limit_of("5:cpu,memory:/kubepods/pod1\n1:pids:/\n", &mount), Some(128 * MIB));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_of("5:memory:/kubepods/pod1\n", &mount), None);
        std::fs::remove_dir_all(&mount).expect("removed");
    }
}
