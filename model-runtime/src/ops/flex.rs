//! The fused operators on burn's Flex backend: finds the channels-last image in a tensor's strides
//! and calls the kernels.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::tensor::{DType, Shape};
use burn_flex::{FlexTensor, Layout};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

use super::{Activation, ChainOperands, ConvOperands, ConvOptions, FusedOps, Inputs, Operand, fallback};
use crate::buffers::Buffer;
use crate::kernels::chain::{MAX_STAGES, conv2d_chain};
use crate::kernels::conv::{Conv, MAX_RUNS, MAX_SOURCES, Source, output_size};
use crate::kernels::convolve::conv2d;
use crate::kernels::image::{Image, ImageMut};
use crate::kernels::{Isa, pool};

impl FusedOps for Flex {
    fn fused_conv2d(operands: ConvOperands<Self>, upsampled: [bool; 4], options: ConvOptions) -> FlexTensor {
        if !runs_fused(&operands, upsampled, options) {
            return fallback::conv2d::<Self>(operands, upsampled, options);
        }
        let ConvOperands { inputs, weight, bias, residual } = operands;
        let images = images(inputs);
        let first = images[0].as_ref().expect("a convolution has an input");
        let (batch, scale) = (first.batch, if upsampled[0] { 2 } else { 1 });
        let size = [first.height * scale, first.width * scale];
        let [height, width] = output_size(size, options.kernel, options.stride, options.padding);

        let weight = PackedWeight::new(&weight);
        let conv = weight.conv(&bias, options);
        let pitch = conv.weight_shape[0] * 16;
        let residual = residual.into_option().map(|tensor| FlexImage::with_room(tensor, pitch));
        let mut output = Output::new(batch, height, width, pitch);
        for n in 0..batch {
            let (sources, count) = sources(&images, n, upsampled);
            let residual = residual.as_ref().map(|residual| residual.image(n));
            conv2d(Isa::current(), &sources[..count], &conv, residual.as_ref(), &mut output.image(n));
        }
        output.into_tensor(options.out_channels)
    }

    fn fused_conv2d_chain(
        operands: ChainOperands<Self>,
        options: [Option<ConvOptions>; MAX_STAGES],
    ) -> FlexTensor {
        if !chain_runs_fused(&operands, options) {
            return fallback::conv2d_chain::<Self>(operands, options);
        }
        let (ConvOperands { inputs, weight, bias, .. }, rest) = operands.into_stages();
        let images = images(inputs);
        let mut stages = [const { None }; MAX_STAGES];
        for (stage, tensors) in stages.iter_mut().zip(std::iter::once((weight, bias)).chain(rest)) {
            *stage = Some(tensors);
        }
        let weights =
            stages.each_ref().map(|stage| stage.as_ref().map(|(weight, _)| PackedWeight::new(weight)));
        let count = weights.iter().flatten().count();
        // Entries beyond `count` are never read.
        let convs: [Conv<'_>; MAX_STAGES] = std::array::from_fn(|i| {
            let i = i.min(count - 1);
            let bias = &stages[i].as_ref().expect("one of the stages").1;
            weights[i].as_ref().expect("one of the stages").conv(bias, options[i].expect("as many as stages"))
        });
        let convs = &convs[..count];
        let first = images[0].as_ref().expect("a convolution has an input");
        let [height, width] = convs.iter().fold([first.height, first.width], |size, conv| {
            output_size(size, conv.kernel, conv.stride, conv.padding)
        });
        let mut output = Output::new(first.batch, height, width, convs[count - 1].weight_shape[0] * 16);
        for n in 0..first.batch {
            let (sources, count) = sources(&images, n, [false; 4]);
            conv2d_chain(Isa::current(), &sources[..count], convs, &mut output.image(n));
        }
        output.into_tensor(options[count - 1].expect("as many as stages").out_channels)
    }

    fn fused_sppf_pool(x: FlexTensor, kernel: usize) -> FlexTensor {
        let x = FlexImage::new(x);
        let mut output = Output::new(x.batch, x.height, x.width, 3 * x.channels);
        for n in 0..x.batch {
            pool::sppf(Isa::current(), &x.image(n), kernel, &mut output.image(n));
        }
        output.into_tensor(3 * x.channels)
    }
}

