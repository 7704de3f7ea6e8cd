//! The transforms of Winograd's minimal filtering for 3 × 3 kernels, for every instruction set.
//!
//! Stride 1 is F(4×4, 3×3) with interpolation points 0, ±1, ±2, ∞ (Lavin and Gray, "Fast Algorithms
//! for Convolutional Neural Networks", 2015): 36 products where the definition takes 144. For
//! stride 2 the input splits into two phases along each axis. Four outputs take a two-tap filter,
//! the outer taps, on five samples of one phase, which is F(4, 2) with points 0, ±1, 2, ∞; and the
//! middle tap on four samples of the other, which pass as they are: 81 products where the
//! definition takes 144. Each transform is a 1-D one down the columns and then along the rows.

/// Writes the transformed values of a patch for all channels; value (y, x) goes to plane `y *
/// span + x` of `out`.
///
/// The caller guarantees that the patch is readable and the planes writable for `channels` (a
/// multiple of 16).
pub(crate) type InputTransform = unsafe fn(&Patch);

/// A patch of the input, and the destination of its transform.
pub(crate) struct Patch {
    pub(crate) input: *const f32,
    pub(crate) row_pitch: usize,
    pub(crate) pixel_pitch: usize,
    pub(crate) channels: usize,
    pub(crate) out: *mut f32,
    pub(crate) plane: usize,
}

/// Makes up to 4 × 4 pixels of the products; adds the bias, applies SiLU, adds the residual.
///
/// The caller guarantees that all pointers are valid for `channels` (a multiple of 16) and `rows` ×
/// `columns` pixels.
pub(crate) type OutputTransform = unsafe fn(&Products<'_>);

/// The products of one output tile, and the destination of its pixels.
pub(crate) struct Products<'a> {
    pub(crate) products: *const f32,
    pub(crate) plane: usize,
    pub(crate) channels: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) silu: bool,
    /// Null if there is none.
    pub(crate) residual: *const f32,
    pub(crate) residual_row: usize,
    pub(crate) residual_pixel: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_row: usize,
    pub(crate) out_pixel: usize,
    /// Pixels inside the image, 1 to 4.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Instantiates the transforms for one instruction set; `$v` as for
