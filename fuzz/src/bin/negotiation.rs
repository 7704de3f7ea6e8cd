//! What a request brings and what it wants back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::function::negotiation(bytes));