/// Whether the kernels support these parameters; the rest is rare enough to be left to burn.
fn runs_fused(operands: &ConvOperands<Flex>, upsampled: [bool; 4], options: ConvOptions) -> bool {
    let simple = options.kernel == [1, 1] && options.stride == [1, 1] && options.padding == [0, 0];
    let mut channels = operands.inputs.tensors().map(|tensor| tensor.layout().shape()[1]);
    let inputs = operands.inputs.tensors().count();
    let mut batches = operands.inputs.tensors().map(|tensor| tensor.layout().shape()[0]);
    let batch = batches.next();
    // burn's sum would repeat a smaller one.
    let residual = match &operands.residual {
        Operand::Absent => true,
        Operand::Present(tensor) => {
            let shape = tensor.layout().shape();
            Some(shape[0]) == batch && shape[1] == options.out_channels
        }
    };
    operands.weight.dtype() == DType::F32
        && residual
        && batches.all(|other| Some(other) == batch)
        && (simple || upsampled == [false; 4])
        && if is_transformed(&operands.weight, options) {
            channels.all(|channels| channels.is_multiple_of(16))
        } else {
            options.kernel[0] * options.kernel[1] * inputs <= MAX_RUNS
        }
}

/// The same for a chain, in which each stage reads the output of the one before.
fn chain_runs_fused(operands: &ChainOperands<Flex>, options: [Option<ConvOptions>; MAX_STAGES]) -> bool {
    let [first, later @ ..] = options;
    let third = match &operands.third_weight {
        Operand::Absent => None,
        Operand::Present(weight) => Some(weight),
    };
    let mut later =
        [Some(&operands.second_weight), third].into_iter().flatten().zip(later.into_iter().flatten());
    let padded_less = |options: ConvOptions| (0..2).all(|axis| options.padding[axis] < options.kernel[axis]);
    first.is_some_and(|first| padded_less(first) && runs_fused(&operands.first, [false; 4], first))
        && later.all(|(weight, options)| {
            weight.dtype() == DType::F32
                && padded_less(options)
                && if is_transformed(weight, options) {
                    weight.layout().shape()[3].is_multiple_of(16)
                } else {
                    options.kernel[0] * options.kernel[1] <= MAX_RUNS
                }
        })
}

fn is_transformed(weight: &FlexTensor, options: ConvOptions) -> bool {
    weight.layout().shape().to_vec()[1..3] != options.kernel
}

fn images(inputs: Inputs<Flex>) -> [Option<FlexImage>; MAX_SOURCES] {
    let mut tensors = inputs.into_tensors();
    std::array::from_fn(|_| tensors.next().map(FlexImage::new))
}

/// The images' `n`th of the batch, and how many there are.
fn sources(
    images: &[Option<FlexImage>; MAX_SOURCES],
    n: usize,
    upsampled: [bool; 4],
) -> ([Source<'_>; MAX_SOURCES], usize) {
    let sources = std::array::from_fn(|i| Source {
        image: images[i].as_ref().map_or(Image::EMPTY, |image| image.image(n)),
        upsampled: upsampled[i],
    });
    (sources, images.iter().flatten().count())
}

/// Packed weights, borrowed from their tensor.
struct PackedWeight<'a> {
    values: Cow<'a, [f32]>,
    shape: [usize; 5],
}

impl<'a> PackedWeight<'a> {
    fn new(weight: &'a FlexTensor) -> Self {
        let shape = weight.layout().shape().to_vec().try_into().expect("packed weights have rank 5");
        Self { values: values(weight), shape }
    }

    fn conv<'b>(&'b self, bias: &'b FlexTensor, options: ConvOptions) -> Conv<'b> {
        assert_eq!(options.out_channels.div_ceil(16), self.shape[0], "output channels");
        Conv {
            kernel: options.kernel,
            stride: options.stride,
            padding: options.padding,
            weight: &self.values,
            weight_shape: self.shape,
            bias: bias.as_slice().expect("a packed bias is contiguous"),
            silu: options.activation == Activation::Silu,
        }
    }
}

/// A tensor's values in row-major order; borrowed where they are stored that way, as packed weights
/// are.
fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice() {
        Some(values) => values.into(),
        None => tensor.to_contiguous().as_slice::<f32>().expect("contiguous now").to_vec().into(),
    }
}

