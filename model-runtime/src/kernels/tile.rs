//! The register tile every instruction set shares: P pixels × NV vectors of output channels.
//!
//! One tile is `out[p][c] = activation(init[p][c] + Σ_k a[p][k] · w[k][c]) + residual[p][c]`; the
//! sum runs over a list of [`Run`]s, stretches of input that are contiguous for one pixel and a
//! constant step apart between pixels. Channels-last input makes a whole kernel row (`kernel width
//! × input channels`) one run.
//!
//! The accumulators are an array whose every index is a literal after macro expansion. Loops over a
//! const-generic array are unrolled only after LLVM has decided what lives in registers once
//! `#[target_feature]` is involved, and the tile spills.

/// A stretch of input that is contiguous for each pixel.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// First value of pixel 0.
    pub(crate) input: *const f32,
    /// Floats from one pixel to the next.
    pub(crate) pixel_step: usize,
    /// Values of one pixel.
    pub(crate) len: usize,
    /// Floats from the start of a weight block to this run's weights.
    pub(crate) weight_offset: usize,
}

/// What a tile kernel needs; pointers are those of the tile's first pixel and first channel block.
pub(crate) struct Tile<'a> {
    pub(crate) runs: &'a [Run],
    /// Weights of the first channel block.
    pub(crate) weight: *const f32,
    /// Floats from one block of 16 output channels to the next.
    pub(crate) weight_block: usize,
    /// Null: start from zero.
    pub(crate) bias: *const f32,
    /// Partial sums at half resolution, null if none: pixel `p` starts from `init[(p + init_phase)
    /// / 2]`.
    pub(crate) init: *const f32,
    pub(crate) init_step: usize,
    pub(crate) init_phase: usize,
    pub(crate) residual: *const f32,
    pub(crate) residual_step: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_step: usize,
    pub(crate) silu: bool,
}

/// Computes one tile. The caller guarantees that every pointer is valid: `runs` for all pixels,
/// weights for all their values, and bias, init, residual and out for whole blocks of 16 channels.
pub(crate) type TileKernel = unsafe fn(&Tile<'_>);

/// A product of matrices for each plane of Winograd's filtering: P tiles × NV vectors, nothing
/// before or after the sum.
pub(crate) struct Planes<'a> {
    /// First tile of the first plane.
    pub(crate) input: *const f32,
    /// Floats from a plane to the next.
    pub(crate) input_plane: usize,
    /// Input channels; also floats from a tile to the next.
    pub(crate) channels: usize,
    /// Weights of the first channel block and tap.
    pub(crate) weight: *const f32,
    pub(crate) weight_block: usize,
    /// Number of groups of P tiles: the weights of a plane are applied to all of them while they
    /// are in the first-level cache.
    pub(crate) groups: usize,
    /// The tap of each plane.
    pub(crate) taps: &'a [u8],
    pub(crate) out: *mut f32,
    pub(crate) out_plane: usize,
    /// Floats from a tile to the next.
    pub(crate) out_step: usize,
}

