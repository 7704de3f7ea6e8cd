//! 3 × 3 convolutions of stride 1 by Winograd's minimal filtering: a quarter of the multiplications.
//!
//! The image is cut into output tiles of 4 × 4 pixels. A strip of tiles at a time is transformed, multiplied with the
//! transformed weights (36 small matrix products, on the same register tiles as the direct convolution) and transformed
//! back, all within the second-level cache.

use std::cell::RefCell;

use super::Isa;
use super::conv::{Conv, Source};
use super::image::{Image, ImageMut};
use super::tile::{Run, Tile, TileKernel};
use super::transform::{InputTransform, OutputTransform, Patch, Products};
use crate::threads;

/// Output pixels of a tile, each way.
pub(crate) const OUTPUT: usize = 4;
/// Input pixels of a tile, each way: output + kernel - 1.
pub(crate) const INPUT: usize = 6;
/// Products of a tile.
const TAPS: usize = INPUT * INPUT;
/// Floats of transformed input and products of one strip; with the weights they share a second-level cache.
const STRIP_FLOATS: usize = 100 << 10;
/// Keeps the 36 streams of a transform from falling into the same cache set.
const STAGGER: usize = 16;
/// Output channels whose products are held at once.
const CHANNELS: usize = 32;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { input: Vec::new(), products: Vec::new(), border: Vec::new() }) };
}

struct Scratch {
    input: Vec<f32>,
    products: Vec<f32>,
    border: Vec<f32>,
}

/// Whether `conv` holds weights in the transformed domain.
pub(crate) fn applies(conv: &Conv<'_>) -> bool {
    conv.kernel == [3, 3] && conv.weight_shape[1..3] == [INPUT, INPUT]
}

/// One layer. The caller has checked shapes and lengths; every source has a multiple of 16 channels.
pub(super) struct Layer<'a> {
    sources: &'a [Source<'a>],
    conv: &'a Conv<'a>,
    residual: Option<&'a Image<'a>>,
    out: *mut f32,
    out_row: usize,
    out_pixel: usize,
    height: usize,
    width: usize,
    tiles_per_row: usize,
    tiles: usize,
    one: &'static [TileKernel],
    two: &'static [TileKernel],
    transform_input: InputTransform,
    transform_output: OutputTransform,
}

// SAFETY: `out` is the only pointer; strips write disjoint tiles of it, and nobody reads it meanwhile.
unsafe impl Sync for Layer<'_> {}

