//! Every kernel path this machine has, against the definition of a convolution, over random shapes.

mod random;

use model_runtime::kernels::Isa;
use model_runtime::kernels::conv::{Conv, Source, output_size};
use model_runtime::kernels::convolve::conv2d;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::pack::{fold_gray, pack_bias, pack_conv};

use random::Random;

/// Shapes tried on each path.
const CASES: u64 = 400;

/// Miri is a thousand times slower: one small shape of each kind, the smallest of 60,000. 1 x 1 of
/// one map, of two, and of larger ones; 3 x 3 with a stride, of two maps, and transformed
/// (Winograd); 6 x 6; another.
const SMALL_CASES: [u64; 8] = [32690, 47773, 35782, 4464, 37589, 33963, 30825, 53641];

fn seeds() -> Vec<u64> {
    if cfg!(miri) { SMALL_CASES.into() } else { (1..=CASES).collect() }
}

impl Random {
    fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

/// An image inside a larger one, as a slice of channels is: everything around it is NaN, so that
/// reading it is noticed.
struct Input {
    data: Vec<f32>,
    height: usize,
    width: usize,
    channels: usize,
    pitch: usize,
    upsampled: bool,
}

impl Input {
    fn random(random: &mut Random, [height, width]: [usize; 2], channels: usize, upsampled: bool) -> Self {
        let pitch = channels + random.pick(&[0, 0, 0, 3, 16]);
        let mut data = vec![f32::NAN; height * width * pitch];
        for pixel in data.chunks_exact_mut(pitch) {
            pixel[..channels].copy_from_slice(&random.values(channels));
        }
        Self { data, height, width, channels, pitch, upsampled }
    }

    fn image(&self) -> Image<'_> {
        let (row_pitch, pixel_pitch) = (self.width * self.pitch, self.pitch);
        Image {
            data: &self.data,
            height: self.height,
            width: self.width,
            channels: self.channels,
            row_pitch,
            pixel_pitch,
        }
    }

    /// Zero outside, like the padding.
    fn at(&self, y: isize, x: isize, channel: usize) -> f64 {
        let scale = if self.upsampled { 2 } else { 1 };
        if y < 0 || x < 0 || y as usize >= self.height * scale || x as usize >= self.width * scale {
            return 0.0;
        }
        f64::from(self.data[(y as usize / scale * self.width + x as usize / scale) * self.pitch + channel])
    }
}

/// One convolution and its inputs, with weights in ONNX's order.
struct Case {
    inputs: Vec<Input>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Option<Vec<f32>>,
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    silu: bool,
}

impl Case {
    fn random(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let simple = random.pick(&[true, false]);
        let limit = 40;
        let (kernel, stride, padding) = if simple {
            ([1, 1], [1, 1], [0, 0])
        } else {
            let any = [random.between(1, 6), random.between(1, 6)];
            let kernel = random.pick(&[[3, 3], [3, 3], [6, 6], [1, 1], any]);
            let any = [random.between(1, 4), random.between(1, 4)];
            let stride = random.pick(&[[1, 1], [2, 2], any]);
            // Sometimes more padding than kernel, so that some outputs see only zeros.
            let any = [random.between(0, 7), random.between(0, 7)];
            let padding = random.pick(&[[0, 0], [1, 1], [2, 2], any]);
            (kernel, stride, padding)
        };
        // Down to one pixel, and to images smaller than the kernel, whose output is empty.
        let mut side = || {
            if random.pick(&[true, false, false]) { random.between(1, 4) } else { random.between(1, limit) }
        };
        let size = [side(), side()].map(|half| half * if simple { 2 } else { 1 });
        let whole = random.pick(&[true, false]);
        let most = 35;
        let sources = if kernel == [6, 6] { 1 } else { random.pick(&[1, 1, 2, 3]) };
        let inputs: Vec<_> = (0..sources)
            .map(|_| {
                let upsampled = simple && random.pick(&[true, false, false]);
                let size = if upsampled { [size[0] / 2, size[1] / 2] } else { size };
                // Whole blocks in half of the cases: those may be computed by Winograd's filtering.
                let channels = if whole { 16 * random.between(1, 3) } else { random.between(1, most) };
                Input::random(&mut random, size, channels, upsampled)
            })
            .collect();
        let in_channels: usize = inputs.iter().map(|input| input.channels).sum();
        let out_channels = if whole { 16 * random.between(1, 5) } else { random.between(1, 70) };
        let [height, width] = output_size(size, kernel, stride, padding);
        let pitch = out_channels.next_multiple_of(16);
        Self {
            weight: random.values(out_channels * in_channels * kernel[0] * kernel[1]),
            bias: random.values(out_channels),
            residual: random.pick(&[true, false]).then(|| random.values(height * width * pitch)),
            silu: random.pick(&[true, false]),
            inputs,
            out_channels,
            kernel,
            stride,
            padding,
        }
    }

