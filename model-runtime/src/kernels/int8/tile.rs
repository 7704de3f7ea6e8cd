//! The register tile of integer sums: P pixels × NB blocks of 16 output channels, over a list of
//! runs.
//!
//! As in the float [`tile`](crate::kernels::tile), the accumulators are an array whose every index
//! is a literal after macro expansion, so that they live in registers. The sums are stored
//! unchanged; [`finish`](super::finish) converts them.

/// A stretch of input that is contiguous for each pixel, in groups of four bytes (or two 16-bit
/// integers).
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// First group of pixel 0.
    pub(crate) input: *const u8,
    /// Bytes from one pixel to the next.
    pub(crate) pixel_step: usize,
    /// Groups of one pixel.
    pub(crate) groups: usize,
    /// Bytes from the start of a block of weights to this run's.
    pub(crate) weight_offset: usize,
}

/// What a tile kernel needs; pointers are those of the tile's first pixel and first block.
pub(crate) struct Tile<'a> {
    pub(crate) runs: &'a [Run],
    pub(crate) weight: *const i8,
    /// Bytes from one block of 16 output channels to the next.
    pub(crate) weight_block: usize,
    /// The initial values: pixel `p` starts from those at `init[(p + init_phase) / 2 * init_step]`.
    /// With a step of zero all pixels start from the same ones.
    pub(crate) init: *const i32,
    pub(crate) init_step: usize,
    pub(crate) init_phase: usize,
    pub(crate) out: *mut i32,
    /// Integers from one pixel to the next.
    pub(crate) out_step: usize,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX reads it"))]
    pub(crate) pixels: usize,
    /// Where the second half of the pixels are those of another row: bytes from the input of the
    /// first half to theirs, for every run. Zero where all pixels are one row. Only for kernels
    /// that have lines.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX reads it"))]
    pub(crate) below: usize,
    /// A number of groups that divides those of every run, at most 16.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX reads it"))]
    pub(crate) step: usize,
}

/// Computes one tile. The caller guarantees that every pointer is valid: runs for all pixels,
/// weights for all their groups, `init` and `out` for whole blocks of 16 channels.
pub(crate) type TileKernel = unsafe fn(&Tile<'_>);

/// Pixels of the widest tile: AMX's. Of AVX-512's 32 registers 14 × 32 channels fill 28.
pub(crate) const WIDEST: usize = 32;

/// Instantiates the tile for one instruction set. `$v` is a module with a vector of `LANES`
/// integers and its operations: `load`, `store`, `weights` (a vector of groups, prepared), `input`
/// (a group, broadcast and prepared) and `dot`. With `lacking` at the end, `$v::lacking` sums what
/// is the same for all pixels, and `$v::whole` puts the two together.
macro_rules! define_tile {
    (
        $(#[$attribute:meta])* $name:ident, $v:ident,
        pixels = $max:literal [$($p:literal)*], vectors = $n:tt $(, $lacking:ident)?
    ) => {
        define_tile!(@function [$(#[$attribute])*] $name, $v, $max, [$($p)*], $n, [$($lacking)?]);
    };
    (
        @function [$($attribute:tt)*] $name:ident, $v:ident,
        $max:literal, [$($p:literal)*], $ns:tt, $lacking:tt
    ) => {
        /// # Safety
        /// See [`TileKernel`](super::tile::TileKernel); also the CPU must have the instruction set.
        // The literals make some expressions trivial.
        #[allow(clippy::modulo_one, clippy::manual_div_ceil, clippy::identity_op, clippy::erasing_op)]
        $($attribute)*
        pub(super) unsafe fn $name<const P: usize, const NB: usize>(tile: &super::tile::Tile<'_>) {
            const PER_BLOCK: usize = super::BLOCK / $v::LANES;
            const { assert!(P <= $max) };
            let mut acc = [[$v::zero(); 4]; $max];
            define_tile!(@none $v, less, $lacking);
            // SAFETY: the caller guarantees the pointers; every offset stays inside the tile that
            // they describe.
            unsafe {
                $(if $p < P {
                    let init = tile.init.add(($p + tile.init_phase) / 2 * tile.init_step);
                    define_tile!(@load $v, acc[$p], init, NB, $ns);
                })*
                for run in tile.runs {
                    let mut weight = tile.weight.add(run.weight_offset);
                    let step = run.pixel_step;
                    let mut input = run.input;
                    for _ in 0..run.groups {
                        let mut w = [$v::no_weights(); 4];
                        define_tile!(@weights $v, w, weight, tile.weight_block, NB, $ns);
                        define_tile!(@lacking $v, less, w, NB, $ns, $lacking);
                        $(if $p < P {
                            let a = $v::input(input.add($p * step));
                            define_tile!(@dot $v, acc[$p], a, w, NB, $ns);
                        })*
                        input = input.add(super::GROUP);
                        weight = weight.add(super::BLOCK * super::GROUP);
                    }
                }
                $(if $p < P {
                    let out = tile.out.add($p * tile.out_step);
                    define_tile!(@whole $v, acc[$p], less, NB, $ns, $lacking);
                    define_tile!(@store $v, acc[$p], out, NB, $ns);
                })*
            }
        }
    };
    (@none $v:ident, $less:ident, []) => {};
    (@none $v:ident, $less:ident, [lacking]) => { let mut $less = [$v::zero(); 4]; };
    (@lacking $v:ident, $less:ident, $w:ident, $NB:ident, $ns:tt, []) => {};
    (@lacking $v:ident, $less:ident, $w:ident, $NB:ident, [$($n:literal)*], [lacking]) => {
        $(if $n < $NB * PER_BLOCK { $less[$n] = $v::lacking($less[$n], $w[$n]); })*
    };
    (@whole $v:ident, $acc:expr, $less:ident, $NB:ident, $ns:tt, []) => {};
    (@whole $v:ident, $acc:expr, $less:ident, $NB:ident, [$($n:literal)*], [lacking]) => {
        $(if $n < $NB * PER_BLOCK { $acc[$n] = $v::whole($acc[$n], $less[$n]); })*
    };
    (@load $v:ident, $into:expr, $from:ident, $NB:ident, [$($n:literal)*]) => {
        $(if $n < $NB * PER_BLOCK { $into[$n] = $v::load($from.add($n * $v::LANES)); })*
    };
    (@weights $v:ident, $into:expr, $from:ident, $block:expr, $NB:ident, [$($n:literal)*]) => {
        $(if $n < $NB * PER_BLOCK {
            let at = ($n / PER_BLOCK) * $block + ($n % PER_BLOCK) * $v::LANES * super::GROUP;
            $into[$n] = $v::weights($from.add(at));
        })*
    };
    (@dot $v:ident, $acc:expr, $a:ident, $w:ident, $NB:ident, [$($n:literal)*]) => {
        $(if $n < $NB * PER_BLOCK { $acc[$n] = $v::dot($acc[$n], $a, $w[$n]); })*
    };
    (@store $v:ident, $acc:expr, $out:ident, $NB:ident, [$($n:literal)*]) => {
        $(if $n < $NB * PER_BLOCK { $v::store($out.add($n * $v::LANES), $acc[$n]); })*
    };
}
pub(crate) use define_tile;
