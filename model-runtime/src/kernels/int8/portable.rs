//! Plain Rust for any CPU, and for Miri.

use super::finish::define_finish_floats;
pub(super) use super::finish::finish_as_defined as finish;
use super::tile::{TileKernel, define_tile};

mod v {
    pub(super) const LANES: usize = 8;
    pub(super) type V = [i32; LANES];
    pub(super) type W = [[i8; 4]; LANES];
    pub(super) type F = [f32; LANES];

    #[inline(always)]
    pub(super) fn zero() -> V {
        [0; LANES]
    }
    #[inline(always)]
    pub(super) fn no_weights() -> W {
        [[0; 4]; LANES]
    }
    /// # Safety
    /// `from` is readable for eight integers.
    #[inline(always)]
    pub(super) unsafe fn load(from: *const i32) -> V {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<V>().read_unaligned() }
    }
    /// # Safety
    /// `to` is writable for eight integers.
    #[inline(always)]
    pub(super) unsafe fn store(to: *mut i32, value: V) {
        // SAFETY: this function's own contract.
        unsafe { to.cast::<V>().write_unaligned(value) }
    }
    /// # Safety
    /// `from` is readable for 32 bytes.
    #[inline(always)]
    pub(super) unsafe fn weights(from: *const i8) -> W {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<W>().read_unaligned() }
    }
    /// # Safety
    /// `from` is readable for four bytes.
    #[inline(always)]
    pub(super) unsafe fn input(from: *const u8) -> [i32; 4] {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    pub(super) fn dot(sum: V, a: [i32; 4], w: W) -> V {
        std::array::from_fn(|i| {
            let [w0, w1, w2, w3] = w[i].map(i32::from);
            let products = (a[0] * w0 + a[1] * w1) + (a[2] * w2 + a[3] * w3);
            sum[i].wrapping_add(products)
        })
    }

    /// # Safety
    /// `from` is readable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn load_float(from: *const f32) -> F {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<F>().read_unaligned() }
    }
    /// # Safety
    /// `to` is writable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn store_float(to: *mut f32, value: F) {
        // SAFETY: this function's own contract.
        unsafe { to.cast::<F>().write_unaligned(value) }
    }
    #[inline(always)]
    pub(super) fn to_float(value: V) -> F {
        value.map(|value| value as f32)
    }
    #[inline(always)]
    pub(super) fn mul(a: F, b: F) -> F {
        std::array::from_fn(|i| a[i] * b[i])
    }
}

/// The same for a group of two 16-bit integers.
mod wide {
    pub(super) use super::v::{LANES, V, load, store, zero};

    pub(super) type W = [[i16; 2]; LANES];

    #[inline(always)]
    pub(super) fn no_weights() -> W {
        [[0; 2]; LANES]
    }
    /// # Safety
    /// `from` is readable for 32 bytes.
    #[inline(always)]
    pub(super) unsafe fn weights(from: *const i8) -> W {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<W>().read_unaligned() }
    }
    /// # Safety
    /// `from` is readable for four bytes.
    #[inline(always)]
    pub(super) unsafe fn input(from: *const u8) -> [i32; 2] {
        // SAFETY: this function's own contract.
        unsafe { from.cast::<[i16; 2]>().read_unaligned() }.map(i32::from)
    }
    #[inline(always)]
    pub(super) fn dot(sum: V, a: [i32; 2], w: W) -> V {
        std::array::from_fn(|i| {
            let [w0, w1] = w[i].map(i32::from);
            sum[i].wrapping_add((a[0] * w0).wrapping_add(a[1] * w1))
        })
    }
}

define_tile!(tile, v, pixels = 4 [0 1 2 3], vectors = [0 1]);
define_tile!(wide_tile, wide, pixels = 4 [0 1 2 3], vectors = [0 1]);
define_finish_floats!(v);

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 4] = [tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>];
/// The same for 16-bit input.
pub(super) static WIDE: [TileKernel; 4] =
    [wide_tile::<1, 1>, wide_tile::<2, 1>, wide_tile::<3, 1>, wide_tile::<4, 1>];

/// The larger one of every byte.
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    super::pool::largest(into, other);
}

/// Looks up every byte.
pub(super) fn look_up(table: &[u8; 256], bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

/// There is nothing to release.
pub(super) fn release() {}