    fn size(&self) -> [usize; 2] {
        let scale = if self.inputs[0].upsampled { 2 } else { 1 };
        let size = [self.inputs[0].height * scale, self.inputs[0].width * scale];
        output_size(size, self.kernel, self.stride, self.padding)
    }

    fn run(&self, isa: Isa) -> Vec<f32> {
        let in_channels = self.inputs.iter().map(|input| input.channels).sum();
        let large = [32, 32]; // transformed for every image size
        let packed = pack_conv(&self.weight, self.out_channels, in_channels, self.kernel, self.stride, large);
        let bias = pack_bias(&self.bias);
        let [height, width] = self.size();
        let pitch = self.out_channels.next_multiple_of(16);
        let conv = Conv {
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            weight: &packed.values,
            weight_shape: packed.shape,
            bias: &bias,
            silu: self.silu,
        };
        let sources: Vec<_> = self
            .inputs
            .iter()
            .map(|input| Source { image: input.image(), upsampled: input.upsampled })
            .collect();
        let residual = self.residual.as_ref().map(|data| Image::dense(data, height, width, pitch));
        let mut out = vec![f32::NAN; height * width * pitch];
        conv2d(isa, &sources, &conv, residual.as_ref(), &mut ImageMut::dense(&mut out, height, width, pitch));
        out
    }

    /// The definition, in double precision.
    fn expected(&self, y: usize, x: usize, output: usize) -> f64 {
        let [kernel_height, kernel_width] = self.kernel;
        let in_channels: usize = self.inputs.iter().map(|input| input.channels).sum();
        let mut sum = f64::from(self.bias[output]);
        let mut first = 0;
        for input in &self.inputs {
            for channel in 0..input.channels {
                for ky in 0..kernel_height {
                    for kx in 0..kernel_width {
                        let index = ((output * in_channels + first + channel) * kernel_height + ky)
                            * kernel_width
                            + kx;
                        let row = (y * self.stride[0] + ky) as isize - self.padding[0] as isize;
                        let column = (x * self.stride[1] + kx) as isize - self.padding[1] as isize;
                        sum += f64::from(self.weight[index]) * input.at(row, column, channel);
                    }
                }
            }
            first += input.channels;
        }
        if self.silu {
            sum /= 1.0 + (-sum).exp();
        }
        let pitch = self.out_channels.next_multiple_of(16);
        let index = (y * self.size()[1] + x) * pitch + output;
        sum + self.residual.as_ref().map_or(0.0, |residual| f64::from(residual[index]))
    }

    fn describe(&self, isa: Isa) -> String {
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|i| {
                format!("{}x{}x{} pitch {} upsampled {}", i.channels, i.height, i.width, i.pitch, i.upsampled)
            })
            .collect();
        let Self { out_channels, kernel, stride, padding, silu, .. } = self;
        format!(
            "{}: {inputs:?} -> {out_channels}, kernel {kernel:?} stride {stride:?} padding {padding:?} silu {silu}",
            isa.name()
        )
    }

    /// On a thread of its own, where no earlier case has left scratch memory of another size.
    fn check(&self, isa: Isa) {
        let outcome = std::thread::scope(|scope| scope.spawn(|| self.compare(isa)).join());
        assert!(outcome.is_ok(), "{}", self.describe(isa));
    }

    fn compare(&self, isa: Isa) {
        let out = self.run(isa);
        let [height, width] = self.size();
        let pitch = self.out_channels.next_multiple_of(16);
        // Inputs and weights are within ±1: rounding grows with the number of products.
        let products = self.weight.len() / self.out_channels;
        // The transforms of Winograd's filtering multiply values by up to 5² and 8² and lose that
        // much precision.
        let transformed = self.kernel == [3, 3];
        let tolerance = (4e-7 * products as f64 + 1e-5) * if transformed { 3.0 } else { 1.0 };
        for y in 0..height {
            for x in 0..width {
                for output in 0..self.out_channels {
                    let got = f64::from(out[(y * width + x) * pitch + output]);
                    let expected = self.expected(y, x, output);
                    assert!(
                        (got - expected).abs() <= tolerance,
                        "({y}, {x}, {output}): {got}, expected {expected}; {}",
                        self.describe(isa)
                    );
                }
            }
        }
    }
}