impl<'a> Layer<'a> {
    pub(super) fn new(
        isa: Isa,
        sources: &'a [Source<'a>],
        conv: &'a Conv<'a>,
        residual: Option<&'a Image<'a>>,
        out: &'a mut ImageMut<'_>,
    ) -> Self {
        let tiles_per_row = out.width.div_ceil(OUTPUT);
        let kernels = isa.tiles();
        Self {
            sources,
            conv,
            residual,
            out: out.data.as_mut_ptr(),
            out_row: out.row_pitch,
            out_pixel: out.pixel_pitch,
            height: out.height,
            width: out.width,
            tiles_per_row,
            tiles: tiles_per_row * out.height.div_ceil(OUTPUT),
            one: kernels.one,
            two: kernels.two,
            transform_input: kernels.transform_input,
            transform_output: kernels.transform_output,
        }
    }

    pub(super) fn run(&self) {
        if self.tiles == 0 {
            return;
        }
        let in_channels = self.conv.weight_shape[3];
        let longest = (STRIP_FLOATS / (TAPS * (in_channels + CHANNELS))).max(1);
        let threads = threads::threads();
        // As many strips for each thread.
        let strips = self.tiles.div_ceil(longest).next_multiple_of(threads).min(self.tiles);
        threads::parallel_for(strips, &|strip| {
            let first = strip * self.tiles / strips;
            let end = (strip + 1) * self.tiles / strips;
            SCRATCH.with_borrow_mut(|scratch| self.strip(first, end - first, scratch));
        });
    }

    fn strip(&self, first: usize, count: usize, scratch: &mut Scratch) {
        let [blocks, _, _, in_channels, _] = self.conv.weight_shape;
        let input_stride = count * in_channels + STAGGER;
        let product_stride = count * CHANNELS + STAGGER;
        grow(&mut scratch.input, TAPS * input_stride);
        grow(&mut scratch.products, TAPS * product_stride);
        for i in 0..count {
            self.gather(first + i, &mut scratch.input[i * in_channels..], input_stride, &mut scratch.border);
        }
        let step = if self.two.is_empty() { 1 } else { 2 };
        for block in (0..blocks).step_by(step) {
            let width = step.min(blocks - block);
            self.multiply(
                block,
                width,
                count,
                &scratch.input,
                input_stride,
                &mut scratch.products,
                product_stride,
            );
            for i in 0..count {
                self.scatter(first + i, block, width, &scratch.products[i * CHANNELS..], product_stride);
            }
        }
    }

    /// Transforms the input of one tile.
    fn gather(&self, tile: usize, out: &mut [f32], tap_stride: usize, border: &mut Vec<f32>) {
        let y = (tile / self.tiles_per_row * OUTPUT) as isize - self.conv.padding[0] as isize;
        let x = (tile % self.tiles_per_row * OUTPUT) as isize - self.conv.padding[1] as isize;
        let mut first_channel = 0;
        for Source { image, .. } in self.sources {
            let inside =
                y >= 0 && x >= 0 && y as usize + INPUT <= image.height && x as usize + INPUT <= image.width;
            let (input, row_pitch, pixel_pitch) = if inside {
                let start = y as usize * image.row_pitch + x as usize * image.pixel_pitch;
                (image.data[start..].as_ptr(), image.row_pitch, image.pixel_pitch)
            } else {
                grow(border, TAPS * image.channels);
                copy_with_border(border, image, y, x);
                (border.as_ptr(), INPUT * image.channels, image.channels)
            };
            let out = &mut out[first_channel..];
            debug_assert!(out.len() >= (TAPS - 1) * tap_stride + image.channels);
            let patch = Patch {
                input,
                row_pitch,
                pixel_pitch,
                channels: image.channels,
                out: out.as_mut_ptr(),
                tap_stride,
            };
            // SAFETY: the patch lies inside the image or is a copy of its own; `strip` made room for the output.
            unsafe { (self.transform_input)(&patch) };
            first_channel += image.channels;
        }
    }

    /// The 36 products of `count` tiles with one or two blocks of output channels.
    #[allow(clippy::too_many_arguments)] // two buffers with their strides; a struct for one call would hide nothing
    fn multiply(
        &self,
        block: usize,
        blocks: usize,
        count: usize,
        input: &[f32],
        input_stride: usize,
        products: &mut [f32],
        product_stride: usize,
    ) {
        let in_channels = self.conv.weight_shape[3];
        let kernels = if blocks == 2 { self.two } else { self.one };
        let widest = kernels.len();
        let columns = count.div_ceil(widest);
        let weight_block = TAPS * in_channels * 16;
        for tap in 0..TAPS {
            for column in 0..columns {
                let first = column * count / columns;
                let pixels = (column + 1) * count / columns - first;
                let run = Run {
                    input: input[tap * input_stride + first * in_channels..].as_ptr(),
                    pixel_step: in_channels,
                    len: in_channels,
                    weight_offset: tap * in_channels * 16,
                };
                let tile = Tile {
                    runs: &[run],
                    weight: self.conv.weight[block * weight_block..].as_ptr(),
                    weight_block,
                    bias: std::ptr::null(),
                    init: std::ptr::null(),
                    init_step: 0,
                    init_phase: 0,
                    residual: std::ptr::null(),
                    residual_step: 0,
                    out: products[tap * product_stride + first * CHANNELS..].as_mut_ptr(),
                    out_step: CHANNELS,
                    silu: false,
                };
                // SAFETY: `strip` made both buffers large enough for `count` tiles; the weights were checked.
                unsafe { kernels[pixels - 1](&tile) };
            }
        }
    }

    /// Transforms the products of one tile back and writes its pixels.
    fn scatter(&self, tile: usize, block: usize, blocks: usize, products: &[f32], tap_stride: usize) {
        let y = tile / self.tiles_per_row * OUTPUT;
        let x = tile % self.tiles_per_row * OUTPUT;
        let channel = block * 16;
        let residual = self.residual.map_or(std::ptr::null(), |residual| {
            residual.data[y * residual.row_pitch + x * residual.pixel_pitch + channel..].as_ptr()
        });
        let products = Products {
            products: products.as_ptr(),
            tap_stride,
            channels: blocks * 16,
            bias: &self.conv.bias[channel..channel + blocks * 16],
            silu: self.conv.silu,
            residual,
            residual_row: self.residual.map_or(0, |residual| residual.row_pitch),
            residual_pixel: self.residual.map_or(0, |residual| residual.pixel_pitch),
            // SAFETY: the output's length was checked, and the tile's first pixel lies inside.
            out: unsafe { self.out.add(y * self.out_row + x * self.out_pixel + channel) },
            out_row: self.out_row,
            out_pixel: self.out_pixel,
            rows: OUTPUT.min(self.height - y),
            columns: OUTPUT.min(self.width - x),
        };
        // SAFETY: `multiply` wrote all products; `rows` × `columns` pixels lie inside the image.
        unsafe { (self.transform_output)(&products) };
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

/// Copies the 6 × 6 patch at (y, x), zeros where it lies outside the image.
fn copy_with_border(copy: &mut [f32], image: &Image<'_>, y: isize, x: isize) {
    for (i, pixel) in copy[..TAPS * image.channels].chunks_exact_mut(image.channels).enumerate() {
        let (row, column) = (y + (i / INPUT) as isize, x + (i % INPUT) as isize);
        let inside =
            row >= 0 && column >= 0 && (row as usize) < image.height && (column as usize) < image.width;
        if inside {
            let start = row as usize * image.row_pitch + column as usize * image.pixel_pitch;
            pixel.copy_from_slice(&image.data[start..][..image.channels]);
        } else {
            pixel.fill(0.0);
        }
    }
}

/// A 3 × 3 kernel in the transformed domain: G · g · Gᵀ.
pub(crate) fn transform_weight(kernel: [[f64; 3]; 3]) -> [[f64; INPUT]; INPUT] {
    const G: [[f64; 3]; INPUT] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let rows: [[f64; 3]; INPUT] =
        std::array::from_fn(|i| std::array::from_fn(|x| (0..3).map(|y| G[i][y] * kernel[y][x]).sum()));
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|x| rows[i][x] * G[j][x]).sum()))
}
