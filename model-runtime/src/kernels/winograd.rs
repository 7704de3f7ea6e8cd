//! 3 × 3 convolutions of stride 1 and 2 by Winograd's minimal filtering (see
//! [`transform`](super::transform)).
//!
//! The image is cut into output tiles of 4 × 4 pixels. A strip of tiles at a time is transformed to
//! planes, each plane is multiplied with its tap of the transformed weights (small matrix products,
//! on the same register tiles as the direct convolution), and the products are transformed back,
//! all within the second-level cache.

use std::cell::RefCell;

use super::Isa;
use super::conv::{Conv, Source};
use super::image::{Image, ImageMut};
use super::tile::{Planes, PlanesKernel};
use super::transform::{self, InputTransform, OutputTransform, Products};
use super::view::{Patch, Target, readable};
use crate::buffers::Scratchpad;
use crate::threads;

/// Output pixels of a tile, each way.
pub(crate) const OUTPUT: usize = 4;
/// Taps of the transformed weights, each way. Stride 2 has nine planes, of which the last four
/// share the sixth tap.
pub(crate) const TAPS: usize = 6;
/// Input pixels and planes of a tile, each way: by stride.
const SPAN: [usize; 2] = [6, 9];
/// The tap of each plane, by stride.
const TAP_OF_PLANE: [[u8; 81]; 2] = [taps(SPAN[0]), taps(SPAN[1])];
/// Floats of transformed input and products of one strip; with the weights they share a
/// second-level cache.
const STRIP_FLOATS: usize = 128 << 10;
/// Most tiles of a strip. One group of the register tile computes them all. Compared with as many
/// tiles as fit, 12 were up to a quarter faster, most of all with many channels.
const STRIP_TILES: usize = 12;
/// Keeps the planes that a transform writes side by side from falling into the same cache set.
const STAGGER: usize = 16;
/// Output channels whose products are stored at the same time.
const CHANNELS: usize = 32;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { input: Scratchpad::new(), products: Scratchpad::new(), border: Scratchpad::new() }) };
}

struct Scratch {
    input: Scratchpad,
    products: Scratchpad,
    border: Scratchpad,
}

/// Whether `conv` holds weights in the transformed domain.
pub(crate) fn applies(conv: &Conv<'_>) -> bool {
    conv.kernel == [3, 3] && conv.weight_shape[1..3] == [TAPS, TAPS]
}

