//! Direct convolution: splits a layer into register tiles, handles borders, and distributes the
//! tiles over threads.

use std::cell::RefCell;
use std::ops::Range;

use super::Isa;
use super::conv::{Conv, MAX_SOURCES, Source};
use super::image::{Image, ImageMut};
use super::tile::{Run, Tile, TileKernel};
use super::view::{Patch, Target, readable};
use crate::buffers::Buffer;
use crate::threads::{self, CHUNKS_PER_THREAD};

/// Larger weights don't stay in a core's second-level cache beside the activations, so each block
/// of them is applied to the whole image before the next. Half of the smallest such cache in
/// current servers (512 KB).
const RESIDENT_WEIGHT_BYTES: usize = 256 << 10;

/// A source and the position of its channels in the weights.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    image: Image<'a>,
    first_channel: usize,
}

/// Up to [`MAX_SOURCES`] of them, without an allocation.
pub(super) struct PlacedList<'a> {
    items: [Option<Placed<'a>>; MAX_SOURCES],
}

impl<'a> Placed<'a> {
    /// The sources that are, or are not, upsampled.
    pub(super) fn select(sources: &[Source<'a>], upsampled: bool) -> PlacedList<'a> {
        let mut items = [None; MAX_SOURCES];
        let mut first_channel = 0;
        for (item, source) in items.iter_mut().zip(sources) {
            if source.upsampled == upsampled {
                *item = Some(Placed { image: source.image, first_channel });
            }
            first_channel += source.image.channels;
        }
        PlacedList { items }
    }
}

impl<'a> PlacedList<'a> {
    fn iter(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.items.iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { runs: Vec::new(), border: Vec::new() }) };
}

/// Scratch memory for the input of a tile, reused from tile to tile.
struct Scratch {
    runs: Vec<Run>,
    /// Copies of input at the image's border, with the padding written out.
    border: Vec<f32>,
}

/// A convolution cut into tiles: `height × tiles_per_row` of pixels, times `groups` of one or two
/// channel blocks.
pub(super) struct Layer<'a> {
    sources: &'a PlacedList<'a>,
    conv: &'a Conv<'a>,
    residual: Option<&'a Image<'a>>,
    init: Option<&'a Image<'a>>,
    out: Target<f32>,
    out_row: usize,
    out_pixel: usize,
    height: usize,
    /// Whether the rows of a 1 × 1 convolution are joined into one long row.
    joined: bool,
    one: &'static [TileKernel],
    two: &'static [TileKernel],
    tiles_per_row: usize,
    /// Pixels of a tile; the first `wider_tiles` of a row have one more.
    tile_width: usize,
    wider_tiles: usize,
    groups: usize,
}

impl<'a> Layer<'a> {
    /// `convolve::check` must have passed.
    pub(super) fn new(
        isa: Isa,
        sources: &'a PlacedList<'a>,
        conv: &'a Conv<'a>,
        residual: Option<&'a Image<'a>>,
        init: Option<&'a Image<'a>>,
        out: &'a mut ImageMut<'_>,
    ) -> Self {
        let tiles = isa.tiles();
        let blocks = conv.weight_shape[0];
        let two = if blocks > 1 { tiles.two } else { &[] };
        let widest = if two.is_empty() { tiles.one.len() } else { two.len() };
        // A 1 × 1 convolution does not depend on where rows end, and one long row has no short
        // tiles.
        let joined = conv.kernel == [1, 1]
            && conv.stride == [1, 1]
            && conv.padding == [0, 0]
            && init.is_none()
            && sources.iter().all(|source| source.image.rows_are_joined())
            && residual.is_none_or(Image::rows_are_joined)
            && (out.height <= 1 || out.row_pitch == out.width * out.pixel_pitch);
        let (height, width) = if joined { (1, out.height * out.width) } else { (out.height, out.width) };
        let tiles_per_row = width.div_ceil(widest);
        Self {
            sources,
            conv,
            residual,
            init,
            out: Target::new(out.data),
            out_row: out.row_pitch,
            out_pixel: out.pixel_pitch,
            height: if width == 0 { 0 } else { height },
            joined,
            one: tiles.one,
            two,
            tiles_per_row,
            tile_width: width.checked_div(tiles_per_row).unwrap_or(0),
            wider_tiles: width.checked_rem(tiles_per_row).unwrap_or(0),
            groups: if two.is_empty() { blocks } else { blocks.div_ceil(2) },
        }
    }

