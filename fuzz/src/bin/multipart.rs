//! A body in parts, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::function::multipart(bytes));
