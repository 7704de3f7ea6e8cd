//! The fused operators on burn tensors: against burn's own operations, on views, and without
//! allocating.
#![cfg(feature = "burn")]

use burn::tensor::module;
use burn::tensor::ops::{
    ConvOptions as BurnConvOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions,
};
use burn::tensor::{Device, Distribution, Tensor, TensorData, activation};
use model_runtime::heads::HeadTensor;
use model_runtime::ops::{
    Activation, ChainStage, ConvInput, ConvOptions, conv2d, conv2d_chain, sppf_pool, stem_conv2d,
};
use model_runtime::pack::{fold_gray, pack_bias, pack_conv};

/// Absolute for small values, relative for large ones. Winograd's filtering needs most of it: 1e-4
/// after two layers of it.
const TOLERANCE: f32 = 3e-4;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::default())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("floats")
}

fn assert_close(fused: Tensor<4>, plain: Tensor<4>) {
    assert_eq!(fused.dims(), plain.dims());
    for (fused, plain) in floats(fused).into_iter().zip(floats(plain)) {
        assert!((fused - plain).abs() <= TOLERANCE * (1.0 + plain.abs()), "{fused}, burn says {plain}");
    }
}

/// A convolution in ONNX's terms, and both ways to run it.
struct Layer {
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions,
}

impl Layer {
    fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        activation: Activation,
    ) -> Self {
        let options = ConvOptions {
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            activation,
        };
        Self {
            weight: random([out_channels, in_channels, kernel, kernel]),
            bias: random([out_channels]),
            options,
        }
    }

    fn packed(&self, weight: Vec<f32>, in_channels: usize) -> Tensor<5> {
        let packed = pack_conv(
            &weight,
            self.options.out_channels,
            in_channels,
            self.options.kernel,
            self.options.stride,
            [32, 32], // large enough to be transformed for every image size
        );
        Tensor::from_data(TensorData::new(packed.values, packed.shape), &Device::default())
    }

    fn packed_bias(&self) -> Tensor<1> {
        let bias = pack_bias(&floats(self.bias.clone()));
        let len = bias.len();
        Tensor::from_data(TensorData::new(bias, [len]), &Device::default())
    }

    fn fused<const N: usize>(&self, inputs: [ConvInput; N], residual: Option<Tensor<4>>) -> Tensor<4> {
        let weight = self.packed(floats(self.weight.clone()), self.weight.dims()[1]);
        conv2d(inputs, weight, self.packed_bias(), residual, self.options)
    }

    fn plain(&self, input: Tensor<4>) -> Tensor<4> {
        let options = BurnConvOptions::new(self.options.stride, self.options.padding, [1, 1], 1);
        let y = module::conv2d(input, self.weight.clone(), Some(self.bias.clone()), options);
        match self.options.activation {
            Activation::Silu => activation::silu(y),
            Activation::None => y,
        }
    }
}

fn upsample(tensor: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = tensor.dims();
    module::interpolate(
        tensor,
        InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height * 2, width * 2]),
    )
}

#[test]
fn a_convolution_with_silu_and_residual_is_burns() {
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2)] {
        for (in_channels, out_channels) in [(24, 40), (32, 48)] {
            let layer = Layer::new(in_channels, out_channels, kernel, stride, Activation::Silu);
            let x = random([1, in_channels, 18, 22]);
            let plain = layer.plain(x.clone());
            let residual = random(plain.dims());
            assert_close(layer.fused([x.into()], Some(residual.clone())), plain + residual);
        }
    }
}

#[test]
fn a_concatenation_that_is_never_made_is_the_one_that_burn_makes() {
    let layer = Layer::new(16 + 8 + 5, 21, 1, 1, Activation::None);
    let (a, b, c) = (random([1, 16, 12, 10]), random([1, 8, 12, 10]), random([1, 5, 12, 10]));
    let plain = layer.plain(Tensor::cat(vec![a.clone(), b.clone(), c.clone()], 1));
    assert_close(layer.fused([a.into(), b.into(), c.into()], None), plain);
}

