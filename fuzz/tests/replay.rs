//! The inputs that fuzzing kept and those that it found failures with, through the same entries, on
//! any compiler.

use std::fs;
use std::path::{Path, PathBuf};

/// Calls `entry` with every input that is kept for `target`.
fn replay(target: &str, entry: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = fs::read(folder.join(format!("corpus/{target}.bin"))).expect("a corpus");
    let mut inputs = unpack(&kept);
    let mut found: Vec<PathBuf> = match fs::read_dir(folder.join("found").join(target)) {
        Ok(entries) => entries.map(|entry| entry.expect("readable").path()).collect(),
        Err(_) => Vec::new(),
    };
    found.sort();
    let found: Vec<Vec<u8>> = found.iter().map(|path| fs::read(path).expect("readable")).collect();
    inputs.extend(found.iter().map(Vec::as_slice));
    assert!(!inputs.is_empty(), "no inputs");
    inputs.into_iter().for_each(entry);
}

/// Each input is preceded by its length, as `corpus.py` writes it: four bytes, the lowest first.
fn unpack(mut packed: &[u8]) -> Vec<&[u8]> {
    let mut inputs = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk() {
        let (input, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        inputs.push(input);
        packed = rest;
    }
    assert!(packed.is_empty(), "the corpus is cut off");
    inputs
}

#[cfg(feature = "pictures")]
#[test]
fn pictures_are_decoded_or_refused() {
    replay("decode", |bytes| fuzz::pictures::decode(bytes, || 0));
    // Without libjpeg there is nothing to compare with; the format matrix has its pixels.
    replay("jpeg_differential", |bytes| fuzz::pictures::decode(bytes, || 0));
}

#[cfg(feature = "function")]
#[test]
fn parts_are_the_same_in_any_pieces() {
    replay("multipart", fuzz::function::multipart);
}

#[cfg(feature = "function")]
#[test]
fn headers_mean_the_same_however_they_are_spread() {
    replay("negotiation", fuzz::function::negotiation);
}

#[cfg(feature = "function")]
#[test]
fn parameters_mean_the_same_however_they_are_encoded() {
    replay("query", fuzz::function::query);
}

#[cfg(feature = "function")]
#[test]
fn configurations_are_valid_or_name_what_is_not() {
    replay("configuration", fuzz::function::configuration);
}

#[cfg(feature = "import")]
#[test]
fn models_are_imported_or_refused() {
    replay("onnx", fuzz::import::onnx);
}
