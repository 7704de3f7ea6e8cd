//! Packs weights in the kernels' layout. Runs at import; the function maps the result into memory.

pub mod int8;

use crate::kernels::winograd;

/// Output channels come in blocks of this size, on every instruction set: one file fits all.
pub const BLOCK: usize = 16;

/// Input × output channels up to which a 3 × 3 kernel is transformed. Beyond, the transformed
/// weights, four times as large, outgrow the caches.
const MAX_WINOGRAD_CHANNELS: usize = 128 * 128;

/// Input × output channels beyond which small maps are not transformed: much of their 4 × 4 tiles
/// lies outside the map. For 128 × 128 channels at 13 × 13 it made the default model's weights 5.3
/// MB larger and its answers no faster.
const MAX_WINOGRAD_CHANNELS_OF_SMALL_MAPS: usize = 64 * 128;
const SMALL_MAP: usize = 16 * 16;

/// Packed weights: the values and shape of a rank-5 tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedConv {
    /// `[blocks, taps down, taps across, input channels, 16]`.
    pub shape: [usize; 5],
    /// The values, in the order of the shape.
    pub values: Vec<f32>,
}

/// Packs a convolution's weight, given in ONNX's order `[out][in][kernel height][kernel width]`.
///
/// A 3 × 3 kernel of stride 1 or 2 over whole blocks of channels is stored transformed for
/// Winograd's filtering, with 6 × 6 taps, where that is faster for the output map (`output`:
/// height, width); the kernels recognize it by the shape.
///
/// # Panics
/// If `weight` doesn't have as many values as the shape says.
pub fn pack_conv(
    weight: &[f32],
    out_channels: usize,
    in_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    output: [usize; 2],
) -> PackedConv {
    let [height, width] = kernel;
    assert_eq!(weight.len(), out_channels * in_channels * height * width, "weight length");
    if worth_transforming(out_channels, in_channels, kernel, stride, output) {
        let taps = winograd::TAPS * winograd::TAPS;
        let mut transformed = Vec::with_capacity(weight.len() / 9 * taps);
        for kernel in weight.chunks_exact(9) {
            let kernel = std::array::from_fn(|y| std::array::from_fn(|x| f64::from(kernel[3 * y + x])));
            transformed.extend(
                winograd::transform_weight(kernel, stride[0]).iter().flatten().map(|&value| value as f32),
            );
        }
        return block(&transformed, out_channels, in_channels, [winograd::TAPS; 2]);
    }
    block(weight, out_channels, in_channels, kernel)
}

fn worth_transforming(
    out_channels: usize,
    in_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    output: [usize; 2],
) -> bool {
    let small = output[0] * output[1] < SMALL_MAP;
    let most = if small { MAX_WINOGRAD_CHANNELS_OF_SMALL_MAPS } else { MAX_WINOGRAD_CHANNELS };
    kernel == [3, 3]
        && matches!(stride, [1, 1] | [2, 2])
        && out_channels.is_multiple_of(BLOCK)
        && in_channels.is_multiple_of(BLOCK)
        && in_channels * out_channels <= most
}

/// Groups the output channels into blocks.
fn block(weight: &[f32], out_channels: usize, in_channels: usize, [height, width]: [usize; 2]) -> PackedConv {
    let blocks = out_channels.div_ceil(BLOCK);
    let shape = [blocks, height, width, in_channels, BLOCK];
    let mut values = Vec::with_capacity(shape.iter().product());
    for block in 0..blocks {
        for tap in 0..height * width {
            for input in 0..in_channels {
                values.extend((block * BLOCK..(block + 1) * BLOCK).map(|output| {
                    let index = (output * in_channels + input) * height * width + tap;
                    if output < out_channels { weight[index] } else { 0.0 }
                }));
            }
        }
    }
    PackedConv { shape, values }
}

/// Pads a bias with zeros to whole blocks.
pub fn pack_bias(bias: &[f32]) -> Vec<f32> {
    let mut packed = bias.to_vec();
    packed.resize(bias.len().next_multiple_of(BLOCK), 0.0);
    packed
}

/// The weights for one input channel of a convolution whose input channels are always equal: their
/// sum over the channels. Exact up to the rounding of the sum, which is done in double precision.
///
/// # Panics
/// If `weight` doesn't have as many values as the shape says.
pub fn fold_gray(weight: &[f32], out_channels: usize, in_channels: usize, kernel: [usize; 2]) -> Vec<f32> {
    let taps = kernel[0] * kernel[1];
    assert_eq!(weight.len(), out_channels * in_channels * taps, "weight length");
    let sum = |output: usize, tap: usize| {
        let values =
            (0..in_channels).map(|input| f64::from(weight[(output * in_channels + input) * taps + tap]));
        values.sum::<f64>() as f32
    };
    (0..out_channels).flat_map(|output| (0..taps).map(move |tap| sum(output, tap))).collect()
}
