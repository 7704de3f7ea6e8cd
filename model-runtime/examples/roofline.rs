//! What share of the core's measured peak each of YOLOv5's convolutions reaches: `cargo run
//! --release -p model-runtime --no-default-features --example roofline -- [INPUT] [WIDTH]`
//!
//! INPUT is the image's side (416), WIDTH the stem's channels (16: YOLOv5n, 32: YOLOv5s). Each kind
//! of layer is timed in a loop of its own, so its data is in the caches as far as it fits.
//! Multiply-accumulates are counted as in a direct convolution: a layer that Winograd's filtering
//! computes can exceed the peak.

mod roofline_layers;

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use model_runtime::kernels::Isa;
use model_runtime::kernels::conv::{Conv, Source};
use model_runtime::kernels::convolve::conv2d;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::pack::{BLOCK, pack_conv};

use roofline_layers::{Layer, layers};

/// Best of this many runs.
const RUNS: usize = 40;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|value| value.parse::<usize>().expect("a number"));
    let (input, width) = (arguments.next().unwrap_or(416), arguments.next().unwrap_or(16));
    let peak = peak();
    let mut out = std::io::stdout().lock();
    let mut print = |line: String| writeln!(out, "{line}").expect("standard output");
    print(format!("{} kernels, peak {peak:.0} GMAC/s, input {input} x {input}\n", Isa::current().name()));
    print("| layers | count | channels | output | MMAC each | ms each | GMAC/s | of peak |".into());
    print("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |".into());
    let (mut total_macs, mut total_time) = (0.0, 0.0);
    for layer in layers(width) {
        let [side, size] = layer.sides(input);
        let time = time(&layer, side, size);
        let macs =
            (size * size * layer.in_channels * layer.out_channels * layer.kernel * layer.kernel) as f64;
        let rate = macs / time / 1e9;
        let Layer { name, count, in_channels, out_channels, .. } = layer;
        print(format!(
            "| {name} | {count} | {in_channels} to {out_channels} | {size} x {size} | {:.1} | {:.3} | {rate:.0} | {:.0} % |",
            macs / 1e6,
            time * 1e3,
            100.0 * rate / peak
        ));
        total_macs += macs * count as f64;
        total_time += time * count as f64;
    }
    let rate = total_macs / total_time / 1e9;
    print(format!(
        "| all of these | | | | {:.0} | {:.2} | {rate:.0} | {:.0} % |",
        total_macs / 1e6,
        total_time * 1e3,
        100.0 * rate / peak
    ));
}

/// The best time in seconds.
fn time(layer: &Layer, side: usize, size: usize) -> f64 {
    let &Layer { in_channels, out_channels, kernel, stride, silu, .. } = layer;
    let padding = layer.padding();
    // Whole blocks, as a head's 21 channels are stored.
    let stored = out_channels.next_multiple_of(BLOCK);
    let weights = vec![0.01; out_channels * in_channels * kernel * kernel];
    let packed = pack_conv(&weights, out_channels, in_channels, [kernel; 2], [stride; 2], [side / stride; 2]);
    let conv = Conv {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        weight: &packed.values,
        weight_shape: packed.shape,
        bias: &vec![0.1; stored],
        silu,
    };
    let image = vec![0.5; side * side * in_channels];
    let mut output = vec![0.0; size * size * stored];
    let best = (0..RUNS).map(|_| {
        let start = Instant::now();
        let source = Source { image: Image::dense(&image, side, side, in_channels), upsampled: false };
        conv2d(Isa::current(), &[source], &conv, None, &mut ImageMut::dense(&mut output, size, size, stored));
        start.elapsed()
    });
    let best = best.min().unwrap_or(Duration::MAX);
    black_box(&output);
    best.as_secs_f64()
}

/// Multiply-accumulates a second, in GMAC/s, of one register tile with everything in the
/// first-level cache and no activation: what the inner loop reaches when nothing but arithmetic
/// counts.
fn peak() -> f64 {
    const CHANNELS: usize = 256;
    const PIXELS: usize = 14;
    let packed = pack_conv(&vec![0.01; 32 * CHANNELS], 32, CHANNELS, [1, 1], [1, 1], [1, 1]);
    let conv = Conv {
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        weight: &packed.values,
        weight_shape: packed.shape,
        bias: &[0.1; 32],
        silu: false,
    };
    let image = [0.5; PIXELS * CHANNELS];
    let mut output = [0.0; PIXELS * 32];
    let best = (0..200).map(|_| {
        let start = Instant::now();
        for _ in 0..100 {
            let source = Source { image: Image::dense(&image, 1, PIXELS, CHANNELS), upsampled: false };
            conv2d(Isa::current(), &[source], &conv, None, &mut ImageMut::dense(&mut output, 1, PIXELS, 32));
        }
        black_box(&output);
        start.elapsed()
    });
    let best = best.min().unwrap_or(Duration::MAX).as_secs_f64();
    (100 * PIXELS * CHANNELS * 32) as f64 / best / 1e9
}
