//! Memory of this process as the kernel counts it (proc(5)): one test in a file, since it is the
//! process that counts.

/// What `work` takes at most beside what is there, in KiB.
pub(crate) fn taken<T>(work: impl FnOnce() -> T) -> (T, usize) {
    // The most from now on.
    std::fs::write("/proc/self/clear_refs", "5").expect("procfs");
    let before = most();
    let outcome = work();
    (outcome, most().saturating_sub(before))
}

fn most() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the line is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
