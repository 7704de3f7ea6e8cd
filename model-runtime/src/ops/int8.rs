//! The operators in 8-bit integers, as generated code calls them: functions of burn's integer
//! tensors, on Flex only.
//!
//! A map is a `Tensor<4, Int>` of unsigned bytes, logically `[N, C, H, W]`, stored channels-last
//! behind strides. Its scale and zero point are not in the tensor: generated code has them among
//! the operators' constants.

use burn::backend::Flex;
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use burn_flex::{FlexTensor, Layout};
use burn_std::Bytes;

use super::flex::tensor;
use crate::buffers::Buffer;
use crate::kernels::conv::{MAX_SOURCES, output_size};
use crate::kernels::image::{Image, ImageMut};
use crate::kernels::int8::conv::{self, Constants, Conv, Output, Source, Weight};
use crate::kernels::int8::pool::{self, Scale};
use crate::kernels::int8::{BLOCK, Int8Isa};

/// One input of a convolution; its inputs are concatenated along the channels.
#[derive(Clone, Debug)]
pub struct Input {
    tensor: Tensor<4, Int>,
    upsampled: bool,
}

impl Input {
    /// A map of half the height and width, upsampled by two (nearest neighbour).
    pub fn upsampled(tensor: Tensor<4, Int>) -> Self {
        Self { tensor, upsampled: true }
    }
}

impl From<Tensor<4, Int>> for Input {
    fn from(tensor: Tensor<4, Int>) -> Self {
        Self { tensor, upsampled: false }
    }
}

/// The map that is added after the activation.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The map, of the output's size.
    pub tensor: Tensor<4, Int>,
    /// See [`crate::kernels::int8::conv::Residual`].
    pub multiplier: i16,
    /// Its zero point.
    pub zero_point: u8,
}

/// A convolution's tensors, as [`crate::pack::int8`] packs them.
#[derive(Clone, Debug)]
pub struct ConvTensors {
    /// Signed bytes.
    pub weight: Tensor<1, Int>,
    /// Signed 16-bit integers, for an input of one channel, if gray input is possible.
    pub gray_weight: Option<Tensor<1, Int>>,
    /// 32-bit integers: the initial value of each channel's sums, then each block's
    /// ([`conv::Block::to_integers`]).
    pub integers: Tensor<1, Int>,
    /// The value of one unit of each channel's sum.
    pub scale: Tensor<1>,
    /// SiLU's tables, of signed 16-bit integers, if SiLU follows.
    pub silu: Option<Tensor<1, Int>>,
    /// A table that every 8-bit result is looked up in, if any: 256 unsigned bytes.
    pub table: Option<Tensor<1, Int>>,
}

/// A convolution's other constants; groups and dilation are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Output channels; the tensors' are padded to a multiple of 16.
    pub out_channels: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Above and below, left and right.
    pub padding: [usize; 2],
    /// The zero point of the inputs, which share their scale.
    pub input_zero_point: u8,
}

/// `quantize(activation(conv(concat(inputs), weight) + bias) + residual)`, see
/// [`crate::kernels::int8`].
///
/// `inputs`: 1 to 4 of `[N, Cᵢ, H, W]`, or half of that size where upsampled. Result: `[N,
/// out_channels, H', W']`.
///
/// # Panics
/// If shapes or types don't fit.
pub fn conv2d<const N: usize>(
    inputs: [Input; N],
    tensors: ConvTensors,
    residual: Option<Residual>,
    options: ConvOptions,
) -> Tensor<4, Int> {
    let residual = residual.map(|residual| {
        let room = options.out_channels.next_multiple_of(BLOCK);
        (Map::with_room(residual.tensor, room), residual.multiplier, residual.zero_point)
    });
    convolve(inputs, tensors, options, |run, batch, [height, width], pitch| {
        if let Some((map, ..)) = &residual {
            assert_eq!([map.batch, map.channels], [batch, options.out_channels], "the residual's shape");
        }
        let size = height * width * pitch;
        let mut buffer = Buffer::take_bytes(batch * size);
        for (n, data) in buffer.as_mut_bytes()[..batch * size].chunks_exact_mut(size.max(1)).enumerate() {
            let residual = residual.as_ref().map(|(map, multiplier, zero_point)| conv::Residual {
                image: map.image(n),
                multiplier: *multiplier,
                zero_point: *zero_point,
            });
            let mut image = ImageMut::dense(data, height, width, pitch);
            run(n, residual.as_ref(), Output::Bytes(&mut image));
        }
        let shape = [batch, options.out_channels, height, width];
        Tensor::from_primitive::<Flex>(tensor(buffer, shape, pitch, DType::U8))
    })
}

