//! Threads that belong to the load alone. Watches, queries and progress have their own: nothing
//! they do can hold up a request.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Nice value of the load's threads, where the system lets us have it (root, or CAP_SYS_NICE). They
/// sleep nearly all the time and run for microseconds, so they take nothing from what is measured;
/// but they must be run when they wake.
const NICENESS: i32 = -10;

/// A runtime for requests only.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("load")
        .on_thread_start(raise)
        .enable_all()
        .build()
}

/// Puts the calling thread before ordinary ones. Without the right to, it stays as it is: whether
/// the load was late is judged by its lateness, not by this.
pub(super) fn raise() {
    // On Linux "no process" is the calling thread, not the whole process.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
