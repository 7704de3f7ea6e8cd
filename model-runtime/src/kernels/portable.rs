//! Plain Rust for any CPU, and for Miri. The compiler vectorises the eight-lane arrays for the
//! target.

use super::tile::{Planes, PlanesKernel, Tile, TileKernel, define_tile};
use super::transform::define_transforms;

mod v {
    use crate::kernels::silu;

    pub(super) const LANES: usize = 8;
    pub(super) type V = [f32; LANES];

    #[inline(always)]
    pub(super) fn zero() -> V {
        [0.0; LANES]
    }
    #[inline(always)]
    pub(super) fn splat(value: f32) -> V {
        [value; LANES]
    }
    /// # Safety
    /// `from` is readable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn load(from: *const f32) -> V {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<V>().read_unaligned() }
    }
    /// # Safety
    /// `to` is writable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn store(to: *mut f32, value: V) {
        // SAFETY: this function's own contract.
        unsafe { to.cast::<V>().write_unaligned(value) }
    }
    #[inline(always)]
    pub(super) fn sub(a: V, b: V) -> V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    pub(super) fn add(a: V, b: V) -> V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    /// Rounds twice: a fused `mul_add` is a library call on CPUs without it.
    #[inline(always)]
    pub(super) fn fma(a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    pub(super) fn silu(x: V) -> V {
        x.map(silu::scalar)
    }
}

define_tile!(
    v, pixels = 4 [0 1 2 3], vectors = [0 1]
);

define_transforms!(v);

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 4] = [tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>];
/// As `ONE`, for planes.
pub(super) static ONE_PLANES: [PlanesKernel; 4] =
    [planes::<1, 2>, planes::<2, 2>, planes::<3, 2>, planes::<4, 2>];

pub(super) use super::pool::largest;