/// `conv(concat(inputs), weight) + bias` in real numbers: a head's logits.
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_floats<const N: usize>(
    inputs: [Input; N],
    tensors: ConvTensors,
    options: ConvOptions,
) -> Tensor<4> {
    convolve(inputs, tensors, options, |run, batch, [height, width], pitch| {
        let size = height * width * pitch;
        let mut buffer = Buffer::take(batch * size);
        for (n, data) in buffer.as_mut_slice().chunks_exact_mut(size.max(1)).enumerate() {
            run(n, None, Output::Floats(&mut ImageMut::dense(data, height, width, pitch)));
        }
        let shape = [batch, options.out_channels, height, width];
        Tensor::from_primitive::<Flex>(tensor(buffer, shape, pitch, DType::F32))
    })
}

/// The types and shapes of the packed tensors.
const IN_ORDER: &str = "packed constants are contiguous and of the operator's types";

/// Computes one image of the batch into an output.
type Run<'a> = dyn Fn(usize, Option<&conv::Residual<'_>>, Output<'_, '_>) + 'a;

/// The common part of both kinds of convolution: `finish` gets a closure that computes one image,
/// the batch, the output's size and its pitch.
fn convolve<const N: usize, T>(
    inputs: [Input; N],
    tensors: ConvTensors,
    options: ConvOptions,
    finish: impl FnOnce(&Run<'_>, usize, [usize; 2], usize) -> T,
) -> T {
    const { assert!(N >= 1 && N <= MAX_SOURCES, "a convolution takes 1 to 4 inputs") };
    let inputs = inputs.map(|input| (Map::new(input.tensor), input.upsampled));
    let (first, upsampled) = &inputs[0];
    assert!(inputs.iter().all(|(map, _)| map.batch == first.batch), "the inputs' batches differ");
    let scale = if *upsampled { 2 } else { 1 };
    let size = [first.height * scale, first.width * scale];
    let output = output_size(size, options.kernel, options.stride, options.padding);
    let gray = N == 1 && first.channels == 1;
    let [weight, gray_weight, silu, table] =
        [Some(tensors.weight), tensors.gray_weight.filter(|_| gray), tensors.silu, tensors.table]
            .map(|tensor| tensor.map(primitive));
    let (integers, scale) = (primitive(tensors.integers), primitive_of_floats(tensors.scale));
    let scale = scale.as_slice::<f32>().expect(IN_ORDER);
    assert_eq!(scale.len(), options.out_channels.next_multiple_of(BLOCK), "output channels");
    let (bias, blocks) = integers.as_slice::<i32>().expect(IN_ORDER).split_at(scale.len());
    let conv = Conv {
        kernel: options.kernel,
        stride: options.stride,
        padding: options.padding,
        weight: match &gray_weight {
            Some(weight) => Weight::Wide(weight.as_slice().expect(IN_ORDER)),
            None => {
                let weight = weight.as_ref().expect("a convolution has weights");
                Weight::Bytes(weight.as_slice().expect(IN_ORDER))
            }
        },
        constants: Constants {
            bias,
            scale,
            blocks: blocks.as_chunks().0,
            tables: silu.as_ref().map_or(&[], |tables| tables.as_slice().expect(IN_ORDER)),
        },
        input_zero_point: options.input_zero_point,
        table: table.as_ref().map(table_of),
    };
    let run = |n: usize, residual: Option<&conv::Residual<'_>>, out: Output<'_, '_>| {
        let sources =
            inputs.each_ref().map(|(map, upsampled)| Source { image: map.image(n), upsampled: *upsampled });
        conv::conv2d(Int8Isa::current(), &sources, &conv, residual, out);
    };
    finish(&run, first.batch, output, options.out_channels.next_multiple_of(BLOCK))
}

