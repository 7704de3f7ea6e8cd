//! AVX2, with and without AVX-VNNI: 16 registers of 8 sums.
//!
//! `vpmaddubsw` would saturate at 16 bits (255 · 127 · 2 is twice that), so without VNNI the bytes
//! are widened: even and odd ones are multiplied apart by `vpmaddwd`, whose sums have 32 bits.

use super::finish::define_finish;
use super::tile::{TileKernel, define_tile};

mod v {
    use std::arch::x86_64::*;

    pub(super) const LANES: usize = 8;
    pub(super) type V = __m256i;
    type F = __m256;

    macro_rules! operations {
        ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => {
            $(
                $(#[$doc])*
                #[inline]
                #[target_feature(enable = "avx2")]
                pub(super) fn $name($($argument: $kind),*) -> $result $body
            )*
        };
    }

    operations! {
        zero() -> V { _mm256_setzero_si256() }
        no_weights() -> [V; 2] { [_mm256_setzero_si256(); 2] }
        dot(sum: V, a: [V; 2], w: [V; 2]) -> V {
            let [even, odd] = [_mm256_madd_epi16(a[0], w[0]), _mm256_madd_epi16(a[1], w[1])];
            _mm256_add_epi32(_mm256_add_epi32(sum, even), odd)
        }
        dot_wide(sum: V, a: V, w: V) -> V { _mm256_add_epi32(sum, _mm256_madd_epi16(a, w)) }
        splat(value: f32) -> F { _mm256_set1_ps(value) }
        splat_int(value: i32) -> V { _mm256_set1_epi32(value) }
        to_float(value: V) -> F { _mm256_cvtepi32_ps(value) }
        round(value: F) -> V { _mm256_cvtps_epi32(value) }
        add_int(a: V, b: V) -> V { _mm256_add_epi32(a, b) }
        mul(a: F, b: F) -> F { _mm256_mul_ps(a, b) }
        add(a: F, b: F) -> F { _mm256_add_ps(a, b) }
        sub(a: F, b: F) -> F { _mm256_sub_ps(a, b) }
        /// The float whose bits are `a` less those of `b`.
        bits_from(a: V, b: F) -> F { _mm256_castsi256_ps(_mm256_sub_epi32(a, _mm256_castps_si256(b))) }
        min(a: F, b: F) -> F { _mm256_min_ps(a, b) }
        max(a: F, b: F) -> F { _mm256_max_ps(a, b) }
        /// `p` times two to the power of the integer that `rounded` is after `ROUND` was added.
        times_power_of_two(p: F, rounded: F) -> F {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent))
        }
    }

    macro_rules! accesses {
        ($($name:ident($pointer:ident: $kind:ty $(, $value:ident: $values:ty)?) $(-> $result:ty)? $body:block)*) => {
            $(
                /// # Safety
                /// The pointer is good for a whole vector.
                #[inline]
                #[target_feature(enable = "avx2")]
                pub(super) unsafe fn $name($pointer: $kind $(, $value: $values)?) $(-> $result)? {
                    // SAFETY: the caller's.
                    unsafe { $body }
                }
            )*
        };
    }

    accesses! {
        load(from: *const i32) -> V { _mm256_loadu_si256(from.cast()) }
        load_int(from: *const i32) -> V { _mm256_loadu_si256(from.cast()) }
        store(to: *mut i32, value: V) { _mm256_storeu_si256(to.cast(), value) }
        bytes(from: *const i8) -> V { _mm256_loadu_si256(from.cast()) }
        group(from: *const u8) -> V { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        // Even and odd bytes, sign-extended.
        weights(from: *const i8) -> [V; 2] {
            let bytes = _mm256_loadu_si256(from.cast());
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
        }
        // Even and odd bytes, zero-extended.
        input(from: *const u8) -> [V; 2] {
            let bytes = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            [_mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16::<8>(bytes)]
        }
        load_float(from: *const f32) -> F { _mm256_loadu_ps(from) }
        store_float(to: *mut f32, value: F) { _mm256_storeu_ps(to, value) }
        load_bytes(from: *const u8) -> V { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
        store_bytes(to: *mut u8, value: V) {
            // Both saturate: to 16 signed bits, then to 8 unsigned ones.
            let words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words))
        }
    }
}

/// The same for a group of two 16-bit integers.
mod wide {
    pub(super) use super::v::{
        LANES, bytes as weights, dot_wide as dot, group as input, load, store, zero, zero as no_weights,
    };
}

/// The same with AVX-VNNI.
mod vnni {
    use std::arch::x86_64::*;

    pub(super) use super::v::{
        LANES, V, bytes as weights, group as input, load, store, zero, zero as no_weights,
    };

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn dot(sum: V, a: V, w: V) -> V {
        _mm256_dpbusd_avx_epi32(sum, a, w)
    }
}

define_tile!(
    #[target_feature(enable = "avx2")]
    tile, v, pixels = 4 [0 1 2 3], vectors = [0 1]
);
define_tile!(
    #[target_feature(enable = "avx2")]
    wide_tile, wide, pixels = 6 [0 1 2 3 4 5], vectors = [0 1]
);
define_tile!(
    #[target_feature(enable = "avx2,avxvnni")]
    vnni_tile, vnni, pixels = 6 [0 1 2 3 4 5], vectors = [0 1]
);
define_finish!(
    #[target_feature(enable = "avx2")]
    v
);

macro_rules! table {
    ($kernel:ident: $($p:literal)*) => { [$($kernel::<$p, 1>),*] };
}

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 4] = table!(tile: 1 2 3 4);
/// The same with AVX-VNNI.
pub(super) static VNNI: [TileKernel; 6] = table!(vnni_tile: 1 2 3 4 5 6);
/// The same for 16-bit input.
pub(super) static WIDE: [TileKernel; 6] = table!(wide_tile: 1 2 3 4 5 6);

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    #[target_feature(enable = "avx2")]
    fn vectorised(into: &mut [u8], other: &[u8]) {
        super::pool::largest(into, other);
    }
    // SAFETY: this function is only handed out where the instruction set was detected.
    unsafe { vectorised(into, other) }
}
