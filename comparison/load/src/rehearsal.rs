//! Checks before a run that this machine's threads wake in time. Two seconds show what would
//! otherwise be known only after a whole run.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use scenario::summary::{LATE_SHARE_OF_OBJECTIVE, MAX_LATE_SHARE};

use crate::pace::sleep_until;

/// Covers several periods of the kernel's CPU quota (100 ms) and of the scheduling of other
/// programs.
const LENGTH: Duration = Duration::from_secs(2);
/// Interval of the wake-ups: that of a scenario's peak on a small cluster.
const EVERY: Duration = Duration::from_millis(4);

/// How late threads woke, sorted.
#[derive(Debug)]
pub struct Rehearsal(Vec<Duration>);

/// Wakes for [`LENGTH`] as a load would, without sending anything. Blocks.
pub fn rehearse(runtime: &tokio::runtime::Handle) -> Rehearsal {
    crate::threads::raise();
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    let count = LENGTH.as_nanos() / EVERY.as_nanos();
    for turn in 0..count as u32 {
        let intended = start + EVERY * turn;
        sleep_until(intended);
        let sender = sender.clone();
        runtime.spawn(async move {
            // The receiver lives until the last sender is dropped.
            let _ = sender.send(intended.elapsed());
        });
    }
    drop(sender);
    let mut late: Vec<Duration> = receiver.iter().collect();
    late.sort_unstable();
    Rehearsal(late)
}

impl Rehearsal {
    /// The reason why a load with this objective would be sent too late, if any.
    pub fn fault(&self, slo_ms: u64) -> Option<String> {
        let late_after = Duration::from_millis(slo_ms).mul_f64(LATE_SHARE_OF_OBJECTIVE);
        let late = self.0.iter().filter(|l| **l > late_after).count();
        let share = late as f64 / self.0.len().max(1) as f64;
        let most = self.0.last().copied().unwrap_or_default();
        (share > MAX_LATE_SHARE).then(|| {
            format!(
                "{late} of {} wake-ups were more than {} ms late, the latest {} ms: something else takes this machine's \
                 CPU; stop it, or let the load's threads run first (root, or CAP_SYS_NICE)",
                self.0.len(),
                late_after.as_millis(),
                most.as_millis()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_late(count: usize, late: Duration) -> Rehearsal {
        let mut all = vec![Duration::from_micros(80); 500 - count];
        all.extend(vec![late; count]);
        Rehearsal(all)
    }

    #[test]
    fn one_in_a_hundred_may_be_late_and_more_are_a_fault() {
        assert_eq!(with_late(5, Duration::from_millis(30)).fault(500), None);
        let fault = with_late(6, Duration::from_millis(30)).fault(500).expect("too many");
        assert!(
            fault.starts_with("6 of 500 wake-ups were more than 10 ms late, the latest 30 ms"),
            "{fault}"
        );
        assert_eq!(with_late(6, Duration::from_millis(9)).fault(500), None, "not late for this objective");
    }

    #[test]
    fn every_wake_up_is_counted() {
        let runtime = crate::threads::runtime(1).expect("a runtime");
        assert_eq!(rehearse(runtime.handle()).0.len(), 500);
    }
}