/// SPPF's pooling of `[N, C, H, W]`: three chained max pools of odd size `kernel`, stride 1, same
/// size, concatenated to `[N, 3C, H, W]`, of the same scale.
///
/// # Panics
/// If `kernel` is even or the tensor does not hold unsigned bytes.
pub fn sppf_pool(x: Tensor<4, Int>, kernel: usize) -> Tensor<4, Int> {
    let x = Map::new(x);
    let (pitch, size) = (3 * x.channels, 3 * x.channels * x.height * x.width);
    let mut buffer = Buffer::take_bytes(x.batch * size);
    for (n, data) in buffer.as_mut_bytes()[..x.batch * size].chunks_exact_mut(size.max(1)).enumerate() {
        let mut image = ImageMut::dense(data, x.height, x.width, pitch);
        pool::sppf(Int8Isa::current(), &x.image(n), kernel, &mut image);
    }
    let shape = [x.batch, pitch, x.height, x.width];
    Tensor::from_primitive::<Flex>(tensor(buffer, shape, pitch, DType::U8))
}

/// Looks up every byte of a map, which changes its scale.
///
/// # Panics
/// If `table` does not have 256 bytes.
pub fn look_up(x: Tensor<4, Int>, table: Tensor<1, Int>) -> Tensor<4, Int> {
    let (x, table) = (Map::new(x), primitive(table));
    let table = table_of(&table);
    let pitch = x.channels.next_multiple_of(BLOCK);
    let size = pitch * x.height * x.width;
    let mut buffer = Buffer::take_bytes(x.batch * size);
    for (n, data) in buffer.as_mut_bytes()[..x.batch * size].chunks_exact_mut(size.max(1)).enumerate() {
        pool::look_up(&x.image(n), table, &mut ImageMut::dense(data, x.height, x.width, pitch));
    }
    let shape = [x.batch, x.channels, x.height, x.width];
    Tensor::from_primitive::<Flex>(tensor(buffer, shape, pitch, DType::U8))
}

/// `a + b`, each with its own scale, quantized with `scale`.
///
/// # Panics
/// If the sizes differ.
pub fn add(a: (Tensor<4, Int>, Scale), b: (Tensor<4, Int>, Scale), scale: Scale) -> Tensor<4, Int> {
    let ((a, of_a), (b, of_b)) = (a, b);
    let (a, b) = (Map::new(a), Map::new(b));
    let pitch = a.channels.next_multiple_of(BLOCK);
    let size = pitch * a.height * a.width;
    let mut buffer = Buffer::take_bytes(a.batch * size);
    for (n, data) in buffer.as_mut_bytes()[..a.batch * size].chunks_exact_mut(size.max(1)).enumerate() {
        let mut image = ImageMut::dense(data, a.height, a.width, pitch);
        pool::add((&a.image(n), of_a), (&b.image(n), of_b), &mut image, scale);
    }
    let shape = [a.batch, a.channels, a.height, a.width];
    Tensor::from_primitive::<Flex>(tensor(buffer, shape, pitch, DType::U8))
}

/// A picture's levels, 0 to 255, from samples 0 to 1.
///
/// # Panics
/// If the tensor isn't of 32-bit floats on Flex.
pub fn levels(samples: Tensor<4>) -> Tensor<4, Int> {
    let shape = samples.dims();
    let samples: Vec<f32> = samples.into_data().try_into_vec().expect("samples are 32-bit floats");
    let levels = samples.into_iter().map(|sample| (sample * 255.0).round_ties_even() as u8).collect();
    levels_from(levels, shape)
}

