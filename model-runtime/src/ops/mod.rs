//! The fused operators, as generated code calls them: functions of burn tensors.
//!
//! On the Flex backend they run this crate's kernels. Activations stay logically `[1, C, H, W]` and
//! are stored channels-last behind strides, so any other burn operation works on them as well. On
//! other backends, the same call is composed of burn's own operations (see [`fallback`]).

mod fallback;
mod flex;
pub mod int8;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::Tensor;

use crate::kernels::chain::MAX_STAGES;
pub(crate) use flex::FlexImage;

/// The activation after a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// No activation.
    None,
    /// x · σ(x).
    Silu,
}

/// A convolution's constants; groups and dilation are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Output channels; the weights' are padded to a multiple of 16.
    pub out_channels: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Above and below, left and right.
    pub padding: [usize; 2],
    /// The activation.
    pub activation: Activation,
}

/// One input of a convolution; its inputs are concatenated along the channels.
#[derive(Clone, Debug)]
pub struct ConvInput {
    tensor: Tensor<4>,
    upsampled: bool,
}

impl ConvInput {
    /// A tensor of half the height and width, upsampled by two (nearest neighbour).
    pub fn upsampled(tensor: Tensor<4>) -> Self {
        Self { tensor, upsampled: true }
    }
}

impl From<Tensor<4>> for ConvInput {
    fn from(tensor: Tensor<4>) -> Self {
        Self { tensor, upsampled: false }
    }
}

/// `activation(conv(concat(inputs), weight) + bias)`, plus `residual` if there is one.
///
/// `inputs`: 1 to 4 of `[N, Cᵢ, H, W]`, or half of that size where upsampled. `weight` and `bias`
/// as packed by [`crate::pack`]. Result: `[N, out_channels, H', W']`. The concatenation is never
/// materialised on Flex, nor is the upsampling before a 1 × 1 convolution.
///
/// # Panics
/// If shapes don't fit, as burn's own operations do.
pub fn conv2d<const N: usize>(
    inputs: [ConvInput; N],
    weight: Tensor<5>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    options: ConvOptions,
) -> Tensor<4> {
    const { assert!(N >= 1 && N <= 4, "a convolution takes 1 to 4 inputs") };
    let mut upsampled = [false; 4];
    let mut tensors = inputs.into_iter().zip(&mut upsampled).map(|(input, flag)| {
        *flag = input.upsampled;
        Operand::from(Some(input.tensor))
    });
    let mut next = || tensors.next().unwrap_or(Operand::Absent);
    let operands = ConvOperands {
        inputs: Inputs { first: next(), second: next(), third: next(), fourth: next() },
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
        residual: residual.into(),
    };
    drop(tensors);
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_conv2d(operands, upsampled, options))
}

/// The first convolution: `gray_weight` is for images of one channel, `weight` for the channels the
/// model was trained with.
///
/// # Panics
/// As [`conv2d`].
pub fn stem_conv2d(
    image: Tensor<4>,
    weight: Tensor<5>,
    gray_weight: Tensor<5>,
    bias: Tensor<1>,
    options: ConvOptions,
) -> Tensor<4> {
    let weight = stem_weight(&image, weight, gray_weight);
    conv2d([image.into()], weight, bias, None, options)
}

/// The first convolution's weights for the number of channels of `image`.
pub fn stem_weight(image: &Tensor<4>, weight: Tensor<5>, gray_weight: Tensor<5>) -> Tensor<5> {
    let [_, channels, _, _] = image.dims();
    if channels == 1 { gray_weight } else { weight }
}

/// One convolution of a chain: weight and bias as packed by [`crate::pack`].
#[derive(Clone, Debug)]
pub struct ChainStage {
    /// As [`conv2d`] takes it.
    pub weight: Tensor<5>,
    /// As [`conv2d`] takes it.
    pub bias: Tensor<1>,
    /// As [`conv2d`] takes them.
    pub options: ConvOptions,
}

/// [`conv2d`] of the concatenation of `inputs` and then, stage by stage, of the result. On Flex, a
/// few rows at a time, so that intermediate maps stay in the cache.
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_chain<const N: usize, const S: usize>(
    inputs: [Tensor<4>; N],
    stages: [ChainStage; S],
) -> Tensor<4> {
    const { assert!(N >= 1 && N <= 4, "a convolution takes 1 to 4 inputs") };
    const { assert!(S == 2 || S == MAX_STAGES, "a chain has 2 or 3 stages") };
    let mut options = [None; MAX_STAGES];
    let mut stages = stages.into_iter().zip(&mut options).map(|(stage, options)| {
        *options = Some(stage.options);
        (stage.weight.into_dispatch(), stage.bias.into_dispatch())
    });
    let mut tensors = inputs.into_iter();
    let mut next = || Operand::from(tensors.next());
    let inputs = Inputs { first: next(), second: next(), third: next(), fourth: next() };
    let (weight, bias) = stages.next().expect("a chain has two stages");
    let first = ConvOperands { inputs, weight, bias, residual: Operand::Absent };
    let (second_weight, second_bias) = stages.next().expect("a chain has two stages");
    let (third_weight, third_bias) = match stages.next() {
        Some((weight, bias)) => (Operand::Present(weight), Operand::Present(bias)),
        None => (Operand::Absent, Operand::Absent),
    };
    drop(stages);
    let operands = ChainOperands { first, second_weight, second_bias, third_weight, third_bias };
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_conv2d_chain(operands, options))
}

