//! The 8-bit operators other than convolution: max pooling, sums of two maps, lookups.

use super::isa::Int8Isa;
use crate::buffers::Buffer;
use crate::kernels::image::{Image, ImageMut};

/// As [`crate::kernels::pool::sppf`]: three chained max pools side by side. Quantization is
/// monotonic, so scale and zero point stay the same.
///
/// # Panics
/// If `kernel` is even, or `out` has no room for three times the input's channels.
pub fn sppf(isa: Int8Isa, input: &Image<'_, u8>, kernel: usize, out: &mut ImageMut<'_, u8>) {
    assert!(kernel % 2 == 1, "an even max pool changes the size");
    assert_eq!((input.height, input.width), (out.height, out.width), "output size");
    let (height, width, channels) = (input.height, input.width, input.channels);
    assert!(out.pixel_pitch >= 3 * channels || width <= 1, "output pixels overlap");
    assert!(out.data.len() >= out.extent(3 * channels), "output is too short");
    assert!(input.data.len() >= input.extent(channels), "input is too short");
    if height == 0 || width == 0 {
        return;
    }
    let largest = isa.kernels().largest;
    let row = width * channels;
    let mut buffer = Buffer::take_bytes(2 * height * row);
    let (whole, rest) = buffer.as_mut_bytes().split_at_mut(height * row);
    let across = &mut rest[..height * row];
    for y in 0..height {
        for x in 0..width {
            let from = &input.data[y * input.row_pitch + x * input.pixel_pitch..][..channels];
            whole[y * row + x * channels..][..channels].copy_from_slice(from);
        }
    }
    for pass in 0..3 {
        // Along rows: the map and itself, moved by up to half a kernel either way.
        for y in 0..height {
            let (line, to) = (&whole[y * row..][..row], &mut across[y * row..][..row]);
            to.copy_from_slice(line);
            for distance in 1..=(kernel / 2).min(width - 1) {
                let shift = distance * channels;
                largest(&mut to[..row - shift], &line[shift..]);
                largest(&mut to[shift..], &line[..row - shift]);
            }
        }
        // Down columns.
        whole.copy_from_slice(across);
        for distance in 1..=(kernel / 2).min(height - 1) {
            let shift = distance * row;
            let len = whole.len();
            largest(&mut whole[..len - shift], &across[shift..]);
            largest(&mut whole[shift..], &across[..len - shift]);
        }
        for y in 0..height {
            for x in 0..width {
                let start = y * out.row_pitch + x * out.pixel_pitch + pass * channels;
                let from = &whole[y * row + x * channels..][..channels];
                out.data[start..][..channels].copy_from_slice(from);
            }
        }
    }
}

/// A map's scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Real value of one step.
    pub scale: f32,
    /// The level that stands for zero.
    pub zero_point: u8,
}

/// `out = a + b`, each with its own scale: `round_half_even((a_real + b_real) / scale) +
/// zero_point`, clamped.
///
/// # Panics
/// If the sizes differ or a slice is too short.
pub fn add(a: (&Image<'_, u8>, Scale), b: (&Image<'_, u8>, Scale), out: &mut ImageMut<'_, u8>, scale: Scale) {
    let ((a, of_a), (b, of_b)) = (a, b);
    assert_eq!((a.height, a.width, a.channels), (b.height, b.width, b.channels), "sizes of a sum");
    assert_eq!((a.height, a.width), (out.height, out.width), "output size");
    assert!(out.data.len() >= out.extent(a.channels), "output is too short");
    let real = |of: Scale| -> [f32; 256] {
        std::array::from_fn(|level| (level as f32 - f32::from(of.zero_point)) * of.scale)
    };
    let (real_a, real_b, inverse) = (real(of_a), real(of_b), 1.0 / scale.scale);
    for y in 0..a.height {
        for x in 0..a.width {
            let at = |image: &Image<'_, u8>| y * image.row_pitch + x * image.pixel_pitch;
            let (from_a, from_b) = (&a.data[at(a)..][..a.channels], &b.data[at(b)..][..a.channels]);
            let to = &mut out.data[y * out.row_pitch + x * out.pixel_pitch..][..a.channels];
            for ((to, a), b) in to.iter_mut().zip(from_a).zip(from_b) {
                let sum = real_a[usize::from(*a)] + real_b[usize::from(*b)];
                *to = quantize(sum * inverse, scale.zero_point);
            }
        }
    }
}

/// Looks up every byte of `input`.
///
/// # Panics
/// If the sizes differ or a slice is too short.
pub fn look_up(input: &Image<'_, u8>, table: &[u8; 256], out: &mut ImageMut<'_, u8>) {
    assert_eq!((input.height, input.width), (out.height, out.width), "output size");
    assert!(out.data.len() >= out.extent(input.channels), "output is too short");
    for y in 0..input.height {
        for x in 0..input.width {
            let from = &input.data[y * input.row_pitch + x * input.pixel_pitch..][..input.channels];
            let to = &mut out.data[y * out.row_pitch + x * out.pixel_pitch..][..input.channels];
            to.iter_mut().zip(from).for_each(|(to, from)| *to = table[usize::from(*from)]);
        }
    }
}

/// Rounds half to even, without a library call, and clamps.
fn quantize(level: f32, zero_point: u8) -> u8 {
    use super::finish::{MAX_LEVEL, ROUND};
    let rounded = (level.clamp(-MAX_LEVEL, MAX_LEVEL) + ROUND) - ROUND;
    (rounded as i32 + i32::from(zero_point)).clamp(0, 255) as u8
}

/// The larger one of every byte.
#[inline(always)]
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    for (into, other) in into.iter_mut().zip(other) {
        *into = (*into).max(*other);
    }
}
