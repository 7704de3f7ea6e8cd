//! Packs 8-bit weights the way the integer kernels read them. Runs at import; the function only
//! maps the result.

use super::BLOCK;
use crate::kernels::int8::GROUP;

/// Packs a convolution's weight, given in ONNX's order `[out][in][kernel height][kernel width]`,
/// into `[blocks, kernel height, kernel width, groups of 4 input channels, 16 output channels, 4]`;
/// zeros where there are no channels.
///
/// # Panics
/// If `weight` doesn't have as many values as the shape says.
pub fn pack_conv(weight: &[i8], out_channels: usize, in_channels: usize, kernel: [usize; 2]) -> Vec<i8> {
    let taps = kernel[0] * kernel[1];
    assert_eq!(weight.len(), out_channels * in_channels * taps, "weight length");
    let (blocks, groups) = (out_channels.div_ceil(BLOCK), in_channels.div_ceil(GROUP));
    let mut packed = vec![0; blocks * taps * groups * BLOCK * GROUP];
    for output in 0..out_channels {
        for input in 0..in_channels {
            for tap in 0..taps {
                let group = (output / BLOCK * taps + tap) * groups + input / GROUP;
                packed[(group * BLOCK + output % BLOCK) * GROUP + input % GROUP] =
                    weight[(output * in_channels + input) * taps + tap];
            }
        }
    }
    packed
}

/// The one-channel form of a convolution whose input channels are always equal, summed over them,
/// in 16 bits: `[blocks, kernel height, pairs of taps, 16 output channels, 2]`. Exact.
///
/// # Panics
/// If `weight` doesn't have as many values as the shape says, or so many channels that a sum
/// outgrows 16 bits.
pub fn pack_gray(weight: &[i8], out_channels: usize, in_channels: usize, kernel: [usize; 2]) -> Vec<i16> {
    let [height, width] = kernel;
    assert_eq!(weight.len(), out_channels * in_channels * height * width, "weight length");
    let (blocks, pairs) = (out_channels.div_ceil(BLOCK), width.div_ceil(2));
    let mut packed = vec![0; blocks * height * pairs * BLOCK * 2];
    for output in 0..out_channels {
        for y in 0..height {
            for x in 0..width {
                let values = (0..in_channels).map(|input| {
                    i32::from(weight[((output * in_channels + input) * height + y) * width + x])
                });
                let pair = (output / BLOCK * height + y) * pairs + x / 2;
                packed[(pair * BLOCK + output % BLOCK) * 2 + x % 2] =
                    i16::try_from(values.sum::<i32>()).expect("a few channels of 8 bits fit in 16");
            }
        }
    }
    packed
}

/// What each output channel's sum is turned into; see [`crate::kernels::int8::conv::Constants`].
/// Padded to whole blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedConstants {
    /// Where sums start: the bias in units of the sum, less what the input's zero point adds.
    pub bias: Vec<i32>,
    /// Real value of one unit of the sum.
    pub scale: Vec<f32>,
    /// One over the output's scale.
    pub inverse: Vec<f32>,
    /// The output's zero point.
    pub zero_point: Vec<i32>,
}

/// One output channel in real terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Bias, a real value.
    pub bias: f64,
    /// The weights' scale.
    pub weight_scale: f32,
    /// The output's scale; 1 where floats are wanted.
    pub output_scale: f32,
    /// The output's zero point.
    pub output_zero_point: u8,
}

/// Constants for `channels`, whose weights (in ONNX's order) see an input of `input_scale` and
/// `input_zero_point`.
///
/// # Panics
/// If `weight` doesn't have as many values for each channel.
pub fn pack_constants(
    weight: &[i8],
    channels: &[Channel],
    input_scale: f32,
    input_zero_point: u8,
) -> PackedConstants {
    assert!(!channels.is_empty() && weight.len().is_multiple_of(channels.len()), "weight length");
    let mut packed = PackedConstants::default();
    for (channel, weight) in channels.iter().zip(weight.chunks_exact(weight.len() / channels.len())) {
        let scale = input_scale * channel.weight_scale;
        let sum: i64 = weight.iter().map(|&weight| i64::from(weight)).sum();
        let bias =
            (channel.bias / f64::from(scale)).round_ties_even() as i64 - i64::from(input_zero_point) * sum;
        packed.bias.push(bias.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        packed.scale.push(scale);
        packed.inverse.push(1.0 / channel.output_scale);
        packed.zero_point.push(channel.output_zero_point.into());
    }
    let padded = channels.len().next_multiple_of(BLOCK);
    packed.bias.resize(padded, 0);
    packed.scale.resize(padded, 0.0);
    packed.inverse.resize(padded, 0.0);
    packed.zero_point.resize(padded, 0);
    packed
}