    pub(super) fn run(&self) {
        let tiles = self.height * self.tiles_per_row;
        if tiles == 0 {
            return;
        }
        let chunks = threads::threads() * CHUNKS_PER_THREAD;
        let outgrows_cache = size_of_val(self.conv.weight) > RESIDENT_WEIGHT_BYTES;
        if chunks == CHUNKS_PER_THREAD {
            self.chunk(0..tiles, 0..self.groups, outgrows_cache);
        } else if outgrows_cache && self.groups * 2 >= chunks {
            threads::parallel_for(self.groups, &|group| self.chunk(0..tiles, group..group + 1, true));
        } else {
            threads::parallel_ranges(tiles, chunks.min(tiles), &|range| {
                self.chunk(range, 0..self.groups, outgrows_cache);
            });
        }
    }

    fn chunk(&self, tiles: Range<usize>, groups: Range<usize>, groups_first: bool) {
        SCRATCH.with_borrow_mut(|scratch| {
            if groups_first {
                groups.for_each(|group| self.tiles(tiles.clone(), group..group + 1, scratch));
            } else {
                self.tiles(tiles, groups, scratch);
            }
        });
    }

    /// Some tiles, row by row, for some groups of output channels.
    fn tiles(&self, tiles: Range<usize>, groups: Range<usize>, scratch: &mut Scratch) {
        let (mut y, mut column) = (tiles.start / self.tiles_per_row, tiles.start % self.tiles_per_row);
        for _ in tiles {
            // Tiles of nearly equal width: otherwise the last one could be so narrow that it leaves
            // most registers unused.
            let first = column * self.tile_width + column.min(self.wider_tiles);
            let pixels = self.tile_width + usize::from(column < self.wider_tiles);
            self.tile(y, first, pixels, groups.clone(), scratch);
            column += 1;
            if column == self.tiles_per_row {
                (y, column) = (y + 1, 0);
            }
        }
    }

    /// `pixels` pixels from (y, first) on, for some groups of output channels.
    fn tile(&self, y: usize, first: usize, pixels: usize, groups: Range<usize>, scratch: &mut Scratch) {
        self.collect_runs(scratch, y, first, pixels);
        let [blocks, kernel_height, kernel_width, in_channels, _] = self.conv.weight_shape;
        let weight_block = kernel_height * kernel_width * in_channels * 16;
        let mut tile = Tile {
            runs: &scratch.runs,
            weight: std::ptr::null(),
            weight_block,
            bias: std::ptr::null(),
            init: std::ptr::null(),
            init_step: self.init.map_or(0, |init| init.pixel_pitch),
            init_phase: first % 2,
            residual: std::ptr::null(),
            residual_step: self.residual.map_or(0, |residual| residual.pixel_pitch),
            out: std::ptr::null_mut(),
            out_step: self.out_pixel,
            silu: self.conv.silu,
        };
        for group in groups {
            let (block, pair) =
                if self.two.is_empty() { (group, false) } else { (group * 2, group * 2 + 1 < blocks) };
            let (kernel, wide) = if pair { (self.two[pixels - 1], 2) } else { (self.one[pixels - 1], 1) };
            let (channel, channels) = (block * 16, wide * 16);
            let weights = Patch::row(wide, weight_block, weight_block);
            tile.weight = readable(self.conv.weight, block * weight_block, weights);
            if !self.conv.bias.is_empty() {
                tile.bias = readable(self.conv.bias, channel, Patch::row(1, 0, channels));
            }
            if let Some(&Image { data, row_pitch, pixel_pitch, .. }) = self.init {
                let coarse = Patch::row((pixels - 1 + tile.init_phase) / 2 + 1, pixel_pitch, channels);
                tile.init = readable(data, y / 2 * row_pitch + first / 2 * pixel_pitch + channel, coarse);
            }
            if let Some(&Image { data, row_pitch, pixel_pitch, .. }) = self.residual {
                let patch = Patch::row(pixels, pixel_pitch, channels);
                tile.residual = readable(data, y * row_pitch + first * pixel_pitch + channel, patch);
            }
            let patch = Patch::row(pixels, self.out_pixel, channels);
            tile.out = self.out.writable(y * self.out_row + first * self.out_pixel + channel, patch);
            // SAFETY: every pointer was just checked for all that this kernel touches, those of the
            // runs in `collect_runs`; tiles write disjoint pixels and channels, and no other thread
            // reads the output meanwhile; the instruction set was detected.
            unsafe { kernel(&tile) };
        }
    }

