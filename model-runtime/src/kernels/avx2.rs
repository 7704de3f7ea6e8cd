//! AVX2 with FMA: 16 registers of 8 floats. One channel block (two vectors) × 6 pixels.

use super::tile::{Planes, PlanesKernel, Tile, TileKernel, define_tile};
use super::transform::define_transforms;

mod v {
    use std::arch::x86_64::*;

    use crate::kernels::silu;

    pub(super) type V = __m256;
    pub(super) const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn zero() -> V {
        _mm256_setzero_ps()
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn splat(value: f32) -> V {
        _mm256_set1_ps(value)
    }
    /// # Safety
    /// `from` is readable for eight floats.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn load(from: *const f32) -> V {
        // SAFETY: this function's own contract.
        unsafe { _mm256_loadu_ps(from) }
    }
    /// # Safety
    /// `to` is writable for eight floats.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn store(to: *mut f32, value: V) {
        // SAFETY: this function's own contract.
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn sub(a: V, b: V) -> V {
        _mm256_sub_ps(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn add(a: V, b: V) -> V {
        _mm256_add_ps(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma(a: V, b: V, c: V) -> V {
        _mm256_fmadd_ps(a, b, c)
    }
    /// As in the AVX-512 kernel, with the exponent built from integer bits and a true division.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn silu(x: V) -> V {
        // The constant is the first operand: min and max return the second one for NaN, which must
        // be propagated.
        let t = _mm256_min_ps(splat(silu::MAX_EXPONENT), _mm256_mul_ps(x, splat(silu::MINUS_LOG2_E)));
        let t = _mm256_max_ps(splat(-silu::MAX_EXPONENT), t);
        let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(t);
        let f = _mm256_sub_ps(t, n);
        let [c1, c2, c3, c4, c5] = silu::EXP2;
        let mut p = fma(f, splat(c5), splat(c4));
        p = fma(p, f, splat(c3));
        p = fma(p, f, splat(c2));
        p = fma(p, f, splat(c1));
        p = fma(p, f, splat(1.0));
        let bits = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
        let power = _mm256_mul_ps(p, _mm256_castsi256_ps(bits));
        _mm256_div_ps(x, add(power, splat(1.0)))
    }
}

define_tile!(
    #[target_feature(enable = "avx2,fma")]
    v, pixels = 6 [0 1 2 3 4 5], vectors = [0 1]
);

define_transforms!(
    #[target_feature(enable = "avx2,fma")]
    v
);

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 6] =
    [tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>];
/// As `ONE`, for planes.
pub(super) static ONE_PLANES: [PlanesKernel; 6] =
    [planes::<1, 2>, planes::<2, 2>, planes::<3, 2>, planes::<4, 2>, planes::<5, 2>, planes::<6, 2>];

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [f32], pixels: &[f32], step: usize) {
    #[target_feature(enable = "avx2,fma")]
    fn vectorised(into: &mut [f32], pixels: &[f32], step: usize) {
        super::pool::largest(into, pixels, step);
    }
    // SAFETY: this table is only handed out where the instruction set was detected.
    unsafe { vectorised(into, pixels, step) }
}
