//! The fused operators in terms of burn's own: for other backends, and as the reference for the
//! kernels.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::ops::{ConvOptions as BurnConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Shape, Slice};

use super::{Activation, ChainOperands, ConvOperands, ConvOptions, FusedOps, Inputs, MAX_STAGES, Operand};

pub(super) fn conv2d<B: Backend>(
    operands: ConvOperands<B>,
    upsampled: [bool; 4],
    options: ConvOptions,
) -> FloatTensor<B> {
    let ConvOperands { inputs, weight, bias, residual } = operands;
    let mut inputs: Vec<_> = inputs
        .into_tensors()
        .zip(upsampled)
        .map(|(tensor, up)| if up { upsample::<B>(tensor) } else { tensor })
        .collect();
    let input = if inputs.len() == 1 { inputs.remove(0) } else { B::float_cat(inputs, 1) };

    let out_channels = Slice::new(0, Some(options.out_channels as isize), 1);
    let bias = B::float_slice(bias, &[out_channels]);
    let weight = B::float_slice(unpack::<B>(weight, options.kernel, options.stride), &[out_channels]);
    let burn_options = BurnConvOptions::new(options.stride, options.padding, [1, 1], 1);
    let mut output = B::conv2d(input, weight, Some(bias), burn_options);
    if options.activation == Activation::Silu {
        output = B::float_mul(output.clone(), B::sigmoid(output));
    }
    match residual.into_option() {
        Some(residual) => B::float_add(output, residual),
        None => output,
    }
}

/// A chain as single convolutions.
pub(super) fn conv2d_chain<B: FusedOps>(
    operands: ChainOperands<B>,
    options: [Option<ConvOptions>; MAX_STAGES],
) -> FloatTensor<B> {
    let mut options = options.into_iter().flatten();
    let mut next = || options.next().expect("as many options as stages");
    let (first, rest) = operands.into_stages();
    rest.fold(B::fused_conv2d(first, [false; 4], next()), |x, (weight, bias)| {
        let inputs = Inputs {
            first: Operand::Present(x),
            second: Operand::Absent,
            third: Operand::Absent,
            fourth: Operand::Absent,
        };
        let operands = ConvOperands { inputs, weight, bias, residual: Operand::Absent };
        B::fused_conv2d(operands, [false; 4], next())
    })
}

pub(super) fn sppf_pool<B: Backend>(x: FloatTensor<B>, kernel: usize) -> FloatTensor<B> {
    let pool = |x| B::max_pool2d(x, [kernel; 2], [1, 1], [kernel / 2; 2], [1, 1], false);
    let first = pool(x);
    let second = pool(first.clone());
    let third = pool(second.clone());
    B::float_cat(vec![first, second, third], 1)
}

fn upsample<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let shape = tensor.shape();
    let size = [shape[2] * 2, shape[3] * 2];
    B::interpolate(tensor, size, InterpolateOptions::new(InterpolateMode::Nearest))
}

/// `[blocks, taps down, taps across, in, 16]` back to `[blocks · 16, in, height, width]`.
fn unpack<B: Backend>(mut weight: FloatTensor<B>, kernel: [usize; 2], stride: [usize; 2]) -> FloatTensor<B> {
    let shape = weight.shape();
    let [blocks, inputs, lanes] = [shape[0], shape[3], shape[4]];
    if [shape[1], shape[2]] != kernel {
        // Weights in the transformed domain of Winograd's filtering (see `kernels::winograd`):
        // inverted along both axes.
        weight = untransform::<B>(untransform::<B>(weight, 1, stride[0]), 2, stride[1]);
    }
    let ordered = B::float_permute(weight, &[0, 4, 3, 1, 2]);
    B::float_reshape(ordered, Shape::from(vec![blocks * lanes, inputs, kernel[0], kernel[1]]))
}

/// Six transformed taps along `axis` to the three they were made of, by the rows of G: 4·u₀,
/// 3·(u₂ - u₁), u₅ for a stride of one, 2·u₀, u₅, u₄ for a stride of two.
fn untransform<B: Backend>(weight: FloatTensor<B>, axis: usize, stride: usize) -> FloatTensor<B> {
    let tap = |i: isize| {
        let mut slices = vec![Slice::full(); axis];
        slices.push(Slice::new(i, Some(i + 1), 1));
        B::float_slice(weight.clone(), &slices)
    };
    if stride == 2 {
        let first = B::float_mul_scalar(tap(0), 2.0.into());
        return B::float_cat(vec![first, tap(5), tap(4)], axis);
    }
    let first = B::float_mul_scalar(tap(0), 4.0.into());
    let second = B::float_mul_scalar(B::float_sub(tap(2), tap(1)), 3.0.into());
    B::float_cat(vec![first, second, tap(5)], axis)
}
