//! Recycled activation buffers, aligned to cache lines. After the first inference no layer
//! allocates its output again.

use std::cell::RefCell;

/// Free memory a thread keeps for its next inference. A 640×640 YOLOv5s has 30 MB of activations
/// alive at its peak.
const MAX_FREE_BYTES: usize = 64 << 20;

/// A cache line; buffers are made of these for their alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A free buffer serves a request only if the request uses at least this fraction of it: small
/// requests must not take the buffers that large layers need.
const MAX_WASTE: usize = 4;

thread_local! {
    /// Free buffers; the one freed last is at the end, since it is the most likely to be still in a
    /// cache. Each thread has its own list: a buffer that another core wrote would first have to be
    /// fetched from that core's cache.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of floats that goes back to the free list when dropped. Its contents are unspecified:
/// those of its previous use.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` floats: the one freed last among those that fit, or a new one.
    pub(crate) fn take(len: usize) -> Self {
        let wanted = len.div_ceil(16);
        let fits = |lines: &Vec<Line>| (wanted..=wanted.saturating_mul(MAX_WASTE)).contains(&lines.len());
        let recycled =
            FREE.with_borrow_mut(|free| free.iter().rposition(fits).map(|place| free.remove(place)));
        if let Some(lines) = recycled {
            return Self { lines, len };
        }
        Self { lines: vec![Line([0.0; 16]); wanted], len }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: `Line` is sixteen floats without padding, and `len` floats fit in the lines by
        // construction.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// A buffer of `len` bytes, perhaps up to three more.
    pub(crate) fn take_bytes(len: usize) -> Self {
        Self::take(len.div_ceil(size_of::<f32>()))
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        let floats = self.as_mut_slice();
        // SAFETY: `f32` has no padding, and every bit pattern is valid; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
    }

    pub(crate) fn as_integers(&self) -> &[i32] {
        let floats = self.as_slice();
        // SAFETY: `f32` and `i32` have the same size and alignment, and every bit pattern is valid
        // for both.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len()) }
    }

    pub(crate) fn as_mut_integers(&mut self) -> &mut [i32] {
        let floats = self.as_mut_slice();
        // SAFETY: as in `as_integers`; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), floats.len()) }
    }
}

/// Frees the calling thread's buffers, for a thread that will run no further inference. An idle
/// thread would keep them, at 640×640 some 20 MB, for as long as it lives.
pub fn release() {
    FREE.take();
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // The list is gone while its thread ends.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            let kept: usize = free.iter().map(Vec::len).sum();
            if !lines.is_empty() && (kept + lines.len()) * size_of::<Line>() <= MAX_FREE_BYTES {
                free.push(lines);
            }
        });
    }
}

/// A thread's scratch memory, reused from layer to layer. Aligned like a [`Buffer`]: in a
/// `Vec<f32>`, vectors of sixteen floats would straddle two cache lines.
pub(crate) struct Scratchpad {
    lines: Vec<Line>,
}

impl Scratchpad {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// Room for `len` floats with unspecified contents.
    pub(crate) fn room(&mut self, len: usize) -> &mut [f32] {
        let wanted = len.div_ceil(16);
        if self.lines.len() < wanted {
            self.lines.resize(wanted, Line([0.0; 16]));
        }
        // SAFETY: as in `Buffer::as_slice`; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }

    /// As `room`, for bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &mut [u8] {
        let floats = self.room(len.div_ceil(size_of::<f32>()));
        // SAFETY: `f32` has no padding, and every bit pattern is valid; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
    }

    /// As `room`, for integers.
    pub(crate) fn integers(&mut self, len: usize) -> &mut [i32] {
        let floats = self.room(len);
        // SAFETY: `f32` and `i32` have the same size and alignment, and every bit pattern is valid
        // for both; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_handed_out_again() {
        let length = 123_457; // no other test asks for this size
        let mut first = Buffer::take(length);
        first.as_mut_slice()[length - 1] = 7.0;
        let address = first.as_slice().as_ptr();
        drop(first);
        let second = Buffer::take(length - 5);
        assert_eq!(second.as_slice().as_ptr(), address);
        assert_eq!(second.as_slice().len(), length - 5);
        assert_eq!(address as usize % 64, 0);
    }

    #[test]
    fn a_thread_that_releases_its_buffers_keeps_none() {
        drop(Buffer::take(54_321));
        assert!(!FREE.with_borrow(Vec::is_empty));
        release();
        assert!(FREE.with_borrow(Vec::is_empty));
    }
}
