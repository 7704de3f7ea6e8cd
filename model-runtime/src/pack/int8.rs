//! Packs 8-bit weights in the integer kernels' layout. Runs at import; the function maps the result
//! into memory.

use super::BLOCK;
use crate::kernels::int8::GROUP;
use crate::kernels::int8::conv::{BLOCK_INTEGERS, Block};
use crate::kernels::int8::finish::{MOST_PIECE_BITS, PIECES, TABLE};
pub use crate::kernels::int8::pool::Scale;

/// Packs a convolution's weight, given in ONNX's order `[out][in][kernel height][kernel width]`,
/// into `[blocks, kernel height, kernel width, groups of 4 input channels, 16 output channels, 4]`;
/// padded with zeros.
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

/// The weights for one input channel of a convolution whose input channels are always equal: their
/// sum over the channels, in 16 bits: `[blocks, kernel height, pairs of taps, 16 output channels,
/// 2]`. Exact.
///
/// # Panics
/// If `weight` doesn't have as many values as the shape says, or so many channels that a sum
/// exceeds 16 bits.
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

/// Most fraction bits of a level: 255 levels must fit in 15 bits.
const MOST_BITS: u32 = 7;
/// Beyond this magnitude SiLU(x) is taken as 0 or x.
const SILU_ENDS: f32 = 8.0;

/// How sums are converted; see [`crate::kernels::int8::conv::Constants`]. Padded to whole blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedConstants {
    /// Initial values of the sums: the bias in units of the sum, less the contribution of the
    /// input's zero point.
    pub bias: Vec<i32>,
    /// The value of one unit of the sum.
    pub scale: Vec<f32>,
    /// How each block is quantized: a [`Block`].
    pub blocks: Vec<[i32; BLOCK_INTEGERS]>,
    /// SiLU's tables.
    pub tables: Vec<i16>,
    /// Multiplier of the residual's levels, if there is one.
    pub residual: Option<i16>,
}

/// One output channel in real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Bias, a real value.
    pub bias: f64,
    /// The weights' scale.
    pub weight_scale: f32,
    /// The output's scale and zero point; `None` for float output. The channels of a block share
    /// it.
    pub output: Option<Scale>,
}

/// Constants for `channels`, whose weights (in ONNX's order) are applied to a map with the scale
/// `input`; `silu`: whether SiLU follows; `residual`: scale of the map that is added after it.
///
/// # Panics
/// If `weight` doesn't have as many values for each channel, if the channels of a block, or of a
/// sum, differ in scale, or if a sum may leave 32 bits ([`fit_sums`] rules that out).
pub fn pack_constants(
    weight: &[i8],
    channels: &[Channel],
    input: Scale,
    silu: bool,
    residual: Option<Scale>,
) -> PackedConstants {
    assert!(!channels.is_empty() && weight.len().is_multiple_of(channels.len()), "weight length");
    let each = weight.len() / channels.len();
    let mut packed = PackedConstants::default();
    let mut outputs: Vec<Scale> = Vec::new();
    for (channels, weight) in channels.chunks(BLOCK).zip(weight.chunks(BLOCK * each)) {
        let output = channels[0].output;
        assert!(channels.iter().all(|channel| channel.output == output), "a block has one scale");
        let mut parts = 1.0;
        let mut block = Block { shift: 0, offset: 0, table: None, piece_bits: 0 };
        if let Some(output) = output {
            block.shift = part_bits(output.scale, silu, residual);
            parts = f64::from(1_u32 << block.shift) / f64::from(output.scale);
            block.offset = ((i32::from(output.zero_point) << block.shift) + (1 << block.shift >> 1)) as i16;
            if silu {
                let pieces = |bits: &u32| (PIECES << bits) as f64 >= f64::from(SILU_ENDS) * parts;
                block.piece_bits = (0..MOST_PIECE_BITS).find(pieces).unwrap_or(MOST_PIECE_BITS);
                let known = outputs.iter().position(|known| known.scale == output.scale);
                block.table = known.or_else(|| {
                    packed.tables.extend(silu_table(parts, block.piece_bits));
                    outputs.push(output);
                    Some(outputs.len() - 1)
                });
            }
            if let Some(residual) = residual {
                let multiplier = (f64::from(residual.scale) * parts * 256.0).round();
                let multiplier = multiplier.min(i16::MAX.into()) as i16;
                assert!(packed.residual.is_none_or(|known| known == multiplier), "a sum has one scale");
                packed.residual = Some(multiplier);
            }
        }
        packed.blocks.push(block.to_integers());
        for (channel, weight) in channels.iter().zip(weight.chunks_exact(each)) {
            let unit = unit(channel, input);
            let (bias, largest) = initial_and_largest(weight, channel, input);
            assert!(largest <= MOST, "a sum may leave 32 bits");
            let most = if output.is_some() { 2_147_000_000.0 / largest.max(1) as f64 } else { f64::MAX };
            packed.bias.push(i32::try_from(bias).expect("at most the largest"));
            packed.scale.push((unit * parts).min(most) as f32);
        }
    }
    let padded = channels.len().next_multiple_of(BLOCK);
    packed.bias.resize(padded, 0);
    packed.scale.resize(padded, 0.0);
    packed
}

