//! Loading the compiled-in weights is a map, not a copy. Alone in its process: nothing else may
//! grow it.
#![cfg(target_os = "linux")]

use std::time::Instant;

use burn::prelude::Device;
use eye_state::model::{METADATA, Model};

const PAGE: u64 = 4096;

/// Resident bytes that are no part of a mapped file (`proc(5)`, statm).
fn anonymous() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages: Vec<u64> = pages.split_whitespace().map(|pages| pages.parse().expect("a number")).collect();
    let [_, resident, shared, ..] = pages[..] else { panic!("{pages:?}") };
    (resident - shared) * PAGE
}

#[test]
fn weights_are_used_where_the_program_is_mapped() {
    let (before, start) = (anonymous(), Instant::now());
    let model = Model::from_embedded(&Device::default());
    let (took, grown) = (start.elapsed(), anonymous().saturating_sub(before));
    // As the model file holds them; the kernels' layout is larger.
    let weights = METADATA.parameters * if METADATA.quantized { 1 } else { 4 };
    eprintln!(
        "loaded in {took:?}, {} KiB more memory of its own, {} KiB of parameters",
        grown / 1024,
        weights / 1024
    );
    assert!(grown < weights / 2, "{grown} bytes more memory for {weights} bytes of weights: copied");
    drop(model);
}