/// [`define_tile`](super::tile::define_tile).
macro_rules! define_transforms {
    ($(#[$attribute:meta])* $v:ident) => {
        define_transforms!(@pair [$(#[$attribute])*] $v, 6, [0 1 2 3 4 5],
            transform_input, input_stride_one, transform_output, output_stride_one);
        define_transforms!(@pair [$(#[$attribute])*] $v, 9, [0 1 2 3 4 5 6 7 8],
            transform_input_two, input_stride_two, transform_output_two, output_stride_two);
    };
    (@pair [$($attribute:tt)*] $v:ident, $span:literal, $all:tt,
        $input:ident, $input_line:ident, $output:ident, $output_line:ident) => {
        /// # Safety
        /// See [`InputTransform`](super::transform::InputTransform); also the CPU must have the
        /// instruction set.
        $($attribute)*
        pub(super) unsafe fn $input(patch: &super::transform::Patch) {
            let mut channel = 0;
            while channel < patch.channels {
                let mut lines = [[$v::zero(); $span]; $span];
                define_transforms!(@each X $all {
                    let mut line = [$v::zero(); $span];
                    define_transforms!(@each Y $all {
                        // SAFETY: the caller guarantees the patch.
                        line[Y] = unsafe {
                            $v::load(patch.input.add(Y * patch.row_pitch + X * patch.pixel_pitch + channel))
                        };
                    });
                    let line = define_transforms!(@$input_line $v, line);
                    define_transforms!(@each Y $all { lines[Y][X] = line[Y]; });
                });
                define_transforms!(@each Y $all {
                    let line = lines[Y];
                    let line = define_transforms!(@$input_line $v, line);
                    define_transforms!(@each X $all {
                        // SAFETY: the caller guarantees the planes.
                        unsafe { $v::store(patch.out.add((Y * $span + X) * patch.plane + channel), line[X]) };
                    });
                });
                channel += $v::LANES;
            }
        }

        /// # Safety
        /// See [`OutputTransform`](super::transform::OutputTransform); also the CPU must have the
        /// instruction set.
        $($attribute)*
        pub(super) unsafe fn $output(tile: &super::transform::Products<'_>) {
            let mut channel = 0;
            while channel < tile.channels {
                // SAFETY: the bias has a value for each channel.
                let bias = unsafe { $v::load(tile.bias.as_ptr().add(channel)) };
                let mut lines = [[$v::zero(); $span]; 4];
                define_transforms!(@each X $all {
                    let mut line = [$v::zero(); $span];
                    define_transforms!(@each Y $all {
                        // SAFETY: the caller guarantees the products.
                        line[Y] = unsafe { $v::load(tile.products.add((Y * $span + X) * tile.plane + channel)) };
                    });
                    let line = define_transforms!(@$output_line $v, line);
                    define_transforms!(@each Y [0 1 2 3] { lines[Y][X] = line[Y]; });
                });
                define_transforms!(@each Y [0 1 2 3] {
                    if Y < tile.rows {
                        let line = lines[Y];
                        let mut line = define_transforms!(@$output_line $v, line);
                        define_transforms!(@each X [0 1 2 3] { line[X] = $v::add(line[X], bias); });
                        if tile.silu {
                            define_transforms!(@each X [0 1 2 3] { line[X] = $v::silu(line[X]); });
                        }
                        define_transforms!(@each X [0 1 2 3] {
                            if X < tile.columns {
                                // SAFETY: the caller guarantees `rows` × `columns` pixels.
                                unsafe {
                                    if !tile.residual.is_null() {
                                        let at = Y * tile.residual_row + X * tile.residual_pixel + channel;
                                        line[X] = $v::add(line[X], $v::load(tile.residual.add(at)));
                                    }
                                    $v::store(tile.out.add(Y * tile.out_row + X * tile.out_pixel + channel), line[X]);
                                }
                            }
                        });
                    }
                });
                channel += $v::LANES;
            }
        }
    };
    // Unrolls: the body once for each literal, so that every array index is a constant.
    (@each $name:ident [$($n:literal)*] $body:block) => {
        $({ const $name: usize = $n; $body })*
    };
    (@input_stride_one $v:ident, $d:ident) => {{
        let even = $v::fma($d[2], $v::splat(-4.0), $d[4]);
        let odd = $v::fma($d[1], $v::splat(-4.0), $d[3]);
        let even_two = $v::sub($d[4], $d[2]);
        let odd_two = $v::sub($d[3], $d[1]);
        [
            $v::fma($d[0], $v::splat(4.0), $v::fma($d[2], $v::splat(-5.0), $d[4])),
            $v::add(even, odd),
            $v::sub(even, odd),
            $v::fma(odd_two, $v::splat(2.0), even_two),
            $v::fma(odd_two, $v::splat(-2.0), even_two),
            $v::fma($d[1], $v::splat(4.0), $v::fma($d[3], $v::splat(-5.0), $d[5])),
        ]
    }};
    (@output_stride_one $v:ident, $m:ident) => {{
        let sum_one = $v::add($m[1], $m[2]);
        let difference_one = $v::sub($m[1], $m[2]);
        let sum_two = $v::add($m[3], $m[4]);
        let difference_two = $v::sub($m[3], $m[4]);
        [
            $v::add($v::add($m[0], sum_one), sum_two),
            $v::fma(difference_two, $v::splat(2.0), difference_one),
            $v::fma(sum_two, $v::splat(4.0), sum_one),
            $v::add($v::fma(difference_two, $v::splat(8.0), difference_one), $m[5]),
        ]
    }};
    // Samples 0, 2, 4, 6, 8 are multiplied by the outer taps, 1, 3, 5, 7 by the middle one.
    (@input_stride_two $v:ident, $d:ident) => {{
        let last = $v::sub($d[6], $d[2]);
        [
            $v::fma($v::sub($d[0], $d[4]), $v::splat(2.0), last),
            $v::fma($d[2], $v::splat(-2.0), $v::sub($d[6], $d[4])),
            $v::fma($d[2], $v::splat(2.0), $v::fma($d[4], $v::splat(-3.0), $d[6])),
            last,
            $v::fma(last, $v::splat(-2.0), $v::sub($d[8], $d[4])),
            $d[1],
            $d[3],
            $d[5],
            $d[7],
        ]
    }};
    (@output_stride_two $v:ident, $m:ident) => {{
        let sum = $v::add($m[1], $m[2]);
        let difference = $v::sub($m[1], $m[2]);
        [
            $v::add($v::add($m[0], $m[5]), $v::add(sum, $m[3])),
            $v::add($v::fma($m[3], $v::splat(2.0), difference), $m[6]),
            $v::add($v::fma($m[3], $v::splat(4.0), sum), $m[7]),
            $v::add($v::fma($m[3], $v::splat(8.0), difference), $v::add($m[4], $m[8])),
        ]
    }};
}
pub(crate) use define_transforms;
