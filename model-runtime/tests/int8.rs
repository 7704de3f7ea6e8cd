//! Convolutions in 8-bit integers: every path gives the same bits, and they agree with the
//! definition.

mod random;

use model_runtime::kernels::conv::output_size;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::kernels::int8::Int8Isa;
use model_runtime::kernels::int8::conv::{Block, Constants, Conv, Output, Residual, Source, Weight, conv2d};
use model_runtime::kernels::int8::pool::{Scale, add, sppf};
use model_runtime::pack::int8::{Channel, PackedConstants, fit_sums, pack_constants, pack_conv, pack_gray};

use random::Random;

/// Shapes tried on each path. Miri is a thousand times slower.
const CASES: u64 = 400;

/// For Miri: one small shape of each kind, the smallest of 60,000.
const SMALL_CASES: [u64; 10] = [3138, 14971, 5472, 20439, 31201, 14816, 42644, 21913, 22558, 50827];

fn seeds() -> Vec<u64> {
    if cfg!(miri) { SMALL_CASES.into() } else { (1..=CASES).collect() }
}

/// How close to the boundary between two levels a value may be rounded to either, in levels: SiLU
/// is piecewise linear (its curvature is at most a half, and each piece's error is balanced), and
/// some steps round to a fraction of a level.
fn near(block: Block, scale: f32) -> f64 {
    let parts = f64::from(1 << block.shift);
    let piece = f64::from(scale) / parts * f64::from(1 << block.piece_bits);
    piece * piece / 32.0 / f64::from(scale) + 4.0 / parts + 1e-3
}

impl Random {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 40) as u8).collect()
    }

    fn weights(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| ((self.next() >> 40) as u8 as i8).max(-127)).collect()
    }

    fn real(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

struct Input {
    data: Vec<u8>,
    size: [usize; 2],
    channels: usize,
    pitch: usize,
    upsampled: bool,
}

impl Input {
    fn random(random: &mut Random, size: [usize; 2], channels: usize, upsampled: bool) -> Self {
        let pitch = channels + random.pick(&[0, 0, 0, 3, 16]);
        Self { data: random.bytes(size[0] * size[1] * pitch), size, channels, pitch, upsampled }
    }

    fn source(&self) -> Source<'_> {
        let [height, width] = self.size;
        let (channels, pixel_pitch, row_pitch) = (self.channels, self.pitch, width * self.pitch);
        // The data ends with the last channel of the last pixel.
        let end = (height * width - 1) * self.pitch + channels;
        let data = &self.data[..end];
        let image = Image { data, height, width, channels, row_pitch, pixel_pitch };
        Source { image, upsampled: self.upsampled }
    }

    fn at(&self, y: isize, x: isize, channel: usize, zero: u8) -> i64 {
        let scale = if self.upsampled { 2 } else { 1 };
        let [height, width] = self.size.map(|side| (side * scale) as isize);
        if y < 0 || x < 0 || y >= height || x >= width {
            return zero.into();
        }
        let (y, x) = (y as usize / scale, x as usize / scale);
        self.data[(y * self.size[1] + x) * self.pitch + channel].into()
    }
}

/// One convolution and its inputs, with weights in ONNX's order.
struct Case {
    inputs: Vec<Input>,
    weight: Vec<i8>,
    channels: Vec<Channel>,
    input_scale: f32,
    input_zero_point: u8,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    silu: bool,
    residual: Option<(Vec<u8>, Scale)>,
    table: Option<[u8; 256]>,
    floats: bool,
    gray: bool,
}