/// Computes one layer. Shapes and lengths must have been checked; every source has a multiple of 16
/// channels.
pub(super) struct Layer<'a> {
    sources: &'a [Source<'a>],
    conv: &'a Conv<'a>,
    residual: Option<&'a Image<'a>>,
    out: Target<f32>,
    out_row: usize,
    out_pixel: usize,
    height: usize,
    width: usize,
    /// Input pixels and planes of a tile, each way.
    span: usize,
    tiles_per_row: usize,
    tiles: usize,
    one: &'static [PlanesKernel],
    two: &'static [PlanesKernel],
    transform_input: InputTransform,
    transform_output: OutputTransform,
}

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
            out: Target::new(out.data),
            out_row: out.row_pitch,
            out_pixel: out.pixel_pitch,
            height: out.height,
            width: out.width,
            span: SPAN[conv.stride[0] - 1],
            tiles_per_row,
            tiles: tiles_per_row * out.height.div_ceil(OUTPUT),
            one: kernels.one_planes,
            two: kernels.two_planes,
            transform_input: kernels.transform_input[conv.stride[0] - 1],
            transform_output: kernels.transform_output[conv.stride[0] - 1],
        }
    }

    pub(super) fn run(&self) {
        if self.tiles == 0 {
            return;
        }
        let in_channels = self.conv.weight_shape[3];
        let longest =
            (STRIP_FLOATS / (self.span * self.span * (in_channels + CHANNELS))).clamp(1, STRIP_TILES);
        let threads = threads::threads();
        // The same number of strips for each thread.
        let strips = self.tiles.div_ceil(longest).next_multiple_of(threads).min(self.tiles);
        threads::parallel_ranges(self.tiles, strips, &|tiles| {
            SCRATCH.with_borrow_mut(|scratch| self.strip(tiles.start, tiles.len(), scratch));
        });
    }

    fn strip(&self, first: usize, count: usize, scratch: &mut Scratch) {
        let [blocks, _, _, in_channels, _] = self.conv.weight_shape;
        let planes = self.span * self.span;
        let input_stride = count * in_channels + STAGGER;
        let product_stride = count * CHANNELS + STAGGER;
        let Scratch { input, products, border } = scratch;
        let input = input.room(planes * input_stride);
        let products = products.room(planes * product_stride);
        for i in 0..count {
            self.gather(first + i, &mut input[i * in_channels..], input_stride, border);
        }
        let step = if self.two.is_empty() { 1 } else { 2 };
        for block in (0..blocks).step_by(step) {
            let width = step.min(blocks - block);
            self.multiply(block, width, count, input, input_stride, products, product_stride);
            for i in 0..count {
                self.scatter(first + i, block, width, &products[i * CHANNELS..], product_stride);
            }
        }
    }

    /// Transforms the input of one tile.
    fn gather(&self, tile: usize, out: &mut [f32], plane: usize, border: &mut Scratchpad) {
        let [step_y, step_x] = self.conv.stride.map(|stride| stride * OUTPUT);
        let y = (tile / self.tiles_per_row * step_y) as isize - self.conv.padding[0] as isize;
        let x = (tile % self.tiles_per_row * step_x) as isize - self.conv.padding[1] as isize;
        let span = self.span;
        let mut first_channel = 0;
        for Source { image, .. } in self.sources {
            let inside =
                y >= 0 && x >= 0 && y as usize + span <= image.height && x as usize + span <= image.width;
            let (data, start, row_pitch, pixel_pitch) = if inside {
                let start = y as usize * image.row_pitch + x as usize * image.pixel_pitch;
                (image.data, start, image.row_pitch, image.pixel_pitch)
            } else {
                let border = border.room(span * span * image.channels);
                copy_with_border(border, image, y, x, span);
                (&*border, 0, span * image.channels, image.channels)
            };
            let channels = image.channels;
            let read = Patch { lines: [span, row_pitch], steps: [span, pixel_pitch], len: channels };
            let written = Patch::row(span * span, plane, channels);
            let patch = transform::Patch {
                input: readable(data, start, read),
                row_pitch,
                pixel_pitch,
                channels,
                out: Target::new(out).writable(first_channel, written),
                plane,
            };
            // SAFETY: both pointers were just checked for all channels, of which there are whole
            // vectors (`check_shapes`); the instruction set was detected.
            unsafe { (self.transform_input)(&patch) };
            first_channel += image.channels;
        }
    }

    /// The products of `count` tiles with one or two blocks of output channels.
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
        let weight_block = TAPS * TAPS * in_channels * 16;
        let taps = &TAP_OF_PLANE[self.conv.stride[0] - 1][..self.span * self.span];
        // Groups of nearly equal size.
        let (tiles, longer) = (count / columns, count % columns);
        let mut first = 0;
        for (tiles, groups) in [(tiles, columns - longer), (tiles + 1, longer)] {
            if groups == 0 {
                continue;
            }
            let together = tiles * groups;
            let (count, width) = (self.span * self.span, blocks * 16);
            let read =
                Patch { lines: [count, input_stride], steps: [together, in_channels], len: in_channels };
            let written = Patch { lines: [count, product_stride], steps: [together, CHANNELS], len: width };
            let weights = Patch::row(blocks, weight_block, weight_block);
            let planes = Planes {
                input: readable(input, first * in_channels, read),
                input_plane: input_stride,
                channels: in_channels,
                weight: readable(self.conv.weight, block * weight_block, weights),
                weight_block,
                groups,
                taps,
                out: Target::new(products).writable(first * CHANNELS, written),
                out_plane: product_stride,
                out_step: CHANNELS,
            };
            // SAFETY: all pointers were just checked for these tiles in each plane; a block has
            // weights for every tap below `TAPS`², and `taps` names no other; the instruction set
            // was detected.
            unsafe { kernels[tiles - 1](&planes) };
            first += together;
        }
    }

    /// Transforms the products of one tile back and writes its pixels.
    fn scatter(&self, tile: usize, block: usize, blocks: usize, products: &[f32], plane: usize) {
        let y = tile / self.tiles_per_row * OUTPUT;
        let x = tile % self.tiles_per_row * OUTPUT;
        let channel = block * 16;
        let (rows, columns) = (OUTPUT.min(self.height - y), OUTPUT.min(self.width - x));
        let channels = blocks * 16;
        let pixels = |row_pitch: usize, pixel_pitch: usize| Patch {
            lines: [rows, row_pitch],
            steps: [columns, pixel_pitch],
            len: channels,
        };
        let residual = self.residual.map_or(std::ptr::null(), |residual| {
            let start = y * residual.row_pitch + x * residual.pixel_pitch + channel;
            readable(residual.data, start, pixels(residual.row_pitch, residual.pixel_pitch))
        });
        let out = y * self.out_row + x * self.out_pixel + channel;
        let products = Products {
            products: readable(products, 0, Patch::row(self.span * self.span, plane, channels)),
            plane,
            channels,
            bias: &self.conv.bias[channel..channel + channels],
            silu: self.conv.silu,
            residual,
            residual_row: self.residual.map_or(0, |residual| residual.row_pitch),
            residual_pixel: self.residual.map_or(0, |residual| residual.pixel_pitch),
            out: self.out.writable(out, pixels(self.out_row, self.out_pixel)),
            out_row: self.out_row,
            out_pixel: self.out_pixel,
            rows,
            columns,
        };
        // SAFETY: all pointers were just checked for `rows` × `columns` pixels of these channels;
        // strips write disjoint tiles, and no other thread reads the output meanwhile; the
        // instruction set was detected.
        unsafe { (self.transform_output)(&products) };
    }
}

