//! Advanced SIMD of aarch64: 32 registers of 4 sums; with I8MM, with the dot products of ARMv8.2,
//! and with neither.
//!
//! I8MM multiplies unsigned bytes with signed ones. The dot products take two signed ones, so 128
//! is taken off the inputs, and what that takes off the sums (128 times the weights) is summed
//! beside them, once for all pixels. Without either, even and odd bytes are widened to 16 bits.

use std::arch::aarch64::*;

use super::finish::{Finish, PIECES, RESIDUAL_SHIFT, define_finish, define_finish_floats, last_place};
use super::tile::{TileKernel, define_tile};

mod v {
    use std::arch::aarch64::*;

    pub(super) const LANES: usize = 4;
    pub(super) type V = int32x4_t;
    type F = float32x4_t;

    macro_rules! operations {
        ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => {
            $(
                #[inline]
                #[target_feature(enable = "neon")]
                pub(super) fn $name($($argument: $kind),*) -> $result $body
            )*
        };
    }

    operations! {
        zero() -> V { vdupq_n_s32(0) }
        no_weights() -> [int16x8_t; 2] { [vdupq_n_s16(0); 2] }
        no_bytes() -> int8x16_t { vdupq_n_s8(0) }
        no_words() -> int16x8_t { vdupq_n_s16(0) }
        dot(sum: V, a: [int16x8_t; 2], w: [int16x8_t; 2]) -> V {
            let low = vmull_s16(vget_low_s16(a[0]), vget_low_s16(w[0]));
            let low = vmlal_s16(low, vget_low_s16(a[1]), vget_low_s16(w[1]));
            let high = vmull_high_s16(a[0], w[0]);
            let high = vmlal_high_s16(high, a[1], w[1]);
            vaddq_s32(sum, vpaddq_s32(low, high))
        }
        dot_wide(sum: V, a: int16x8_t, w: int16x8_t) -> V {
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(w));
            vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(a, w)))
        }
        to_float(value: V) -> F { vcvtq_f32_s32(value) }
        mul(a: F, b: F) -> F { vmulq_f32(a, b) }
        sub(a: V, b: V) -> V { vsubq_s32(a, b) }
    }

    macro_rules! accesses {
        ($($name:ident($pointer:ident: $kind:ty $(, $value:ident: $values:ty)?) $(-> $result:ty)? $body:block)*) => {
            $(
                /// # Safety
                /// The pointer is good for a whole vector, or a group.
                #[inline]
                #[target_feature(enable = "neon")]
                pub(super) unsafe fn $name($pointer: $kind $(, $value: $values)?) $(-> $result)? {
                    // SAFETY: the caller's.
                    unsafe { $body }
                }
            )*
        };
    }

    accesses! {
        load(from: *const i32) -> V { vld1q_s32(from) }
        store(to: *mut i32, value: V) { vst1q_s32(to, value) }
        bytes(from: *const i8) -> int8x16_t { vld1q_s8(from) }
        words(from: *const i8) -> int16x8_t { vreinterpretq_s16_s8(vld1q_s8(from)) }
        group(from: *const u8) -> uint8x16_t {
            vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned()))
        }
        pair(from: *const u8) -> int16x8_t {
            vreinterpretq_s16_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned()))
        }
        // Even and odd bytes, sign-extended.
        weights(from: *const i8) -> [int16x8_t; 2] {
            let bytes = vreinterpretq_s16_s8(vld1q_s8(from));
            [vshrq_n_s16::<8>(vshlq_n_s16::<8>(bytes)), vshrq_n_s16::<8>(bytes)]
        }
        // Even and odd bytes, zero-extended.
        input(from: *const u8) -> [int16x8_t; 2] {
            let bytes = vdupq_n_u32(from.cast::<u32>().read_unaligned());
            let bytes = vreinterpretq_u16_u32(bytes);
            let even = vandq_u16(bytes, vdupq_n_u16(0xFF));
            [vreinterpretq_s16_u16(even), vreinterpretq_s16_u16(vshrq_n_u16::<8>(bytes))]
        }
        load_float(from: *const f32) -> F { vld1q_f32(from) }
        store_float(to: *mut f32, value: F) { vst1q_f32(to, value) }
    }
}

