//! Control-C and SIGTERM: recorded at once and handled wherever the runner waits, so that it can
//! clean up before it exits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Longest delay between the signal and the end of a wait.
const GLANCE: Duration = Duration::from_millis(200);

/// Handles the first signal; a second one terminates the process immediately.
pub fn listen(runtime: &tokio::runtime::Handle) -> Result<()> {
    let _inside = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    runtime.spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    });
    Ok(())
}

/// Whether a signal has been received.
pub fn received() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps; fails as soon as a signal has been received.
pub fn pause(length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    loop {
        if received() {
            bail!("interrupted: the same command goes on with what is missing");
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(GLANCE));
    }
}