#[test]
fn every_path_agrees_with_the_definition_on_random_shapes() {
    for isa in Isa::available() {
        for seed in seeds() {
            Case::random(seed).check(isa);
        }
    }
}

/// One row, and a border on its sides only: the shape that a 1 x 1 convolution once read past its
/// end.
#[test]
fn a_padded_row_of_pixels_is_read_only_where_it_has_pixels() {
    for isa in Isa::available() {
        for stride in 1..=3 {
            for width in 1..=if cfg!(miri) { 3 } else { 40 } {
                let mut random = Random(width as u64);
                let mut case = Case::random(SMALL_CASES[0]);
                case.inputs = vec![Input::random(&mut random, [1, width], 5, false)];
                (case.kernel, case.stride, case.padding) = ([1, 1], [1, stride], [0, 1]);
                case.out_channels = 20;
                case.weight = random.values(20 * 5);
                case.bias = random.values(20);
                case.residual = None;
                case.check(isa);
            }
        }
    }
}

#[test]
fn several_threads_compute_the_same_bits_as_one() {
    let cases: Vec<_> =
        seeds().into_iter().take(if cfg!(miri) { 2 } else { 100 }).map(Case::random).collect();
    let alone: Vec<_> = cases.iter().map(|case| case.run(Isa::current())).collect();
    model_runtime::threads::set_threads(3);
    for (case, alone) in cases.iter().zip(alone) {
        // Lanes beyond the output channels hold the residual's padding, which may be NaN: compare
        // bits.
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(case.run(Isa::current())), bits(alone));
    }
    model_runtime::threads::set_threads(1);
}

#[test]
fn weights_too_large_for_the_cache_take_the_other_loop_order_and_agree() {
    if cfg!(miri) {
        return; // A megabyte of weights takes Miri hours; the random shapes cover the arithmetic.
    }
    for isa in Isa::available() {
        let mut case = Case::random(1);
        let mut random = Random(99);
        case.inputs = vec![Input::random(&mut random, [9, 13], 80, false)];
        (case.kernel, case.stride, case.padding) = ([3, 3], [2, 2], [1, 1]);
        case.out_channels = 150;
        case.weight = random.values(150 * 80 * 9);
        case.bias = random.values(150);
        case.residual = None;
        case.check(isa);
    }
}

#[test]
fn the_stem_of_a_gray_image_agrees_at_every_width_of_a_tile() {
    let mut random = Random(5);
    for isa in Isa::available() {
        for width in 1..=if cfg!(miri) { 3 } else { 60 } {
            let size = [random.between(2, 12), 2 * width + random.pick(&[0, 0, 0, 1])];
            let [height, out_width] = output_size(size, [6, 6], [2, 2], [2, 2]);
            let case = Case {
                inputs: vec![Input {
                    data: random.values(size[0] * size[1]),
                    height: size[0],
                    width: size[1],
                    channels: 1,
                    pitch: 1,
                    upsampled: false,
                }],
                weight: random.values(16 * 36),
                bias: random.values(16),
                residual: random
                    .pick(&[None, None, Some(())])
                    .map(|()| random.values(height * out_width * 16)),
                out_channels: 16,
                kernel: [6, 6],
                stride: [2, 2],
                padding: [2, 2],
                silu: random.pick(&[true, false]),
            };
            case.check(isa);
        }
    }
}