/// The same for a group of two 16-bit integers.
mod wide {
    pub(super) use super::v::{
        LANES, dot_wide as dot, load, no_words as no_weights, pair as input, store, words as weights, zero,
    };
}

/// The same with I8MM.
mod i8mm {
    use std::arch::aarch64::*;
    use std::arch::asm;

    pub(super) use super::v::{
        LANES, V, bytes as weights, group as input, load, no_bytes as no_weights, store, zero,
    };

    /// `sum + a · w`, four products a lane. Rust's intrinsic is not stable yet.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    pub(super) fn dot(mut sum: V, a: uint8x16_t, w: int8x16_t) -> V {
        // SAFETY: registers only.
        unsafe {
            asm!("usdot {sum:v}.4s, {a:v}.16b, {w:v}.16b", sum = inout(vreg) sum, a = in(vreg) a,
                w = in(vreg) w, options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }
}

/// The same with dot products of signed bytes.
mod dotprod {
    use std::arch::aarch64::*;
    use std::arch::asm;

    pub(super) use super::v::{
        LANES, V, bytes as weights, load, no_bytes as no_weights, store, sub as whole, zero,
    };

    /// `sum + a · w`, four products a lane. Rust's intrinsic is not stable yet.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dot(mut sum: V, a: int8x16_t, w: int8x16_t) -> V {
        // SAFETY: registers only.
        unsafe {
            asm!("sdot {sum:v}.4s, {a:v}.16b, {w:v}.16b", sum = inout(vreg) sum, a = in(vreg) a,
                w = in(vreg) w, options(pure, nomem, nostack, preserves_flags));
        }
        sum
    }

    /// A group less 128.
    ///
    /// # Safety
    /// `from` is readable for four bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn input(from: *const u8) -> int8x16_t {
        // SAFETY: the caller's.
        let bytes = unsafe { super::v::group(from) };
        vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
    }

    /// What the sums lack, negative: -128 times the weights.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn lacking(sum: V, w: int8x16_t) -> V {
        dot(sum, vdupq_n_s8(-128), w)
    }
}

define_tile!(
    #[target_feature(enable = "neon")]
    tile, v, pixels = 4 [0 1 2 3], vectors = [0 1 2 3]
);
define_tile!(
    #[target_feature(enable = "neon")]
    wide_tile, wide, pixels = 5 [0 1 2 3 4], vectors = [0 1 2 3]
);
define_tile!(
    #[target_feature(enable = "neon,dotprod")]
    dotprod_tile, dotprod, pixels = 5 [0 1 2 3 4], vectors = [0 1 2 3], lacking
);
define_tile!(
    #[target_feature(enable = "neon,i8mm")]
    i8mm_tile, i8mm, pixels = 6 [0 1 2 3 4 5], vectors = [0 1 2 3]
);
define_finish!(#[target_feature(enable = "neon")]);
define_finish_floats!(
    #[target_feature(enable = "neon")]
    v
);

/// A table's 16-bit integers as their lower and upper bytes, which one instruction looks up.
///
/// # Safety
/// `from` is readable for [`PIECES`] integers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn halves(from: *const i16) -> [uint8x16x4_t; 2] {
    // SAFETY: the caller's.
    let [a, b, c, d] = [0, 16, 32, 48].map(|at| unsafe { vld2q_u8(from.add(at).cast()) });
    [uint8x16x4_t(a.0, b.0, c.0, d.0), uint8x16x4_t(a.1, b.1, c.1, d.1)]
}

/// The integers at 16 places, eight and eight.
#[inline]
#[target_feature(enable = "neon")]
fn look_up(halves: [uint8x16x4_t; 2], places: uint8x16_t) -> [int16x8_t; 2] {
    let [low, high] = halves.map(|table| vqtbl4q_u8(table, places));
    [vreinterpretq_s16_u8(vzip1q_u8(low, high)), vreinterpretq_s16_u8(vzip2q_u8(low, high))]
}

