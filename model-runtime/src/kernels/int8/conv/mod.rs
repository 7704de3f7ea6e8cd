//! Convolution in integers: checks the shapes, splits a layer into tiles, handles borders, and
//! distributes the tiles over threads.
//!
//! A kernel of more than one tap reads a band: a few rows of the input, copied with the padding
//! written out ([`band`]). A 1 × 1 kernel reads its inputs in place.

mod band;
mod layer;

use super::finish::{MOST_PIECE_BITS, TABLE};
use super::isa::Int8Isa;
use super::{BLOCK, GROUP};
use crate::buffers::Buffer;
use crate::kernels::conv::{MAX_SOURCES, output_size};
use crate::kernels::image::{Image, ImageMut};
use crate::kernels::view::{View, ViewMut};
use layer::{Layer, To};

/// Most kernel rows, or inputs of a 1 × 1 kernel: YOLOv5's stem has 6.
pub const MAX_RUNS: usize = 8;

/// Most groups of input channels that are multiplied at once: AMX's 64 bytes.
const MOST_STEP: usize = 16;

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
    let step = conv.step(sources);
    let kernels = isa.for_step(step).kernels();
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
        step,
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

    /// The most groups, up to [`MOST_STEP`], that divide those of every run.
    fn step(&self, sources: &[Source<'_>]) -> usize {
        let divides = |step: &usize| match self.is_simple() {
            true => sources.iter().all(|source| source.image.channels.div_ceil(GROUP).is_multiple_of(*step)),
            false => self.row_groups(sources).0.is_multiple_of(*step),
        };
        (1..=MOST_STEP).rev().find(divides).unwrap_or(1)
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
    let row_end = width.saturating_sub(1).saturating_mul(pixel).saturating_add(channels);
    assert!(height <= 1 || width == 0 || row >= row_end, "output rows overlap");
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
