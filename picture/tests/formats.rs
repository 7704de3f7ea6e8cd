//! Every format and variant: right pixels or a refusal, never wrong pixels.
//! `formats/make_formats.py` writes the files and says what is right.

use picture::{BitDepth, DecodeError, Pixels, Undecoded, decode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const BLOB: &[u8] = include_bytes!("formats/formats.bin");
const INDEX: &str = include_str!("formats/formats.json");

/// More than any file here has.
const MAX_PIXELS: u64 = 1 << 20;

#[derive(Deserialize)]
struct Entry {
    name: String,
    at: usize,
    length: usize,
    /// The kind of error, where the file must be refused.
    refused: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    channels: Option<usize>,
    /// Of the planes, one after the other.
    sha256: Option<String>,
}

impl Entry {
    fn bytes(&self) -> &'static [u8] {
        &BLOB[self.at..][..self.length]
    }

    fn is_whole_jpeg(&self) -> bool {
        self.name.starts_with("jpeg/") && self.refused.is_none()
    }
}

fn entries() -> Vec<Entry> {
    serde_json::from_str(INDEX).expect("the index is JSON")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kind's name in the index.
fn kind(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::NotAnImage(_) => "not-an-image",
        DecodeError::Broken(_) => "broken-image",
        DecodeError::Unsupported(_) => "unsupported-image",
        DecodeError::TooManyPixels { .. } => "too-many-pixels",
        DecodeError::DecoderFailed => "decoder-failed",
    }
}

fn entry(name: &str) -> Entry {
    entries().into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_variant_is_read_right_or_refused() {
    let mut wrong = Vec::new();
    for entry in entries() {
        let found = match decode(entry.bytes(), MAX_PIXELS, None) {
            Err(error) => Err(kind(&error).to_owned()),
            Ok(frame) => {
                let (samples, channels) = frame.pixels.planes();
                Ok((Some(frame.width), Some(frame.height), Some(channels), Some(sha256(samples))))
            }
        };
        let expected = match entry.refused {
            Some(kind) => Err(kind),
            None => Ok((entry.width, entry.height, entry.channels, entry.sha256)),
        };
        if found != expected {
            wrong.push(format!("{}: {found:?} instead of {expected:?}", entry.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_jpeg_cut_anywhere_in_its_scans_and_ended_is_broken() {
    let mut cuts = 0;
    for entry in entries().iter().filter(|entry| entry.is_whole_jpeg()) {
        let whole = entry.bytes();
        let scan = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).expect("a scan") + 14;
        let end = whole.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).expect("an end");
        // Of small files every byte, of larger ones some; the last two may be padding that stands
        // for no block.
        let step = (end.saturating_sub(scan) / 40).max(1);
        for at in (scan..end.saturating_sub(2)).step_by(step) {
            let mut cut = whole[..at].to_vec();
            // Half a stuffed byte would be a marker of its own.
            while cut.last() == Some(&0xFF) {
                cut.pop();
            }
            cut.extend([0xFF, 0xD9]);
            let error = decode(&cut, MAX_PIXELS, None).err();
            assert!(
                matches!(error, Some(DecodeError::Broken(_))),
                "{} cut at {at} of {}: {error:?}",
                entry.name,
                whole.len()
            );
            cuts += 1;
        }
    }
    assert!(cuts > 5_000, "only {cuts} cuts were tried");
}

#[test]
fn what_decoding_is_said_to_take_covers_the_pixels() {
    for entry in entries().iter().filter(|entry| entry.refused.is_none()) {
        let undecoded = Undecoded::new(entry.bytes(), MAX_PIXELS).expect(&entry.name);
        let memory = undecoded.memory();
        let frame = undecoded.decode(None).expect(&entry.name);
        assert!(memory >= frame.pixels.planes().0.len(), "{}: {memory}", entry.name);
    }
}

#[test]
fn a_named_bit_depth_scales_what_cameras_write_into_16_bits() {
    let Pixels::Gray(right) = decode(entry("png/gray-8").bytes(), MAX_PIXELS, None).expect("whole").pixels
    else {
        panic!("gray")
    };
    for (name, bits) in [("png/9-of-16-bits", 9), ("png/10-of-16-bits", 10), ("png/12-of-16-bits", 12)] {
        let Err(DecodeError::Unsupported(detail)) = decode(entry(name).bytes(), MAX_PIXELS, None) else {
            panic!("{name} is read without its depth")
        };
        assert!(detail.contains("bit_depth="), "{detail}");
        let frame = decode(entry(name).bytes(), MAX_PIXELS, BitDepth::new(bits)).expect(name);
        let Pixels::Gray(levels) = frame.pixels else { panic!("gray") };
        let off = levels.iter().zip(&right).map(|(level, right)| level.abs_diff(*right)).max();
        assert!(off <= Some(1), "{name}: off by {off:?}");
    }
}

#[test]
fn what_is_sent_instead_of_an_image_is_named() {
    for (bytes, name) in [
        (&b"GIF89a\x01\0\x01\0"[..], "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (b"/9j/4AAQSkZJRg", "base64"),
        (b"{\"image\": 1}", "JSON"),
    ] {
        let error = decode(bytes, MAX_PIXELS, None).expect_err(name);
        assert!(matches!(error, DecodeError::NotAnImage(_)), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
