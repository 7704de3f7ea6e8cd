//! Loading the compiled-in weights is a map, not a copy. Alone in its process: nothing else may
//! grow it.
#![cfg(target_os = "linux")]

use std::time::Instant;

use burn::prelude::Device;
use eye_state::model::{METADATA, Model};

const PAGE: u64 = 4096;

/// Resident set size, in bytes (`proc(5)`, statm).
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * PAGE
}

#[test]
fn weights_are_used_where_the_program_is_mapped() {
    let (before, start) = (resident(), Instant::now());
    let model = Model::from_embedded(&Device::default());
    let (took, grown) = (start.elapsed(), resident().saturating_sub(before));
    // As the model file holds them; the kernels' layout is larger.
    let weights = METADATA.parameters * 4;
    eprintln!("loaded in {took:?}, {} KiB more resident, {} KiB of parameters", grown / 1024, weights / 1024);
    assert!(grown < weights / 2, "{grown} bytes more resident for {weights} bytes of weights: copied");
    drop(model);
}
