//! Any bytes: no panic, no more memory than was told, and pixels for every pixel of the header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picture::{BitDepth, DecodeError, Undecoded};

/// Small pictures have every kind of fault, and thousands of them fit in a second.
const MAX_PIXELS: u64 = 1 << 14;

fuzz_target!(|bytes: &[u8]| {
    let Ok(undecoded) = Undecoded::new(bytes, MAX_PIXELS) else { return };
    let memory = undecoded.memory();
    let (width, height) = undecoded.dimensions();
    match undecoded.decode(BitDepth::new(12)) {
        Ok(frame) => {
            let (samples, channels) = frame.pixels.planes();
            assert_eq!(samples.len(), width as usize * height as usize * channels);
            assert!(memory >= samples.len());
        }
        // What the image crate panics on is caught there; libFuzzer never gets to see it.
        Err(DecodeError::DecoderFailed) | Err(_) => {}
    }
});
