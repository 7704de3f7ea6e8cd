//! Threads of the load only. Watches, queries and progress have threads of their own and cannot
//! delay a request.

use std::io;
use std::process::{Command, Stdio};

use tokio::runtime::{Builder, Runtime};

/// Nice value of the load's threads, where that is allowed and real-time scheduling is not. Under
/// `sched_autogroup_enabled`, the default of most distributions, it counts within one session only.
const NICENESS: i32 = -10;

/// The lowest real-time priority: above every ordinary thread, below the kernel's own. The load's
/// threads sleep nearly all the time and run for microseconds, so they use negligible CPU time; but
/// they must run when they wake.
const PRIORITY: &str = "1";

/// A runtime for requests only.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("load")
        .on_thread_start(raise)
        .enable_all()
        .build()
}

/// Raises the priority of the calling thread: SCHED_RR, which a child process does not inherit.
/// Without that permission it gets a nice value, or else stays unchanged: a run is judged by the
/// measured lateness, not by this.
pub(super) fn raise() {
    if !in_turns() {
        // On Linux "no process" is the calling thread, not the whole process.
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

/// util-linux's chrt has the one system call that no safe library has with reset-on-fork.
fn in_turns() -> bool {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let chrt = Command::new("chrt")
        .args(["--rr", "--reset-on-fork", "--pid", PRIORITY, &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    chrt.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheduling policy of the calling thread: field 41 of its stat, and 2 is SCHED_RR (sched(7)).
    fn policy() -> String {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("Linux");
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        fields.split_whitespace().nth(38).expect("field 41").to_owned()
    }

    #[test]
    fn where_it_is_permitted_the_loads_threads_take_real_time_turns_and_children_do_not() {
        std::thread::spawn(|| {
            if !in_turns() {
                return;
            }
            assert_eq!(policy(), "2");
            let child = Command::new("chrt").args(["--pid", "0"]).output().expect("it ran just now");
            let said = String::from_utf8_lossy(&child.stdout).into_owned();
            assert!(said.contains("SCHED_OTHER"), "{said}");
        })
        .join()
        .expect("no failure");
    }
}
