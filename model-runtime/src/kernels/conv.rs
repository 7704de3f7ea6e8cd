//! The parameters of a convolution.

use super::image::Image;

/// Most kernel taps × inputs of one convolution; YOLOv5's stem has 6 × 6.
pub const MAX_RUNS: usize = 64;
/// Most images that one convolution takes as a concatenation.
pub const MAX_SOURCES: usize = 4;

/// One convolution: `activation(Σ weight · input + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
    /// Weights, packed by [`crate::pack::pack_conv`].
    pub weight: &'a [f32],
    /// `[blocks of 16 output channels, kernel height, kernel width, input channels, 16]`.
    pub weight_shape: [usize; 5],
    /// One value for each output channel, padded to a multiple of 16.
    pub bias: &'a [f32],
    /// Whether SiLU follows.
    pub silu: bool,
}

/// One of the images whose channels are convolved as if concatenated.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The image.
    pub image: Image<'a>,
    /// Whether it is upsampled: each pixel stands for 2 × 2. Only in a 1 × 1 convolution.
    pub upsampled: bool,
}

/// Height and width of the convolution's output for an image.
pub fn output_size(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> [usize; 2] {
    std::array::from_fn(|i| {
        (size[i] + 2 * padding[i]).checked_sub(kernel[i]).map_or(0, |span| span / stride[i] + 1)
    })
}