#[test]
fn folded_upsampling_is_burns_interpolation() {
    let layer = Layer::new(16 + 32, 64, 1, 1, Activation::Silu);
    let (coarse, fine) = (random([1, 16, 5, 13]), random([1, 32, 10, 26]));
    let plain = layer.plain(Tensor::cat(vec![upsample(coarse.clone()), fine.clone()], 1));
    assert_close(layer.fused([ConvInput::upsampled(coarse.clone()), fine.clone().into()], None), plain);

    // Parameters that the kernels do not support run on burn's own operations.
    let layer = Layer::new(16 + 32, 16, 3, 1, Activation::Silu);
    let plain = layer.plain(Tensor::cat(vec![upsample(coarse.clone()), fine.clone()], 1));
    assert_close(layer.fused([ConvInput::upsampled(coarse), fine.into()], None), plain);
}

#[test]
fn transformed_weights_are_undone_where_the_kernels_cannot_use_them() {
    // 3 × 3 over 32 channels is packed for Winograd's filtering, which requires whole blocks of 16
    // from each input.
    for stride in [1, 2] {
        let layer = Layer::new(8 + 24, 32, 3, stride, Activation::Silu);
        let (a, b) = (random([1, 8, 7, 9]), random([1, 24, 7, 9]));
        let plain = layer.plain(Tensor::cat(vec![a.clone(), b.clone()], 1));
        assert_close(layer.fused([a.into(), b.into()], None), plain);
    }
}

#[test]
fn a_residual_of_one_channel_is_added_to_all_as_burn_does() {
    let layer = Layer::new(16, 32, 1, 1, Activation::Silu);
    let (x, residual) = (random([1, 16, 6, 7]), random([1, 1, 6, 7]));
    let plain = layer.plain(x.clone()) + residual.clone();
    assert_close(layer.fused([x.into()], Some(residual)), plain);
}

#[test]
#[should_panic(expected = "output channels")]
fn more_output_channels_than_there_are_weights_for_are_refused() {
    let mut layer = Layer::new(16, 16, 1, 1, Activation::None);
    let (weight, bias) = (layer.packed(floats(layer.weight.clone()), 16), layer.packed_bias());
    layer.options.out_channels = 1000;
    conv2d([random([1, 16, 4, 4]).into()], weight, bias, None, layer.options);
}

#[test]
fn slices_and_permutations_of_tensors_are_read_where_they_lie() {
    let first = Layer::new(3, 64, 3, 1, Activation::Silu);
    let image = random([2, 3, 9, 14]);
    let (fused, plain) = (first.fused([image.clone().into()], None), first.plain(image));
    let second = Layer::new(32, 32, 3, 1, Activation::Silu);
    for start in [0, 32, 17] {
        let residual = plain.clone().narrow(1, 32, 32);
        let expected = second.plain(plain.clone().narrow(1, start, 32)) + residual;
        let residual = fused.clone().narrow(1, 32, 32);
        assert_close(second.fused([fused.clone().narrow(1, start, 32).into()], Some(residual)), expected);
    }
    let swapped = second.fused([fused.clone().narrow(1, 0, 32).swap_dims(2, 3).into()], None);
    assert_close(swapped, second.plain(plain.narrow(1, 0, 32).swap_dims(2, 3)));
}

#[test]
fn other_operations_work_on_a_fused_operators_output() {
    let layer = Layer::new(8, 20, 1, 1, Activation::None);
    let x = random([1, 8, 6, 7]);
    let (fused, plain) = (layer.fused([x.clone().into()], None), layer.plain(x));
    assert_close(fused.clone() * 2.0 + fused.clone(), plain.clone() * 3.0);
    let (fused, plain) = (fused.reshape([1, 2, 10, 42]), plain.reshape([1, 2, 10, 42]));
    assert_close(fused, plain);
}

