//! From a tile's integer sums to what the layer gives: scale, SiLU, residual, and back to 8 bits.
//!
//! Every operation is one IEEE 754 rounding, in this order on every path (`round` of what is below
//! all integers is the lowest one):
//!
//! ```text
//! x = float(sum) · scale[c]
//! y = x · reciprocal(1 + 2^(-x · log2 e))                         with SiLU
//! z = y + (residual - residual_zero_point) · residual_scale       with a residual
//! q = clamp(round_half_even(z · inverse[c]) + zero_point[c], 0, 255)
//! ```

/// 2^f on [-0.5, 0.5] as 1 + c1·f + … + c4·f⁴: minimax, relative error 2.8e-6: less than a
/// thousandth of a step, as there are 255.
pub(crate) const EXP2: [f32; 4] = [0.693_124_2, 0.240_241, 0.055_906_43, 0.009_582_855];
pub(crate) const MINUS_LOG2_E: f32 = -std::f32::consts::LOG2_E;
/// The exponent is clamped here: beyond, SiLU is x or nothing, and everything stays far from the
/// ends of the range of floats.
pub(crate) const MAX_EXPONENT: f32 = 60.0;
/// The bits of a float taken from these are those of nearly its reciprocal, within 5 %; one step of
/// Newton's iteration with `2.00125` in place of 2 brings that to 1.5e-3, one more to 2.4e-6. A
/// division takes longer than all of it, and estimates that CPUs give differ.
pub(crate) const RECIPROCAL_BITS: i32 = 0x7EF3_8000;
pub(crate) const FIRST_STEP: f32 = 2.001_25;
/// 1.5 · 2²³: added and subtracted, it rounds to the nearest integer, ties to even, and its lowest
/// bits are that integer.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// Levels are no more than this before rounding, so that they stay integers.
pub(crate) const MAX_LEVEL: f32 = 65_536.0;

/// Pixels whose chains of operations run side by side.
pub(crate) const TOGETHER: usize = 5;

/// One tile's sums and where they go; pointers are those of its first pixel and channel.
pub(crate) struct Finish {
    pub(crate) sums: *const i32,
    /// Integers from one pixel to the next.
    pub(crate) sums_step: usize,
    pub(crate) pixels: usize,
    /// Whole blocks of 16.
    pub(crate) channels: usize,
    pub(crate) scale: *const f32,
    pub(crate) inverse: *const f32,
    pub(crate) zero_point: *const i32,
    pub(crate) silu: bool,
    /// Null if there is none.
    pub(crate) residual: *const u8,
    pub(crate) residual_step: usize,
    pub(crate) residual_scale: f32,
    pub(crate) residual_zero_point: i32,
    pub(crate) out: *mut u8,
    /// Bytes from one pixel to the next.
    pub(crate) out_step: usize,
}

/// Writes 8-bit values. The caller vouches for every pointer, for `pixels` of `channels` and for as
/// many channels' constants.
pub(crate) type FinishKernel = unsafe fn(&Finish);

