//! AVX-512 with VNNI: 32 registers of 16 sums. Two channel blocks × 14 pixels.

use super::finish::define_finish;
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
        splat(value: f32) -> F { _mm512_set1_ps(value) }
        splat_int(value: i32) -> V { _mm512_set1_epi32(value) }
        to_float(value: V) -> F { _mm512_cvtepi32_ps(value) }
        round(value: F) -> V { _mm512_cvtps_epi32(value) }
        add_int(a: V, b: V) -> V { _mm512_add_epi32(a, b) }
        mul(a: F, b: F) -> F { _mm512_mul_ps(a, b) }
        add(a: F, b: F) -> F { _mm512_add_ps(a, b) }
        sub(a: F, b: F) -> F { _mm512_sub_ps(a, b) }
        /// The float whose bits are `a` less those of `b`.
        bits_from(a: V, b: F) -> F { _mm512_castsi512_ps(_mm512_sub_epi32(a, _mm512_castps_si512(b))) }
        min(a: F, b: F) -> F { _mm512_min_ps(a, b) }
        max(a: F, b: F) -> F { _mm512_max_ps(a, b) }
        /// `p` times two to the power of the integer that `rounded` is after `ROUND` was added.
        times_power_of_two(p: F, rounded: F) -> F {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent))
        }
    }

    macro_rules! accesses {
        ($($name:ident($pointer:ident: $kind:ty $(, $value:ident: $values:ty)?) $(-> $result:ty)? $body:block)*) => {
            $(
                /// # Safety
                /// The pointer is good for a whole vector.
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
                pub(super) unsafe fn $name($pointer: $kind $(, $value: $values)?) $(-> $result)? {
                    // SAFETY: the caller's.
                    unsafe { $body }
                }
            )*
        };
    }

    accesses! {
        load(from: *const i32) -> V { _mm512_loadu_si512(from.cast()) }
        load_int(from: *const i32) -> V { _mm512_loadu_si512(from.cast()) }
        store(to: *mut i32, value: V) { _mm512_storeu_si512(to.cast(), value) }
        weights(from: *const i8) -> V { _mm512_loadu_si512(from.cast()) }
        input(from: *const u8) -> V { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        load_float(from: *const f32) -> F { _mm512_loadu_ps(from) }
        store_float(to: *mut f32, value: F) { _mm512_storeu_ps(to, value) }
        load_bytes(from: *const u8) -> V { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
        store_bytes(to: *mut u8, value: V) {
            let value = _mm512_max_epi32(value, _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(value))
        }
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
define_finish!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    v
);

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

/// Looks every byte up, with the byte permutations (VBMI) that Intel has had since Ice Lake and AMD
/// since Zen 4.
pub(super) fn look_up(table: &[u8; 256], bytes: &mut [u8]) {
    use std::arch::x86_64::*;

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
        // SAFETY: the instructions are there; the rest of the set was detected before this function
        // was handed out.
        unsafe { permuted(table, bytes) }
    } else {
        super::portable::look_up(table, bytes);
    }
}
