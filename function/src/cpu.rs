//! How many CPUs this process may use, now and after every change.
//!
//! The number is the standard library's `available_parallelism`: the least of the scheduler
//! affinity and the whole CPUs in the quotas of the process's cgroups (v1 and v2, every level), at
//! least one. It reads them anew on each call, so that a pod resized in place is noticed without a
//! restart.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Polling interval of the allotment: a resize has an effect within a second, and a poll costs some
/// tens of microseconds.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// CPUs this process may use at this moment.
pub fn allotment() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Calls `changed` with every new allotment, for as long as the future is polled.
pub async fn watch(mut current: NonZeroUsize, mut changed: impl FnMut(NonZeroUsize)) {
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A few reads from procfs and cgroupfs, which never access a disk.
        let now = allotment();
        if now != current {
            current = now;
            changed(now);
        }
    }
}