/// Instantiates it for one instruction set: `$v` has vectors `I` of integers and `F` of floats.
macro_rules! define_finish {
    ($(#[$attribute:meta])* $v:ident) => {
        /// # Safety
        /// See [`FinishKernel`](super::finish::FinishKernel); also the CPU must have the
        /// instruction set.
        $(#[$attribute])*
        pub(super) unsafe fn finish(tile: &super::finish::Finish) {
            // SAFETY: the caller's.
            unsafe {
                match (tile.silu, tile.residual.is_null()) {
                    (false, true) => finish_as::<false, false>(tile),
                    (false, false) => finish_as::<false, true>(tile),
                    (true, true) => finish_as::<true, false>(tile),
                    (true, false) => finish_as::<true, true>(tile),
                }
            }
        }

        /// # Safety
        /// As [`finish`].
        #[inline]
        $(#[$attribute])*
        unsafe fn finish_as<const SILU: bool, const RESIDUAL: bool>(tile: &super::finish::Finish) {
            // Chains of operations as long as these keep the units busy only side by side.
            let groups = tile.pixels.div_ceil(super::finish::TOGETHER);
            for group in 0..groups {
                let first = group * tile.pixels / groups;
                // SAFETY: the caller's.
                unsafe {
                    match (group + 1) * tile.pixels / groups - first {
                        1 => finish_some::<1, SILU, RESIDUAL>(tile, first),
                        2 => finish_some::<2, SILU, RESIDUAL>(tile, first),
                        3 => finish_some::<3, SILU, RESIDUAL>(tile, first),
                        4 => finish_some::<4, SILU, RESIDUAL>(tile, first),
                        _ => finish_some::<5, SILU, RESIDUAL>(tile, first),
                    }
                }
            }
        }

        /// N pixels from `first` on.
        ///
        /// # Safety
        /// As [`finish`]; the tile has these pixels.
        #[inline]
        $(#[$attribute])*
        unsafe fn finish_some<const N: usize, const SILU: bool, const RESIDUAL: bool>(
            tile: &super::finish::Finish,
            first: usize,
        ) {
            use super::finish::{EXP2, FIRST_STEP, MAX_EXPONENT, MAX_LEVEL, MINUS_LOG2_E, RECIPROCAL_BITS, ROUND};
            let one = $v::splat(1.0);
            let residual_scale = $v::splat(tile.residual_scale);
            let residual_zero_point = $v::splat_int(-tile.residual_zero_point);
            let mut channel = 0;
            while channel < tile.channels {
                // SAFETY: the caller vouches for all pointers; vectors divide blocks.
                unsafe {
                    let scale = $v::load_float(tile.scale.add(channel));
                    let inverse = $v::load_float(tile.inverse.add(channel));
                    let zero_point = $v::load_int(tile.zero_point.add(channel));
                    let mut x = [one; N];
                    define_finish!(@each I N {
                        let sum = $v::load_int(tile.sums.add((first + I) * tile.sums_step + channel));
                        x[I] = $v::mul($v::to_float(sum), scale);
                    });
                    if SILU {
                        let (mut f, mut rounded, mut p) = ([one; N], [one; N], [one; N]);
                        define_finish!(@each I N { f[I] = $v::mul(x[I], $v::splat(MINUS_LOG2_E)); });
                        define_finish!(@each I N { f[I] = $v::min(f[I], $v::splat(MAX_EXPONENT)); });
                        define_finish!(@each I N { f[I] = $v::max(f[I], $v::splat(-MAX_EXPONENT)); });
                        define_finish!(@each I N { rounded[I] = $v::add(f[I], $v::splat(ROUND)); });
                        define_finish!(@each I N { p[I] = $v::sub(rounded[I], $v::splat(ROUND)); });
                        define_finish!(@each I N { f[I] = $v::sub(f[I], p[I]); });
                        define_finish!(@each I N { p[I] = $v::mul($v::splat(EXP2[3]), f[I]); });
                        define_finish!(@each I N { p[I] = $v::add(p[I], $v::splat(EXP2[2])); });
                        define_finish!(@each I N { p[I] = $v::mul(p[I], f[I]); });
                        define_finish!(@each I N { p[I] = $v::add(p[I], $v::splat(EXP2[1])); });
                        define_finish!(@each I N { p[I] = $v::mul(p[I], f[I]); });
                        define_finish!(@each I N { p[I] = $v::add(p[I], $v::splat(EXP2[0])); });
                        define_finish!(@each I N { p[I] = $v::mul(p[I], f[I]); });
                        define_finish!(@each I N { p[I] = $v::add(p[I], one); });
                        define_finish!(@each I N { p[I] = $v::times_power_of_two(p[I], rounded[I]); });
                        define_finish!(@each I N { p[I] = $v::add(p[I], one); });
                        let mut r = [one; N];
                        define_finish!(@each I N { r[I] = $v::bits_from($v::splat_int(RECIPROCAL_BITS), p[I]); });
                        define_finish!(@each I N { f[I] = $v::mul(p[I], r[I]); });
                        define_finish!(@each I N { f[I] = $v::sub($v::splat(FIRST_STEP), f[I]); });
                        define_finish!(@each I N { r[I] = $v::mul(r[I], f[I]); });
                        define_finish!(@each I N { f[I] = $v::mul(p[I], r[I]); });
                        define_finish!(@each I N { f[I] = $v::sub($v::splat(2.0), f[I]); });
                        define_finish!(@each I N { r[I] = $v::mul(r[I], f[I]); });
                        define_finish!(@each I N { x[I] = $v::mul(x[I], r[I]); });
                    }
                    if RESIDUAL {
                        define_finish!(@each I N {
                            let other = tile.residual.add((first + I) * tile.residual_step + channel);
                            let other = $v::add_int($v::load_bytes(other), residual_zero_point);
                            x[I] = $v::add(x[I], $v::mul($v::to_float(other), residual_scale));
                        });
                    }
                    define_finish!(@each I N { x[I] = $v::mul(x[I], inverse); });
                    define_finish!(@each I N { x[I] = $v::min(x[I], $v::splat(MAX_LEVEL)); });
                    let mut levels = [zero_point; N];
                    define_finish!(@each I N { levels[I] = $v::add_int($v::round(x[I]), zero_point); });
                    define_finish!(@each I N {
                        $v::store_bytes(tile.out.add((first + I) * tile.out_step + channel), levels[I]);
                    });
                }
                channel += $v::LANES;
            }
        }

        /// `float(sum) · scale[c]` into `out`.
        ///
        /// # Safety
        /// As [`finish`], with floats for `out`.
        $(#[$attribute])*
        pub(super) unsafe fn finish_floats(tile: &super::finish::Finish) {
            let mut channel = 0;
            while channel < tile.channels {
                // SAFETY: the caller vouches for all pointers; vectors divide blocks.
                unsafe {
                    let scale = $v::load_float(tile.scale.add(channel));
                    for pixel in 0..tile.pixels {
                        let sum = $v::load_int(tile.sums.add(pixel * tile.sums_step + channel));
                        let out = tile.out.cast::<f32>().add(pixel * tile.out_step + channel);
                        $v::store_float(out, $v::mul($v::to_float(sum), scale));
                    }
                }
                channel += $v::LANES;
            }
        }
    };
    // The body for each of N pixels, every index a literal.
    (@each $i:ident $N:ident $body:block) => {
        if $N > 0 { const $i: usize = 0; $body }
        if $N > 1 { const $i: usize = 1; $body }
        if $N > 2 { const $i: usize = 2; $body }
        if $N > 3 { const $i: usize = 3; $body }
        if $N > 4 { const $i: usize = 4; $body }
    };
}
pub(crate) use define_finish;
