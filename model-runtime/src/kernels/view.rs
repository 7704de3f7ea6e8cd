//! Checked views: each pointer is handed to a kernel only after the whole extent that the kernel
//! accesses was compared with the slice's bounds.
//!
//! Kernels read and write patches: `lines` rows, a pitch apart, of `steps` runs, a step apart, of
//! `len` values each.

use std::marker::PhantomData;

use super::image::{Image, ImageMut};

/// A patch of values in a slice; offsets count from the patch's first value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    /// Rows, and values from one to the next.
    pub(super) lines: [usize; 2],
    /// Runs of a row, and values from one to the next.
    pub(super) steps: [usize; 2],
    /// Values of a run.
    pub(super) len: usize,
}

impl Patch {
    /// One row.
    pub(super) fn row(steps: usize, step: usize, len: usize) -> Self {
        Self { lines: [1, 0], steps: [steps, step], len }
    }

    /// Values from the first to the end of the last; `None` on overflow.
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

/// A pointer to the start of `patch` in `data`.
///
/// # Panics
/// If any part of it is out of bounds.
#[inline]
pub(super) fn readable<T>(data: &[T], start: usize, patch: Patch) -> *const T {
    assert!(patch.fits(start, data.len()), "{patch:?} from {start} on reads past {} values", data.len());
    data.as_ptr().wrapping_add(start)
}

/// A slice that several threads write disjoint parts of.
#[derive(Debug)]
pub(super) struct Target<T> {
    data: *mut T,
    len: usize,
}

// SAFETY: this type only hands out addresses; writing through them requires that no other thread
// accesses the same ones.
unsafe impl<T: Send> Sync for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Target<T> {}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<T> {}

impl<T> Target<T> {
    pub(super) fn new(data: &mut [T]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len() }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the start of `patch`.
    ///
    /// # Panics
    /// If any part of it is out of bounds.
    #[inline]
    pub(super) fn writable(&self, start: usize, patch: Patch) -> *mut T {
        assert!(patch.fits(start, self.len), "{patch:?} from {start} on writes past {} values", self.len);
        self.data.wrapping_add(start)
    }
}

/// A channels-last map to read whose extent was checked once; each access then needs only three
/// comparisons.
#[derive(Debug)]
pub(super) struct View<'a, T> {
    data: *const T,
    height: usize,
    width: usize,
    channels: usize,
    row: usize,
    pixel: usize,
    of: PhantomData<&'a [T]>,
}

// SAFETY: as a shared slice.
unsafe impl<T: Sync> Sync for View<'_, T> {}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// `channels` values of every pixel of an image.
    ///
    /// # Panics
    /// If any of them lies outside of its data.
    pub(super) fn new(image: &Image<'a, T>, channels: usize) -> Self {
        let Image { data, height, width, row_pitch, pixel_pitch, .. } = *image;
        let all = Patch { lines: [height, row_pitch], steps: [width, pixel_pitch], len: channels };
        let data = readable(data, 0, all);
        Self { data, height, width, channels, row: row_pitch, pixel: pixel_pitch, of: PhantomData }
    }

    /// Whether the rows are contiguous.
    pub(super) fn has_joined_rows(&self) -> bool {
        self.height <= 1 || self.row == self.width * self.pixel
    }

    /// The rows as one long row; they must be contiguous.
    pub(super) fn joined(self) -> Self {
        assert!(self.has_joined_rows(), "rows with a gap are not one row");
        Self { height: 1, width: self.height * self.width, ..self }
    }

    /// Values from a pixel to the next.
    #[inline]
    pub(super) fn pixel(&self) -> usize {
        self.pixel
    }

    /// A pointer to `pixels` pixels of a row, with `channels` channels each from `channel` on.
    ///
    /// # Panics
    /// If the view has fewer.
    #[inline]
    pub(super) fn at(&self, [y, x, channel]: [usize; 3], pixels: usize, channels: usize) -> *const T {
        let inside = y < self.height && x + pixels <= self.width && channel + channels <= self.channels;
        assert!(inside, "a tile lies inside its map");
        self.data.wrapping_add(y * self.row + x * self.pixel + channel)
    }
}

/// The writable counterpart of [`View`]: several threads write disjoint parts of it.
#[derive(Debug)]
pub(super) struct ViewMut<T> {
    data: Target<T>,
    height: usize,
    width: usize,
    channels: usize,
    row: usize,
    pixel: usize,
}

impl<T> Clone for ViewMut<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ViewMut<T> {}

impl<T> ViewMut<T> {
    /// `channels` values of every pixel of an image.
    ///
    /// # Panics
    /// If any of them lies outside of its data.
    pub(super) fn new(image: &mut ImageMut<'_, T>, channels: usize) -> Self {
        let ImageMut { height, width, row_pitch, pixel_pitch, .. } = *image;
        let data = Target::new(image.data);
        data.writable(0, Patch { lines: [height, row_pitch], steps: [width, pixel_pitch], len: channels });
        Self { data, height, width, channels, row: row_pitch, pixel: pixel_pitch }
    }

    /// Whether the rows are contiguous.
    pub(super) fn has_joined_rows(&self) -> bool {
        self.height <= 1 || self.row == self.width * self.pixel
    }

    /// As [`View::joined`].
    pub(super) fn joined(self) -> Self {
        assert!(self.has_joined_rows(), "rows with a gap are not one row");
        Self { height: 1, width: self.height * self.width, ..self }
    }

    /// Values from a pixel to the next.
    #[inline]
    pub(super) fn pixel(&self) -> usize {
        self.pixel
    }

    /// A pointer to `pixels` pixels of a row, with `channels` channels each from `channel` on.
    ///
    /// # Panics
    /// If the view has fewer.
    #[inline]
    pub(super) fn at(&self, [y, x, channel]: [usize; 3], pixels: usize, channels: usize) -> *mut T {
        let inside = y < self.height && x + pixels <= self.width && channel + channels <= self.channels;
        assert!(inside, "a tile lies inside its map");
        self.data.data.wrapping_add(y * self.row + x * self.pixel + channel)
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
    fn a_view_gives_out_only_what_it_has() {
        let data = [0_u8; 2 * 3 * 4];
        let image = Image { channels: 3, ..Image::dense(&data, 2, 3, 4) };
        let view = View::new(&image, 4);
        assert_eq!(view.at([1, 1, 2], 2, 2), &raw const data[12 + 4 + 2]);
        for (at, pixels, channels) in [([2, 0, 0], 1, 1), ([0, 1, 0], 3, 1), ([0, 0, 3], 1, 2)] {
            assert!(std::panic::catch_unwind(|| view.at(at, pixels, channels)).is_err(), "{at:?}");
        }
        assert_eq!(view.joined().at([0, 5, 3], 1, 1), &raw const data[23]);
        assert!(std::panic::catch_unwind(|| View::new(&image, 5)).is_err());
        let mut data = [0_u8; 23];
        let mut short = ImageMut::dense(&mut data, 2, 3, 4);
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ViewMut::new(&mut short, 4))).is_err()
        );
    }

    #[test]
    fn nothing_is_readable_anywhere_up_to_the_end() {
        let data = [0_u8; 4];
        assert_eq!(readable(&data, 4, Patch::row(0, 9, 9)), data.as_ptr_range().end);
        assert!(std::panic::catch_unwind(|| readable(&data, 5, Patch::row(0, 9, 9))).is_err());
    }
}