    /// Lists the input of a tile; rows outside the image are skipped, columns outside it come from
    /// a zero-padded copy.
    fn collect_runs(&self, scratch: &mut Scratch, y: usize, x: usize, pixels: usize) {
        let Scratch { runs, border } = scratch;
        runs.clear();
        let [_, kernel_height, kernel_width, in_channels, _] = self.conv.weight_shape;
        let ([stride_y, stride_x], [pad_y, pad_x]) = (self.conv.stride, self.conv.padding);
        let columns = (pixels - 1) * stride_x + kernel_width;
        let left = (x * stride_x) as isize - pad_x as isize;
        let alone = self.sources.iter().nth(1).is_none();
        let rows = |height: usize| {
            let top = (y * stride_y) as isize - pad_y as isize;
            let first = (-top).clamp(0, kernel_height as isize) as usize;
            let end = (height as isize - top).clamp(first as isize, kernel_height as isize) as usize;
            (first..end).map(move |tap| (tap, (top + tap as isize) as usize))
        };
        // One allocation before any pointer into it is taken.
        let size = kernel_height * columns * in_channels;
        if border.len() < size && pad_x > 0 {
            border.resize(size, 0.0);
        }
        let mut rest = &mut border[..];
        for Placed { image, first_channel } in self.sources.iter() {
            let width = if self.joined { image.height * image.width } else { image.width };
            let outside = left < 0 || left as usize + columns > width;
            for (tap_y, row) in rows(image.height) {
                let row = &image.data[row * image.row_pitch..];
                let (data, start, pitch) = if outside {
                    let (copy, remainder) = std::mem::take(&mut rest).split_at_mut(columns * image.channels);
                    rest = remainder;
                    copy_with_border(copy, row, image, left);
                    (&*copy, 0, image.channels)
                } else {
                    (row, left as usize * image.pixel_pitch, image.pixel_pitch)
                };
                // Without gaps between pixels, the taps of a kernel row are one run.
                let (taps, len) = if alone && pitch == image.channels {
                    (1, kernel_width * pitch)
                } else {
                    (kernel_width, image.channels)
                };
                for tap_x in 0..taps {
                    let weight_offset = ((tap_y * kernel_width + tap_x) * in_channels + first_channel) * 16;
                    assert!(
                        weight_offset + len * 16 <= kernel_height * kernel_width * in_channels * 16,
                        "a run has weights of its block"
                    );
                    let pixel_step = stride_x * pitch;
                    let input = readable(data, start + tap_x * pitch, Patch::row(pixels, pixel_step, len));
                    runs.push(Run { input, pixel_step, len, weight_offset });
                }
            }
        }
    }
}

/// Copies pixels `left..` of a row, those outside the image as zeros.
fn copy_with_border(copy: &mut [f32], row: &[f32], image: &Image<'_>, left: isize) {
    let columns = copy.len() / image.channels;
    let before = (-left).clamp(0, columns as isize) as usize;
    let end = (image.width as isize - left).clamp(before as isize, columns as isize) as usize;
    let (head, rest) = copy.split_at_mut(before * image.channels);
    let (inside, tail) = rest.split_at_mut((end - before) * image.channels);
    head.fill(0.0);
    tail.fill(0.0);
    if inside.is_empty() {
        return;
    }
    let start = (left + before as isize) as usize * image.pixel_pitch;
    if image.pixel_pitch == image.channels {
        inside.copy_from_slice(&row[start..][..inside.len()]);
        return;
    }
    for (i, pixel) in inside.chunks_exact_mut(image.channels).enumerate() {
        pixel.copy_from_slice(&row[start + i * image.pixel_pitch..][..image.channels]);
    }
}

/// A copy of the image with its padding written out.
pub(super) fn pad(image: &Image<'_>, [pad_y, pad_x]: [usize; 2]) -> Buffer {
    let (height, row) = (image.height + 2 * pad_y, (image.width + 2 * pad_x) * image.channels);
    let mut buffer = Buffer::take(height * row);
    for (y, copy) in buffer.as_mut_slice().chunks_exact_mut(row).enumerate() {
        if y < pad_y || y >= pad_y + image.height {
            copy.fill(0.0);
        } else {
            copy_with_border(copy, &image.data[(y - pad_y) * image.row_pitch..], image, -(pad_x as isize));
        }
    }
    buffer
}
