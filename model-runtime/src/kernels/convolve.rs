//! Computes a convolution: every check of its shapes, and which algorithm takes it.

use super::Isa;
use super::conv::{Conv, MAX_RUNS, MAX_SOURCES, Source, output_size};
use super::direct::{Layer, Placed, pad};
use super::image::{Image, ImageMut};
use super::{stem, winograd};
use crate::buffers::Buffer;

/// In images up to this wide, tiles at the border are so many that padding the whole image once is
/// cheaper than each tile's part.
const NARROW_WIDTH: usize = 56;

/// Convolves the concatenation of `sources` into `out`, then adds `residual`.
///
/// # Panics
/// If the shapes don't fit each other or a slice is too short: a bug in the caller.
pub fn conv2d(
    isa: Isa,
    sources: &[Source<'_>],
    conv: &Conv<'_>,
    residual: Option<&Image<'_>>,
    out: &mut ImageMut<'_>,
) {
    check(sources, conv, residual, out);
    compute(isa, sources, conv, residual, out);
}

/// The same for shapes that were checked. Here `padding` is what lies above; below, rows that the
/// image lacks count as zeros.
pub(super) fn compute(
    isa: Isa,
    sources: &[Source<'_>],
    conv: &Conv<'_>,
    residual: Option<&Image<'_>>,
    out: &mut ImageMut<'_>,
) {
    if winograd::applies(conv) {
        return winograd::Layer::new(isa, sources, conv, residual, out).run();
    }
    if stem::run(isa, sources, conv, residual, out) {
        return;
    }
    if let [Source { image, .. }] = sources
        && conv.padding != [0, 0]
        && out.width <= NARROW_WIDTH
    {
        let buffer = pad(image, conv.padding);
        let (height, width) = (image.height + 2 * conv.padding[0], image.width + 2 * conv.padding[1]);
        let padded = Source {
            image: Image::dense(buffer.as_slice(), height, width, image.channels),
            upsampled: false,
        };
        let plain = Conv { padding: [0, 0], ..*conv };
        return Layer::new(isa, &Placed::select(&[padded], false), &plain, residual, None, out).run();
    }
    let coarse = Placed::select(sources, true);
    if coarse.is_empty() {
        return Layer::new(isa, &Placed::select(sources, false), conv, residual, None, out).run();
    }
    // Convolution is linear and a 1 × 1 kernel sees one pixel: what comes from upsampled channels
    // is the same for each 2 × 2 pixels, so it is computed once at half resolution and the rest
    // starts from there.
    let (height, width) = (out.height / 2, out.width / 2);
    let channels = conv.weight_shape[0] * 16;
    let mut buffer = Buffer::take(height * width * channels);
    let partial = Conv { bias: &[], silu: false, ..*conv };
    let mut half = ImageMut::dense(buffer.as_mut_slice(), height, width, channels);
    Layer::new(isa, &coarse, &partial, None, None, &mut half).run();
    let half = Image::dense(buffer.as_slice(), height, width, channels);
    Layer::new(isa, &Placed::select(sources, false), conv, residual, Some(&half), out).run();
}

/// Every assumption that the unsafe code below makes.
fn check(sources: &[Source<'_>], conv: &Conv<'_>, residual: Option<&Image<'_>>, out: &ImageMut<'_>) {
    check_shapes(sources, conv, [out.height, out.width]);
    check_memory(sources, conv, residual, out);
}

/// What has to fit whatever the memory.
pub(super) fn check_shapes(sources: &[Source<'_>], conv: &Conv<'_>, output: [usize; 2]) {
    let [blocks, height, width, in_channels, lanes] = conv.weight_shape;
    let winograd = winograd::applies(conv);
    assert!(winograd || conv.kernel == [height, width], "weights are packed for another kernel");
    assert!(
        lanes == 16 && (!winograd || matches!(conv.stride, [1, 1] | [2, 2])),
        "weights are packed for another kernel"
    );
    assert_eq!(conv.weight.len(), blocks * height * width * in_channels * 16, "weight length");
    assert_eq!(conv.bias.len(), blocks * 16, "bias length");
    assert!(conv.stride.iter().all(|&step| step > 0), "stride of zero");
    assert!((1..=MAX_SOURCES).contains(&sources.len()), "1 to {MAX_SOURCES} inputs, not {}", sources.len());
    assert!(winograd || height * width * sources.len() <= MAX_RUNS, "kernel {height} x {width} is too large");
    assert_eq!(
        sources.iter().map(|source| source.image.channels).sum::<usize>(),
        in_channels,
        "input channels"
    );
    for Source { image, upsampled } in sources {
        assert!(image.height > 0 && image.width > 0 && image.channels > 0, "an input without pixels");
        assert!(image.pixel_pitch >= image.channels || image.width <= 1, "input pixels overlap");
        let simple = conv.kernel == [1, 1] && conv.stride == [1, 1] && conv.padding == [0, 0];
        assert!(
            !winograd || image.channels.is_multiple_of(16),
            "transformed weights need whole blocks of channels"
        );
        assert!(simple || !upsampled, "upsampling is folded into 1 x 1 convolutions only");
        let scale = if *upsampled { 2 } else { 1 };
        let size = [image.height * scale, image.width * scale];
        assert_eq!(output, output_size(size, conv.kernel, conv.stride, conv.padding), "output size");
    }
}

/// What has to be there.
pub(super) fn check_memory(
    sources: &[Source<'_>],
    conv: &Conv<'_>,
    residual: Option<&Image<'_>>,
    out: &ImageMut<'_>,
) {
    let channels = conv.weight_shape[0] * 16;
    for Source { image, .. } in sources {
        assert!(image.data.len() >= image.extent(image.channels), "input is too short");
    }
    assert!(out.pixel_pitch >= channels || out.width <= 1, "output pixels overlap");
    assert!(
        out.height <= 1 || out.width == 0 || out.row_pitch >= (out.width - 1) * out.pixel_pitch + channels,
        "output rows overlap"
    );
    assert!(out.data.len() >= out.extent(channels), "output is too short");
    if let Some(residual) = residual {
        assert_eq!((residual.height, residual.width), (out.height, out.width), "residual size");
        assert!(residual.data.len() >= residual.extent(channels), "residual is too short for whole blocks");
    }
}