const fn taps(span: usize) -> [u8; 81] {
    let mut taps = [0; 81];
    let mut plane = 0;
    while plane < span * span {
        let (y, x) = (plane / span, plane % span);
        let (y, x) = (if y < TAPS { y } else { TAPS - 1 }, if x < TAPS { x } else { TAPS - 1 });
        taps[plane] = (y * TAPS + x) as u8;
        plane += 1;
    }
    taps
}

/// Copies the patch of `span` × `span` pixels at (y, x), zeros where it lies outside the image.
fn copy_with_border(copy: &mut [f32], image: &Image<'_>, y: isize, x: isize, span: usize) {
    for (i, pixel) in copy[..span * span * image.channels].chunks_exact_mut(image.channels).enumerate() {
        let (row, column) = (y + (i / span) as isize, x + (i % span) as isize);
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

/// A 3 × 3 kernel in the transformed domain: G · g · Gᵀ. `stride` is 1 or 2.
pub(crate) fn transform_weight(kernel: [[f64; 3]; 3], stride: usize) -> [[f64; TAPS]; TAPS] {
    const STRIDE_ONE: [[f64; 3]; TAPS] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    const STRIDE_TWO: [[f64; 3]; TAPS] = [
        [1.0 / 2.0, 0.0, 0.0],
        [-1.0 / 2.0, 0.0, -1.0 / 2.0],
        [-1.0 / 6.0, 0.0, 1.0 / 6.0],
        [1.0 / 6.0, 0.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
    ];
    let g = if stride == 1 { STRIDE_ONE } else { STRIDE_TWO };
    let rows: [[f64; 3]; TAPS] =
        std::array::from_fn(|i| std::array::from_fn(|x| (0..3).map(|y| g[i][y] * kernel[y][x]).sum()));
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|x| rows[i][x] * g[j][x]).sum()))
}
