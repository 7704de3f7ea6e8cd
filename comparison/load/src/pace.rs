//! Pacing: a thread of its own sleeps until each arrival and hands it to the runtime, so that a
//! busy runtime delays a request (which is recorded) but never the requests after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::client::LoadClient;
use crate::images::Pictures;
use scenario::schedule::Schedule;
use scenario::{Outcome, RequestRecord};

/// Most requests in flight, each with a socket. Further requests are not sent, and the run is void.
pub const MAX_IN_FLIGHT: usize = 8192;

/// The record of a load.
#[derive(Debug)]
pub struct Sent {
    /// One for each request sent, in no particular order.
    pub records: Vec<RequestRecord>,
    /// Arrivals that were not sent because [`MAX_IN_FLIGHT`] was reached.
    pub unsent: usize,
    /// The time of second 0 of the schedule.
    pub started: std::time::SystemTime,
}

/// Sends a whole schedule on `runtime` (see [`crate::threads`]) and waits for the last answer (or
/// its time-out). Blocks; call it from its own thread.
pub fn send_schedule(
    runtime: &tokio::runtime::Handle,
    client: &LoadClient,
    schedule: &Schedule,
    pictures: &Arc<Pictures>,
) -> Sent {
    crate::threads::raise();
    let (results, mut inbox) = mpsc::unbounded_channel();
    let in_flight = Arc::new(AtomicUsize::new(0));
    let mut unsent = 0;
    let start = Instant::now();
    let started = std::time::SystemTime::now();
    for arrival in schedule.arrivals.iter().copied() {
        let intended = start + arrival.at;
        sleep_until(intended);
        if in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT {
            unsent += 1;
            continue;
        }
        in_flight.fetch_add(1, Ordering::Relaxed);
        let (client, pictures, results, in_flight) =
            (client.clone(), Arc::clone(pictures), results.clone(), Arc::clone(&in_flight));
        runtime.spawn(async move {
            let late = intended.elapsed();
            let outcome = client.send(pictures.of(&arrival)).await;
            in_flight.fetch_sub(1, Ordering::Relaxed);
            let record = record(arrival.at, late, intended.elapsed(), outcome);
            // The receiver lives until the last sender is dropped.
            let _ = results.send(record);
        });
    }
    drop(results);
    let mut records = Vec::with_capacity(schedule.arrivals.len());
    while let Some(record) = inbox.blocking_recv() {
        records.push(record);
    }
    Sent { records, unsent, started }
}

fn record(at: Duration, late: Duration, latency: Duration, outcome: Outcome) -> RequestRecord {
    let micros = |d: Duration| d.as_micros() as u64;
    RequestRecord { at_us: micros(at), late_us: micros(late), latency_us: micros(latency), outcome }
}

/// The kernel's sleep, which is late by some tens of microseconds; a runtime's timer counts in
/// milliseconds.
pub(crate) fn sleep_until(moment: Instant) {
    let left = moment.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
