//! One memory budget for everything that requests allocate, derived from the container's limit.
//!
//! The budget is the container's memory limit less the process's fixed memory. One part of it is
//! for bytes in transit: bodies that are read or wait, and pictures that are sent back; where they
//! do not fit, the request is refused at once. The other part is for work on the inference threads:
//! what decoders work in, pixels, drawings. Work that does not fit beside the running work waits;
//! work that could never fit is refused. Work never waits for bytes in transit, so that no deadlock
//! is possible.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cpu;
use crate::error::RequestError;

/// Memory of the process without requests: 22 MiB of code, weights, threads and telemetry, and 36
/// MiB for the request heads of [`CONNECTIONS_INCLUDED`] connections and as many to spare as there
/// are, with what the allocator adds. `docs/hostile-input.md` has it measured.
const PROCESS_BYTES: usize = 64 * 1024 * 1024;

/// Connections that [`PROCESS_BYTES`] has room for.
const CONNECTIONS_INCLUDED: usize = 1024;

/// Memory of each further place: the head that hyper buffers, 16 KiB, for it and for half a spare
/// place.
const CONNECTION_BYTES: usize = 24 * 1024;

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
    /// Bytes that are not available to requests.
    process: usize,
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
    /// A budget out of `container` bytes (`None`: no limit), with `threads` inference threads,
    /// places for `connections`, and at most `most_transit` bytes in transit.
    pub fn new(container: Option<usize>, threads: usize, connections: usize, most_transit: usize) -> Self {
        let more = connections.saturating_sub(CONNECTIONS_INCLUDED);
        let process = PROCESS_BYTES + more * CONNECTION_BYTES;
        let shared = Shared { state: Mutex::default(), freed: Condvar::new(), most_transit, process };
        let memory = Self(Arc::new(shared));
        memory.resize(container, threads);
        memory
    }

    /// Follows a changed limit or number of threads. Reservations stay.
    pub fn resize(&self, container: Option<usize>, threads: usize) {
        let mut state = self.0.lock();
        let budget = container
            .map(|limit| limit.saturating_sub(self.0.process + threads * THREAD_BYTES).max(LEAST_WORK_BYTES));
        state.transit.limit = match budget {
            Some(budget) => self.0.most_transit.min(budget / TRANSIT_FRACTION),
            None => self.0.most_transit,
        };
        state.work.limit = budget.map_or(usize::MAX, |budget| budget - state.transit.limit);
        drop(state);
        self.0.freed.notify_all();
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

    #[test]
    fn work_waits_for_work_and_is_refused_where_it_could_never_fit() {
        let memory = Memory::new(Some(PROCESS_BYTES + THREAD_BYTES + 100 * MIB), 1, 1024, 20 * MIB);
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
        let memory = Memory::new(None, 1, 1024, 10 * MIB);
        let mut first = memory.transit(6 * MIB).expect("fits");
        assert_eq!(memory.transit(5 * MIB).expect_err("taken").label(), "overloaded");
        assert_eq!(memory.transit(11 * MIB).expect_err("never").label(), "too-many-bytes");
        first.grow(10 * MIB).expect("fits");
        assert_eq!(first.grow(11 * MIB).expect_err("never").label(), "too-many-bytes");
        drop(first);
        assert_eq!(memory.parts()[0].taken, 0);
    }

    #[test]
    fn more_connections_leave_less_for_requests() {
        let work = |connections| {
            Memory::new(Some(512 * MIB), 1, connections, MIB)
                .parts()
                .map(|part| part.limit)
                .iter()
                .sum::<usize>()
        };
        assert_eq!(work(100), work(1024));
        assert_eq!(work(1024) - work(2048), 24 * MIB);
    }

    #[test]
    fn a_poisoned_lock_changes_nothing() {
        let memory = Memory::new(None, 1, 1024, 10 * MIB);
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
        let process = PROCESS_BYTES + THREAD_BYTES;
        let memory = Memory::new(Some(process + 80 * MIB), 1, 1024, 20 * MIB);
        let _running = memory.work(50 * MIB).expect("fits");
        let waiting = std::thread::spawn({
            let memory = memory.clone();
            move || memory.work(50 * MIB).is_ok()
        });
        memory.resize(Some(process + 160 * MIB), 1);
        assert!(waiting.join().expect("no panic"));
    }

    #[tokio::test]
    async fn a_limit_that_is_changed_while_running_changes_the_budget() {
        let mount = std::env::temp_dir().join(format!("cgroup-resized-{}", std::process::id()));
        std::fs::create_dir_all(&mount).expect("made");
        let set = |limit: &str| std::fs::write(mount.join("memory.max"), limit).expect("written");
        let memory = Memory::new(None, 1, 1024, MIB);
        let total = || memory.parts().iter().fold(0usize, |sum, part| sum.saturating_add(part.limit));
        set("max\n");
        let interval = Duration::from_millis(1);
        let limit = || limit_of("0::/\n", &mount);
        let watched = watch_limit(interval, limit, None, |limit| memory.resize(limit, 1));
        let resized = async {
            let limits = [
                ("268435456\n", 180 * MIB),
                ("134217728\n", 52 * MIB),
                ("536870912\n", 436 * MIB),
                ("max\n", usize::MAX),
            ];
            for (limit, budget) in limits {
                set(limit);
                while total() != budget {
                    tokio::time::sleep(interval).await;
                }
            }
        };
        tokio::select! {
            () = watched => unreachable!("it never ends"),
            () = resized => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the budget is {}", total()),
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
