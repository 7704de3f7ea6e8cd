//! Content negotiation of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::function::negotiation(bytes));
