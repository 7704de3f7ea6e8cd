//! Checked views: every pointer that a kernel gets was compared with the slice it points into, over all that the kernel touches.
//!
//! Kernels read and write patches: `lines` rows, a pitch apart, of `steps` stretches, a step apart, of `len` values each.

/// A patch of values in a slice, counted from its first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    /// Rows, and values from one to the next.
    pub(super) lines: [usize; 2],
    /// Stretches of a row, and values from one to the next.
    pub(super) steps: [usize; 2],
    /// Values of a stretch.
    pub(super) len: usize,
}

impl Patch {
    /// One row.
    pub(super) fn row(steps: usize, step: usize, len: usize) -> Self {
        Self { lines: [1, 0], steps: [steps, step], len }
    }

    /// Values from the first to the end of the last; none if it doesn't fit in a number.
    fn extent(&self) -> Option<usize> {
        let [lines, pitch] = self.lines;
        let [steps, step] = self.steps;
        if lines == 0 || steps == 0 || self.len == 0 {
            return Some(0);
        }
        let last_line = (lines - 1).checked_mul(pitch)?;
        (steps - 1).checked_mul(step)?.checked_add(last_line)?.checked_add(self.len)
    }

    fn fits(&self, start: usize, len: usize) -> bool {
        self.extent().and_then(|extent| extent.checked_add(start)).is_some_and(|end| end <= len)
    }
}

/// Where `patch` begins in `data`.
///
/// # Panics
/// If any of it lies outside: a kernel would read there.
#[inline]
pub(super) fn readable<T>(data: &[T], start: usize, patch: Patch) -> *const T {
    assert!(patch.fits(start, data.len()), "{patch:?} from {start} on reads past {} values", data.len());
    data.as_ptr().wrapping_add(start)
}

/// A slice that several threads write disjoint parts of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<T> {
    data: *mut T,
    len: usize,
}

// SAFETY: only addresses are handed out; whoever writes to them vouches that no other thread has the same ones.
unsafe impl<T: Send> Sync for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Target<T> {}

impl<T> Target<T> {
    pub(super) fn new(data: &mut [T]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len() }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where `patch` begins.
    ///
    /// # Panics
    /// If any of it lies outside: a kernel would write there.
    #[inline]
    pub(super) fn writable(&self, start: usize, patch: Patch) -> *mut T {
        assert!(patch.fits(start, self.len), "{patch:?} from {start} on writes past {} values", self.len);
        self.data.wrapping_add(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_that_ends_with_the_slice_is_readable_and_one_value_more_is_not() {
        let data = [0.0_f32; 100];
        let patch = Patch { lines: [3, 30], steps: [4, 10], len: 8 };
        assert_eq!(readable(&data, 2, patch), &raw const data[2]);
        assert!(std::panic::catch_unwind(|| readable(&data, 3, patch)).is_err());
    }

    #[test]
    fn a_patch_whose_size_overflows_is_not_writable() {
        let mut data = [0.0_f32; 4];
        let target = Target::new(&mut data);
        for patch in
            [Patch::row(3, usize::MAX / 2, 1), Patch { lines: [2, usize::MAX], steps: [1, 1], len: 1 }]
        {
            assert!(std::panic::catch_unwind(|| target.writable(1, patch)).is_err(), "{patch:?}");
        }
    }

    #[test]
    fn nothing_is_readable_anywhere_up_to_the_end() {
        let data = [0_u8; 4];
        assert_eq!(readable(&data, 4, Patch::row(0, 9, 9)), data.as_ptr_range().end);
        assert!(std::panic::catch_unwind(|| readable(&data, 5, Patch::row(0, 9, 9))).is_err());
    }
}
