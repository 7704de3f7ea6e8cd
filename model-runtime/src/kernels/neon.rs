//! Advanced SIMD of aarch64: 32 registers of 4 floats. One channel block (four vectors) × 6 pixels.

use super::tile::{Planes, PlanesKernel, Tile, TileKernel, define_tile};
use super::transform::define_transforms;

mod v {
    use std::arch::aarch64::*;

    use crate::kernels::silu;

    pub(super) type V = float32x4_t;
    pub(super) const LANES: usize = 4;

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn zero() -> V {
        vdupq_n_f32(0.0)
    }
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn splat(value: f32) -> V {
        vdupq_n_f32(value)
    }
    /// # Safety
    /// `from` is readable for four floats.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn load(from: *const f32) -> V {
        // SAFETY: this function's own contract.
        unsafe { vld1q_f32(from) }
    }
    /// # Safety
    /// `to` is writable for four floats.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn store(to: *mut f32, value: V) {
        // SAFETY: this function's own contract.
        unsafe { vst1q_f32(to, value) }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn sub(a: V, b: V) -> V {
        vsubq_f32(a, b)
    }
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn add(a: V, b: V) -> V {
        vaddq_f32(a, b)
    }
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn fma(a: V, b: V, c: V) -> V {
        vfmaq_f32(c, a, b)
    }
    /// As in the AVX-512 kernel, with the exponent built from integer bits and a true division.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn silu(x: V) -> V {
        let t = vmulq_f32(x, splat(silu::MINUS_LOG2_E));
        let t = vmaxq_f32(vminq_f32(t, splat(silu::MAX_EXPONENT)), splat(-silu::MAX_EXPONENT));
        let n = vrndnq_f32(t);
        let f = vsubq_f32(t, n);
        let [c1, c2, c3, c4, c5] = silu::EXP2;
        let mut p = fma(f, splat(c5), splat(c4));
        p = fma(p, f, splat(c3));
        p = fma(p, f, splat(c2));
        p = fma(p, f, splat(c1));
        p = fma(p, f, splat(1.0));
        let bits = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
        let power = vmulq_f32(p, vreinterpretq_f32_s32(bits));
        vdivq_f32(x, add(power, splat(1.0)))
    }
}

define_tile!(
    #[target_feature(enable = "neon")]
    v, pixels = 6 [0 1 2 3 4 5], vectors = [0 1 2 3]
);

define_transforms!(
    #[target_feature(enable = "neon")]
    v
);

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 6] =
    [tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>];
/// As `ONE`, for planes.
pub(super) static ONE_PLANES: [PlanesKernel; 6] =
    [planes::<1, 4>, planes::<2, 4>, planes::<3, 4>, planes::<4, 4>, planes::<5, 4>, planes::<6, 4>];

/// [`super::pool::largest`], compiled for these registers.
pub(super) fn largest(into: &mut [f32], pixels: &[f32], step: usize) {
    #[target_feature(enable = "neon")]
    fn vectorised(into: &mut [f32], pixels: &[f32], step: usize) {
        super::pool::largest(into, pixels, step);
    }
    // SAFETY: this table is only handed out where the instruction set was detected.
    unsafe { vectorised(into, pixels, step) }
}