/// Computes `groups` times P tiles of all planes. The caller guarantees every pointer, as for
/// [`TileKernel`].
pub(crate) type PlanesKernel = unsafe fn(&Planes<'_>);

/// Instantiates the tile for one instruction set. `$v` is a module with the vector type `V`, its
/// `LANES` and its operations.
macro_rules! define_tile {
    ($(#[$attribute:meta])* $v:ident, pixels = $max:literal [$($p:literal)*], vectors = $n:tt) => {
        define_tile!(@function [$(#[$attribute])*] $v, $max, [$($p)*], [$($p)*], $n);
    };
    (@function [$($attribute:tt)*] $v:ident, $max:literal, [$($p:literal)*], $ps:tt, $ns:tt) => {
        /// # Safety
        /// See [`TileKernel`]; also the CPU must have the instruction set.
        // The literals make some expressions trivial: `n % 1`, `(1 + phase) / 2`.
        #[allow(clippy::modulo_one, clippy::manual_div_ceil, clippy::identity_op, clippy::erasing_op)]
        $($attribute)*
        pub(super) unsafe fn tile<const P: usize, const NV: usize>(tile: &Tile<'_>) {
            const PER_BLOCK: usize = 16 / $v::LANES;
            let mut acc = [[$v::zero(); 4]; $max];
            // SAFETY: the caller guarantees the pointers; every offset stays inside the tile that
            // they describe.
            unsafe {
                if !tile.bias.is_null() {
                    let bias = tile.bias;
                    $(if $p < P { define_tile!(@load $v, acc[$p], bias, 16, NV, $ns); })*
                }
                if !tile.init.is_null() {
                    $(if $p < P {
                        let init = tile.init.add(($p + tile.init_phase) / 2 * tile.init_step);
                        define_tile!(@add $v, acc[$p], init, NV, $ns);
                    })*
                }
                for run in tile.runs {
                    let weight = tile.weight.add(run.weight_offset);
                    let block = tile.weight_block;
                    define_tile!(@sum $v, acc, run.input, run.pixel_step, run.len, weight, block, P, NV, [$($p)*], $ns);
                }
                if tile.silu {
                    $(if $p < P { define_tile!(@silu $v, acc[$p], NV, $ns); })*
                }
                if !tile.residual.is_null() {
                    $(if $p < P {
                        let residual = tile.residual.add($p * tile.residual_step);
                        define_tile!(@add $v, acc[$p], residual, NV, $ns);
                    })*
                }
                $(if $p < P {
                    let out = tile.out.add($p * tile.out_step);
                    define_tile!(@store $v, acc[$p], out, NV, $ns);
                })*
            }
        }

        /// # Safety
        /// See [`PlanesKernel`]; also the CPU must have the instruction set.
        #[allow(clippy::modulo_one, clippy::identity_op, clippy::erasing_op)]
        $($attribute)*
        pub(super) unsafe fn planes<const P: usize, const NV: usize>(planes: &Planes<'_>) {
            const PER_BLOCK: usize = 16 / $v::LANES;
            for (plane, &tap) in planes.taps.iter().enumerate() {
                let mut input = planes.input.wrapping_add(plane * planes.input_plane);
                let mut out = planes.out.wrapping_add(plane * planes.out_plane);
                for _ in 0..planes.groups {
                    let mut acc = [[$v::zero(); 4]; $max];
                    // SAFETY: the caller guarantees the pointers of every plane and group.
                    unsafe {
                        let weight = planes.weight.add(usize::from(tap) * planes.channels * 16);
                        let block = planes.weight_block;
                        let channels = planes.channels;
                        define_tile!(@sum $v, acc, input, channels, channels, weight, block, P, NV, [$($p)*], $ns);
                        $(if $p < P {
                            let out = out.add($p * planes.out_step);
                            define_tile!(@store $v, acc[$p], out, NV, $ns);
                        })*
                    }
                    input = input.wrapping_add(P * planes.channels);
                    out = out.wrapping_add(P * planes.out_step);
                }
            }
        }
    };
    // The sum over one run: the inner loop, where nearly all time is spent.
    (@sum $v:ident, $acc:ident, $input:expr, $step:expr, $len:expr, $weight:ident, $block:ident, $P:ident, $NV:ident,
        [$($p:literal)*], $ns:tt) => {
        let step = $step;
        let mut input = $input;
        let mut weight = $weight;
        let end = input.add($len);
        while input != end {
            let mut w = [$v::zero(); 4];
            define_tile!(@load $v, w, weight, $block, $NV, $ns);
            $(if $p < $P {
                let a = $v::splat(*input.add($p * step));
                define_tile!(@fma $v, $acc[$p], a, w, $NV, $ns);
            })*
            input = input.add(1);
            weight = weight.add(16);
        }
    };
    (@load $v:ident, $into:expr, $from:ident, $block:expr, $NV:ident, [$($n:literal)*]) => {
        $(if $n < $NV {
            $into[$n] = $v::load($from.add(($n / PER_BLOCK) * $block + ($n % PER_BLOCK) * $v::LANES));
        })*
    };
    (@add $v:ident, $acc:expr, $from:ident, $NV:ident, [$($n:literal)*]) => {
        $(if $n < $NV { $acc[$n] = $v::add($acc[$n], $v::load($from.add($n * $v::LANES))); })*
    };
    (@fma $v:ident, $acc:expr, $a:ident, $w:ident, $NV:ident, [$($n:literal)*]) => {
        $(if $n < $NV { $acc[$n] = $v::fma($a, $w[$n], $acc[$n]); })*
    };
    (@silu $v:ident, $acc:expr, $NV:ident, [$($n:literal)*]) => {
        $(if $n < $NV { $acc[$n] = $v::silu($acc[$n]); })*
    };
    (@store $v:ident, $acc:expr, $out:ident, $NV:ident, [$($n:literal)*]) => {
        $(if $n < $NV { $v::store($out.add($n * $v::LANES), $acc[$n]); })*
    };
}
pub(crate) use define_tile;
