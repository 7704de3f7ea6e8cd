//! Convolution in integers: checks the shapes, splits a layer into tiles, handles borders, and
//! distributes the tiles over threads.
//!
//! A kernel of more than one tap reads a band: a few rows of the input, copied with the padding
//! written out. A 1 × 1 kernel reads its inputs in place.

use std::cell::RefCell;
use std::ops::Range;

use super::finish::{Finish, MOST_PIECE_BITS, TABLE};
use super::isa::{Int8Isa, Kernels};
use super::tile::{Run, Tile, TileKernel, WIDEST};
use super::{BLOCK, GROUP};
use crate::buffers::{Buffer, Scratchpad};
use crate::kernels::conv::{MAX_SOURCES, output_size};
use crate::kernels::image::{Image, ImageMut};
use crate::kernels::view::{View, ViewMut};
use crate::threads::{self, CHUNKS_PER_THREAD};

/// Most kernel rows, or inputs of a 1 × 1 kernel: YOLOv5's stem has 6.
pub const MAX_RUNS: usize = 8;
/// Bytes of a band, which shares the first-level cache with the weights of a group of channels.
const BAND_BYTES: usize = 16 << 10;

/// The parameters of a convolution. [`finish`](super::finish) describes the steps after the sum.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
    /// Packed by [`crate::pack::int8`].
    pub weight: Weight<'a>,
    /// How each output channel's sum is converted; padded to whole blocks.
    pub constants: Constants<'a>,
    /// The input's zero point.
    pub input_zero_point: u8,
    /// A table that every 8-bit result is looked up in, if any.
    pub table: Option<&'a [u8; 256]>,
}

/// Packed weights.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// `[blocks, kernel height, kernel width, groups of 4 input channels, 16 output channels, 4]`.
    Bytes(&'a [i8]),
    /// For one input channel: `[blocks, kernel height, pairs of taps, 16 output channels, 2]`.
    Wide(&'a [i16]),
}

/// How sums are converted to results.
#[derive(Clone, Copy, Debug)]
pub struct Constants<'a> {
    /// The initial value of each output channel's sum: the bias, less the zero point's
    /// contribution.
    pub bias: &'a [i32],
    /// The value of one unit of the sum: in real numbers, or in fractions of an output level.
    pub scale: &'a [f32],
    /// One [`Block`] for each block of output channels.
    pub blocks: &'a [[i32; BLOCK_INTEGERS]],
    /// SiLU's tables, of [`TABLE`] integers each.
    pub tables: &'a [i16],
}

/// How 16 output channels are quantized; not used for float output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Fraction bits of a level, at most 7.
    pub shift: u32,
    /// The output's zero point plus half a level for rounding, in fractions of a level.
    pub offset: i16,
    /// The index of SiLU's table, if SiLU follows.
    pub table: Option<usize>,
    /// The binary logarithm of the length of a piece of the table, in fractions of a level, at most
    /// 9.
    pub piece_bits: u32,
}

/// Integers that a [`Block`] is stored as.
pub const BLOCK_INTEGERS: usize = 4;

impl Block {
    /// The form in which tensors hold it.
    pub fn to_integers(self) -> [i32; BLOCK_INTEGERS] {
        let table = self.table.map_or(-1, |table| table as i32);
        [self.shift as i32, self.offset.into(), table, self.piece_bits as i32]
    }

    /// The inverse of `to_integers`.
    pub fn from_integers([shift, offset, table, piece_bits]: [i32; BLOCK_INTEGERS]) -> Self {
        Self {
            shift: shift as u32,
            offset: offset as i16,
            table: usize::try_from(table).ok(),
            piece_bits: piece_bits as u32,
        }
    }
}

/// One of the maps whose channels are convolved as if concatenated; all have the same scale and
/// zero point.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The map.
    pub image: Image<'a, u8>,
    /// Whether it is upsampled: each pixel stands for 2 × 2. Only in a 1 × 1 convolution.
    pub upsampled: bool,
}

/// The map that is added after the activation.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// The map, of the output's size, with room for whole blocks.
    pub image: Image<'a, u8>,
    /// One of its levels in fractions of an output level, times 256.
    pub multiplier: i16,
    /// Its zero point.
    pub zero_point: u8,
}

/// The destination of the result.
#[derive(Debug)]
pub enum Output<'a, 'b> {
    /// 8-bit values.
    Bytes(&'a mut ImageMut<'b, u8>),
    /// Real values: no activation, no residual.
    Floats(&'a mut ImageMut<'b, f32>),
}