/// A picture's levels as a tensor of `[N, C, H, W]`, without a copy.
///
/// # Panics
/// If their number does not match the shape.
pub fn levels_from(levels: Vec<u8>, shape: [usize; 4]) -> Tensor<4, Int> {
    assert_eq!(levels.len(), shape.iter().product::<usize>(), "levels of a picture");
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    Tensor::from_primitive::<Flex>(FlexTensor::new(Bytes::from_elems(levels), layout, DType::U8))
}

/// Samples 0 to 1 from a picture's levels, 0 to 255.
///
/// # Panics
/// If the tensor isn't of unsigned bytes on Flex.
pub fn samples(levels: Tensor<4, Int>) -> Tensor<4> {
    let (shape, device) = (levels.dims(), levels.device());
    let levels: Vec<u8> = levels.into_data().try_into_vec().expect("levels are unsigned bytes");
    let samples: Vec<f32> = levels.into_iter().map(|level| f32::from(level) / 255.0).collect();
    Tensor::from_data(TensorData::new(samples, shape), &device)
}

fn table_of(tensor: &FlexTensor) -> &[u8; 256] {
    tensor.as_slice::<u8>().expect(IN_ORDER).try_into().expect("a table has 256 bytes")
}

fn primitive<const D: usize>(tensor: Tensor<D, Int>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("operators in integers run on Flex")
}

fn primitive_of_floats<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("operators in integers run on Flex")
}

/// A map with contiguous channels; copied only if they were not.
struct Map {
    tensor: FlexTensor,
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl Map {
    fn new(tensor: Tensor<4, Int>) -> Self {
        Self::with_room(tensor, 0)
    }

    /// Like `new`, with `room` readable bytes at every pixel; those beyond the channels are
    /// unspecified.
    fn with_room(tensor: Tensor<4, Int>, room: usize) -> Self {
        let mut tensor = primitive(tensor);
        assert_eq!(tensor.dtype(), DType::U8, "maps are of unsigned bytes");
        let shape: [usize; 4] = tensor.layout().shape().to_vec().try_into().expect("maps have rank 4");
        let [batch, channels, height, width] = shape;
        let strides = tensor.layout().strides();
        let last: isize = (0..4).map(|i| (shape[i] as isize - 1).max(0) * strides[i]).sum();
        let end =
            tensor.layout().start_offset() as isize + last - (channels as isize - 1).max(0) * strides[1];
        let channels_last = (channels == 1 || strides[1] == 1)
            && strides.iter().all(|&stride| stride >= 0)
            && (width == 1 || strides[3] >= channels as isize)
            && end + room as isize <= tensor.bytes().len() as isize;
        if !channels_last {
            tensor = to_channels_last(&tensor, shape, room.max(channels));
        }
        Self { tensor, batch, channels, height, width }
    }

    /// One image of the batch.
    fn image(&self, n: usize) -> Image<'_, u8> {
        let layout = self.tensor.layout();
        let [batch_pitch, _, row_pitch, pixel_pitch] = [0, 1, 2, 3].map(|i| layout.strides()[i] as usize);
        let start = layout.start_offset() + n * batch_pitch;
        Image {
            data: &self.tensor.bytes()[start..],
            height: self.height,
            width: self.width,
            channels: self.channels,
            row_pitch,
            pixel_pitch,
        }
    }
}

fn to_channels_last(source: &FlexTensor, shape: [usize; 4], pitch: usize) -> FlexTensor {
    let [batch, channels, height, width] = shape;
    let mut buffer = Buffer::take_bytes(batch * height * width * pitch);
    let strides: [isize; 4] = std::array::from_fn(|i| source.layout().strides()[i]);
    let (start, bytes) = (source.layout().start_offset() as isize, source.bytes());
    let target = buffer.as_mut_bytes();
    for n in 0..batch {
        for y in 0..height {
            let row = start + n as isize * strides[0] + y as isize * strides[2];
            let target = &mut target[(n * height + y) * width * pitch..][..width * pitch];
            for c in 0..channels {
                for (x, pixel) in target.chunks_exact_mut(pitch).enumerate() {
                    pixel[c] = bytes[(row + c as isize * strides[1] + x as isize * strides[3]) as usize];
                }
            }
        }
    }
    tensor(buffer, shape, pitch, DType::U8)
}
