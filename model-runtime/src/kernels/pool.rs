//! SPPF's pooling: three chained stride-1 max pools, each separable into a row and a column pass.

use super::Isa;
use super::image::{Image, ImageMut};
use crate::buffers::Buffer;

/// The largest of each channel over the pixels that start every `step` floats: a [`largest`] for
/// some instruction set.
pub(super) type Largest = fn(into: &mut [f32], pixels: &[f32], step: usize);

/// Writes `m(x)`, `m(m(x))` and `m(m(m(x)))` side by side, `input.channels` apart; m is a max pool
/// of size `kernel` (odd), stride 1, with the padding that keeps the size.
///
/// # Panics
/// If `kernel` is even or `out` has no room for three times the input's channels.
pub fn sppf(isa: Isa, input: &Image<'_>, kernel: usize, out: &mut ImageMut<'_>) {
    assert!(kernel % 2 == 1, "an even max pool changes the size");
    assert_eq!((input.height, input.width), (out.height, out.width), "output size");
    let channels = input.channels;
    assert!(out.data.len() >= out.extent(3 * channels), "output is too short");
    assert!(input.data.len() >= input.extent(channels), "input is too short");
    assert!(input.width <= 1 || input.pixel_pitch >= channels, "input pixels overlap");
    let largest = isa.tiles().largest;
    let mut rows = Buffer::take(input.height * input.width * channels);
    for pass in 0..3 {
        let source = if pass == 0 {
            *input
        } else {
            let ImageMut { height, width, row_pitch, pixel_pitch, .. } = *out;
            Image {
                data: &out.data[(pass - 1) * channels..],
                height,
                width,
                channels,
                row_pitch,
                pixel_pitch,
            }
        };
        pool_rows(largest, &source, kernel, rows.as_mut_slice());
        let rows = Image::dense(rows.as_slice(), input.height, input.width, channels);
        pool_columns(largest, &rows, kernel, out, pass * channels);
    }
}

/// Maximum over `kernel` pixels of the same row, densely stored.
fn pool_rows(largest: Largest, source: &Image<'_>, kernel: usize, rows: &mut [f32]) {
    let (width, channels) = (source.width, source.channels);
    // A single pixel may have any pitch, and is one whole step.
    let step = source.pixel_pitch.max(channels);
    for y in 0..source.height {
        for x in 0..width {
            let (first, last) = (x.saturating_sub(kernel / 2), (x + kernel / 2).min(width - 1));
            let row = &source.data[y * source.row_pitch..];
            let pixels = &row[first * source.pixel_pitch..last * source.pixel_pitch + channels];
            largest(&mut rows[(y * width + x) * channels..][..channels], pixels, step);
        }
    }
}

/// Maximum over `kernel` pixels of the same column, into `out` from `first_channel` on.
fn pool_columns(
    largest: Largest,
    rows: &Image<'_>,
    kernel: usize,
    out: &mut ImageMut<'_>,
    first_channel: usize,
) {
    for y in 0..rows.height {
        let (first, last) = (y.saturating_sub(kernel / 2), (y + kernel / 2).min(rows.height - 1));
        for x in 0..rows.width {
            let start = x * rows.pixel_pitch;
            let pixels =
                &rows.data[start + first * rows.row_pitch..start + last * rows.row_pitch + rows.channels];
            let start = y * out.row_pitch + x * out.pixel_pitch + first_channel;
            largest(&mut out.data[start..][..rows.channels], pixels, rows.row_pitch);
        }
    }
}

/// As [`Largest`] says. NaN is passed over; of nothing but NaN the largest is -∞.
#[inline(always)]
pub(super) fn largest(into: &mut [f32], pixels: &[f32], step: usize) {
    /// Channels computed together: their maxima stay in registers across the pixels.
    const LANES: usize = 32;
    let mut channel = 0;
    let (blocks, rest) = into.as_chunks_mut::<LANES>();
    for block in blocks {
        let mut best = [f32::NEG_INFINITY; LANES];
        let mut pixel = channel;
        while pixel < pixels.len() {
            let values: &[f32; LANES] = pixels[pixel..].first_chunk().expect("a pixel has all channels");
            for (kept, &value) in best.iter_mut().zip(values) {
                *kept = if value > *kept { value } else { *kept };
            }
            pixel += step;
        }
        *block = best;
        channel += LANES;
    }
    for kept in rest {
        let values = pixels[channel..].iter().step_by(step);
        *kept = values.fold(f32::NEG_INFINITY, |kept, &value| if value > kept { value } else { kept });
        channel += 1;
    }
}
