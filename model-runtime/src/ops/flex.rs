//! The fused operators on burn's Flex backend: finds the channels-last image in a tensor's strides and calls the kernels.

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::tensor::{DType, Shape};
use burn_flex::{FlexTensor, Layout};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

use super::{Activation, ConvOperands, ConvOptions, FusedOps, fallback};
use crate::buffers::Buffer;
use crate::kernels::conv::{self, Conv, MAX_RUNS, MAX_SOURCES, Source};
use crate::kernels::image::{Image, ImageMut};
use crate::kernels::{Isa, pool};

impl FusedOps for Flex {
    fn fused_conv2d(operands: ConvOperands<Self>, upsampled: [bool; 4], options: ConvOptions) -> FlexTensor {
        if !runs_fused(&operands, upsampled, options) {
            return fallback::conv2d::<Self>(operands, upsampled, options);
        }
        let ConvOperands { inputs, weight, bias, residual } = operands;
        let mut images = [const { None }; MAX_SOURCES];
        for (image, tensor) in images.iter_mut().zip(inputs.into_tensors()) {
            *image = Some(FlexImage::new(tensor));
        }
        let first = images[0].as_ref().expect("a convolution has an input");
        let (batch, scale) = (first.batch, if upsampled[0] { 2 } else { 1 });
        let size = [first.height * scale, first.width * scale];
        let [height, width] = conv::output_size(size, options.kernel, options.stride, options.padding);

        let weight_shape: [usize; 5] =
            weight.layout().shape().to_vec().try_into().expect("packed weights have rank 5");
        let weight = values(&weight);
        let conv = Conv {
            kernel: options.kernel,
            stride: options.stride,
            padding: options.padding,
            weight: &weight,
            weight_shape,
            bias: bias.as_slice().expect("a packed bias is contiguous"),
            silu: options.activation == Activation::Silu,
        };
        let pitch = weight_shape[0] * 16;
        let residual = residual.into_option().map(|tensor| FlexImage::with_room(tensor, pitch));
        let mut output = Output::new(batch, height, width, pitch);
        for n in 0..batch {
            let mut sources = [const { None }; MAX_SOURCES];
            let mut count = 0;
            for ((source, image), upsampled) in sources.iter_mut().zip(images.iter().flatten()).zip(upsampled)
            {
                *source = Some(Source { image: image.image(n), upsampled });
                count += 1;
            }
            let sources =
                sources.map(|source| source.unwrap_or(Source { image: Image::EMPTY, upsampled: false }));
            let residual = residual.as_ref().map(|residual| residual.image(n));
            conv::conv2d(Isa::current(), &sources[..count], &conv, residual.as_ref(), &mut output.image(n));
        }
        output.into_tensor(options.out_channels)
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

/// Whether the kernels can do it; what they can't is rare enough to be left to burn.
fn runs_fused(operands: &ConvOperands<Flex>, upsampled: [bool; 4], options: ConvOptions) -> bool {
    let simple = options.kernel == [1, 1] && options.stride == [1, 1] && options.padding == [0, 0];
    let shape = operands.weight.layout().shape();
    let transformed = shape.to_vec()[1..3] != options.kernel;
    let mut channels = operands.inputs.tensors().map(|tensor| tensor.layout().shape()[1]);
    let inputs = operands.inputs.tensors().count();
    operands.weight.dtype() == DType::F32
        && (simple || upsampled == [false; 4])
        && if transformed {
            channels.all(|channels| channels.is_multiple_of(16))
        } else {
            options.kernel[0] * options.kernel[1] * inputs <= MAX_RUNS
        }
}

/// A tensor's values in order; borrowed where they lie in order already, as packed weights do.
fn values(tensor: &FlexTensor) -> std::borrow::Cow<'_, [f32]> {
    match tensor.as_slice() {
        Some(values) => values.into(),
        None => tensor.to_contiguous().as_slice::<f32>().expect("contiguous now").to_vec().into(),
    }
}

/// A `[N, C, H, W]` tensor whose channels lie next to each other, copied only if they didn't.
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

    /// Like `new`, and `channels` values can be read at every pixel, whatever those beyond the tensor's own are.
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
        let shape = Shape::from(vec![batch, channels, height, width]);
        let strides = [height * width * pitch, 1, width * pitch, pitch].map(|stride| stride as isize);
        let len = size_of_val(buffer.as_slice());
        // SAFETY: the buffer's memory is initialised (allocated as zeros) and `len` bytes long.
        let bytes = unsafe { Bytes::from_controller(Box::new(Recycled(buffer)), len) };
        FlexTensor::new(bytes, Layout::new(shape, strides.to_vec(), 0), DType::F32)
    }
}

/// Lets burn own a buffer that returns to the free list when the last tensor on it is gone.
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
