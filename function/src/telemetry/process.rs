//! CPU, memory and age of this process, from procfs (proc(5)).

use std::fs;
use std::time::Duration;

/// Clock ticks a second in `/proc/self/stat`: 100 on every architecture that Linux still supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Position of the fields in `/proc/self/stat`, counted behind the command's closing bracket.
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;

#[expect(clippy::disallowed_methods, reason = "procfs never waits for a disk")]
fn procfs(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// User and system CPU time in seconds.
pub(super) fn cpu_seconds() -> Option<f64> {
    let fields = stat_fields()?;
    Some((fields.get(UTIME)? + fields.get(STIME)?) / TICKS_PER_SECOND)
}

/// Resident memory in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = procfs("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Time since this process was started, to the 10 ms that the kernel records.
pub(super) fn age() -> Option<Duration> {
    let uptime = procfs("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let started = stat_fields()?.get(STARTTIME)? / TICKS_PER_SECOND;
    Some(Duration::from_secs_f64((uptime - started).max(0.0)))
}

fn stat_fields() -> Option<Vec<f64>> {
    let stat = procfs("/proc/self/stat")?;
    // The command may hold blanks and brackets; the fields behind its last bracket do not.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(f64::NAN)).collect())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_cpu_time_and_an_age() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..3600.0).contains(&seconds)));
        assert!(age().is_some_and(|age| age < Duration::from_secs(3600)));
    }
}