impl Case {
    fn random(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let simple = random.pick(&[true, false]);
        let gray = !simple && random.pick(&[true, false, false]);
        let limit = 40;
        let (kernel, stride, padding) = if simple {
            ([1, 1], [1, 1], [0, 0])
        } else {
            let any = [random.between(1, 6), random.between(1, 6)];
            let kernel = random.pick(&[[3, 3], [3, 3], [6, 6], [1, 1], any]);
            let any = [random.between(1, 4), random.between(1, 4)];
            let stride = random.pick(&[[1, 1], [2, 2], any]);
            let any = [random.between(0, 7), random.between(0, 7)];
            (kernel, stride, random.pick(&[[0, 0], [1, 1], [2, 2], any]))
        };
        let mut side = || {
            let most = random.pick(&[4, limit, limit]);
            random.between(1, most) * if simple { 2 } else { 1 }
        };
        let size = [side(), side()];
        let sources = if gray { 1 } else { random.pick(&[1, 1, 2, 3]) };
        let inputs: Vec<_> = (0..sources)
            .map(|_| {
                let upsampled = simple && random.pick(&[true, false, false]);
                let size = if upsampled { size.map(|side| side / 2) } else { size };
                let groups = 4 * random.between(1, 12);
                let some = random.between(1, 35);
                let channels = match () {
                    () if gray => 1,
                    () if upsampled || sources > 1 => groups,
                    () => random.pick(&[groups, some]),
                };
                Input::random(&mut random, size, channels, upsampled)
            })
            .collect();
        let in_channels: usize = inputs.iter().map(|input| input.channels).sum();
        let out_channels = random.between(1, 70);
        let floats = random.pick(&[true, false, false, false]);
        let [height, width] = output_size(size, kernel, stride, padding);
        let pitch = out_channels.next_multiple_of(16);
        let products = (in_channels * kernel[0] * kernel[1]) as f32;
        let mut channels = Vec::new();
        while channels.len() < out_channels {
            // Of a block, or of several.
            let same = (16 * random.between(1, 3)).min(out_channels - channels.len());
            let scale = random.real(0.002, 0.1);
            let output = Scale { scale, zero_point: random.pick(&[0, 8, 128, 255]) };
            channels.extend((0..same).map(|_| Channel {
                bias: random.real(-2.0, 2.0).into(),
                // Sums of some units, as in a network.
                weight_scale: random.real(0.5, 1.5) / (20.0 * products.sqrt()),
                output: (!floats).then_some(output),
            }));
        }
        let residual = (random.pick(&[true, false]) && !floats).then(|| {
            let scale = random.real(0.001, 0.05);
            let zero_point = random.between(0, 255) as u8;
            (random.bytes(height * width * pitch), Scale { scale, zero_point })
        });
        if residual.is_some() {
            let output = channels[0].output;
            channels.iter_mut().for_each(|channel| channel.output = output);
        }
        let table = (random.pick(&[true, false, false]) && !floats)
            .then(|| random.bytes(256).try_into().expect("256 bytes"));
        Self {
            weight: random.weights(out_channels * in_channels * kernel[0] * kernel[1]),
            input_scale: 0.01,
            input_zero_point: random.pick(&[0, 7, 130, 255]),
            silu: random.pick(&[true, false]) && !floats,
            inputs,
            channels,
            kernel,
            stride,
            padding,
            residual,
            table,
            floats,
            gray,
        }
    }

    fn size(&self) -> [usize; 2] {
        let scale = if self.inputs[0].upsampled { 2 } else { 1 };
        output_size(self.inputs[0].size.map(|side| side * scale), self.kernel, self.stride, self.padding)
    }

    fn in_channels(&self) -> usize {
        self.inputs.iter().map(|input| input.channels).sum()
    }

    fn pitch(&self) -> usize {
        self.channels.len().next_multiple_of(16)
    }

    fn constants(&self) -> PackedConstants {
        let input = Scale { scale: self.input_scale, zero_point: self.input_zero_point };
        let residual = self.residual.as_ref().map(|(_, scale)| *scale);
        pack_constants(&self.weight, &self.channels, input, self.silu, residual)
    }

