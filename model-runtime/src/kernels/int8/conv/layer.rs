//! One layer cut into rows of tiles, which threads share.

use std::cell::RefCell;
use std::ops::Range;

use super::band::{copy_row, row_of, widen_row};
use super::{Block, Constants, Conv, MAX_RUNS, Source, Weight, groups};
use crate::buffers::Scratchpad;
use crate::kernels::image::Image;
use crate::kernels::int8::finish::{Finish, TABLE};
use crate::kernels::int8::isa::Kernels;
use crate::kernels::int8::tile::{Run, Tile, TileKernel, WIDEST};
use crate::kernels::int8::{BLOCK, GROUP};
use crate::kernels::view::{View, ViewMut};
use crate::threads::{self, CHUNKS_PER_THREAD};

/// Bytes of a band, which shares the first-level cache with the weights of a group of channels.
const BAND_BYTES: usize = 16 << 10;

/// Where tiles write: the output, or sums to start from.
#[derive(Clone, Copy)]
pub(super) enum To {
    Bytes(ViewMut<u8>),
    Floats(ViewMut<f32>),
    Sums(ViewMut<i32>),
}

impl To {
    /// The rows as one long row, if they are contiguous.
    fn joined(self) -> Option<Self> {
        match self {
            Self::Bytes(view) => view.has_joined_rows().then(|| Self::Bytes(view.joined())),
            Self::Floats(view) => view.has_joined_rows().then(|| Self::Floats(view.joined())),
            Self::Sums(view) => view.has_joined_rows().then(|| Self::Sums(view.joined())),
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch { band: Scratchpad::new(), sums: Scratchpad::new(), bytes: Scratchpad::new() })
    };
}

/// A thread's scratch memory.
struct Scratch {
    /// Rows of the input with their padding.
    band: Scratchpad,
    /// Of one tile.
    sums: Scratchpad,
    /// Bytes of one tile, before the lookup.
    bytes: Scratchpad,
}

/// Calls [`Kernels::release`] at the end of a thread's share, after a panic too.
struct Release(fn());

impl Drop for Release {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A convolution cut into rows of tiles.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) conv: &'a Conv<'a>,
    pub(super) sources: &'a [Source<'a>],
    /// Whether this sums over the upsampled sources, or over the others.
    pub(super) coarse: bool,
    /// Sums at half resolution to start from.
    pub(super) init: Option<View<'a, i32>>,
    pub(super) residual: Option<View<'a, u8>>,
    pub(super) residual_scale: (i16, u8),
    pub(super) to: To,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Groups of a kernel row.
    pub(super) row_groups: usize,
    pub(super) blocks: usize,
    pub(super) weight: &'a [i8],
    /// Groups that divide those of every run.
    pub(super) step: usize,
}

