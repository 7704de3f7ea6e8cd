//! The memory limit of the container: read from this process's cgroups, and watched.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::cpu;

/// The least memory limit of this process's cgroups at this moment, version 1 or 2; `None` where
/// there is none. What is there and cannot be read is an error: without a file descriptor to spare,
/// a limited container would else count as one without a limit.
#[expect(clippy::disallowed_methods, reason = "procfs never touches a disk")]
pub fn container_limit() -> io::Result<Option<usize>> {
    match std::fs::read_to_string("/proc/self/cgroup") {
        Ok(groups) => limit_of(&groups, Path::new("/sys/fs/cgroup")),
        // No Linux, or no procfs.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `changed` whenever the limit is another than `current`, the last one known; for as long as
/// the future is polled. A limit that cannot be read is taken to be as it was.
pub async fn watch(current: Option<usize>, changed: impl FnMut(Option<usize>)) {
    watch_limit(cpu::POLL_INTERVAL, container_limit, current, changed).await;
}

pub(super) async fn watch_limit(
    interval: Duration,
    limit: impl Fn() -> io::Result<Option<usize>>,
    current: Option<usize>,
    changed: impl FnMut(Option<usize>),
) {
    let read = || {
        let limit = limit();
        if let Err(error) = &limit {
            tracing::debug!(%error, "the memory limit cannot be read");
        }
        limit.ok()
    };
    cpu::follow(interval, read, current, changed).await;
}

/// `groups` is what `/proc/self/cgroup` says (cgroups(7)), `mount` where the file systems are.
pub(super) fn limit_of(groups: &str, mount: &Path) -> io::Result<Option<usize>> {
    let mut least: Option<usize> = None;
    for line in groups.lines() {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Every level counts. In a container the path may be the host's, of which only the root is
        // there.
        let inside = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let inside: PathBuf = inside.collect();
        for level in inside.ancestors() {
            let limit = read_limit(&root.join(level).join(file))?;
            least = [least, limit].into_iter().flatten().min();
        }
    }
    Ok(least)
}

/// "max" and numbers too large for a pointer are no limit. Neither is a level that is not there, or
/// that may never be looked at; what else goes wrong may be right the next time.
#[expect(clippy::disallowed_methods, reason = "cgroupfs never touches a disk")]
fn read_limit(file: &Path) -> io::Result<Option<usize>> {
    /// Version 1 writes "no limit" as the largest number of whole pages.
    const NO_LIMIT: usize = usize::MAX / 4;
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.trim().parse::<usize>().ok().filter(|limit| *limit < NO_LIMIT)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_limit_that_cannot_be_read_is_taken_to_be_as_it_was() {
        const FAILS: Result<Option<usize>, ErrorKind> = Err(ErrorKind::Other);
        // As many readings as there are here, then errors.
        let readings = [Ok(Some(256)), FAILS, Ok(Some(256)), FAILS, Ok(None)];
        let readings = Mutex::new(readings.into_iter());
        let limit = || {
            let reading = readings.lock().expect("not poisoned").next();
            reading.unwrap_or(FAILS).map_err(io::Error::from)
        };
        let (changes, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let changed = move |limit: Option<usize>| changes.send(limit).expect("the test listens");
        let watched = watch_limit(Duration::from_millis(1), limit, Some(128), changed);
        let changes = async { [seen.recv().await, seen.recv().await] };
        tokio::select! {
            () = watched => unreachable!("it never ends"),
            changes = changes => assert_eq!(changes, [Some(Some(256)), Some(None)]),
        }
    }

    #[test]
    fn limits_are_read_from_both_versions_and_every_level() {
        let mount = std::env::temp_dir().join(format!("cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = mount.join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        };
        let limit = |groups: &str| limit_of(groups, &mount).expect("readable");
        assert_eq!(limit("0::/pod/container\n"), None);
        write("pod/container/memory.max", "max\n");
        write("pod/memory.max", "268435456\n");
        assert_eq!(limit("0::/pod/container\n"), Some(256 * MIB));
        // Version 1, inside of a container that sees only its own root.
        write("memory/memory.limit_in_bytes", "134217728\n");
        assert_eq!(limit("5:cpu,memory:/kubepods/pod1\n1:pids:/\n"), Some(128 * MIB));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit("5:memory:/kubepods/pod1\n"), None);
        // What is there and cannot be read: here a folder.
        std::fs::create_dir_all(mount.join("pod/broken/memory.max")).expect("made");
        assert!(limit_of("0::/pod/broken\n", &mount).is_err());
        std::fs::remove_dir_all(&mount).expect("removed");
    }
}
