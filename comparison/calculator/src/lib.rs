//! The simulator for a page in the browser: JSON in, JSON out.
//!
//! # Layout
//!
//! * [`request`]: the requests; [`answer`]: runs the simulator for a request.
//! * [`size`]: what a simulation is expected to take, and its limits.
//! * [`settings`]: each autoscaler's settings by the names of their own objects, for forms,
//!   addresses and files.
//! * [`manifest`]: settings to YAML; [`import`]: settings from YAML, with its numbers
//!   ([`quantity`]).
//! * This file: [`answer_text`], and the same for a page ([`put`], [`run`], [`get`]).
//!
//! The page and the module exchange text in words of four bytes. No memory address crosses the
//! boundary, so that no `unsafe` is needed. A megabyte takes some milliseconds.

// clippy.toml lists what this crate must not call.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod answer;
pub mod import;
pub mod manifest;
pub mod quantity;
pub mod request;
pub mod settings;
pub mod size;

use std::sync::Mutex;

/// Answers a request: JSON in, JSON out. An error is returned as `{"error": …}`.
pub fn answer_text(request: &str) -> String {
    let answer = serde_json::from_str(request)
        .map_err(|error| format!("this is no request: {error}"))
        .and_then(|request| answer::answer(&request));
    let value = answer.unwrap_or_else(|error| serde_json::json!({ "error": error }));
    value.to_string()
}

/// Request and answer buffers.
static TEXT: Mutex<(Vec<u8>, Vec<u8>)> = Mutex::new((Vec::new(), Vec::new()));

fn with<T>(action: impl FnOnce(&mut (Vec<u8>, Vec<u8>)) -> T) -> T {
    action(&mut TEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Appends four bytes of a request, the first one in the lowest bits. A request is padded with
/// spaces, which JSON ignores.
#[unsafe(no_mangle)]
pub extern "C" fn put(word: u32) {
    with(|text| text.0.extend(word.to_le_bytes()));
}

/// Answers the request that was put, and clears it. Returns the answer's length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u32 {
    with(|(input, output)| {
        let request = String::from_utf8_lossy(&std::mem::take(input)).into_owned();
        *output = answer_text(&request).into_bytes();
        output.len() as u32
    })
}

/// Four bytes of the answer from offset `at`; zero beyond its end.
#[unsafe(no_mangle)]
pub extern "C" fn get(at: u32) -> u32 {
    with(|text| {
        let byte = |i: u32| text.1.get((at + i) as usize).copied().unwrap_or(0);
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gets_the_same_answer_word_by_word() {
        let request = "{\"ask\":\"scenarios\"}   ";
        request.as_bytes().chunks(4).for_each(|four| {
            let mut word = [b' '; 4];
            word[..four.len()].copy_from_slice(four);
            put(u32::from_le_bytes(word));
        });
        let length = run();
        let bytes: Vec<u8> = (0..length).step_by(4).flat_map(|at| get(at).to_le_bytes()).collect();
        assert_eq!(String::from_utf8_lossy(&bytes[..length as usize]), answer_text(request));
        assert!(answer_text("{}").contains("\"error\":\"this is no request"));
    }
}
