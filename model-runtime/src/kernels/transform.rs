//! The transforms of Winograd's minimal filtering F(4×4, 3×3), for every instruction set.
//!
//! Interpolation points 0, ±1, ±2, ∞ (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): 36 products
//! where the definition takes 144. Each transform is a 1-D one down the columns and then along the rows.

/// Writes the 6 × 6 transformed values of a 6 × 6 patch for all channels; value t goes to `out + t * tap_stride`.
///
/// The caller vouches that the patch is readable and the output writable for `channels` (a multiple of 16).
pub(crate) type InputTransform = unsafe fn(&Patch);

/// A 6 × 6 patch of the input and where its transform goes.
pub(crate) struct Patch {
    pub(crate) input: *const f32,
    pub(crate) row_pitch: usize,
    pub(crate) pixel_pitch: usize,
    pub(crate) channels: usize,
    pub(crate) out: *mut f32,
    pub(crate) tap_stride: usize,
}

/// Makes up to 4 × 4 pixels of 36 products; adds the bias, applies SiLU, adds the residual.
///
/// The caller vouches for all pointers, for `channels` (a multiple of 16) and `rows` × `columns` pixels.
pub(crate) type OutputTransform = unsafe fn(&Products<'_>);

/// The 36 products of one output tile and where its pixels go.
pub(crate) struct Products<'a> {
    pub(crate) products: *const f32,
    pub(crate) tap_stride: usize,
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

/// Instantiates both transforms for one instruction set; `$v` as for [`define_tile`](super::tile::define_tile).
macro_rules! define_transforms {
    ($(#[$attribute:meta])* $v:ident) => {
        /// # Safety
        /// See [`InputTransform`](super::transform::InputTransform); also the CPU must have the instruction set.
        $(#[$attribute])*
        pub(super) unsafe fn transform_input(patch: &super::transform::Patch) {
            let mut channel = 0;
            while channel < patch.channels {
                let mut rows = [[$v::zero(); 6]; 6];
                define_transforms!(@columns [0 1 2 3 4 5] {
                    |X| {
                        // SAFETY: the caller vouches for the patch.
                        let d = unsafe {
                            let column = patch.input.add(X * patch.pixel_pitch + channel);
                            let row = patch.row_pitch;
                            [
                                $v::load(column), $v::load(column.add(row)), $v::load(column.add(2 * row)),
                                $v::load(column.add(3 * row)), $v::load(column.add(4 * row)), $v::load(column.add(5 * row)),
                            ]
                        };
                        let t = define_transforms!(@input $v, d);
                        rows[0][X] = t[0];
                        rows[1][X] = t[1];
                        rows[2][X] = t[2];
                        rows[3][X] = t[3];
                        rows[4][X] = t[4];
                        rows[5][X] = t[5];
                    }
                });
                define_transforms!(@columns [0 1 2 3 4 5] {
                    |Y| {
                        let d = rows[Y];
                        let t = define_transforms!(@input $v, d);
                        // SAFETY: the caller vouches for the output.
                        unsafe {
                            let out = patch.out.add(Y * 6 * patch.tap_stride + channel);
                            $v::store(out, t[0]);
                            $v::store(out.add(patch.tap_stride), t[1]);
                            $v::store(out.add(2 * patch.tap_stride), t[2]);
                            $v::store(out.add(3 * patch.tap_stride), t[3]);
                            $v::store(out.add(4 * patch.tap_stride), t[4]);
                            $v::store(out.add(5 * patch.tap_stride), t[5]);
                        }
                    }
                });
                channel += $v::LANES;
            }
        }

        /// # Safety
        /// See [`OutputTransform`](super::transform::OutputTransform); also the CPU must have the instruction set.
        $(#[$attribute])*
        pub(super) unsafe fn transform_output(tile: &super::transform::Products<'_>) {
            let mut channel = 0;
            while channel < tile.channels {
                // SAFETY: the bias has a value for each channel.
                let bias = unsafe { $v::load(tile.bias.as_ptr().add(channel)) };
                let mut rows = [[$v::zero(); 6]; 4];
                define_transforms!(@columns [0 1 2 3 4 5] {
                    |X| {
                        // SAFETY: the caller vouches for the products.
                        let m = unsafe {
                            let column = tile.products.add(X * tile.tap_stride + channel);
                            let row = 6 * tile.tap_stride;
                            [
                                $v::load(column), $v::load(column.add(row)), $v::load(column.add(2 * row)),
                                $v::load(column.add(3 * row)), $v::load(column.add(4 * row)), $v::load(column.add(5 * row)),
                            ]
                        };
                        let t = define_transforms!(@output $v, m);
                        rows[0][X] = t[0];
                        rows[1][X] = t[1];
                        rows[2][X] = t[2];
                        rows[3][X] = t[3];
                    }
                });
                define_transforms!(@columns [0 1 2 3] {
                    |Y| {
                        if Y < tile.rows {
                            let m = rows[Y];
                            let t = define_transforms!(@output $v, m);
                            let mut t = [
                                $v::add(t[0], bias), $v::add(t[1], bias), $v::add(t[2], bias), $v::add(t[3], bias),
                            ];
                            if tile.silu {
                                t = [$v::silu(t[0]), $v::silu(t[1]), $v::silu(t[2]), $v::silu(t[3])];
                            }
                            define_transforms!(@columns [0 1 2 3] {
                                |X| {
                                    if X < tile.columns {
                                        // SAFETY: the caller vouches for `rows` × `columns` pixels.
                                        unsafe {
                                            let mut value = t[X];
                                            if !tile.residual.is_null() {
                                                let at = Y * tile.residual_row + X * tile.residual_pixel + channel;
                                                value = $v::add(value, $v::load(tile.residual.add(at)));
                                            }
                                            $v::store(tile.out.add(Y * tile.out_row + X * tile.out_pixel + channel), value);
                                        }
                                    }
                                }
                            });
                        }
                    }
                });
                channel += $v::LANES;
            }
        }
    };
    // Unrolls: the body once for each literal, so that every array index is a constant.
    (@columns [$($n:literal)*] { |$name:ident| $body:block }) => {
        $({ const $name: usize = $n; $body })*
    };
    (@input $v:ident, $d:ident) => {{
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
    (@output $v:ident, $m:ident) => {{
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
}
pub(crate) use define_transforms;