    /// Bytes or floats, as bits.
    fn run(&self, isa: Int8Isa) -> Vec<u32> {
        let (bytes, wide);
        let weight = if self.gray {
            wide = pack_gray(&self.weight, self.channels.len(), 1, self.kernel);
            Weight::Wide(&wide)
        } else {
            bytes = pack_conv(&self.weight, self.channels.len(), self.in_channels(), self.kernel);
            Weight::Bytes(&bytes)
        };
        let packed = self.constants();
        let PackedConstants { bias, scale, blocks, tables, residual: multiplier } = &packed;
        let conv = Conv {
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            weight,
            constants: Constants { bias, scale, blocks, tables },
            input_zero_point: self.input_zero_point,
            table: self.table.as_ref(),
        };
        let sources: Vec<_> = self.inputs.iter().map(Input::source).collect();
        let ([height, width], pitch) = (self.size(), self.pitch());
        let residual = self.residual.as_ref().map(|(data, scale)| Residual {
            image: Image::dense(data, height, width, pitch),
            multiplier: multiplier.expect("one for a residual"),
            zero_point: scale.zero_point,
        });
        let len = height * width * pitch;
        if self.floats {
            let mut out = vec![f32::NAN; len];
            let mut image = ImageMut::dense(&mut out, height, width, pitch);
            conv2d(isa, &sources, &conv, None, Output::Floats(&mut image));
            return out.into_iter().map(f32::to_bits).collect();
        }
        let mut out = vec![0xA5; len];
        let mut image = ImageMut::dense(&mut out, height, width, pitch);
        conv2d(isa, &sources, &conv, residual.as_ref(), Output::Bytes(&mut image));
        out.into_iter().map(u32::from).collect()
    }

    /// The definition, in double precision: the value before it is rounded to a level, or the
    /// float.
    fn expected(&self, y: usize, x: usize, output: usize) -> f64 {
        let [kernel_height, kernel_width] = self.kernel;
        let mut sum = 0_i64;
        let mut first = 0;
        for input in &self.inputs {
            for channel in 0..input.channels {
                for ky in 0..kernel_height {
                    for kx in 0..kernel_width {
                        let index = ((output * self.in_channels() + first + channel) * kernel_height + ky)
                            * kernel_width
                            + kx;
                        let row = (y * self.stride[0] + ky) as isize - self.padding[0] as isize;
                        let column = (x * self.stride[1] + kx) as isize - self.padding[1] as isize;
                        let zero = self.input_zero_point;
                        let value = input.at(row, column, channel, zero) - i64::from(zero);
                        sum += i64::from(self.weight[index]) * value;
                    }
                }
            }
            first += input.channels;
        }
        let channel = &self.channels[output];
        let unit = f64::from(self.input_scale * channel.weight_scale);
        let mut real = (sum as f64 + (channel.bias / unit).round()) * unit;
        if self.silu {
            real /= 1.0 + (-real).exp();
        }
        if let Some((data, Scale { scale, zero_point })) = &self.residual {
            let level = data[(y * self.size()[1] + x) * self.pitch() + output];
            real += (f64::from(level) - f64::from(*zero_point)) * f64::from(*scale);
        }
        channel.output.map_or(real, |output| real / f64::from(output.scale))
    }

    fn describe(&self) -> String {
        let inputs: Vec<_> = self.inputs.iter().map(|i| (i.channels, i.size, i.pitch, i.upsampled)).collect();
        let Self { kernel, stride, padding, silu, floats, gray, channels, .. } = self;
        let (residual, table) = (self.residual.is_some(), self.table.is_some());
        format!(
            "{inputs:?} -> {}, kernel {kernel:?} stride {stride:?} padding {padding:?} silu {silu} residual \
             {residual} table {table} floats {floats} gray {gray}",
            channels.len()
        )
    }

    fn check_definition(&self, out: &[u32]) {
        let blocks = self.constants().blocks;
        let [height, width] = self.size();
        for y in 0..height {
            for x in 0..width {
                for (output, channel) in self.channels.iter().enumerate() {
                    let got = out[(y * width + x) * self.pitch() + output];
                    let expected = self.expected(y, x, output);
                    if self.floats {
                        let got = f64::from(f32::from_bits(got));
                        assert!(
                            (got - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                            "{got}, not {expected}"
                        );
                        continue;
                    }
                    let block = Block::from_integers(blocks[output / 16]);
                    let near = near(block, channel.output.expect("bytes have a scale").scale);
                    // Where the exact value is close to the middle between two levels, both are
                    // right.
                    let zero_point = channel.output.expect("bytes have a scale").zero_point;
                    let level =
                        |real: f64| (real.round_ties_even() + f64::from(zero_point)).clamp(0.0, 255.0) as u8;
                    let looked_up = |level| self.table.map_or(level, |table| table[usize::from(level)]);
                    let mut right = level(expected - near)..=level(expected + near);
                    assert!(
                        right.any(|level| got == u32::from(looked_up(level))),
                        "({y}, {x}, {output}): {got}, the definition says {expected}; {}",
                        self.describe()
                    );
                }
            }
        }
    }
}

/// On a thread of its own, where no earlier case has left scratch memory of another size.
fn fresh<T: Send>(task: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(task).join()).expect("the case passes")
}

