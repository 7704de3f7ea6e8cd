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

/// Saturates where the length overflows: no slice is that long, so the callers' comparisons with
/// the length of the data refuse such an image.
fn extent(height: usize, width: usize, row_pitch: usize, pixel_pitch: usize, channels: usize) -> usize {
    if height == 0 || width == 0 {
        return 0;
    }
    let last_row = (height - 1).saturating_mul(row_pitch);
    let last_pixel = (width - 1).saturating_mul(pixel_pitch);
    last_row.saturating_add(last_pixel).saturating_add(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice this pitch wraps to zero: the third row would start where the first one does.
    const HALF: usize = 1 << (usize::BITS - 1);

    #[test]
    fn an_image_whose_length_overflows_fits_into_no_slice() {
        let mut data = [0_u8; 48];
        let image = Image { row_pitch: HALF, ..Image::dense(&data[..], 3, 1, 16) };
        assert_eq!(image.extent(16), usize::MAX);
        let image = Image { pixel_pitch: HALF, ..Image::dense(&data[..], 1, 3, 16) };
        assert_eq!(image.extent(16), usize::MAX);
        let image = ImageMut { row_pitch: HALF, ..ImageMut::dense(&mut data[..], 3, 1, 16) };
        assert_eq!(image.extent(16), usize::MAX);
    }

    #[test]
    fn the_last_pixel_of_an_image_needs_its_channels_only() {
        let data = [0_u8; 48];
        let image = Image { channels: 3, ..Image::dense(&data[..], 2, 3, 8) };
        assert_eq!(image.extent(3), 24 + 2 * 8 + 3);
        assert_eq!(Image { height: 0, ..image }.extent(3), 0);
    }
}