#[test]
fn sppf_pooling_is_three_of_burns_max_pools() {
    for (channels, height, width) in [(24, 13, 13), (24, 12, 20), (24, 3, 1), (24, 1, 1), (64, 1, 1)] {
        let x = random([1, channels, height, width]);
        let pool =
            |x| module::max_pool2d(x, MaxPoolOptions::new([5, 5]).with_stride([1, 1]).with_padding([2, 2]));
        let first = pool(x.clone());
        let second = pool(first.clone());
        let third = pool(second.clone());
        assert_close(sppf_pool(x, 5), Tensor::cat(vec![first, second, third], 1));
    }
}

#[test]
fn the_stem_takes_gray_and_colour_images() {
    let mut layer = Layer::new(3, 16, 6, 2, Activation::Silu);
    layer.options.padding = [2, 2];
    let weight = floats(layer.weight.clone());
    let gray_weight = layer.packed(fold_gray(&weight, 16, 3, [6, 6]), 1);
    let stem = |image| {
        stem_conv2d(
            image,
            layer.packed(weight.clone(), 3),
            gray_weight.clone(),
            layer.packed_bias(),
            layer.options,
        )
    };
    let gray = random([1, 1, 32, 48]);
    assert_close(stem(gray.clone()), layer.plain(gray.expand([1, 3, 32, 48])));
    let colour = random([1, 3, 32, 48]);
    assert_close(stem(colour.clone()), layer.plain(colour));
}

#[test]
fn a_chain_is_burns_convolutions_one_after_the_other() {
    let layers = [(24, 32, 1, 1), (32, 48, 3, 2), (48, 20, 1, 1)].map(|(inputs, outputs, kernel, stride)| {
        Layer::new(inputs, outputs, kernel, stride, Activation::Silu)
    });
    let stage = |layer: &Layer| ChainStage {
        weight: layer.packed(floats(layer.weight.clone()), layer.weight.dims()[1]),
        bias: layer.packed_bias(),
        options: layer.options,
    };
    let (a, b) = (random([2, 16, 41, 22]), random([2, 8, 41, 22]));
    let plain = Tensor::cat(vec![a.clone(), b.clone()], 1);
    let [first, second, third] = layers.each_ref().map(stage);
    let two = layers[1].plain(layers[0].plain(plain));
    assert_close(conv2d_chain([a.clone(), b.clone()], [first.clone(), second.clone()]), two.clone());
    assert_close(conv2d_chain([a, b], [first, second, third]), layers[2].plain(two));

    // More padding than the kernels take.
    let mut padded = Layer::new(16, 32, 1, 1, Activation::None);
    padded.options.padding = [1, 1];
    let last = Layer::new(32, 16, 1, 1, Activation::None);
    let (x, y) = (random([1, 8, 5, 6]), random([1, 8, 5, 6]));
    let plain = last.plain(padded.plain(Tensor::cat(vec![x.clone(), y.clone()], 1)));
    assert_close(conv2d_chain([x, y], [&padded, &last].map(stage)), plain);

    // Transformed weights require whole blocks of channels, also from the stage before.
    let first = Layer::new(16, 32, 1, 1, Activation::None);
    let second = Layer::new(32, 16, 3, 1, Activation::None);
    let x = random([1, 8, 9, 10]);
    let y = Tensor::cat(vec![x.clone(), x.clone()], 1);
    let plain = second.plain(first.plain(y));
    assert_close(conv2d_chain([x.clone(), x], [&first, &second].map(stage)), plain);
}

#[test]
fn a_head_is_read_in_place() {
    let layer = Layer::new(16, 21, 1, 1, Activation::None);
    let output = layer.fused([random([1, 16, 4, 5]).into()], None);
    let head = HeadTensor::new(output.clone());
    let map = head.map();
    assert_eq!((map.channel_stride, map.column_stride), (1, 32), "not copied, not transposed");
    let values = floats(output);
    for (i, &value) in values.iter().enumerate() {
        let (channel, row, column) = (i / 20, i / 5 % 4, i % 5);
        let at = channel * map.channel_stride + row * map.row_stride + column * map.column_stride;
        assert_eq!(map.data[at], value);
    }
}
