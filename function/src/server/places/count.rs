//! How many connections belong to so many places, and how many places fit into a limit on
//! connections or open files.

/// Fewest spare places: enough for a burst where there are few places.
const MIN_SPARE: usize = 32;

/// File descriptors that are not connections: the listener, epoll, standard streams, the collector,
/// procfs.
const OTHER_FILES: usize = 64;

/// Spare places: half as many as places.
pub(super) fn spare(places: usize) -> usize {
    (places / 2).max(MIN_SPARE)
}

/// File descriptors of a connection: a second one while its last answer is being taken.
const FILES_EACH: usize = 2;

/// Connections with this many places, the spare ones and those that are leaving included.
pub(crate) fn connections(places: usize) -> usize {
    places + 2 * spare(places)
}

/// Places among at most so many connections.
pub(crate) fn places_in(connections: usize) -> usize {
    (connections / 2).min(connections.saturating_sub(2 * MIN_SPARE)).max(1)
}

/// The `wanted` places, limited by the number of files that the process may open.
#[expect(clippy::disallowed_methods, reason = "procfs never waits for a disk")]
pub(in crate::server) fn fitting(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match open_files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()) {
        Some(limit) => wanted.min(places_in(limit.saturating_sub(OTHER_FILES) / FILES_EACH)),
        None => wanted,
    }
}
