//! Control groups of the node, where this program runs on it (cgroups(7)).

use std::path::{Path, PathBuf};

/// Greatest depth of a container's group (kubepods, class, pod, container).
const DEPTH: usize = 6;

/// The group under a mount whose name contains `name`, one of those nearest to the mount.
pub fn find(mount: &Path, name: &str) -> Option<PathBuf> {
    within(mount, name, DEPTH)
}

fn within(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let folders =
        std::fs::read_dir(folder).ok()?.filter_map(|e| e.ok()).map(|e| e.path()).filter(|p| p.is_dir());
    let folders: Vec<PathBuf> = folders.collect();
    let named = |p: &&PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.contains(name));
    if let Some(found) = folders.iter().find(named) {
        return Some(found.clone());
    }
    folders.iter().filter(|_| depth > 1).find_map(|f| within(f, name, depth - 1))
}