/// The input of a row of tiles.
struct Rows<'a> {
    /// One view for each run of a tile, with the first group of weights of the run, and the number
    /// of runs.
    views: [(View<'a, u8>, usize, usize); MAX_RUNS],
    count: usize,
    /// Whether these are rows of one band: each run is one row below the one before.
    is_band: bool,
    /// Columns of the views that a tile needs beyond its pixels' own, and from one pixel to the
    /// next.
    extra: usize,
    step: usize,
}

impl Layer<'_> {
    pub(super) fn run(&self) {
        let direct = self.conv.is_simple()
            && matches!(self.conv.weight, Weight::Bytes(_))
            && self.sources.iter().all(|source| source.image.channels.is_multiple_of(GROUP));
        if direct {
            self.run_direct();
        } else {
            self.run_bands();
        }
    }

    /// A 1 × 1 kernel: tiles read the inputs in place.
    fn run_direct(&self) {
        // The result does not depend on where rows end, and one long row has no short tiles.
        let whole = self.conv.stride == [1, 1]
            && self.init.is_none()
            && self.chosen().all(|(source, _)| source.image.rows_are_joined());
        let joined = if whole { self.to.joined() } else { None }
            .filter(|_| self.residual.is_none_or(|residual| residual.has_joined_rows()));
        let layer = match joined {
            Some(to) => Layer {
                to,
                residual: self.residual.map(View::joined),
                height: 1,
                width: self.height * self.width,
                ..*self
            },
            None => *self,
        };
        let empty = View::new(&Image::EMPTY, 0);
        let mut rows = Rows {
            views: [(empty, 0, 0); MAX_RUNS],
            count: 0,
            is_band: false,
            extra: 0,
            step: self.conv.stride[1],
        };
        for (Source { image, .. }, first) in self.chosen() {
            let view = View::new(image, image.channels);
            let view = if joined.is_some() { view.joined() } else { view };
            rows.views[rows.count] = (view, first, image.channels / GROUP);
            rows.count += 1;
        }
        let tiles = layer.width.div_ceil(layer.widest());
        let (threads, work) = (threads::threads(), layer.height * tiles);
        let chunks = if threads == 1 { 1 } else { (threads * CHUNKS_PER_THREAD).min(work) };
        threads::parallel_ranges(work, chunks, &|range| {
            let _release = Release(layer.kernels.release);
            SCRATCH.with_borrow_mut(|scratch| {
                let (mut y, mut tile) = (range.start / tiles, range.start % tiles);
                for _ in range {
                    let pixels = tile_range(layer.width, tiles, tile);
                    layer.tile(&rows, y * layer.conv.stride[0], y..y + 1, pixels, scratch);
                    tile += 1;
                    if tile == tiles {
                        (y, tile) = (y + 1, 0);
                    }
                }
            });
        });
    }

    /// Any kernel, on a few rows at a time, copied with the padding written out.
    fn run_bands(&self) {
        let tiles = self.width.div_ceil(self.widest());
        let (threads, rows) = (threads::threads(), self.band_rows());
        let shares = if threads == 1 { 1 } else { (threads * CHUNKS_PER_THREAD).min(self.height) };
        threads::parallel_ranges(self.height, shares, &|range| {
            let _release = Release(self.kernels.release);
            SCRATCH.with_borrow_mut(|scratch| {
                let mut start = range.start;
                while start < range.end {
                    let end = range.end.min(start + rows);
                    self.band(start..end, tiles, scratch);
                    start = end;
                }
            });
        });
    }

    /// The sources that this sums over, and the first group of each in the weights.
    fn chosen(&self) -> impl Iterator<Item = (&Source<'_>, usize)> {
        let mut first = 0;
        self.sources.iter().filter_map(move |source| {
            let group = first;
            first += source.image.channels.div_ceil(GROUP);
            (source.upsampled == self.coarse).then_some((source, group))
        })
    }

    fn is_wide(&self) -> bool {
        matches!(self.conv.weight, Weight::Wide(_))
    }

    fn widest(&self) -> usize {
        if self.is_wide() { self.kernels.wide.len() } else { self.kernels.one.len() }
    }

    /// Rows of the output that a tile of a band has: two where both fit into the widest tile.
    fn lines(&self) -> usize {
        if self.kernels.has_lines && !self.is_wide() && 2 * self.width <= self.widest() { 2 } else { 1 }
    }

    /// Bytes of a pixel of a band, and its pixels in a row.
    fn band_shape(&self) -> [usize; 2] {
        let padded = self.sources[0].image.width + 2 * self.conv.padding[1];
        // A pair may extend one tap beyond the kernel, where the weight is zero.
        if self.is_wide() { [2, padded + 1] } else { [groups(self.sources) * GROUP, padded] }
    }

    fn band_rows(&self) -> usize {
        let [pixel, width] = self.band_shape();
        let rows = BAND_BYTES / (pixel * width).max(1);
        let rows = rows.saturating_sub(self.conv.kernel[0]) / self.conv.stride[0] + 1;
        rows.next_multiple_of(self.lines()).min(self.height)
    }

    /// Some rows of the output.
    fn band(&self, range: Range<usize>, tiles: usize, scratch: &mut Scratch) {
        let Conv { kernel, stride, padding, input_zero_point, .. } = *self.conv;
        let [pixel, width] = self.band_shape();
        let count = (range.len() - 1) * stride[0] + kernel[0];
        let top = (range.start * stride[0]) as isize - padding[0] as isize;
        let mut band = std::mem::replace(&mut scratch.band, Scratchpad::new());
        let data = band.bytes(count * width * pixel);
        for (i, line) in data.chunks_exact_mut(width * pixel).enumerate() {
            let y = top + i as isize;
            if self.is_wide() {
                let image = &self.sources[0].image;
                widen_row(line, row_of(image, y), image, padding[1], input_zero_point);
                continue;
            }
            let mut channel = 0;
            for Source { image, .. } in self.sources {
                copy_row(line, row_of(image, y), image, [pixel, channel], padding[1], input_zero_point);
                channel += image.channels.next_multiple_of(GROUP);
            }
        }
        let view = View::new(&Image::dense(&*data, count, width, pixel), pixel);
        let mut rows = Rows {
            views: [(view, 0, self.row_groups); MAX_RUNS],
            count: kernel[0],
            is_band: true,
            extra: (self.row_groups * GROUP).div_ceil(pixel) - 1,
            step: stride[1],
        };
        for (tap, run) in rows.views[..kernel[0]].iter_mut().enumerate() {
            run.1 = tap * self.row_groups;
        }
        let lines = self.lines();
        for y in range.clone().step_by(lines) {
            for tile in 0..tiles {
                let pixels = tile_range(self.width, tiles, tile);
                let lines = y..range.end.min(y + lines);
                self.tile(&rows, (y - range.start) * stride[0], lines, pixels, scratch);
            }
        }
        scratch.band = band;
    }

    /// Some pixels of row `y.start` of the output, or of a band's two rows `y`, from `row` of what
    /// is read on.
    fn tile(&self, rows: &Rows<'_>, row: usize, y: Range<usize>, x: Range<usize>, scratch: &mut Scratch) {
        let weight_block = self.conv.kernel[0] * self.row_groups * GROUP * BLOCK;
        let (x, line, lines) = (x.start, x.len(), y.len());
        assert!(lines == 1 || (lines == 2 && rows.is_band && self.init.is_none()), "two rows are a band's");
        let (y, pixels) = (y.start, lines * line);
        let mut runs =
            [Run { input: std::ptr::null(), pixel_step: 0, groups: 0, weight_offset: 0 }; MAX_RUNS];
        let columns = (line - 1) * rows.step + 1 + rows.extra;
        let mut below = 0;
        for (i, (run, &(view, first, groups))) in runs.iter_mut().zip(&rows.views[..rows.count]).enumerate() {
            assert!((first + groups) * GROUP * BLOCK <= weight_block, "a run has weights of its block");
            let row = if rows.is_band { row + i } else { row };
            // Pixels of a band follow each other without a gap, so that groups may cross from one
            // to the next.
            let (needed, channels) = if rows.is_band { (columns, 0) } else { (columns, groups * GROUP) };
            let input = view.at([row, x * rows.step, 0], needed, channels);
            if lines == 2 {
                let second = view.at([row + self.conv.stride[0], x * rows.step, 0], needed, channels);
                below = second as usize - input as usize;
            }
            *run = Run {
                input,
                pixel_step: rows.step * view.pixel(),
                groups,
                weight_offset: first * GROUP * BLOCK,
            };
        }
        let mut tile = Tile {
            runs: &runs[..rows.count],
            weight: std::ptr::null(),
            weight_block,
            init: std::ptr::null(),
            init_step: 0,
            init_phase: 0,
            out: std::ptr::null_mut(),
            out_step: 0,
            pixels,
            below,
            step: self.step,
        };
        let (pairs, single): (&[TileKernel], _) =
            if self.is_wide() { (&[], self.kernels.wide) } else { (self.kernels.two, self.kernels.one) };
        let Scratch { sums, bytes, .. } = scratch;
        let sums = sums.integers(WIDEST * 2 * BLOCK);
        let mut block = 0;
        while block < self.blocks {
            let (kernel, wide): (TileKernel, usize) = match pairs.get(pixels - 1) {
                Some(&pair) if block + 1 < self.blocks => (pair, 2),
                _ => (single[pixels - 1], 1),
            };
            let (channel, channels) = (block * BLOCK, wide * BLOCK);
            tile.weight = self.weight[block * weight_block..(block + wide) * weight_block].as_ptr();
            match &self.init {
                None => tile.init = self.conv.constants.bias[channel..channel + channels].as_ptr(),
                Some(init) => {
                    tile.init_phase = x % 2;
                    tile.init_step = init.pixel();
                    let coarse = (pixels - 1 + tile.init_phase) / 2 + 1;
                    tile.init = init.at([y / 2, x / 2, channel], coarse, channels);
                }
            }
            if let To::Sums(view) = &self.to {
                assert_eq!(lines, 1, "sums are stored row by row");
                tile.out = view.at([y, x, channel], pixels, channels);
                tile.out_step = view.pixel();
                // SAFETY: every pointer was checked above for all that the kernel touches; tiles
                // write disjoint pixels and channels, and no other thread reads them meanwhile; the
                // instruction set was detected.
                unsafe { kernel(&tile) };
            } else {
                tile.out = sums[..pixels * channels].as_mut_ptr();
                tile.out_step = channels;
                // SAFETY: as above, and the sums are this thread's.
                unsafe { kernel(&tile) };
                for (i, sums) in sums[..pixels * channels].chunks_exact(line * channels).enumerate() {
                    self.finish(sums, bytes, [y + i, x, channel], line, channels);
                }
            }
            block += wide;
        }
    }

    /// Converts the sums of `channels` channels of a tile (whole blocks) to its results.
    fn finish(&self, sums: &[i32], bytes: &mut Scratchpad, at: [usize; 3], pixels: usize, channels: usize) {
        let Constants { scale, blocks, tables, .. } = self.conv.constants;
        let sums = &sums[..pixels * channels];
        for first in (0..channels).step_by(BLOCK) {
            let at = [at[0], at[1], at[2] + first];
            let Block { shift, offset, table, piece_bits } = Block::from_integers(blocks[at[2] / BLOCK]);
            let mut finish = Finish {
                sums: sums[first..].as_ptr(),
                sums_step: channels,
                pixels,
                scale: scale[at[2]..][..BLOCK].as_ptr(),
                shift,
                offset,
                piece_bits,
                table: table.map_or(std::ptr::null(), |table| tables[table * TABLE..][..TABLE].as_ptr()),
                residual: std::ptr::null(),
                residual_step: 0,
                residual_multiplier: self.residual_scale.0,
                residual_zero_point: self.residual_scale.1.into(),
                out: std::ptr::null_mut(),
                out_step: 0,
            };
            if let Some(residual) = &self.residual {
                finish.residual = residual.at(at, pixels, BLOCK);
                finish.residual_step = residual.pixel();
            }
            // SAFETY, for all three: every pointer was checked for `pixels` of a block; tiles write
            // disjoint ones, and no other thread reads the output meanwhile; the instruction set
            // was detected.
            match (&self.to, self.conv.table) {
                (To::Sums(_), _) => unreachable!("sums are left as they are"),
                (To::Floats(view), _) => {
                    (finish.out, finish.out_step) = (view.at(at, pixels, BLOCK).cast(), view.pixel());
                    // SAFETY: see above.
                    unsafe { (self.kernels.finish_floats)(&finish) };
                }
                (To::Bytes(view), None) => {
                    (finish.out, finish.out_step) = (view.at(at, pixels, BLOCK), view.pixel());
                    // SAFETY: see above.
                    unsafe { (self.kernels.finish)(&finish) };
                }
                (To::Bytes(view), Some(table)) => {
                    let bytes = bytes.bytes(pixels * BLOCK);
                    (finish.out, finish.out_step) = (bytes.as_mut_ptr(), BLOCK);
                    // SAFETY: see above.
                    unsafe { (self.kernels.finish)(&finish) };
                    (self.kernels.look_up)(table, bytes);
                    let out = view.at(at, pixels, BLOCK);
                    for (pixel, values) in bytes.chunks_exact(BLOCK).enumerate() {
                        let to = out.wrapping_add(pixel * view.pixel());
                        // SAFETY: within the extent that was just checked.
                        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, BLOCK) };
                    }
                }
            }
        }
    }
}

/// The pixels of one of `tiles` tiles of nearly equal width.
fn tile_range(width: usize, tiles: usize, tile: usize) -> Range<usize> {
    tile * width / tiles..(tile + 1) * width / tiles
}
