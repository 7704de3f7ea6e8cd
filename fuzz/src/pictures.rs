//! From bytes to pixels.

use picture::jpeg::{Jpeg, Planes};
use picture::{BitDepth, DecodeError, Undecoded};

/// Small pictures can have every kind of fault, and hundreds of them can be tried each second.
const MAX_PIXELS: u64 = 1 << 14;

/// Memory that reading a header may use, beside the bytes themselves: nothing is reserved for it.
const HEADER_BYTES: usize = 2 << 20;

/// Any bytes give pixels for every pixel of the header, or a refusal, in no more memory than
/// announced. `peak` returns the most bytes that were allocated at once since its last call, beside
/// those of that moment; 0 if that is not measured.
pub fn decode(bytes: &[u8], peak: impl Fn() -> usize) {
    peak();
    let undecoded = Undecoded::new(bytes, MAX_PIXELS);
    let taken = peak();
    assert!(taken <= HEADER_BYTES, "reading the header took {taken} bytes");
    let Ok(undecoded) = undecoded else { return };
    let (told, (width, height)) = (undecoded.memory(), undecoded.dimensions());
    // Every depth, and none.
    let depth = BitDepth::new(9 + (bytes.len() % 9) as u32);
    let decoded = undecoded.decode(depth);
    let taken = peak();
    assert!(taken <= told, "{told} bytes were told, {taken} taken");
    match decoded {
        Ok(frame) => {
            let (samples, channels) = frame.pixels.planes();
            assert_eq!(samples.len(), width as usize * height as usize * channels);
            assert_eq!(samples.len(), frame.width as usize * frame.height as usize * channels);
        }
        // The image crate's decoders may panic, which is caught; this project's may not.
        Err(DecodeError::DecoderFailed) => assert!(!bytes.starts_with(b"\xff\xd8"), "our decoder panicked"),
        Err(_) => {}
    }
}

/// A JPEG that both this decoder and `other` accept has the same pixels in both, to the bit.
/// `other` gives gray or RGB samples, pixel by pixel, where it reports no warning.
pub fn jpeg_differential(bytes: &[u8], other: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let Ok(jpeg) = Jpeg::new(bytes) else { return };
    let (width, height) = jpeg.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return;
    }
    let Ok(ours) = jpeg.decode() else { return };
    let Some(theirs) = other(bytes) else { return };
    let ours = match ours {
        Planes::Gray(samples) if theirs.len() == samples.len() => samples,
        // Colour whose three channels are equal comes out as gray.
        Planes::Gray(samples) => samples.iter().flat_map(|level| [*level; 3]).collect(),
        Planes::Rgb(planes) => {
            let plane = pixels as usize;
            (0..plane).flat_map(|at| [planes[at], planes[at + plane], planes[at + 2 * plane]]).collect()
        }
    };
    assert_eq!(ours.len(), theirs.len(), "another number of samples");
    if let Some(at) = (0..ours.len()).find(|at| ours[*at] != theirs[*at]) {
        let off = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        panic!("sample {at} of {} is {} and not {}; {off} differ", ours.len(), ours[at], theirs[at]);
    }
}
