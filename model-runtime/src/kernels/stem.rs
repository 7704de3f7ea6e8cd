//! The first layer on gray images: one input channel, six taps a kernel row, stride 2, 16 output
//! channels.
//!
//! The general [`tile`](super::tile) loads an input value for every product, so that it is bound by
//! loads as much as by arithmetic. Here the six weights of a kernel row stay in registers and each
//! input value is loaded once for the three outputs that it reaches. Padding costs nothing: the
//! step on either side that would read it is skipped.

use super::Isa;
use super::conv::{Conv, Source};
use super::image::{Image, ImageMut};
use super::view::{Patch, Target, readable};
use crate::threads::{self, CHUNKS_PER_THREAD};

/// Taps of a kernel row.
pub(crate) const TAPS: usize = 6;
/// Input pixels from an output to the next.
const STRIDE: usize = 2;
/// Zeros on every side.
const PADDING: usize = 2;

/// P pixels of 16 channels.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "so far only AVX-512 has registers enough for a tile")
)]
pub(crate) struct StemTile {
    /// [`PADDING`] values before the first pixel's middle, in the first kernel row that lies inside
    /// the image.
    pub(crate) input: *const f32,
    /// Floats from a row of the input to the next.
    pub(crate) row_pitch: usize,
    /// Kernel rows inside the image, at least one.
    pub(crate) rows: usize,
    /// Whether the first two, or the last two, values of each row are padding.
    pub(crate) at_left: bool,
    pub(crate) at_right: bool,
    /// Weights of the first kernel row.
    pub(crate) weight: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) out: *mut f32,
    pub(crate) out_step: usize,
    pub(crate) silu: bool,
}

/// Computes one tile. The caller guarantees that every pointer is valid: input for all rows without
/// padding, weights, bias and output.
pub(crate) type StemKernel = unsafe fn(&StemTile);

/// Computes the layer if it has this shape and the instruction set has kernels for it; returns
/// whether it did. `convolve::check` must have passed, or for a stage of a chain the checks of
/// `Chain::new`.
pub(super) fn run(
    isa: Isa,
    sources: &[Source<'_>],
    conv: &Conv<'_>,
    residual: Option<&Image<'_>>,
    out: &mut ImageMut<'_>,
) -> bool {
    let kernels = isa.tiles().stem;
    let [Source { image, .. }] = sources else { return false };
    let applies = !kernels.is_empty()
        && conv.weight_shape[..4] == [1, TAPS, TAPS, 1]
        && conv.stride == [STRIDE; 2]
        && conv.padding[0] <= PADDING
        && conv.padding[1] == PADDING
        && image.pixel_pitch == 1
        && image.width == out.width * STRIDE
        && residual.is_none();
    if applies && out.width > 0 {
        let layer = Layer {
            kernels,
            image: *image,
            conv,
            out: Target::new(out.data),
            out_row: out.row_pitch,
            out_pixel: out.pixel_pitch,
            width: out.width,
        };
        let chunks = (threads::threads() * CHUNKS_PER_THREAD).min(out.height);
        threads::parallel_ranges(out.height, chunks, &|rows| rows.for_each(|y| layer.row(y)));
    }
    applies
}

struct Layer<'a> {
    kernels: &'static [StemKernel],
    image: Image<'a>,
    conv: &'a Conv<'a>,
    out: Target<f32>,
    out_row: usize,
    out_pixel: usize,
    width: usize,
}

