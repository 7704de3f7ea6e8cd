//! Chains of convolutions, computed a few rows at a time, against one whole convolution after the
//! other.

mod random;

use model_runtime::kernels::Isa;
use model_runtime::kernels::chain::conv2d_chain;
use model_runtime::kernels::conv::{Conv, Source, output_size};
use model_runtime::kernels::convolve::conv2d;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::pack::{PackedConv, pack_bias, pack_conv};

use random::Random;

const CASES: u64 = if cfg!(miri) { 3 } else { 150 };

impl Random {
    /// Within ±`most`.
    fn values(&mut self, len: usize, most: f32) -> Vec<f32> {
        (0..len).map(|_| (self.between(0, 1 << 20) as f32 / (1 << 19) as f32 - 1.0) * most).collect()
    }
}

struct Stage {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    packed: PackedConv,
    bias: Vec<f32>,
    silu: bool,
    size: [usize; 2],
}

impl Stage {
    fn conv(&self) -> Conv<'_> {
        let Self { kernel, stride, padding, ref packed, ref bias, silu, .. } = *self;
        Conv { kernel, stride, padding, weight: &packed.values, weight_shape: packed.shape, bias, silu }
    }

    fn pitch(&self) -> usize {
        self.packed.shape[0] * 16
    }
}

/// One to three images side by side and two or three convolutions.
struct Case {
    size: [usize; 2],
    images: Vec<(Vec<f32>, usize)>,
    stages: Vec<Stage>,
}

impl Case {
    fn random(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let most = if cfg!(miri) { 7 } else { 90 };
        let blocks: usize = if cfg!(miri) { 1 } else { 4 };
        // Every third case starts like the network: a gray image twice as wide as the output, and
        // its stem.
        let gray = seed.is_multiple_of(3);
        let size = [random.between(6, most), 2 * random.between(3, most / 2)];
        let images: Vec<_> = (0..if gray || cfg!(miri) { 1 } else { random.between(1, 3) })
            .map(|_| {
                let channels = if gray { 1 } else { 16 * random.between(1, blocks.div_ceil(2)) };
                (random.values(size[0] * size[1] * channels, 1.0), channels)
            })
            .collect();
        let mut in_channels = images.iter().map(|(_, channels)| channels).sum();
        let mut before = size;
        let stages = (0..random.between(2, 3))
            .map(|i| {
                let (kernel, stride) = match random.between(0, 4) {
                    _ if gray && i == 0 => ([6, 6], [2, 2]),
                    0 => ([1, 1], [1, 1]),
                    1 => ([3, 3], [1, 1]),
                    2 | 3 => ([3, 3], [2, 2]),
                    _ => ([2, 5], [1, 3]),
                };
                // A map may have shrunk below the kernel: padding makes it fit.
                let kernel: [usize; 2] = if before.iter().any(|&side| side < 6) { [1, 1] } else { kernel };
                let padding =
                    if kernel == [6, 6] { [2, 2] } else { kernel.map(|side| random.between(0, side - 1)) };
                let whole = random.between(0, 2) > 0;
                let out_channels = if gray && i == 0 {
                    16
                } else if whole {
                    16 * random.between(1, blocks)
                } else {
                    random.between(1, 10 * blocks)
                };
                let weight = random.values(out_channels * in_channels * kernel[0] * kernel[1], 0.2);
                let packed = pack_conv(&weight, out_channels, in_channels, kernel, stride, [32, 32]);
                in_channels = out_channels;
                before = output_size(before, kernel, stride, padding);
                let (bias, silu) = (pack_bias(&random.values(out_channels, 1.0)), random.between(0, 1) == 0);
                Stage { kernel, stride, padding, packed, bias, silu, size: before }
            })
            .collect();
        Self { size, images, stages }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let [height, width] = self.size;
        self.images
            .iter()
            .map(|(data, channels)| Source {
                image: Image::dense(data, height, width, *channels),
                upsampled: false,
            })
            .collect()
    }

    fn together(&self, isa: Isa) -> Vec<f32> {
        let convs: Vec<_> = self.stages.iter().map(Stage::conv).collect();
        let last = self.stages.last().unwrap();
        let [height, width] = last.size;
        let mut out = vec![f32::NAN; height * width * last.pitch()];
        let mut image = ImageMut::dense(&mut out, height, width, last.pitch());
        conv2d_chain(isa, &self.sources(), &convs, &mut image);
        out
    }

    fn one_by_one(&self, isa: Isa) -> Vec<f32> {
        let mut before: Vec<f32> = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let [height, width] = stage.size;
            let mut out = vec![f32::NAN; height * width * stage.pitch()];
            let sources = match i.checked_sub(1).map(|i| &self.stages[i]) {
                None => self.sources(),
                Some(stage_before) => {
                    let [height, width] = stage_before.size;
                    let (channels, pixel_pitch) = (stage.packed.shape[3], stage_before.pitch());
                    let row_pitch = width * pixel_pitch;
                    let image = Image { data: &before, height, width, channels, row_pitch, pixel_pitch };
                    vec![Source { image, upsampled: false }]
                }
            };
            conv2d(
                isa,
                &sources,
                &stage.conv(),
                None,
                &mut ImageMut::dense(&mut out, height, width, stage.pitch()),
            );
            before = out;
        }
        before
    }

    /// Tiles of Winograd's filtering may lie elsewhere, so its rounding may differ.
    fn check(&self, isa: Isa) {
        let (together, one_by_one) = (self.together(isa), self.one_by_one(isa));
        let largest = one_by_one.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        for (i, (a, b)) in together.iter().zip(&one_by_one).enumerate() {
            let shapes: Vec<_> =
                self.stages.iter().map(|s| (s.kernel, s.stride, s.padding, s.size)).collect();
            assert!(
                (a - b).abs() <= 1e-4 * largest,
                "{i}: {a}, alone {b}; {}, {:?} {shapes:?}",
                isa.name(),
                self.size
            );
        }
    }
}

#[test]
fn a_chain_computes_what_its_convolutions_compute_one_by_one() {
    for isa in Isa::available() {
        for seed in 1..=CASES {
            let mut case = Case::random(seed);
            // Fills all buffers with NaN, so that reading rows that were not computed is noticed.
            let images: Vec<_> =
                case.images.iter().map(|(data, c)| (vec![f32::NAN; data.len()], *c)).collect();
            let images = std::mem::replace(&mut case.images, images);
            case.together(isa);
            case.images = images;
            case.check(isa);
        }
    }
}

#[test]
fn several_threads_compute_the_same_chain() {
    model_runtime::threads::set_threads(3);
    for seed in 1..=CASES {
        Case::random(seed).check(Isa::current());
    }
    model_runtime::threads::set_threads(1);
}