/// A `[N, C, H, W]` tensor with contiguous channels; copied only if they were not.
pub(crate) struct FlexImage {
    tensor: FlexTensor,
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl FlexImage {
    pub(crate) fn new(tensor: FlexTensor) -> Self {
        let channels = tensor.layout().shape()[1];
        Self::with_room(tensor, channels)
    }

    /// Like `new`, with `channels` readable values at every pixel; those beyond the tensor's own
    /// are unspecified.
    fn with_room(tensor: FlexTensor, room: usize) -> Self {
        let layout = tensor.layout();
        let shape: [usize; 4] = layout.shape().to_vec().try_into().expect("images have rank 4");
        let [batch, channels, height, width] = shape;
        let strides = layout.strides();
        let last = (0..4).map(|i| (shape[i] as isize - 1).max(0) * strides[i]).sum::<isize>()
            + layout.start_offset() as isize;
        let spare = tensor.bytes().len() / size_of::<f32>()
            - (last.max(0) as usize).min(tensor.bytes().len() / size_of::<f32>());
        let channels_last = (channels == 1 || strides[1] == 1)
            && strides.iter().all(|&stride| stride >= 0)
            && (width == 1 || strides[3] >= channels as isize)
            && (room == channels || spare + channels > room);
        let tensor = if channels_last { tensor } else { to_channels_last(&tensor, shape, room) };
        Self { tensor, batch, channels, height, width }
    }

    /// One image of the batch.
    pub(crate) fn image(&self, n: usize) -> Image<'_> {
        let layout = self.tensor.layout();
        let [batch_pitch, _, row_pitch, pixel_pitch] = [0, 1, 2, 3].map(|i| layout.strides()[i] as usize);
        let start = layout.start_offset() + n * batch_pitch;
        Image {
            data: &self.tensor.storage::<f32>()[start..],
            height: self.height,
            width: self.width,
            channels: self.channels,
            row_pitch,
            pixel_pitch,
        }
    }
}

fn to_channels_last(tensor: &FlexTensor, shape: [usize; 4], room: usize) -> FlexTensor {
    let [batch, channels, height, width] = shape;
    let pitch = room.max(channels);
    let mut output = Output::new(batch, height, width, pitch);
    let strides: [isize; 4] = std::array::from_fn(|i| tensor.layout().strides()[i]);
    let start = tensor.layout().start_offset() as isize;
    let source = tensor.storage::<f32>();
    let target = output.buffer.as_mut_slice();
    for n in 0..batch {
        for y in 0..height {
            let row = start + n as isize * strides[0] + y as isize * strides[2];
            let target = &mut target[(n * height + y) * width * pitch..][..width * pitch];
            for c in 0..channels {
                for (x, pixel) in target.chunks_exact_mut(pitch).enumerate() {
                    pixel[c] = source[(row + c as isize * strides[1] + x as isize * strides[3]) as usize];
                }
            }
        }
    }
    output.into_tensor(channels)
}

/// A recycled buffer that becomes a tensor.
struct Output {
    buffer: Buffer,
    batch: usize,
    height: usize,
    width: usize,
    pitch: usize,
}

impl Output {
    fn new(batch: usize, height: usize, width: usize, pitch: usize) -> Self {
        Self { buffer: Buffer::take(batch * height * width * pitch), batch, height, width, pitch }
    }

    fn image(&mut self, n: usize) -> ImageMut<'_> {
        let size = self.height * self.width * self.pitch;
        ImageMut::dense(
            &mut self.buffer.as_mut_slice()[n * size..][..size],
            self.height,
            self.width,
            self.pitch,
        )
    }

    fn into_tensor(self, channels: usize) -> FlexTensor {
        let Self { buffer, batch, height, width, pitch } = self;
        tensor(buffer, [batch, channels, height, width], pitch, DType::F32)
    }
}

/// A recycled buffer of dense pixels, `pitch` values each, as a tensor.
pub(super) fn tensor(buffer: Buffer, shape: [usize; 4], pitch: usize, of: DType) -> FlexTensor {
    let [_, channels, height, width] = shape;
    // burn reads as far as the shape and the strides say.
    assert!(channels <= pitch, "a pixel has {pitch} channels at most");
    let strides = [height * width * pitch, 1, width * pitch, pitch].map(|stride| stride as isize);
    let len = size_of_val(buffer.as_slice());
    // SAFETY: the buffer's memory is initialised (allocated as zeros) and `len` bytes long.
    let bytes = unsafe { Bytes::from_controller(Box::new(Recycled(buffer)), len) };
    FlexTensor::new(bytes, Layout::new(Shape::from(shape.to_vec()), strides.to_vec(), 0), of)
}

/// Storage that burn owns; its buffer returns to the free list when the last tensor that uses it is
/// dropped.
struct Recycled(Buffer);

impl AllocationController for Recycled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _policy: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let floats = self.0.as_mut_slice();
        // SAFETY: floats are plain bytes; the caller promises to write initialised ones only.
        Ok(unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let floats = self.0.as_slice();
        // SAFETY: floats are plain bytes.
        Ok(unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) })
    }
}