impl Layer<'_> {
    /// One row of the output, in tiles of nearly equal width.
    fn row(&self, y: usize) {
        let top = (y * STRIDE) as isize - self.conv.padding[0] as isize;
        let first = (-top).clamp(0, TAPS as isize) as usize;
        let end = (self.image.height as isize - top).clamp(first as isize, TAPS as isize) as usize;
        let rows = end - first;
        assert!((1..=TAPS).contains(&rows), "a row of nothing but padding");
        let start = (top + first as isize) as usize * self.image.row_pitch;
        let weights = Patch::row(1, 0, rows * TAPS * 16);
        let mut tile = StemTile {
            input: std::ptr::null(),
            row_pitch: self.image.row_pitch,
            rows,
            at_left: true,
            at_right: false,
            weight: readable(self.conv.weight, first * TAPS * 16, weights),
            bias: readable(self.conv.bias, 0, Patch::row(1, 0, 16)),
            out: std::ptr::null_mut(),
            out_step: self.out_pixel,
            silu: self.conv.silu,
        };
        let tiles = self.width.div_ceil(self.kernels.len());
        for column in 0..tiles {
            let begin = column * self.width / tiles;
            let pixels = (column + 1) * self.width / tiles - begin;
            tile.at_left = column == 0;
            tile.at_right = column + 1 == tiles;
            // Pixel `begin` reads from column 2 * begin - 2 on; padding is not read.
            let padding = PADDING * (usize::from(tile.at_left) + usize::from(tile.at_right));
            let columns = pixels * STRIDE + 2 * PADDING - padding;
            let from = if tile.at_left { 0 } else { begin * STRIDE - PADDING };
            let read = Patch { lines: [rows, tile.row_pitch], steps: [1, 0], len: columns };
            let input = readable(self.image.data, start + from, read);
            tile.input = if tile.at_left { input.wrapping_sub(PADDING) } else { input };
            let written = Patch::row(pixels, self.out_pixel, 16);
            tile.out = self.out.writable(y * self.out_row + begin * self.out_pixel, written);
            // SAFETY: all pointers were just checked for what this tile touches: the steps on
            // either side that would read padding are left out; rows are disjoint parts of the
            // output, and no other thread reads it meanwhile; the instruction set was detected.
            unsafe { self.kernels[pixels - 1](&tile) };
        }
    }
}

/// Instantiates the tile for one instruction set with vectors of 16 floats; `$s` counts two steps
/// more than there are pixels.
#[cfg(target_arch = "x86_64")]
macro_rules! define_stem_tile {
    ($(#[$attribute:meta])* $v:ident, pixels = $max:literal, steps = [$($s:literal)*]) => {
        /// # Safety
        /// See [`StemKernel`]; also the CPU must have the instruction set.
        // The literals make some expressions trivial.
        #[allow(clippy::identity_op, clippy::erasing_op, unused_comparisons)]
        $(#[$attribute])*
        pub(super) unsafe fn stem_tile<const P: usize>(tile: &super::stem::StemTile) {
            const { assert!($v::LANES == 16 && P <= $max) };
            // SAFETY: the caller guarantees the pointers; steps that would read padding are
            // skipped.
            unsafe {
                // Pixel p is summed in p + 2: step s reaches pixels s - 2 to s, and the sums beyond
                // either end are never stored.
                let mut acc = [$v::load(tile.bias); $max + 4];
                let (mut input, mut weight) = (tile.input, tile.weight);
                for _ in 1..tile.rows {
                    let w = define_stem_tile!(@weights $v, weight);
                    $(define_stem_tile!(@step $v, $s, P, tile, input, w, acc);)*
                    input = input.wrapping_add(tile.row_pitch);
                    weight = weight.wrapping_add(super::stem::TAPS * 16);
                }
                // In the last row, activations are interleaved with the products, since neither
                // uses all execution units.
                let w = define_stem_tile!(@weights $v, weight);
                $(
                    define_stem_tile!(@step $v, $s, P, tile, input, w, acc);
                    if $s >= 2 && $s < P + 2 {
                        if tile.silu {
                            acc[$s] = $v::silu(acc[$s]);
                        }
                        $v::store(tile.out.wrapping_add($s * tile.out_step).wrapping_sub(2 * tile.out_step), acc[$s]);
                    }
                )*
            }
        }
    };
    (@weights $v:ident, $weight:ident) => {
        [
            $v::load($weight),
            $v::load($weight.add(16)),
            $v::load($weight.add(32)),
            $v::load($weight.add(48)),
            $v::load($weight.add(64)),
            $v::load($weight.add(80)),
        ]
    };
    (@step $v:ident, $s:literal, $P:ident, $tile:ident, $input:ident, $w:ident, $acc:ident) => {
        if $s < $P + 2 && ($s > 0 || !$tile.at_left) && ($s <= $P || !$tile.at_right) {
            let even = $v::splat(*$input.wrapping_add(2 * $s));
            $acc[$s + 2] = $v::fma(even, $w[0], $acc[$s + 2]);
            $acc[$s + 1] = $v::fma(even, $w[2], $acc[$s + 1]);
            $acc[$s] = $v::fma(even, $w[4], $acc[$s]);
            let odd = $v::splat(*$input.wrapping_add(2 * $s + 1));
            $acc[$s + 2] = $v::fma(odd, $w[1], $acc[$s + 2]);
            $acc[$s + 1] = $v::fma(odd, $w[3], $acc[$s + 1]);
            $acc[$s] = $v::fma(odd, $w[5], $acc[$s]);
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use define_stem_tile;