#[test]
fn every_path_gives_the_same_bits_and_they_are_the_definitions() {
    for seed in seeds() {
        let case = Case::random(seed);
        let portable = fresh(|| case.run(Int8Isa::Portable));
        case.check_definition(&portable);
        for isa in Int8Isa::available() {
            let out = fresh(|| case.run(isa));
            assert!(out == portable, "{}: {}", isa.name(), case.describe());
        }
    }
}

#[test]
fn several_threads_compute_the_same_bits_as_one() {
    let cases: Vec<_> =
        seeds().into_iter().take(if cfg!(miri) { 4 } else { 100 }).map(Case::random).collect();
    let alone: Vec<_> = cases.iter().map(|case| case.run(Int8Isa::current())).collect();
    model_runtime::threads::set_threads(3);
    for (case, alone) in cases.iter().zip(alone) {
        assert!(case.run(Int8Isa::current()) == alone, "{}", case.describe());
    }
    model_runtime::threads::set_threads(1);
}

/// The largest activations and weights, all of one sign: sums that would overflow 16 bits, and 24.
#[test]
fn sums_of_the_largest_products_do_not_saturate() {
    let channels = if cfg!(miri) { 16 } else { 512 };
    for isa in Int8Isa::available() {
        for weight in [-127, 127] {
            let mut case = Case::random(SMALL_CASES[0]);
            case.inputs = vec![Input {
                data: vec![255; 9 * channels],
                size: [3, 3],
                channels,
                pitch: channels,
                upsampled: false,
            }];
            case.weight = vec![weight; 16 * channels * 9];
            case.channels = vec![Channel { bias: 0.0, weight_scale: 100.0, output: None }; 16];
            (case.kernel, case.stride, case.padding) = ([3, 3], [1, 1], [0, 0]);
            (case.residual, case.table, case.floats, case.gray, case.silu) = (None, None, true, false, false);
            (case.input_zero_point, case.input_scale) = (0, 0.01);
            let expected = (channels as i32 * 9 * 255 * i32::from(weight)) as f32;
            assert!(case.run(isa).into_iter().all(|bits| f32::from_bits(bits) == expected), "{}", isa.name());
        }
    }
}

/// Far beyond what a level can hold, and infinite exponents: results saturate instead of wrapping.
#[test]
fn a_bias_that_no_sum_of_its_units_can_hold_is_kept_and_its_weights_become_coarser() {
    let input = Scale { scale: 0.5, zero_point: 3 };
    for (bias, weight_scale) in [(5.0, 7.8e-10), (5.0, 1e-30), (-4.9, 2.4e-9), (1.0, 0.0), (0.25, 0.01)] {
        let mut channels = [Channel { bias, weight_scale, output: None }];
        let mut weight: Vec<i8> = (0..64).map(|i| (i * 4 - 128) as i8).collect();
        let exact: Vec<f64> = weight.iter().map(|&w| f64::from(w) * f64::from(weight_scale)).collect();
        fit_sums(&mut weight, &mut channels, input);
        let packed = pack_constants(&weight, &channels, input, false, None);
        // An input of zero everywhere: 3 in levels.
        let levels: i64 = weight.iter().map(|&w| 3 * i64::from(w)).sum::<i64>() + i64::from(packed.bias[0]);
        let value = levels as f64 * f64::from(packed.scale[0]);
        assert!((value - bias).abs() < 1e-3, "{value} in place of {bias}");
        // Weights differ by no more than the rounding of a sum of this size.
        let unit = f64::from(channels[0].weight_scale);
        for (level, exact) in weight.iter().zip(exact) {
            assert!((f64::from(*level) * unit - exact).abs() <= unit.max(1e-12), "{level} × {unit}, {exact}");
        }
    }
    // A layer of so many inputs that the largest products do not fit.
    let (mut weight, mut channels) =
        (vec![-128; 70_000], [Channel { bias: 0.0, weight_scale: 0.01, output: None }]);
    fit_sums(&mut weight, &mut channels, input);
    assert_eq!((weight[0], channels[0].weight_scale), (-64, 0.02));
}

