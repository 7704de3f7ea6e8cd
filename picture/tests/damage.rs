//! Damaged files of every format: pixels or a refusal, never a panic, and no more memory than was
//! told. The same damage each time.

use picture::{DecodeError, Undecoded};

const BLOB: &[u8] = include_bytes!("formats/formats.bin");
const INDEX: &str = include_str!("formats/formats.json");

/// More than any file here has; damaged headers may claim more.
const MAX_PIXELS: u64 = 1 << 16;

/// Damaged copies of each file.
const COPIES: usize = 40;

/// Decodes, and says how it ended.
fn outcome(bytes: &[u8]) -> Result<(), DecodeError> {
    let undecoded = Undecoded::new(bytes, MAX_PIXELS)?;
    let (memory, (width, height)) = (undecoded.memory(), undecoded.dimensions());
    let frame = undecoded.decode(None)?;
    let (samples, channels) = frame.pixels.planes();
    assert_eq!(samples.len(), width as usize * height as usize * channels);
    assert!(memory >= samples.len(), "{memory} bytes for {width}×{height}");
    Ok(())
}

#[test]
fn damaged_files_give_pixels_or_a_refusal() {
    let entries: Vec<serde_json::Value> = serde_json::from_str(INDEX).expect("the index is JSON");
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        // xorshift64*
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        (seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for entry in &entries {
        let [at, length] = ["at", "length"].map(|key| entry[key].as_u64().expect("a number") as usize);
        let whole = &BLOB[at..][..length];
        for copy in 0..COPIES {
            let mut damaged = whole.to_vec();
            match copy % 4 {
                // A few bytes changed, anywhere or in the head.
                0 => (0..3).for_each(|_| damaged[random(length)] = random(256) as u8),
                1 => (0..2).for_each(|_| damaged[random(length.min(200))] = random(256) as u8),
                // A piece gone, or doubled.
                2 => {
                    let from = random(length);
                    damaged.drain(from..length.min(from + 1 + random(64)));
                }
                _ => {
                    let from = random(length);
                    let piece = damaged[from..length.min(from + random(64))].to_vec();
                    damaged.splice(from..from, piece);
                }
            }
            match outcome(&damaged) {
                Ok(()) => read += 1,
                Err(DecodeError::DecoderFailed) => {
                    panic!("{} copy {copy}: a decoder panicked", entry["name"])
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
}