impl Output<'_, '_> {
    fn size(&self) -> [usize; 2] {
        match self {
            Self::Bytes(image) => [image.height, image.width],
            Self::Floats(image) => [image.height, image.width],
        }
    }

    fn pitches(&self) -> [usize; 2] {
        match self {
            Self::Bytes(image) => [image.row_pitch, image.pixel_pitch],
            Self::Floats(image) => [image.row_pitch, image.pixel_pitch],
        }
    }

    /// Length of the data, and the least length to write `channels` of every pixel.
    fn extents(&self, channels: usize) -> [usize; 2] {
        match self {
            Self::Bytes(image) => [image.data.len(), image.extent(channels)],
            Self::Floats(image) => [image.data.len(), image.extent(channels)],
        }
    }
}

/// Convolves the concatenation of `sources` into `out`.
///
/// # Panics
/// If the shapes don't fit each other or a slice is too short, which is a bug in the caller.
pub fn conv2d(
    isa: Int8Isa,
    sources: &[Source<'_>],
    conv: &Conv<'_>,
    residual: Option<&Residual<'_>>,
    out: Output<'_, '_>,
) {
    check(sources, conv, residual, &out);
    let [height, width] = out.size();
    if height == 0 || width == 0 {
        return;
    }
    let kernels = isa.kernels();
    let blocks = conv.blocks(sources);
    let channels = blocks * BLOCK;
    let to = match out {
        Output::Bytes(image) => To::Bytes(ViewMut::new(image, channels)),
        Output::Floats(image) => To::Floats(ViewMut::new(image, channels)),
    };
    let (row_groups, _) = conv.row_groups(sources);
    let layer = Layer {
        kernels: &kernels,
        conv,
        sources,
        coarse: false,
        init: None,
        residual: residual.map(|residual| View::new(&residual.image, channels)),
        residual_scale: residual.map_or((0, 0), |residual| (residual.multiplier, residual.zero_point)),
        to,
        height,
        width,
        row_groups,
        blocks,
        weight: conv.weight_bytes(),
    };
    if !sources.iter().any(|source| source.upsampled) {
        return layer.run();
    }
    // The contribution of upsampled channels is the same for each 2 × 2 pixels: their sums are
    // computed once at half resolution and are the initial values of the remaining sums.
    let (half_height, half_width) = (height / 2, width / 2);
    let mut buffer = Buffer::take(half_height * half_width * channels);
    let mut half = ImageMut::dense(buffer.as_mut_integers(), half_height, half_width, channels);
    let to = To::Sums(ViewMut::new(&mut half, channels));
    Layer { coarse: true, residual: None, to, height: half_height, width: half_width, ..layer }.run();
    let half = Image::dense(buffer.as_integers(), half_height, half_width, channels);
    Layer { init: Some(View::new(&half, channels)), ..layer }.run();
}

impl Conv<'_> {
    /// Groups of one kernel row, or of one pixel of a 1 × 1 kernel, and the weights' bytes.
    fn row_groups(&self, sources: &[Source<'_>]) -> (usize, usize) {
        match self.weight {
            Weight::Bytes(weight) => (self.kernel[1] * groups(sources), weight.len()),
            Weight::Wide(weight) => (self.kernel[1].div_ceil(2), size_of_val(weight)),
        }
    }

    fn blocks(&self, sources: &[Source<'_>]) -> usize {
        let (groups, bytes) = self.row_groups(sources);
        bytes / (self.kernel[0] * groups * GROUP * BLOCK)
    }

    fn weight_bytes(&self) -> &[i8] {
        match self.weight {
            Weight::Bytes(weight) => weight,
            Weight::Wide(weight) => {
                // SAFETY: integers are plain bytes.
                unsafe { std::slice::from_raw_parts(weight.as_ptr().cast(), size_of_val(weight)) }
            }
        }
    }

    fn is_simple(&self) -> bool {
        (self.kernel, self.padding) == ([1, 1], [0, 0])
    }
}

/// Groups of input channels of all sources together.
fn groups(sources: &[Source<'_>]) -> usize {
    sources.iter().map(|source| source.image.channels.div_ceil(GROUP)).sum()
}

/// Checks every precondition of the code below.
fn check(sources: &[Source<'_>], conv: &Conv<'_>, residual: Option<&Residual<'_>>, out: &Output<'_, '_>) {
    assert!((1..=MAX_SOURCES).contains(&sources.len()), "1 to {MAX_SOURCES} inputs, not {}", sources.len());
    assert!(conv.kernel.iter().all(|&taps| taps > 0), "a kernel without taps");
    assert!(conv.stride.iter().all(|&step| step > 0), "stride of zero");
    assert!(conv.kernel[0] <= MAX_RUNS, "a kernel of {} rows is too large", conv.kernel[0]);
    for Source { image, upsampled } in sources {
        assert!(image.height > 0 && image.width > 0 && image.channels > 0, "an input without pixels");
        assert!(
            sources.len() == 1 || image.channels.is_multiple_of(GROUP),
            "{} channels of one of several inputs are no whole groups of {GROUP}",
            image.channels
        );
        assert!(
            !upsampled || (conv.is_simple() && conv.stride == [1, 1] && image.channels.is_multiple_of(GROUP)),
            "upsampling is folded into 1 x 1 convolutions of whole groups only"
        );
        let scale = if *upsampled { 2 } else { 1 };
        let size = [image.height * scale, image.width * scale];
        assert_eq!(out.size(), output_size(size, conv.kernel, conv.stride, conv.padding), "output size");
        assert!(image.data.len() >= image.extent(image.channels), "input is too short");
    }
    if matches!(conv.weight, Weight::Wide(_)) {
        assert!(sources.len() == 1 && sources[0].image.channels == 1, "wide weights are for one channel");
        assert!(!sources[0].upsampled, "wide weights are for whole images");
    }
    let (groups, bytes) = conv.row_groups(sources);
    let blocks = conv.blocks(sources);
    assert_eq!(bytes, blocks * conv.kernel[0] * groups * GROUP * BLOCK, "weight length");
    let Constants { bias, scale, blocks: finishes, tables } = conv.constants;
    let channels = blocks * BLOCK;
    assert_eq!([bias.len(), scale.len()], [channels; 2], "one constant for each output channel");
    assert_eq!(finishes.len(), blocks, "one finish for each block of output channels");
    for block in finishes {
        let Block { shift, table, piece_bits, .. } = Block::from_integers(*block);
        assert!(shift <= 7 && piece_bits <= MOST_PIECE_BITS, "parts of a level, or pieces, too large");
        assert!(table.is_none_or(|table| table < tables.len() / TABLE), "a block without its table");
    }
    let [row, pixel] = out.pitches();
    let [height, width] = out.size();
    assert!(pixel >= channels || width <= 1, "output pixels overlap");
    assert!(height <= 1 || width == 0 || row >= (width - 1) * pixel + channels, "output rows overlap");
    let [there, needed] = out.extents(channels);
    assert!(there >= needed, "output is too short");
    if let Some(Residual { image, .. }) = residual {
        assert_eq!([image.height, image.width], out.size(), "residual size");
        assert!(image.data.len() >= image.extent(channels), "residual is too short for whole blocks");
    }
    if matches!(out, Output::Floats(_)) {
        let bare = finishes.iter().all(|block| Block::from_integers(*block).table.is_none());
        assert!(bare && residual.is_none() && conv.table.is_none(), "floats are the sums and no more");
    }
}

#[derive(Clone, Copy)]
enum To {
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

/// A convolution cut into rows of tiles.
#[derive(Clone, Copy)]
struct Layer<'a> {
    kernels: &'a Kernels,
    conv: &'a Conv<'a>,
    sources: &'a [Source<'a>],
    /// Whether this sums over the upsampled sources, or over the others.
    coarse: bool,
    /// Sums at half resolution to start from.
    init: Option<View<'a, i32>>,
    residual: Option<View<'a, u8>>,
    residual_scale: (i16, u8),
    to: To,
    height: usize,
    width: usize,
    /// Groups of a kernel row.
    row_groups: usize,
    blocks: usize,
    weight: &'a [i8],
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
    fn run(&self) {
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
            SCRATCH.with_borrow_mut(|scratch| {
                let (mut y, mut tile) = (range.start / tiles, range.start % tiles);
                for _ in range {
                    let pixels = tile_range(layer.width, tiles, tile);
                    layer.tile(&rows, y * layer.conv.stride[0], y, pixels, scratch);
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

    /// Bytes of a pixel of a band, and its pixels in a row.
    fn band_shape(&self) -> [usize; 2] {
        let padded = self.sources[0].image.width + 2 * self.conv.padding[1];
        // A pair may extend one tap beyond the kernel, where the weight is zero.
        if self.is_wide() { [2, padded + 1] } else { [groups(self.sources) * GROUP, padded] }
    }

    fn band_rows(&self) -> usize {
        let [pixel, width] = self.band_shape();
        let rows = BAND_BYTES / (pixel * width).max(1);
        (rows.saturating_sub(self.conv.kernel[0]) / self.conv.stride[0] + 1).min(self.height)
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
        for y in range.clone() {
            for tile in 0..tiles {
                let pixels = tile_range(self.width, tiles, tile);
                self.tile(&rows, (y - range.start) * stride[0], y, pixels, scratch);
            }
        }
        scratch.band = band;
    }

    /// Some pixels of row `y` of the output, from `row` of what is read on.
    fn tile(&self, rows: &Rows<'_>, row: usize, y: usize, x: Range<usize>, scratch: &mut Scratch) {
        let weight_block = self.conv.kernel[0] * self.row_groups * GROUP * BLOCK;
        let (x, pixels) = (x.start, x.len());
        let mut runs =
            [Run { input: std::ptr::null(), pixel_step: 0, groups: 0, weight_offset: 0 }; MAX_RUNS];
        let columns = (pixels - 1) * rows.step + 1 + rows.extra;
        for (i, (run, &(view, first, groups))) in runs.iter_mut().zip(&rows.views[..rows.count]).enumerate() {
            assert!((first + groups) * GROUP * BLOCK <= weight_block, "a run has weights of its block");
            let row = if rows.is_band { row + i } else { row };
            // Pixels of a band follow each other without a gap, so that groups may cross from one
            // to the next.
            let (needed, channels) = if rows.is_band { (columns, 0) } else { (columns, groups * GROUP) };
            *run = Run {
                input: view.at([row, x * rows.step, 0], needed, channels),
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
                self.finish(sums, bytes, [y, x, channel], pixels, channels);
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

/// A row of an image, if it exists.
fn row_of<'a>(image: &Image<'a, u8>, y: isize) -> Option<&'a [u8]> {
    let inside = (0..image.height as isize).contains(&y);
    inside.then(|| &image.data[y as usize * image.row_pitch..])
}

/// Copies a row's pixels to their channels in a band, `zero` outside the image.
fn copy_row(
    line: &mut [u8],
    source: Option<&[u8]>,
    image: &Image<'_, u8>,
    [pixel, channel]: [usize; 2],
    pad: usize,
    zero: u8,
) {
    let channels = image.channels;
    let alone = pixel == channels;
    let Some(source) = source else {
        if alone {
            line.fill(zero);
        } else {
            line.chunks_exact_mut(pixel).for_each(|to| to[channel..][..channels].fill(zero));
        }
        return;
    };
    let (left, rest) = line.split_at_mut(pad * pixel);
    let (inside, right) = rest.split_at_mut(image.width * pixel);
    for side in [left, right] {
        if alone {
            side.fill(zero);
        } else {
            side.chunks_exact_mut(pixel).for_each(|to| to[channel..][..channels].fill(zero));
        }
    }
    if alone && image.pixel_pitch == pixel {
        inside.copy_from_slice(&source[..image.width * pixel]);
        return;
    }
    for (x, to) in inside.chunks_exact_mut(pixel).enumerate() {
        to[channel..][..channels].copy_from_slice(&source[x * image.pixel_pitch..][..channels]);
    }
}

/// The same for one channel, widened to 16 bits.
fn widen_row(line: &mut [u8], source: Option<&[u8]>, image: &Image<'_, u8>, pad: usize, zero: u8) {
    let (line, _) = line.as_chunks_mut::<2>();
    let zero = i16::from(zero).to_ne_bytes();
    let Some(source) = source else { return line.fill(zero) };
    let (left, rest) = line.split_at_mut(pad);
    let (inside, right) = rest.split_at_mut(image.width);
    left.fill(zero);
    right.fill(zero);
    if image.pixel_pitch == 1 {
        for (to, from) in inside.iter_mut().zip(source) {
            *to = i16::from(*from).to_ne_bytes();
        }
    } else {
        for (x, to) in inside.iter_mut().enumerate() {
            *to = i16::from(source[x * image.pixel_pitch]).to_ne_bytes();
        }
    }
}
