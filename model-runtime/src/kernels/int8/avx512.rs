//! AVX-512 with VNNI: 32 registers of 16 sums. Two channel blocks × 14 pixels.

use std::arch::x86_64::*;

use super::finish::{Finish, PIECES, RESIDUAL_SHIFT, define_finish, define_finish_floats, last_place};
use super::tile::{TileKernel, define_tile};

mod v {
    use std::arch::x86_64::*;

    pub(super) const LANES: usize = 16;
    pub(super) type V = __m512i;
    type F = __m512;

    macro_rules! operations {
        ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => {
            $(
                $(#[$doc])*
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
                pub(super) fn $name($($argument: $kind),*) -> $result $body
            )*
        };
    }

    operations! {
        zero() -> V { _mm512_setzero_si512() }
        no_weights() -> V { _mm512_setzero_si512() }
        dot(sum: V, a: V, w: V) -> V { _mm512_dpbusd_epi32(sum, a, w) }
        dot_wide(sum: V, a: V, w: V) -> V { _mm512_dpwssd_epi32(sum, a, w) }
        to_float(value: V) -> F { _mm512_cvtepi32_ps(value) }
        mul(a: F, b: F) -> F { _mm512_mul_ps(a, b) }
    }

    macro_rules! accesses {
        ($($name:ident($pointer:ident: $kind:ty $(, $value:ident: $values:ty)?) $(-> $result:ty)? $body:block)*) => {
            $(
                /// # Safety
                /// The pointer is valid for a whole vector.
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
                pub(super) unsafe fn $name($pointer: $kind $(, $value: $values)?) $(-> $result)? {
                    // SAFETY: this function's own contract.
                    unsafe { $body }
                }
            )*
        };
    }

    accesses! {
        load(from: *const i32) -> V { _mm512_loadu_si512(from.cast()) }
        store(to: *mut i32, value: V) { _mm512_storeu_si512(to.cast(), value) }
        weights(from: *const i8) -> V { _mm512_loadu_si512(from.cast()) }
        input(from: *const u8) -> V { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        load_float(from: *const f32) -> F { _mm512_loadu_ps(from) }
        store_float(to: *mut f32, value: F) { _mm512_storeu_ps(to, value) }
    }
}

/// The same for a group of two 16-bit integers.
mod wide {
    pub(super) use super::v::{LANES, dot_wide as dot, input, load, no_weights, store, weights, zero};
}

define_tile!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    tile, v, pixels = 14 [0 1 2 3 4 5 6 7 8 9 10 11 12 13], vectors = [0 1]
);
define_tile!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    wide_tile, wide, pixels = 14 [0 1 2 3 4 5 6 7 8 9 10 11 12 13], vectors = [0 1]
);
define_finish!(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]);
define_finish_floats!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    v
);

