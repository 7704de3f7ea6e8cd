//! AVX-512F: 32 registers of 16 floats. Two channel blocks × 14 pixels, or one × 28.

use super::stem::{StemKernel, define_stem_tile};
use super::tile::{Planes, PlanesKernel, Tile, TileKernel, define_tile};
use super::transform::define_transforms;

mod v {
    use std::arch::x86_64::*;

    use crate::kernels::silu;

    pub(super) type V = __m512;
    pub(super) const LANES: usize = 16;

    /// Exponents beyond are as good as infinite.
    const FINITE: f32 = 1e30;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn zero() -> V {
        _mm512_setzero_ps()
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(value: f32) -> V {
        _mm512_set1_ps(value)
    }
    /// # Safety
    /// `from` is readable for 16 floats.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn load(from: *const f32) -> V {
        // SAFETY: this function's own contract.
        unsafe { _mm512_loadu_ps(from) }
    }
    /// # Safety
    /// `to` is writable for 16 floats.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn store(to: *mut f32, value: V) {
        // SAFETY: this function's own contract.
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sub(a: V, b: V) -> V {
        _mm512_sub_ps(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add(a: V, b: V) -> V {
        _mm512_add_ps(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn fma(a: V, b: V, c: V) -> V {
        _mm512_fmadd_ps(a, b, c)
    }
    /// x / (1 + 2^(-x·log2 e)). A true division: on current CPUs it takes less time than `vrcp14ps`
    /// with a Newton step, and x / ∞ is the limit already. The exponent is kept finite, since an
    /// infinite one has no fraction.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn silu(x: V) -> V {
        // The constant is the first operand: min and max return the second one for NaN, which must
        // be propagated.
        let t = _mm512_min_ps(splat(FINITE), _mm512_mul_ps(x, splat(silu::MINUS_LOG2_E)));
        let t = _mm512_max_ps(splat(-FINITE), t);
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(t);
        let f = _mm512_sub_ps(t, n);
        let [c1, c2, c3, c4, c5] = silu::EXP2;
        let mut p = fma(f, splat(c5), splat(c4));
        p = fma(p, f, splat(c3));
        p = fma(p, f, splat(c2));
        p = fma(p, f, splat(c1));
        p = fma(p, f, splat(1.0));
        _mm512_div_ps(x, add(_mm512_scalef_ps(p, n), splat(1.0)))
    }
}

define_tile!(
    #[target_feature(enable = "avx512f")]
    v, pixels = 28 [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27], vectors = [0 1]
);

define_transforms!(
    #[target_feature(enable = "avx512f")]
    v
);

define_stem_tile!(
    #[target_feature(enable = "avx512f")]
    v, pixels = 24,
    steps = [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25]
);

macro_rules! table {
    ($kernel:ident, $nv:literal: $($p:literal)*) => { [$($kernel::<$p, $nv>),*] };
    ($kernel:ident: $($p:literal)*) => { [$($kernel::<$p>),*] };
}

/// `TWO[p - 1]`: p pixels × 32 channels.
pub(super) static TWO: [TileKernel; 14] = table!(tile, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 28] =
    table!(tile, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28);
/// As `TWO` and `ONE`, for planes.
pub(super) static TWO_PLANES: [PlanesKernel; 14] = table!(planes, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
pub(super) static ONE_PLANES: [PlanesKernel; 28] =
    table!(planes, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28);

/// `STEM[p - 1]`: p pixels × 16 channels of the first layer.
pub(super) static STEM: [StemKernel; 24] =
    table!(stem_tile: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [f32], pixels: &[f32], step: usize) {
    #[target_feature(enable = "avx512f")]
    fn vectorised(into: &mut [f32], pixels: &[f32], step: usize) {
        super::pool::largest(into, pixels, step);
    }
    // SAFETY: this table is only handed out where the instruction set was detected.
    unsafe { vectorised(into, pixels, step) }
}
