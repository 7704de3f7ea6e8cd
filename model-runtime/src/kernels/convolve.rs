//! Computes a convolution: checks the shapes and chooses the algorithm.

use super::Isa;
use super::conv::{Conv, MAX_RUNS, MAX_SOURCES, Source, output_size};
use super::direct::{Layer, Placed, pad};
use super::image::{Image, ImageMut};
use super::{stem, winograd};
use crate::buffers::Buffer;

/// In images up to this width, most tiles touch the border, and padding the whole image once is
/// cheaper than padding each tile.
const NARROW_WIDTH: usize = 56;

/// Convolves the concatenation of `sources` into `out`, then adds `residual`.
///
/// # Panics
/// If the shapes don't fit each other or a slice is too short, which is a bug in the caller.
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

/// As [`conv2d`], for shapes that were checked. Here `padding` is that above the image; missing
/// rows below it count as zeros.
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
    // Convolution is linear, and a 1 × 1 kernel sees one pixel: the contribution of upsampled
    // channels is the same for each 2 × 2 pixels. It is computed once at half resolution and is the
    // initial value of the remaining sum.
    let (height, width) = (out.height / 2, out.width / 2);
    let channels = conv.weight_shape[0] * 16;
    let mut buffer = Buffer::take(height * width * channels);
    let partial = Conv { bias: &[], silu: false, ..*conv };
    let mut half = ImageMut::dense(buffer.as_mut_slice(), height, width, channels);
    Layer::new(isa, &coarse, &partial, None, None, &mut half).run();
    let half = Image::dense(buffer.as_slice(), height, width, channels);
    Layer::new(isa, &Placed::select(sources, false), conv, residual, Some(&half), out).run();
}

/// Checks every precondition of the unsafe code.
fn check(sources: &[Source<'_>], conv: &Conv<'_>, residual: Option<&Image<'_>>, out: &ImageMut<'_>) {
    check_shapes(sources, conv, [out.height, out.width]);
    check_memory(sources, conv, residual, out);
}

/// Checks the shapes, which do not depend on the slices.
pub(super) fn check_shapes(sources: &[Source<'_>], conv: &Conv<'_>, output: [usize; 2]) {
    let [blocks, height, width, in_channels, lanes] = conv.weight_shape;
    let winograd = winograd::applies(conv);
    assert!(winograd || conv.kernel == [height, width], "weights are packed for another kernel");
    assert!(
        lanes == 16 && (!winograd || matches!(conv.stride, [1, 1] | [2, 2])),
        "weights are packed for another kernel"
    );
    let weights = [blocks, height, width, in_channels, 16].into_iter().try_fold(1, usize::checked_mul);
    assert_eq!(Some(conv.weight.len()), weights, "weight length");
    assert_eq!(Some(conv.bias.len()), blocks.checked_mul(16), "bias length");
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

/// Checks that the slices are long enough.
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
    let row = out.width.saturating_sub(1).saturating_mul(out.pixel_pitch).saturating_add(channels);
    assert!(out.height <= 1 || out.width == 0 || out.row_pitch >= row, "output rows overlap");
    assert!(out.data.len() >= out.extent(channels), "output is too short");
    if let Some(residual) = residual {
        assert_eq!((residual.height, residual.width), (out.height, out.width), "residual size");
        assert!(residual.data.len() >= residual.extent(channels), "residual is too short for whole blocks");
    }
}