/// A pixel at a time.
///
/// # Safety
/// As [`finish`].
#[target_feature(enable = "neon")]
unsafe fn finish_as<const SILU: bool, const RESIDUAL: bool>(tile: &Finish) {
    let none = vdupq_n_u8(0);
    let none = [uint8x16x4_t(none, none, none, none); 2];
    // SAFETY: the caller guarantees the table.
    let (values, slopes) =
        if SILU { unsafe { (halves(tile.table), halves(tile.table.add(PIECES))) } } else { (none, none) };
    // SAFETY: the caller's: 16 channels.
    let scale = [0, 4, 8, 12].map(|channel| unsafe { vld1q_f32(tile.scale.add(channel)) });
    let (zero, fifteen_bits) = (vdupq_n_s16(0), vdupq_n_u16(0x7FFF));
    let most = vdupq_n_s16(last_place(tile.piece_bits));
    let piece_bits = vdupq_n_s16(-(tile.piece_bits as i16));
    let place_bits = vdupq_n_s16(15 - tile.piece_bits as i16);
    let shift = vdupq_n_s16(-(tile.shift as i16));
    for pixel in 0..tile.pixels {
        let level = |at: usize| {
            // SAFETY: the caller's; the pixel is one of the tile's.
            let sum = unsafe { vld1q_s32(tile.sums.add(pixel * tile.sums_step + 4 * at)) };
            vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), scale[at])))
        };
        let mut u = [vcombine_s16(level(0), level(1)), vcombine_s16(level(2), level(3))];
        if SILU {
            let t = u.map(|u| vreinterpretq_u16_s16(vminq_s16(vqabsq_s16(u), most)));
            let [low, high] = t.map(|t| vmovn_u16(vshlq_u16(t, piece_bits)));
            let piece = vcombine_u8(low, high);
            let (value, slope) = (look_up(values, piece), look_up(slopes, piece));
            for half in 0..2 {
                let place = vandq_u16(vshlq_u16(t[half], place_bits), fifteen_bits);
                let further = vqrdmulhq_s16(slope[half], vreinterpretq_s16_u16(place));
                u[half] = vsubq_s16(vmaxq_s16(u[half], zero), vaddq_s16(value[half], further));
            }
        }
        if RESIDUAL {
            // SAFETY: as above.
            let bytes = unsafe { vld1q_u8(tile.residual.add(pixel * tile.residual_step)) };
            let other = [vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)];
            for (u, other) in u.iter_mut().zip(other) {
                let other = vsubq_s16(vreinterpretq_s16_u16(other), vdupq_n_s16(tile.residual_zero_point));
                let other = vshlq_n_s16::<{ RESIDUAL_SHIFT as i32 }>(other);
                *u = vqaddq_s16(*u, vqrdmulhq_s16(other, vdupq_n_s16(tile.residual_multiplier)));
            }
        }
        let [low, high] = u.map(|u| vqmovun_s16(vshlq_s16(vqaddq_s16(u, vdupq_n_s16(tile.offset)), shift)));
        // SAFETY: the caller's: 16 bytes at every pixel of the tile.
        unsafe { vst1q_u8(tile.out.add(pixel * tile.out_step), vcombine_u8(low, high)) };
    }
}

macro_rules! table {
    ($kernel:ident: $($p:literal)*) => { [$($kernel::<$p, 1>),*] };
}

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 4] = table!(tile: 1 2 3 4);
/// The same with dot products.
pub(super) static DOTPROD: [TileKernel; 5] = table!(dotprod_tile: 1 2 3 4 5);
/// The same with I8MM.
pub(super) static I8MM: [TileKernel; 6] = table!(i8mm_tile: 1 2 3 4 5 6);
/// The same for 16-bit input.
pub(super) static WIDE: [TileKernel; 5] = table!(wide_tile: 1 2 3 4 5);

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    #[target_feature(enable = "neon")]
    fn vectorised(into: &mut [u8], other: &[u8]) {
        super::pool::largest(into, other);
    }
    // SAFETY: this function is only handed out where the instruction set was detected.
    unsafe { vectorised(into, other) }
}