#[test]
#[should_panic(expected = "a sum may leave 32 bits")]
fn constants_of_sums_that_leave_32_bits_are_refused() {
    let channels = [Channel { bias: 5.0, weight_scale: 7.8e-10, output: None }];
    pack_constants(&[1; 16], &channels, Scale { scale: 0.5, zero_point: 0 }, false, None);
}

#[test]
fn values_out_of_range_saturate() {
    for isa in Int8Isa::available() {
        for (bias, silu, expected) in [(1e3, false, 255), (-1e3, false, 0), (1e3, true, 255), (-1e3, true, 9)]
        {
            let mut case = Case::random(SMALL_CASES[0]);
            case.inputs =
                vec![Input { data: vec![1; 64], size: [4, 4], channels: 4, pitch: 4, upsampled: false }];
            case.weight = vec![1; 64];
            let output = Some(Scale { scale: 0.01, zero_point: 9 });
            case.channels = vec![Channel { bias, weight_scale: 0.01, output }; 16];
            (case.kernel, case.stride, case.padding) = ([1, 1], [1, 1], [0, 0]);
            (case.residual, case.table, case.floats, case.gray) = (None, None, false, false);
            (case.input_zero_point, case.input_scale, case.silu) = (0, 0.01, silu);
            assert!(case.run(isa).into_iter().all(|level| level == expected), "{} {bias}", isa.name());
        }
    }
}

#[test]
fn sppf_takes_the_largest_of_each_window() {
    for isa in Int8Isa::available() {
        let (cases, side, most) = if cfg!(miri) { (2, 4, 17) } else { (CASES / 8, 20, 40) };
        for seed in 1..=cases {
            let mut random = Random::seeded(seed);
            let [height, width] = [random.between(1, side), random.between(1, side)];
            let (channels, kernel) = (random.between(1, most), random.pick(&[1, 3, 5, 7]));
            let data = random.bytes(height * width * channels);
            let mut out = vec![0; height * width * 3 * channels];
            let input = Image::dense(&data, height, width, channels);
            sppf(isa, &input, kernel, &mut ImageMut::dense(&mut out, height, width, 3 * channels));
            for y in 0..height {
                for x in 0..width {
                    for c in 0..channels {
                        for pass in 0..3 {
                            // Chained windows of size k reach (k - 1) / 2 further each.
                            let reach = (pass + 1) * (kernel / 2);
                            let rows = y.saturating_sub(reach)..=(y + reach).min(height - 1);
                            let expected = rows
                                .flat_map(|y| {
                                    let columns = x.saturating_sub(reach)..=(x + reach).min(width - 1);
                                    columns.map(move |x| (y * width + x) * channels + c)
                                })
                                .map(|at| data[at])
                                .max();
                            let got = out[((y * width + x) * 3 + pass) * channels + c];
                            assert_eq!(Some(got), expected, "{} {height}x{width}x{channels}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_sum_of_two_maps_is_rounded_once() {
    let levels = || (0..=255).step_by(if cfg!(miri) { 17 } else { 1 });
    let (a, b): (Vec<u8>, Vec<u8>) = levels().flat_map(|a| levels().map(move |b| (a, b))).unzip();
    let height = a.len() / 256;
    let (of_a, of_b) = (Scale { scale: 0.02, zero_point: 14 }, Scale { scale: 0.033, zero_point: 100 });
    let of_sum = Scale { scale: 0.04, zero_point: 60 };
    let mut out = vec![0; a.len()];
    let image = |data| Image::dense(data, height, 16, 16);
    add((&image(&a), of_a), (&image(&b), of_b), &mut ImageMut::dense(&mut out, height, 16, 16), of_sum);
    for ((a, b), out) in a.iter().zip(&b).zip(out) {
        let real = |level: u8, of: Scale| (f64::from(level) - f64::from(of.zero_point)) * f64::from(of.scale);
        let exact = (real(*a, of_a) + real(*b, of_b)) / f64::from(of_sum.scale);
        let near = |exact: f64| (exact.round_ties_even() + 60.0).clamp(0.0, 255.0) as u8;
        assert!(
            out == near(exact - 1e-4) || out == near(exact + 1e-4),
            "{a} and {b}: {out}, exactly {exact}"
        );
    }
}
