//! How many CPUs this process may use, now and after every change.
//!
//! The number is the standard library's `available_parallelism`: the least of the scheduler
//! affinity and the whole CPUs in the quotas of the process's cgroups (v1 and v2, every level), at
//! least one. It reads them anew on each call, so that a pod resized in place is noticed without a
//! restart.

use std::fs::File;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Polling interval of the allotment: a resize has an effect within a second, and a poll costs some
/// tens of microseconds.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// CPUs this process may use at this moment.
pub fn allotment() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Calls `changed` with every new allotment, for as long as the future is polled. One that cannot
/// be read is taken to be as it was.
pub async fn watch(current: NonZeroUsize, changed: impl FnMut(NonZeroUsize)) {
    follow(POLL_INTERVAL, readable_allotment, current, changed).await;
}

/// Reads a limit again and again, and calls `changed` whenever it is another than `current`, the
/// last one known. What cannot be read (`None`) is taken to be as it was.
pub(crate) async fn follow<T: Copy + PartialEq>(
    interval: Duration,
    mut read: impl FnMut() -> Option<T>,
    mut current: T,
    mut changed: impl FnMut(T),
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A few reads from procfs and cgroupfs, which never access a disk.
        if let Some(now) = read().filter(|now| *now != current) {
            current = now;
            changed(now);
        }
    }
}

/// The allotment, if its quotas can be read. The standard library takes a quota that it cannot read
/// for none, so that without a file descriptor to spare all CPUs of the machine would count.
fn readable_allotment() -> Option<NonZeroUsize> {
    let before = quotas_can_be_read();
    let now = allotment();
    (before && quotas_can_be_read()).then_some(now)
}

/// Whether the first file that quotas are read from can be opened, or is not there at all.
#[expect(clippy::disallowed_methods, reason = "procfs never touches a disk")]
fn quotas_can_be_read() -> bool {
    match File::open("/proc/self/cgroup") {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_allotment_that_cannot_be_read_is_taken_to_be_as_it_was() {
        let [two, four] = [2, 4].map(|cpus| NonZeroUsize::new(cpus).expect("positive"));
        // As many readings as there are here, then none that succeeds.
        let mut readings = [Some(two), None, Some(four), None, Some(two)].into_iter();
        let (changes, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let read = move || readings.next().flatten();
        let changed = move |cpus: NonZeroUsize| changes.send(cpus).expect("the test listens");
        let watched = follow(Duration::from_millis(1), read, two, changed);
        let changes = async { [seen.recv().await, seen.recv().await] };
        tokio::select! {
            () = watched => unreachable!("it never ends"),
            changes = changes => assert_eq!(changes, [Some(four), Some(two)]),
        }
    }

    #[test]
    fn the_allotment_of_this_machine_can_be_read() {
        assert_eq!(readable_allotment(), Some(allotment()));
    }
}