/// The largest size of a sum.
const MOST: i64 = i32::MAX as i64;

/// The value of one unit of a channel's sums.
fn unit(channel: &Channel, input: Scale) -> f64 {
    f64::from(input.scale * channel.weight_scale)
}

/// The initial value of a channel's sums in units, and the largest size that a sum may have on the
/// way.
fn initial_and_largest(weight: &[i8], channel: &Channel, input: Scale) -> (i64, i64) {
    let sum: i64 = weight.iter().map(|&weight| i64::from(weight)).sum();
    let bias = (channel.bias / unit(channel, input)).round_ties_even() as i64;
    let initial = bias.saturating_sub(i64::from(input.zero_point) * sum);
    let products: i64 = weight.iter().map(|&weight| 255 * i64::from(weight.unsigned_abs())).sum();
    (initial, initial.saturating_abs().saturating_add(products))
}

/// Gives channels whose sums may leave 32 bits a coarser scale: weights that are tiny beside the
/// bias, as in channels that training has switched off, or a great many inputs.
///
/// # Panics
/// As [`pack_constants`], about lengths.
pub fn fit_sums(weight: &mut [i8], channels: &mut [Channel], input: Scale) {
    assert!(!channels.is_empty() && weight.len().is_multiple_of(channels.len()), "weight length");
    let each = weight.len() / channels.len();
    for (at, channel) in channels.iter_mut().enumerate() {
        let weight = &mut weight[at * each..][..each];
        while initial_and_largest(weight, channel, input).1 > MOST {
            channel.weight_scale = (channel.weight_scale * 2.0).max(f32::MIN_POSITIVE);
            for level in weight.iter_mut() {
                *level = (f32::from(*level) / 2.0).round_ties_even() as i8;
            }
        }
    }
}

/// The largest number of fraction bits such that 15 bits hold all levels, everything that the
/// residual may cancel, SiLU's steepest slope, and the residual's multiplier.
fn part_bits(scale: f32, silu: bool, residual: Option<Scale>) -> u32 {
    let fits = |bits: &u32| {
        let parts = (1_u32 << bits) as f32;
        let levels = 32768.0 / parts;
        let sum_fits = residual.is_none_or(|residual| {
            // SiLU has a small lower bound: only large positive values can be cancelled.
            let below = f32::from(residual.zero_point);
            let most = if silu { below } else { below.max(255.0 - below) };
            let ratio = residual.scale / scale;
            256.0 + most * ratio <= levels && ratio * parts * 256.0 < 32767.5
        });
        (!silu || scale * levels >= SILU_ENDS) && sum_fits
    };
    (0..=MOST_BITS).rev().find(fits).unwrap_or(0)
}

/// `x / (1 + e^x)` for positive x in linear pieces of length `1 << piece_bits`, each with its error
/// balanced around zero; `parts`: the fractions of one.
fn silu_table(parts: f64, piece_bits: u32) -> [i16; TABLE] {
    let exact = |at: f64| at / (1.0 + (at / parts).exp());
    let mut table = [0; TABLE];
    for piece in 0..PIECES {
        let [begin, middle, end] =
            [0.0, 0.5, 1.0].map(|part| exact((piece as f64 + part) * f64::from(1_u32 << piece_bits)));
        let off = (middle - f64::midpoint(begin, end)) / 2.0;
        table[piece] = (begin + off).round() as i16;
        table[PIECES + piece] = (end - begin).round() as i16;
    }
    table
}
