//! The bytes of an image, accounted for in the memory budget.

use std::ops::{Deref, Range};

use crate::error::{Large, RequestError};
use crate::memory::{Memory, Reservation};

/// The bytes of one image, or of a document that carries images, and their share of the budget.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    /// What an error calls too large.
    what: Large,
    // Given back when dropped.
    reserved: Reservation,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    /// An empty body that grows within the budget. Where it is too large, an error calls it `what`.
    pub fn new(memory: &Memory, what: Large) -> Result<Self, RequestError> {
        Ok(Self { bytes: Vec::new(), what, reserved: memory.transit(0, what)? })
    }

    /// Keeps `part` of the bytes and drops the others. The share of the budget stays the same.
    ///
    /// # Panics
    ///
    /// If `part` is out of bounds.
    pub fn keep(&mut self, part: Range<usize>) {
        self.bytes.truncate(part.end);
        self.bytes.drain(..part.start);
    }

    /// Its share of the budget.
    pub fn held(&self) -> usize {
        self.reserved.bytes()
    }

    /// The bytes, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes, and their share of the budget.
    pub fn into_parts(self) -> (Vec<u8>, Reservation) {
        (self.bytes, self.reserved)
    }

    /// Appends received bytes, up to `limit` in all. The budget counts the allocated capacity.
    pub fn extend(&mut self, chunk: &[u8], limit: usize) -> Result<(), RequestError> {
        let length = self.bytes.len() + chunk.len();
        if length > limit {
            return Err(RequestError::TooManyBytes { what: self.what, limit });
        }
        if length > self.bytes.capacity() {
            // Doubled, so that each byte is moved once on average; at most up to the limit.
            let mut capacity = (2 * self.bytes.capacity()).clamp(length, limit);
            if self.reserved.grow(capacity, self.what).is_err() {
                // Where there is no room for that, there may be for what came.
                self.reserved.grow(length, self.what)?;
                capacity = length;
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}