/// Four pixels at a time: the 32-bit integers of two pixels are packed into one register of 16-bit
/// ones, and two of those into one of bytes.
///
/// # Safety
/// As [`finish`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish_as<const SILU: bool, const RESIDUAL: bool>(tile: &Finish) {
    // SAFETY: the caller guarantees all pointers.
    let scale = unsafe { _mm512_loadu_ps(tile.scale) };
    let table: [__m512i; 4] = if SILU {
        // SAFETY: the table is four registers long.
        std::array::from_fn(|part| unsafe { _mm512_loadu_si512(tile.table.add(part * PIECES / 2).cast()) })
    } else {
        [_mm512_setzero_si512(); 4]
    };
    let offset = _mm512_set1_epi16(tile.offset);
    let shift = _mm512_set1_epi16(tile.shift as i16);
    let (most, fifteen_bits) = (_mm512_set1_epi16(last_place(tile.piece_bits)), _mm512_set1_epi16(i16::MAX));
    let piece_bits = _mm512_set1_epi16(tile.piece_bits as i16);
    let place_bits = _mm512_set1_epi16(15 - tile.piece_bits as i16);
    let multiplier = _mm512_set1_epi16(tile.residual_multiplier);
    let zero_point = _mm512_set1_epi16(tile.residual_zero_point);
    // After packing, each quarter of a register holds four channels of four pixels.
    let by_pixel = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let mut first = 0;
    while first < tile.pixels {
        let count = (tile.pixels - first).min(4);
        // With fewer than four pixels, the last one is repeated.
        let pixel = |i: usize| first + i.min(count - 1);
        let level = |i: usize| {
            // SAFETY: the caller guarantees the pointers for every pixel of the tile.
            let sum = unsafe { _mm512_loadu_si512(tile.sums.add(pixel(i) * tile.sums_step).cast()) };
            _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale))
        };
        let mut pairs = [_mm512_packs_epi32(level(0), level(1)), _mm512_packs_epi32(level(2), level(3))];
        if SILU {
            pairs = pairs.map(|u| {
                let t = _mm512_min_epu16(_mm512_abs_epi16(u), most);
                let piece = _mm512_srlv_epi16(t, piece_bits);
                let place = _mm512_and_si512(_mm512_sllv_epi16(t, place_bits), fifteen_bits);
                let value = _mm512_permutex2var_epi16(table[0], piece, table[1]);
                let slope = _mm512_permutex2var_epi16(table[2], piece, table[3]);
                let less = _mm512_add_epi16(value, _mm512_mulhrs_epi16(slope, place));
                _mm512_sub_epi16(_mm512_max_epi16(u, _mm512_setzero_si512()), less)
            });
        }
        if RESIDUAL {
            let other = |i: usize| {
                // SAFETY: as above.
                let bytes =
                    unsafe { _mm_loadu_si128(tile.residual.add(pixel(i) * tile.residual_step).cast()) };
                _mm512_cvtepu8_epi32(bytes)
            };
            let others = [_mm512_packs_epi32(other(0), other(1)), _mm512_packs_epi32(other(2), other(3))];
            for (pair, other) in pairs.iter_mut().zip(others) {
                let other = _mm512_slli_epi16::<RESIDUAL_SHIFT>(_mm512_sub_epi16(other, zero_point));
                *pair = _mm512_adds_epi16(*pair, _mm512_mulhrs_epi16(other, multiplier));
            }
        }
        let [a, b] = pairs.map(|level| _mm512_srav_epi16(_mm512_adds_epi16(level, offset), shift));
        let bytes = _mm512_permutexvar_epi32(by_pixel, _mm512_packus_epi16(a, b));
        // SAFETY: the caller guarantees the output; only existing pixels are written.
        unsafe {
            let out = tile.out.add(first * tile.out_step);
            if count == 4 && tile.out_step == super::BLOCK {
                _mm512_storeu_si512(out.cast(), bytes);
            } else {
                _mm_storeu_si128(out.cast(), _mm512_castsi512_si128(bytes));
                if count > 1 {
                    _mm_storeu_si128(out.add(tile.out_step).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
                }
                if count > 2 {
                    _mm_storeu_si128(
                        out.add(2 * tile.out_step).cast(),
                        _mm512_extracti32x4_epi32::<2>(bytes),
                    );
                }
                if count > 3 {
                    _mm_storeu_si128(
                        out.add(3 * tile.out_step).cast(),
                        _mm512_extracti32x4_epi32::<3>(bytes),
                    );
                }
            }
        }
        first += 4;
    }
}

macro_rules! table {
    ($kernel:ident, $nb:literal: $($p:literal)*) => { [$($kernel::<$p, $nb>),*] };
}

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 14] = table!(tile, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
/// `TWO[p - 1]`: p pixels × 32 channels.
pub(super) static TWO: [TileKernel; 14] = table!(tile, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
/// `WIDE[p - 1]`: p pixels × 16 channels of 16-bit input.
pub(super) static WIDE: [TileKernel; 14] = table!(wide_tile, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn vectorised(into: &mut [u8], other: &[u8]) {
        super::pool::largest(into, other);
    }
    // SAFETY: this function is only handed out where the instruction set was detected.
    unsafe { vectorised(into, other) }
}

/// Looks up every byte with byte permutations (VBMI), available since Ice Lake (Intel) and Zen 4
/// (AMD).
pub(super) fn look_up(table: &[u8; 256], bytes: &mut [u8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn permuted(table: &[u8; 256], bytes: &mut [u8]) {
        let (parts, _) = table.as_chunks::<64>();
        // SAFETY: a part has 64 bytes.
        let part = |i: usize| unsafe { _mm512_loadu_si512(parts[i].as_ptr().cast()) };
        let (a, b, c, d) = (part(0), part(1), part(2), part(3));
        let look = |index: __m512i| {
            let low = _mm512_permutex2var_epi8(a, index, b);
            let high = _mm512_permutex2var_epi8(c, index, d);
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high)
        };
        let (whole, rest) = bytes.as_chunks_mut::<64>();
        for chunk in whole {
            // SAFETY: a chunk has 64 bytes.
            unsafe {
                let index = _mm512_loadu_si512(chunk.as_ptr().cast());
                _mm512_storeu_si512(chunk.as_mut_ptr().cast(), look(index));
            }
        }
        rest.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
    }

    if is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: VBMI was just detected; the rest of the set was detected before this function was
        // handed out.
        unsafe { permuted(table, bytes) }
    } else {
        super::portable::look_up(table, bytes);
    }
}
