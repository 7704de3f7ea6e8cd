//! Base64 as JSON carries it (RFC 4648, section 4), decoded in place: an image is not copied.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Characters decoded at a time: a multiple of four.
const STEP: usize = 4096;

/// Decodes the text at `at` in `buffer` to the same place; returns the range of the bytes, or
/// `None` if it is not base64. Padding is optional; line breaks are refused.
pub(super) fn decode_in_place(buffer: &mut [u8], at: Range<usize>) -> Option<Range<usize>> {
    let text = &buffer[at.clone()];
    // Padding completes the last group of four characters, so there is none at other lengths.
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    if padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    let text = at.start..at.end - padding;
    let mut decoded = [0; STEP / 4 * 3];
    let mut end = at.start;
    for from in text.clone().step_by(STEP) {
        let piece = &buffer[from..text.end.min(from + STEP)];
        let length = STANDARD_NO_PAD.decode_slice(piece, &mut decoded).ok()?;
        buffer[end..end + length].copy_from_slice(&decoded[..length]);
        end += length;
    }
    Some(at.start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut buffer = format!("{{\"{text}\"}}").into_bytes();
        let at = 2..2 + text.len();
        decode_in_place(&mut buffer, at).map(|at| buffer[at].to_vec())
    }

    #[test]
    fn the_vectors_of_the_rfc_are_decoded() {
        // RFC 4648, section 10.
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYmE", "fooba"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_length_comes_back_across_the_steps() {
        for length in (0..20).chain(STEP / 4 * 3 - 4..STEP / 4 * 3 + 4).chain([100_000, 100_001]) {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + at / 255) as u8).collect();
            assert_eq!(decoded(&STANDARD.encode(&bytes)), Some(bytes), "{length}");
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        let middle = format!("{}AA==AAAA", "A".repeat(STEP - 4));
        for text in ["Z", "Zg=", "Z===", "====", "Zm9v\n", "Zm-_", "Zm 9", "Zh==", "=Zg=", &middle] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
