//! AVX2, with and without AVX-VNNI: 16 registers of 8 sums.
//!
//! `vpmaddubsw` would saturate at 16 bits (255 · 127 · 2 is twice that), so without VNNI the bytes
//! are widened: even and odd ones are multiplied separately by `vpmaddwd`, whose sums have 32 bits.

use std::arch::x86_64::*;

use super::finish::{Finish, PIECES, RESIDUAL_SHIFT, define_finish, define_finish_floats, last_place};
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
        to_float(value: V) -> F { _mm256_cvtepi32_ps(value) }
        mul(a: F, b: F) -> F { _mm256_mul_ps(a, b) }
    }

    macro_rules! accesses {
        ($($name:ident($pointer:ident: $kind:ty $(, $value:ident: $values:ty)?) $(-> $result:ty)? $body:block)*) => {
            $(
                /// # Safety
                /// The pointer is valid for a whole vector.
                #[inline]
                #[target_feature(enable = "avx2")]
                pub(super) unsafe fn $name($pointer: $kind $(, $value: $values)?) $(-> $result)? {
                    // SAFETY: this function's own contract.
                    unsafe { $body }
                }
            )*
        };
    }

    accesses! {
        load(from: *const i32) -> V { _mm256_loadu_si256(from.cast()) }
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
define_finish!(#[target_feature(enable = "avx2")]);
define_finish_floats!(
    #[target_feature(enable = "avx2")]
    v
);

/// One pixel at a time: its 32-bit integers are packed into one register of 16-bit ones, and two of
/// those into one of bytes.
///
/// # Safety
/// As [`finish`].
#[target_feature(enable = "avx2")]
unsafe fn finish_as<const SILU: bool, const RESIDUAL: bool>(tile: &Finish) {
    // Each value with its slope: one gathered integer gives both.
    let mut pieces = [0_i32; PIECES];
    if SILU {
        for (part, pieces) in pieces.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            // SAFETY: the caller guarantees the table; `pieces` has room for 16 integers.
            unsafe {
                let value = _mm256_loadu_si256(tile.table.add(16 * part).cast());
                let slope = _mm256_loadu_si256(tile.table.add(PIECES + 16 * part).cast());
                let (low, high) = (_mm256_unpacklo_epi16(value, slope), _mm256_unpackhi_epi16(value, slope));
                let to = pieces.as_mut_ptr().cast::<__m256i>();
                _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(low, high));
                _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x31>(low, high));
            }
        }
    }
    // SAFETY: the caller guarantees all pointers.
    let scale = unsafe { [_mm256_loadu_ps(tile.scale), _mm256_loadu_ps(tile.scale.add(8))] };
    let (zero, fifteen_bits) = (_mm256_setzero_si256(), _mm256_set1_epi16(i16::MAX));
    let most = _mm256_set1_epi16(last_place(tile.piece_bits));
    let piece_bits = _mm_cvtsi32_si128(tile.piece_bits as i32);
    let place_bits = _mm_cvtsi32_si128(15 - tile.piece_bits as i32);
    let finished = |pixel: usize| {
        let level = |half: usize| {
            // SAFETY: the caller guarantees the pointers for every pixel of the tile.
            let sum = unsafe { _mm256_loadu_si256(tile.sums.add(pixel * tile.sums_step + 8 * half).cast()) };
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[half]))
        };
        let mut u = _mm256_packs_epi32(level(0), level(1));
        if SILU {
            let t = _mm256_min_epu16(_mm256_abs_epi16(u), most);
            let piece = _mm256_srl_epi16(t, piece_bits);
            let place = _mm256_and_si256(_mm256_sll_epi16(t, place_bits), fifteen_bits);
            // SAFETY: the indices are below 64, the number of pieces.
            let gathered = |piece| unsafe { _mm256_i32gather_epi32::<4>(pieces.as_ptr(), piece) };
            let low = gathered(_mm256_unpacklo_epi16(piece, zero));
            let high = gathered(_mm256_unpackhi_epi16(piece, zero));
            let words = _mm256_set1_epi32(0xFFFF);
            let value = _mm256_packus_epi32(_mm256_and_si256(low, words), _mm256_and_si256(high, words));
            let slope = _mm256_packus_epi32(_mm256_srli_epi32::<16>(low), _mm256_srli_epi32::<16>(high));
            let less = _mm256_add_epi16(value, _mm256_mulhrs_epi16(slope, place));
            u = _mm256_sub_epi16(_mm256_max_epi16(u, zero), less);
        }
        if RESIDUAL {
            let other = |half: usize| {
                // SAFETY: as above.
                let bytes = unsafe {
                    _mm_loadl_epi64(tile.residual.add(pixel * tile.residual_step + 8 * half).cast())
                };
                _mm256_cvtepu8_epi32(bytes)
            };
            let other = _mm256_packs_epi32(other(0), other(1));
            let other = _mm256_sub_epi16(other, _mm256_set1_epi16(tile.residual_zero_point));
            let other = _mm256_slli_epi16::<{ RESIDUAL_SHIFT as i32 }>(other);
            u = _mm256_adds_epi16(u, _mm256_mulhrs_epi16(other, _mm256_set1_epi16(tile.residual_multiplier)));
        }
        _mm256_sra_epi16(
            _mm256_adds_epi16(u, _mm256_set1_epi16(tile.offset)),
            _mm_cvtsi32_si128(tile.shift as i32),
        )
    };
    let mut pixel = 0;
    while pixel < tile.pixels {
        // With an odd number of pixels, the last one is repeated.
        let other = (pixel + 1).min(tile.pixels - 1);
        let bytes = _mm256_packus_epi16(finished(pixel), finished(other));
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        // SAFETY: the caller guarantees the pointers; both are pixels of the tile.
        unsafe {
            _mm_storeu_si128(tile.out.add(pixel * tile.out_step).cast(), _mm256_castsi256_si128(bytes));
            _mm_storeu_si128(
                tile.out.add(other * tile.out_step).cast(),
                _mm256_extracti128_si256::<1>(bytes),
            );
        }
        pixel += 2;
    }
}

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
