//! Chains of convolutions, computed a few rows at a time, so that each reads its input from the
//! second-level cache.
//!
//! The first layers' maps are several times as large as that cache. Computed one after the other,
//! they pass through the shared cache or through memory, whose bandwidth other tenants of the
//! machine use as well.

use std::cell::RefCell;
use std::ops::Range;

use super::Isa;
use super::conv::{Conv, MAX_SOURCES, Source, output_size};
use super::convolve;
use super::image::{Image, ImageMut};
use super::view::{Patch, Target};
use super::winograd;
use crate::buffers::Scratchpad;
use crate::threads::{self, CHUNKS_PER_THREAD};

/// Most convolutions of a chain.
pub const MAX_STAGES: usize = 3;
/// Floats of all intermediate maps together. They share a second-level cache with the scratch
/// memory of the stages.
const BAND_FLOATS: usize = 64 << 10;

thread_local! {
    static BANDS: RefCell<[Scratchpad; MAX_STAGES - 1]> = const { RefCell::new([Scratchpad::new(), Scratchpad::new()]) };
}

/// Convolves the concatenation of `sources` with the first of `convs`, the result with the second,
/// and so on, into `out`.
///
/// # Panics
/// If the shapes don't fit each other or a slice is too short, which is a bug in the caller.
pub fn conv2d_chain(isa: Isa, sources: &[Source<'_>], convs: &[Conv<'_>], out: &mut ImageMut<'_>) {
    if let [conv] = convs {
        return convolve::conv2d(isa, sources, conv, None, out);
    }
    let chain = Chain::new(isa, sources, convs, out);
    let bands = chain.sizes[convs.len() - 1][0].div_ceil(chain.band);
    // Neighbouring ranges of bands both compute a few rows of the intermediate maps. With one
    // thread there is one range, and nothing is computed twice.
    let threads = threads::threads();
    let stretches = if threads == 1 { 1 } else { (threads * CHUNKS_PER_THREAD).min(bands) };
    threads::parallel_ranges(bands, stretches, &|bands| {
        BANDS.with_borrow_mut(|buffers| chain.bands(bands, buffers));
    });
}

struct Chain<'a> {
    isa: Isa,
    sources: &'a [Source<'a>],
    convs: &'a [Conv<'a>],
    /// Height and width of each stage's output.
    sizes: [[usize; 2]; MAX_STAGES],
    out: Target<f32>,
    out_row: usize,
    out_pixel: usize,
    /// Output rows of a band.
    band: usize,
}

