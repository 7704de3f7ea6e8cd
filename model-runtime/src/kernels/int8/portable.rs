//! Plain Rust for any CPU, and for Miri.

use super::finish::define_finish;
use super::tile::{TileKernel, define_tile};

mod v {
    use crate::kernels::int8::finish::{MAX_LEVEL, ROUND};

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
        // SAFETY: the caller's.
        unsafe { from.cast::<V>().read_unaligned() }
    }
    /// # Safety
    /// `to` is writable for eight integers.
    #[inline(always)]
    pub(super) unsafe fn store(to: *mut i32, value: V) {
        // SAFETY: the caller's.
        unsafe { to.cast::<V>().write_unaligned(value) }
    }
    /// # Safety
    /// `from` is readable for 32 bytes.
    #[inline(always)]
    pub(super) unsafe fn weights(from: *const i8) -> W {
        // SAFETY: the caller's.
        unsafe { from.cast::<W>().read_unaligned() }
    }
    /// # Safety
    /// `from` is readable for four bytes.
    #[inline(always)]
    pub(super) unsafe fn input(from: *const u8) -> [i32; 4] {
        // SAFETY: the caller's.
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

    #[inline(always)]
    pub(super) fn splat(value: f32) -> F {
        [value; LANES]
    }
    #[inline(always)]
    pub(super) fn splat_int(value: i32) -> V {
        [value; LANES]
    }
    pub(super) use load as load_int;
    /// # Safety
    /// `from` is readable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn load_float(from: *const f32) -> F {
        // SAFETY: the caller's.
        unsafe { from.cast::<F>().read_unaligned() }
    }
    /// # Safety
    /// `to` is writable for eight floats.
    #[inline(always)]
    pub(super) unsafe fn store_float(to: *mut f32, value: F) {
        // SAFETY: the caller's.
        unsafe { to.cast::<F>().write_unaligned(value) }
    }
    /// # Safety
    /// `from` is readable for eight bytes.
    #[inline(always)]
    pub(super) unsafe fn load_bytes(from: *const u8) -> V {
        // SAFETY: the caller's.
        unsafe { from.cast::<[u8; LANES]>().read_unaligned() }.map(i32::from)
    }
    /// # Safety
    /// `to` is writable for eight bytes.
    #[inline(always)]
    pub(super) unsafe fn store_bytes(to: *mut u8, value: V) {
        let bytes = value.map(|value| value.clamp(0, 255) as u8);
        // SAFETY: the caller's.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(bytes) }
    }
    #[inline(always)]
    pub(super) fn to_float(value: V) -> F {
        value.map(|value| value as f32)
    }
    /// Of levels up to `MAX_LEVEL`; what is far below all levels stays there.
    #[inline(always)]
    pub(super) fn round(value: F) -> V {
        value.map(|value| {
            let value = if value > -MAX_LEVEL { value } else { -MAX_LEVEL };
            (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
        })
    }
    #[inline(always)]
    pub(super) fn add_int(a: V, b: V) -> V {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    pub(super) fn mul(a: F, b: F) -> F {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    pub(super) fn add(a: F, b: F) -> F {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    pub(super) fn sub(a: F, b: F) -> F {
        std::array::from_fn(|i| a[i] - b[i])
    }
    /// The float whose bits are `a` less those of `b`.
    #[inline(always)]
    pub(super) fn bits_from(a: V, b: F) -> F {
        std::array::from_fn(|i| f32::from_bits((a[i] as u32).wrapping_sub(b[i].to_bits())))
    }
    #[inline(always)]
    pub(super) fn min(a: F, b: F) -> F {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    pub(super) fn max(a: F, b: F) -> F {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    /// `p` times two to the power of the integer that `rounded` is after `ROUND` was added.
    #[inline(always)]
    pub(super) fn times_power_of_two(p: F, rounded: F) -> F {
        std::array::from_fn(|i| f32::from_bits(p[i].to_bits().wrapping_add(rounded[i].to_bits() << 23)))
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
        // SAFETY: the caller's.
        unsafe { from.cast::<W>().read_unaligned() }
    }
    /// # Safety
    /// `from` is readable for four bytes.
    #[inline(always)]
    pub(super) unsafe fn input(from: *const u8) -> [i32; 2] {
        // SAFETY: the caller's.
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
define_finish!(v);

/// `ONE[p - 1]`: p pixels × 16 channels.
pub(super) static ONE: [TileKernel; 4] = [tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>];
/// The same for 16-bit input.
pub(super) static WIDE: [TileKernel; 4] =
    [wide_tile::<1, 1>, wide_tile::<2, 1>, wide_tile::<3, 1>, wide_tile::<4, 1>];

/// The larger one of every byte.
pub(super) fn largest(into: &mut [u8], other: &[u8]) {
    super::pool::largest(into, other);
}

/// Looks every byte up.
pub(super) fn look_up(table: &[u8; 256], bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}