#[test]
fn a_folded_stem_gives_a_gray_image_what_the_full_one_gives_three_equal_channels() {
    let mut random = Random(7);
    let gray = random.values(12 * 15);
    let colour: Vec<f32> = gray.iter().flat_map(|&value| [value; 3]).collect();
    let weight = random.values(16 * 3 * 36);
    let input = |data: Vec<f32>, channels| Input {
        data,
        height: 12,
        width: 15,
        channels,
        pitch: channels,
        upsampled: false,
    };
    let mut case = Case {
        inputs: vec![input(colour, 3)],
        weight: weight.clone(),
        bias: random.values(16),
        residual: None,
        out_channels: 16,
        kernel: [6, 6],
        stride: [2, 2],
        padding: [2, 2],
        silu: true,
    };
    let full = case.run(Isa::current());
    case.inputs = vec![input(gray, 1)];
    case.weight = fold_gray(&weight, 16, 3, [6, 6]);
    let folded = case.run(Isa::current());
    for (full, folded) in full.iter().zip(&folded) {
        assert!((full - folded).abs() < 2e-5, "{full} and {folded}");
    }
}

#[test]
fn silu_is_as_exact_as_documented() {
    // An identity convolution, so that only the activation has an effect.
    let inputs: Vec<f32> = (-200_000..200_000)
        .step_by(if cfg!(miri) { 9973 } else { 1 })
        .map(|i| i as f32 * 6e-4)
        .chain([-3e38, -1e30, -0.0, 0.0, 1e30, 3e38])
        .collect();
    let packed = pack_conv(&[1.0], 1, 1, [1, 1], [1, 1], [1, 1]);
    for isa in Isa::available() {
        let conv = Conv {
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            weight: &packed.values,
            weight_shape: packed.shape,
            bias: &[0.0; 16],
            silu: true,
        };
        let source = Source { image: Image::dense(&inputs, 1, inputs.len(), 1), upsampled: false };
        let mut out = vec![f32::NAN; inputs.len() * 16];
        conv2d(isa, &[source], &conv, None, &mut ImageMut::dense(&mut out, 1, inputs.len(), 16));
        for (x, y) in inputs.iter().zip(out.chunks_exact(16).map(|pixel| pixel[0])) {
            let exact = f64::from(*x) / (1.0 + f64::from(-*x).exp());
            let error = (f64::from(y) - exact).abs();
            // Rounding the exponent's argument costs |x| units in the last place; for very negative
            // x, where the exponent is clamped, |x| · 2⁻¹²⁶ remains instead of zero.
            let relative = (4.0 + f64::from(x.abs())) * f64::from(f32::EPSILON);
            let tolerance = exact.abs() * relative + f64::from(x.abs()) * 1.2e-38 + 1e-37;
            assert!(error <= tolerance, "{}: silu({x}) = {y}, {exact}", isa.name());
        }
    }
}

/// A 1 x 1 convolution of three rows of one pixel.
fn convolve_column(input: &Image<'_>, out: &mut ImageMut<'_>) {
    let packed = pack_conv(&[0.0; 16 * 16], 16, 16, [1, 1], [1, 1], [3, 1]);
    let bias = pack_bias(&[0.0; 16]);
    let conv = Conv {
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        weight: &packed.values,
        weight_shape: packed.shape,
        bias: &bias,
        silu: false,
    };
    conv2d(Isa::current(), &[Source { image: *input, upsampled: false }], &conv, None, out);
}

/// With this pitch the third row would start where the first one does: twice it wraps to zero.
const HALF_OF_ALL_ADDRESSES: usize = 1 << (usize::BITS - 1);

#[test]
#[should_panic(expected = "output is too short")]
fn rows_that_would_wrap_to_the_same_addresses_are_not_written() {
    let (input, mut data) = ([0.0_f32; 48], [0.0_f32; 48]);
    let dense = ImageMut::dense(&mut data, 3, 1, 16);
    let mut out = ImageMut { row_pitch: HALF_OF_ALL_ADDRESSES, ..dense };
    convolve_column(&Image::dense(&input, 3, 1, 16), &mut out);
}

#[test]
#[should_panic(expected = "input is too short")]
fn rows_that_would_wrap_to_the_same_addresses_are_not_read() {
    let (input, mut data) = ([0.0_f32; 48], [0.0_f32; 48]);
    let dense = Image::dense(&input, 3, 1, 16);
    let column = Image { row_pitch: HALF_OF_ALL_ADDRESSES, ..dense };
    convolve_column(&column, &mut ImageMut::dense(&mut data, 3, 1, 16));
}
