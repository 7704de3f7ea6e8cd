//! A JPEG that both accept has the same pixels here and in libjpeg-turbo.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// Room for three samples of each pixel that the entry takes.
const ROOM: usize = 3 << 14;

unsafe extern "C" {
    fn libjpeg_decode(bytes: *const u8, length: usize, pixels: *mut u8, room: usize) -> usize;
}

fn libjpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut pixels = vec![0; ROOM];
    // SAFETY: both ranges are what they are said to be, and the bytes are only read.
    let samples = unsafe { libjpeg_decode(bytes.as_ptr(), bytes.len(), pixels.as_mut_ptr(), ROOM) };
    pixels.truncate(samples);
    (samples > 0).then_some(pixels)
}

fuzz_target!(|bytes: &[u8]| fuzz::pictures::jpeg_differential(bytes, libjpeg));