/// SPPF's pooling of `[N, C, H, W]`: three chained max pools of odd size `kernel`, stride 1, same
/// size, concatenated to `[N, 3C, H, W]`.
///
/// # Panics
/// If `kernel` is even.
pub fn sppf_pool(x: Tensor<4>, kernel: usize) -> Tensor<4> {
    assert!(kernel % 2 == 1, "a max pool of even size {kernel} changes the image's size");
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_sppf_pool(x.into_dispatch(), kernel))
}

/// An optional tensor, in a form that burn's extension macro can pass across the backend boundary.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    /// No tensor.
    Absent,
    /// A tensor.
    Present(FloatTensor<B>),
}

impl From<Option<Tensor<4>>> for Operand<Dispatch> {
    fn from(tensor: Option<Tensor<4>>) -> Self {
        tensor.map_or(Self::Absent, |tensor| Self::Present(tensor.into_dispatch()))
    }
}

impl<B: Backend> Operand<B> {
    fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

/// The inputs of a convolution, in the order of their channels.
#[derive(ExtensionType)]
pub struct Inputs<B: Backend> {
    #[extension_type]
    first: Operand<B>,
    #[extension_type]
    second: Operand<B>,
    #[extension_type]
    third: Operand<B>,
    #[extension_type]
    fourth: Operand<B>,
}

impl<B: Backend> Inputs<B> {
    fn tensors(&self) -> impl Iterator<Item = &FloatTensor<B>> {
        [&self.first, &self.second, &self.third, &self.fourth].into_iter().filter_map(|operand| match operand
        {
            Operand::Absent => None,
            Operand::Present(tensor) => Some(tensor),
        })
    }

    fn into_tensors(self) -> impl Iterator<Item = FloatTensor<B>> {
        [self.first, self.second, self.third, self.fourth].into_iter().filter_map(Operand::into_option)
    }
}

/// The tensors of a convolution.
#[derive(ExtensionType)]
pub struct ConvOperands<B: Backend> {
    #[extension_type]
    inputs: Inputs<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    #[extension_type]
    residual: Operand<B>,
}

/// The tensors of a chain of convolutions; the third stage may be absent.
#[derive(ExtensionType)]
pub struct ChainOperands<B: Backend> {
    #[extension_type]
    first: ConvOperands<B>,
    second_weight: FloatTensor<B>,
    second_bias: FloatTensor<B>,
    #[extension_type]
    third_weight: Operand<B>,
    #[extension_type]
    third_bias: Operand<B>,
}

impl<B: Backend> ChainOperands<B> {
    /// The first convolution, and weight and bias of each that follows.
    fn into_stages(self) -> (ConvOperands<B>, impl Iterator<Item = (FloatTensor<B>, FloatTensor<B>)>) {
        let third = self.third_weight.into_option().zip(self.third_bias.into_option());
        (self.first, std::iter::once((self.second_weight, self.second_bias)).chain(third))
    }
}

/// The operators as a backend implements them. The default implementations use burn's own
/// operations and work on every backend.
#[backend_extension(Flex)]
pub trait FusedOps: Backend {
    /// See [`conv2d`].
    fn fused_conv2d(
        #[extension_type] operands: ConvOperands<Self>,
        upsampled: [bool; 4],
        options: ConvOptions,
    ) -> FloatTensor<Self> {
        fallback::conv2d::<Self>(operands, upsampled, options)
    }

    /// See [`conv2d_chain`]; one set of options for each stage.
    fn fused_conv2d_chain(
        #[extension_type] operands: ChainOperands<Self>,
        options: [Option<ConvOptions>; MAX_STAGES],
    ) -> FloatTensor<Self> {
        fallback::conv2d_chain::<Self>(operands, options)
    }

    /// See [`sppf_pool`].
    fn fused_sppf_pool(x: FloatTensor<Self>, kernel: usize) -> FloatTensor<Self> {
        fallback::sppf_pool::<Self>(x, kernel)
    }
}
