//! SPPF's pooling: three chained stride-1 max pools, each separable into a row and a column pass.

use super::image::{Image, ImageMut};
use crate::buffers::Buffer;

/// Writes `m(x)`, `m(m(x))` and `m(m(m(x)))` side by side, `input.channels` apart; m is a max pool of size `kernel` (odd),
/// stride 1, with as much padding as keeps the size.
///
/// # Panics
/// If `kernel` is even or `out` has no room for three times the input's channels.
pub fn sppf(input: &Image<'_>, kernel: usize, out: &mut ImageMut<'_>) {
    assert!(kernel % 2 == 1, "an even max pool changes the size");
    assert_eq!((input.height, input.width), (out.height, out.width), "output size");
    let channels = input.channels;
    assert!(out.data.len() >= out.extent(3 * channels), "output is too short");
    assert!(input.data.len() >= input.extent(channels), "input is too short");
    let mut rows = Buffer::take(input.height * input.width * channels);
    for pass in 0..3 {
        {
            let source = if pass == 0 {
                *input
            } else {
                Image {
                    data: &out.data[(pass - 1) * channels..],
                    channels,
                    height: out.height,
                    width: out.width,
                    row_pitch: out.row_pitch,
                    pixel_pitch: out.pixel_pitch,
                }
            };
            pool_rows(&source, kernel, rows.as_mut_slice());
        }
        let rows = Image::dense(rows.as_slice(), input.height, input.width, channels);
        pool_columns(&rows, kernel, out, pass * channels);
    }
}

/// Maximum over `kernel` pixels of the same row, densely stored.
fn pool_rows(source: &Image<'_>, kernel: usize, rows: &mut [f32]) {
    let (width, channels) = (source.width, source.channels);
    for y in 0..source.height {
        for x in 0..width {
            let window = x.saturating_sub(kernel / 2)..(x + kernel / 2 + 1).min(width);
            let target = &mut rows[(y * width + x) * channels..][..channels];
            for (i, near) in window.enumerate() {
                let pixel = &source.data[y * source.row_pitch + near * source.pixel_pitch..][..channels];
                merge(target, pixel, i == 0);
            }
        }
    }
}

/// Maximum over `kernel` pixels of the same column, into `out` from `first_channel` on.
fn pool_columns(rows: &Image<'_>, kernel: usize, out: &mut ImageMut<'_>, first_channel: usize) {
    for y in 0..rows.height {
        let window = y.saturating_sub(kernel / 2)..(y + kernel / 2 + 1).min(rows.height);
        for x in 0..rows.width {
            let target =
                &mut out.data[y * out.row_pitch + x * out.pixel_pitch + first_channel..][..rows.channels];
            for (i, near) in window.clone().enumerate() {
                let pixel = &rows.data[near * rows.row_pitch + x * rows.pixel_pitch..][..rows.channels];
                merge(target, pixel, i == 0);
            }
        }
    }
}

fn merge(target: &mut [f32], pixel: &[f32], first: bool) {
    if first {
        target.copy_from_slice(pixel);
        return;
    }
    for (kept, &value) in target.iter_mut().zip(pixel) {
        *kept = if value > *kept { value } else { *kept };
    }
}