impl<'a> Chain<'a> {
    /// Checks every precondition of the stages.
    fn new(isa: Isa, sources: &'a [Source<'a>], convs: &'a [Conv<'a>], out: &'a mut ImageMut<'_>) -> Self {
        assert!((2..=MAX_STAGES).contains(&convs.len()), "2 to {MAX_STAGES} stages, not {}", convs.len());
        assert!(sources.iter().all(|source| !source.upsampled), "a chain starts with whole images");
        let mut sizes = [[0; 2]; MAX_STAGES];
        let first = sources[0].image;
        let mut before = [first.height, first.width];
        for (i, conv) in convs.iter().enumerate() {
            assert!((0..2).all(|axis| conv.padding[axis] < conv.kernel[axis]), "rows of nothing but padding");
            sizes[i] = output_size(before, conv.kernel, conv.stride, conv.padding);
            if i == 0 {
                convolve::check_shapes(sources, conv, sizes[i]);
            } else {
                let channels = conv.weight_shape[3];
                assert_eq!(channels.div_ceil(16), convs[i - 1].weight_shape[0], "channels between stages");
                let image = Image::dense(&[], before[0], before[1], channels);
                convolve::check_shapes(&[Source { image, upsampled: false }], conv, sizes[i]);
            }
            before = sizes[i];
        }
        let last = &convs[convs.len() - 1];
        assert_eq!([out.height, out.width], before, "output size");
        convolve::check_memory(sources, last, None, out);
        let mut chain = Self {
            isa,
            sources,
            convs,
            sizes,
            out: Target::new(out.data),
            out_row: out.row_pitch,
            out_pixel: out.pixel_pitch,
            band: winograd::OUTPUT,
        };
        while chain.band < out.height && chain.floats(chain.band * 2) <= BAND_FLOATS {
            chain.band *= 2;
        }
        chain
    }

    /// Floats of the intermediate maps that `rows` output rows need.
    fn floats(&self, mut rows: usize) -> usize {
        let mut floats = 0;
        for i in (1..self.convs.len()).rev() {
            rows = (rows - 1) * self.convs[i].stride[0] + self.convs[i].kernel[0];
            floats += rows * self.row(i - 1);
        }
        floats
    }

    /// Floats of a row of a stage's output, stored densely.
    fn row(&self, stage: usize) -> usize {
        self.sizes[stage][1] * self.convs[stage].weight_shape[0] * 16
    }

    fn bands(&self, bands: Range<usize>, buffers: &mut [Scratchpad; MAX_STAGES - 1]) {
        let last = self.convs.len() - 1;
        let mut held: [Range<usize>; MAX_STAGES] = [const { 0..0 }; MAX_STAGES];
        for band in bands {
            let mut needed = [const { 0..0 }; MAX_STAGES];
            needed[last] = band * self.band..((band + 1) * self.band).min(self.sizes[last][0]);
            for i in (0..last).rev() {
                needed[i] = self.rows_read(i + 1, &needed[i + 1]);
            }
            for i in 0..last {
                let (before, rest) = buffers.split_at_mut(i);
                let row = self.row(i);
                // The last band may have fewer rows than the one before.
                let map = rest[0].room(needed[i].len().max(held[i].len()) * row);
                // Rows that the previous band shares with this one move to the top.
                let kept = needed[i].start..held[i].end.max(needed[i].start);
                if !kept.is_empty() {
                    let start = (kept.start - held[i].start) * row;
                    map.copy_within(start..start + kept.len() * row, 0);
                }
                held[i] = needed[i].clone();
                let fresh = kept.end..needed[i].end;
                let mut out = ImageMut::dense(
                    &mut map[kept.len() * row..],
                    fresh.len(),
                    self.sizes[i][1],
                    self.convs[i].weight_shape[0] * 16,
                );
                self.stage(i, before, &held, &fresh, &mut out);
            }
            let rows = needed[last].clone();
            let start = rows.start * self.out_row;
            let len = (rows.len() * self.out_row).min(self.out.len().saturating_sub(start));
            let data = self.out.writable(start, Patch::row(1, 0, len));
            // SAFETY: just checked; each band writes its own rows, and its intermediate maps are
            // this thread's.
            let data = unsafe { std::slice::from_raw_parts_mut(data, len) };
            let mut out = ImageMut {
                data,
                height: rows.len(),
                width: self.sizes[last][1],
                row_pitch: self.out_row,
                pixel_pitch: self.out_pixel,
            };
            self.stage(last, buffers, &held, &rows, &mut out);
        }
    }

    /// The input rows that these output rows of `stage` depend on.
    fn rows_read(&self, stage: usize, rows: &Range<usize>) -> Range<usize> {
        let Conv { kernel, stride, padding, .. } = &self.convs[stage];
        let start = (rows.start * stride[0]).saturating_sub(padding[0]);
        let end = (rows.end - 1) * stride[0] + kernel[0];
        start..end.saturating_sub(padding[0]).min(self.sizes[stage - 1][0])
    }

    /// Computes some rows of a stage from its input map; `before` holds the rows `held` of it.
    fn stage(
        &self,
        stage: usize,
        before: &mut [Scratchpad],
        held: &[Range<usize>],
        rows: &Range<usize>,
        out: &mut ImageMut<'_>,
    ) {
        if rows.is_empty() {
            return;
        }
        let conv = &self.convs[stage];
        let above = (rows.start * conv.stride[0]) as isize - conv.padding[0] as isize;
        // The image from the first row that is read, and the number of zero rows above it.
        let from = |image: &Image<'_>, first_row: usize| {
            let skipped = (above - first_row as isize).max(0) as usize;
            (skipped, image.height - skipped, (first_row as isize - above).max(0) as usize)
        };
        let mut sources = [const { Source { image: Image::EMPTY, upsampled: false } }; MAX_SOURCES];
        let mut padding = conv.padding;
        let count = if stage == 0 { self.sources.len() } else { 1 };
        if stage == 0 {
            for (source, Source { image, .. }) in sources.iter_mut().zip(self.sources) {
                let (skipped, height, zeros) = from(image, 0);
                source.image = Image { data: &image.data[skipped * image.row_pitch..], height, ..*image };
                padding[0] = zeros;
            }
        } else {
            let (held, row) = (&held[stage - 1], self.row(stage - 1));
            let map: &[f32] = before[stage - 1].room(held.len() * row);
            let image = Image {
                data: map,
                height: held.len(),
                width: self.sizes[stage - 1][1],
                channels: conv.weight_shape[3],
                row_pitch: row,
                pixel_pitch: self.convs[stage - 1].weight_shape[0] * 16,
            };
            let (skipped, height, zeros) = from(&image, held.start);
            sources[0].image = Image { data: &map[skipped * row..], height, ..image };
            padding[0] = zeros;
        }
        let conv = Conv { padding, ..*conv };
        convolve::compute(self.isa, &sources[..count], &conv, None, out);
    }
}
