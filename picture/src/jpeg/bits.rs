//! The bits of one restart interval.

use super::JpegError;

/// Zero bytes after the data, so that eight bytes can always be read at once.
const PADDING: usize = 8;

/// One restart interval without its stuffed bytes (T.81, B.1.1.5).
#[derive(Debug, Default)]
pub(super) struct Interval(Vec<u8>);

impl Interval {
    /// Takes entropy-coded bytes up to the next marker.
    pub(super) fn fill(&mut self, mut coded: &[u8]) {
        self.0.clear();
        self.0.reserve(coded.len() + PADDING);
        while let Some(at) = memchr::memchr(0xFF, coded) {
            // What follows is the stuffed zero: anything else ended the interval.
            self.0.extend_from_slice(&coded[..=at]);
            coded = coded.get(at + 2..).unwrap_or_default();
        }
        self.0.extend_from_slice(coded);
        self.0.extend_from_slice(&[0; PADDING]);
    }

    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { data: &self.0, length: self.0.len().saturating_sub(PADDING), at: 0, buffer: 0, left: 0 }
    }
}

/// Reads bits, the highest first. After the last one come zeros; [`Bits::check`] tells.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Bytes of `data` that are not padding.
    length: usize,
    /// Bytes taken into the buffer, those after the end included.
    at: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// The number of valid bits in the buffer.
    left: u32,
}

impl Bits<'_> {
    /// Makes sure of at least 32 bits: a code (at most 16) and the bits after it (at most 16).
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.left < 32 {
            let from = self.at.min(self.length);
            if let Some(next) = self.data.get(from..).and_then(|data| data.first_chunk()) {
                self.buffer |= u64::from_be_bytes(*next) >> self.left;
            }
            // As many whole bytes as fit. The rest is read again, to the same place.
            self.at += ((63 - self.left) >> 3) as usize;
            self.left |= 56;
        }
    }

    /// The next `count` bits, which stay; 1 to 16 of those that [`Bits::refill`] made sure of.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    /// Drops `count` bits.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        self.buffer <<= count;
        self.left = self.left.wrapping_sub(count);
    }

    /// Takes `count` bits, 1 to 16 of those that [`Bits::refill`] made sure of.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> usize {
        let bits = self.peek(count);
        self.consume(count);
        bits
    }

    /// Takes one bit.
    #[inline(always)]
    pub(super) fn take_one(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// Takes a difference or coefficient of `size` bits, 1 to 16 (T.81, F.2.2.1: RECEIVE and
    /// EXTEND).
    #[inline(always)]
    pub(super) fn take_signed(&mut self, size: u32) -> i32 {
        let value = self.take(size) as i32;
        if value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value }
    }

    /// Checks that no more bits were taken than exist.
    #[inline]
    pub(super) fn check(&self) -> Result<(), JpegError> {
        if self.at * 8 - self.left as usize > self.length * 8 {
            return Err(JpegError::Broken("data end before the last block"));
        }
        Ok(())
    }
}
