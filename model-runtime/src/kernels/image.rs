//! Channels-last images, the form in which kernels read and write tensors. The values are floats
//! unless another type is named.

/// An image to read: value (y, x, c) is `data[y * row_pitch + x * pixel_pitch + c]`.
#[derive(Debug)]
pub struct Image<'a, T = f32> {
    /// Starts with the first value; may be longer than the image.
    pub data: &'a [T],
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// Values from a row to the next.
    pub row_pitch: usize,
    /// Values from a pixel to the next.
    pub pixel_pitch: usize,
}

/// An image to write. Kernels write whole blocks of 16 channels, so the pitch must leave room for
/// them.
#[derive(Debug)]
pub struct ImageMut<'a, T = f32> {
    /// Starts with the first value; may be longer than the image.
    pub data: &'a mut [T],
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Values from a row to the next.
    pub row_pitch: usize,
    /// Values from a pixel to the next.
    pub pixel_pitch: usize,
}

impl<T> Clone for Image<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Image<'_, T> {}

impl<'a, T> Image<'a, T> {
    /// No pixels.
    pub const EMPTY: Self =
        Self { data: &[], height: 0, width: 0, channels: 0, row_pitch: 0, pixel_pitch: 0 };

    /// An image without gaps.
    pub fn dense(data: &'a [T], height: usize, width: usize, channels: usize) -> Self {
        Self { data, height, width, channels, row_pitch: width * channels, pixel_pitch: channels }
    }

    /// Least length of the data to read `channels` of every pixel.
    pub(crate) fn extent(&self, channels: usize) -> usize {
        extent(self.height, self.width, self.row_pitch, self.pixel_pitch, channels)
    }

    /// Whether the rows follow each other without a gap, so that the image is one long row.
    pub(crate) fn rows_are_joined(&self) -> bool {
        self.height <= 1 || self.row_pitch == self.width * self.pixel_pitch
    }
}

impl<'a, T> ImageMut<'a, T> {
    /// An image without gaps.
    pub fn dense(data: &'a mut [T], height: usize, width: usize, channels: usize) -> Self {
        Self { data, height, width, row_pitch: width * channels, pixel_pitch: channels }
    }

    /// Least length of the data to write `channels` of every pixel.
    pub(crate) fn extent(&self, channels: usize) -> usize {
        extent(self.height, self.width, self.row_pitch, self.pixel_pitch, channels)
    }
}

fn extent(height: usize, width: usize, row_pitch: usize, pixel_pitch: usize, channels: usize) -> usize {
    if height == 0 || width == 0 {
        return 0;
    }
    (height - 1) * row_pitch + (width - 1) * pixel_pitch + channels
}
