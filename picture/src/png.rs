//! The chunks of a PNG that its pixels depend on, and its EXIF block.
//!
//! Decoders store the content of the others: texts, and colour profiles that may decompress to a
//! thousand times their length. They are not needed here.

use std::io::{BufRead, Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// Length of a chunk without its content: length, type and check sum (PNG, third edition, 5.3).
const FRAME: usize = 12;

/// The signature (PNG, 5.2).
const SIGNATURE: usize = 8;

/// A chunk's type and content; the content may be cut off.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, kind) = head(rest)?;
        let content = rest.get(8..)?;
        rest = rest.get(length..).unwrap_or_default();
        Some((kind, &content[..content.len().min(length - FRAME)]))
    })
}

/// The length of the chunk that begins here, its frame included, and its type.
fn head(rest: &[u8]) -> Option<(usize, [u8; 4])> {
    let (length, rest) = rest.split_first_chunk()?;
    Some(((u32::from_be_bytes(*length) as usize).saturating_add(FRAME), *rest.first_chunk()?))
}

/// Critical chunks (their first letter is a capital), transparency, EXIF.
fn matters(kind: [u8; 4]) -> bool {
    kind[0].is_ascii_uppercase() || matches!(&kind, b"tRNS" | b"eXIf")
}

/// Reads a file without the other chunks.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the chunk that is being read ends.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: SIGNATURE.min(bytes.len()) }
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        while self.at == self.end && self.end < self.bytes.len() {
            // The decoder reports truncation.
            let (length, kind) = head(&self.bytes[self.at..]).unwrap_or((usize::MAX, *b"IEND"));
            self.end = self.at.saturating_add(length).min(self.bytes.len());
            if !matters(kind) {
                self.at = self.end;
            }
        }
        Ok(&self.bytes[self.at..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.end);
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// The decoder asks for `Seek` and does not use it.
impl Seek for Reader<'_> {
    fn seek(&mut self, _: SeekFrom) -> Result<u64> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length, kind.as_slice(), content, &[0; 4]].concat()
    }

    #[test]
    fn only_what_matters_is_read_in_whatever_steps() {
        let signature = b"\x89PNG\r\n\x1a\n".to_vec();
        let (header, text) = (chunk(b"IHDR", &[1; 13]), chunk(b"tEXt", &[2; 1000]));
        let (data, end) = (chunk(b"IDAT", &[3; 50]), chunk(b"IEND", &[]));
        let file = [&signature, &header, &text, &data, &text, &text, &end].map(Vec::as_slice).concat();
        let wanted = [&signature, &header, &data, &end].map(Vec::as_slice).concat();
        for step in [1, 7, 4096] {
            let (mut reader, mut read, mut buffer) = (Reader::new(&file), Vec::new(), vec![0; step]);
            while let count @ 1.. = reader.read(&mut buffer).expect("memory") {
                read.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(read, wanted);
        }
        let kinds: Vec<_> = chunks(&file).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [*b"IHDR", *b"tEXt", *b"IDAT", *b"tEXt", *b"tEXt", *b"IEND"]);
    }

    #[test]
    fn a_file_that_is_cut_off_ends_where_it_is_cut() {
        let file = [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IDAT", &[3; 50])].concat();
        for length in 0..file.len() {
            let mut read = Vec::new();
            Reader::new(&file[..length]).read_to_end(&mut read).expect("memory");
            assert_eq!(read, &file[..length]);
        }
    }
}
