//! Converts a tile's integer sums to the layer's results: scale, SiLU, residual, and back to 8
//! bits.
//!
//! Levels are computed in 16-bit fixed point with `shift` fraction bits: twice as many values per
//! register as with floats, and a short chain of operations. Every path performs these steps in
//! this order, where `sat` saturates at 16 signed bits and `mul(a, b)` is `(a · b + 2¹⁴) >> 15`:
//!
//! ```text
//! u = sat(round_half_even(float(sum) · scale[c]))
//! t = min(|u|, 2^(6 + piece) - 1);  i = t >> piece;  f = (t << (15 - piece)) & (2¹⁵ - 1)
//! y = max(u, 0) - (table.value[i] + mul(table.slope[i], f))             with SiLU
//! z = sat(y + mul((residual - residual_zero_point) << 7, multiplier))   with a residual
//! q = clamp(sat(z + offset) >> shift, 0, 255)
//! ```
//!
//! `SiLU(x) = max(x, 0) - |x| / (1 + e^|x|)`: the table holds what is subtracted, as 64 straight
//! pieces, each of two to the power of `piece` ([`crate::pack::int8`] makes it). It is off by less
//! than a tenth of a level where a level is a hundredth or more.

use super::BLOCK;

/// Straight pieces of a table.
pub const PIECES: usize = 64;
/// Integers of a table: the value at the start of each piece, then its slope.
pub const TABLE: usize = 2 * PIECES;
/// Largest binary logarithm of a piece's length: all pieces together span 15 bits.
pub const MOST_PIECE_BITS: u32 = 9;
/// Scales a residual's level to 15 bits.
pub(crate) const RESIDUAL_SHIFT: u32 = 7;

/// 1.5 · 2²³: added and subtracted, it rounds to the nearest integer, ties to even, and its lowest
/// bits are that integer.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// Levels are clamped to this before rounding, so that the addition keeps them integers.
pub(crate) const MAX_LEVEL: f32 = 65_536.0;

/// One block of a tile's sums, and its destination; pointers are those of its first pixel and
/// channel.
pub(crate) struct Finish {
    pub(crate) sums: *const i32,
    /// Integers from one pixel to the next.
    pub(crate) sums_step: usize,
    pub(crate) pixels: usize,
    pub(crate) scale: *const f32,
    /// Up to 7.
    pub(crate) shift: u32,
    pub(crate) offset: i16,
    /// Up to [`MOST_PIECE_BITS`].
    pub(crate) piece_bits: u32,
    /// Of [`TABLE`] integers; null without SiLU.
    pub(crate) table: *const i16,
    /// Null if there is none.
    pub(crate) residual: *const u8,
    pub(crate) residual_step: usize,
    pub(crate) residual_multiplier: i16,
    pub(crate) residual_zero_point: i16,
    /// Bytes, or floats for `finish_floats`.
    pub(crate) out: *mut u8,
    /// Values from one pixel to the next.
    pub(crate) out_step: usize,
}

/// Writes a block's values of `pixels`. The caller guarantees every pointer for that many pixels of
/// 16 channels.
pub(crate) type FinishKernel = unsafe fn(&Finish);

/// Instantiates `finish` for one instruction set, by whether there is SiLU and a residual.
macro_rules! define_finish {
    ($(#[$attribute:meta])*) => {
        /// # Safety
        /// See [`FinishKernel`](super::finish::FinishKernel); also the CPU must have the
        /// instruction set.
        $(#[$attribute])*
        pub(super) unsafe fn finish(tile: &super::finish::Finish) {
            // SAFETY: this function's own contract.
            unsafe {
                match (tile.table.is_null(), tile.residual.is_null()) {
                    (true, true) => finish_as::<false, false>(tile),
                    (true, false) => finish_as::<false, true>(tile),
                    (false, true) => finish_as::<true, false>(tile),
                    (false, false) => finish_as::<true, true>(tile),
                }
            }
        }
    };
}
pub(crate) use define_finish;

/// `float(sum) · scale[c]` into floats.
macro_rules! define_finish_floats {
    ($(#[$attribute:meta])* $v:ident) => {
        /// # Safety
        /// As [`finish`], with floats for `out`.
        $(#[$attribute])*
        pub(super) unsafe fn finish_floats(tile: &super::finish::Finish) {
            let mut channel = 0;
            while channel < super::BLOCK {
                // SAFETY: the caller guarantees all pointers; a block is a whole number of vectors.
                unsafe {
                    let scale = $v::load_float(tile.scale.add(channel));
                    for pixel in 0..tile.pixels {
                        let sum = $v::load(tile.sums.add(pixel * tile.sums_step + channel));
                        let out = tile.out.cast::<f32>().add(pixel * tile.out_step + channel);
                        $v::store_float(out, $v::mul($v::to_float(sum), scale));
                    }
                }
                channel += $v::LANES;
            }
        }
    };
}
pub(crate) use define_finish_floats;

/// The definition, one value at a time.
///
/// # Safety
/// See [`FinishKernel`].
pub(crate) unsafe fn finish_as_defined(tile: &Finish) {
    for pixel in 0..tile.pixels {
        for channel in 0..BLOCK {
            // SAFETY: this function's own contract.
            unsafe {
                let sum = *tile.sums.add(pixel * tile.sums_step + channel);
                let mut level = rounded(sum as f32 * *tile.scale.add(channel));
                if !tile.table.is_null() {
                    let size = level.saturating_abs().min(last_place(tile.piece_bits));
                    let piece = (size >> tile.piece_bits) as usize;
                    let place = (size << (15 - tile.piece_bits)) & i16::MAX;
                    let [value, slope] = [piece, PIECES + piece].map(|at| *tile.table.add(at));
                    level = level.max(0).wrapping_sub(value.wrapping_add(multiplied(slope, place)));
                }
                if !tile.residual.is_null() {
                    let other = i16::from(*tile.residual.add(pixel * tile.residual_step + channel));
                    let other = other.wrapping_sub(tile.residual_zero_point) << RESIDUAL_SHIFT;
                    level = level.saturating_add(multiplied(other, tile.residual_multiplier));
                }
                let level = level.saturating_add(tile.offset) >> tile.shift;
                *tile.out.add(pixel * tile.out_step + channel) = level.clamp(0, 255) as u8;
            }
        }
    }
}

/// To the nearest integer, ties to even, saturated at 16 bits; values beyond 32 bits, positive ones
/// too, become the lowest integer, as on x86 ([`crate::pack::int8::pack_constants`] rules it out).
fn rounded(value: f32) -> i16 {
    let exact = if value.abs() < MAX_LEVEL {
        ((value + ROUND) - ROUND) as i32
    } else if value.abs() < 2_147_483_648.0 {
        value as i32
    } else {
        i32::MIN
    };
    exact.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// The largest position in a table.
pub(crate) fn last_place(piece_bits: u32) -> i16 {
    ((PIECES << piece_bits) - 1) as i16
}

/// `(a · b + 2¹⁴) >> 15`.
fn multiplied(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}
