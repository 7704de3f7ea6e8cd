//! Environment variables.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::function::configuration(bytes));
