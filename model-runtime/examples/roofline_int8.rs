//! What share of the core's measured integer peak each of YOLOv5's convolutions reaches in 8 bits:
//! `cargo run --release -p model-runtime --no-default-features --example roofline_int8 -- [INPUT]
//! [WIDTH]`
//!
//! As `roofline`, with every convolution of the network: kinds that repeat are timed once and
//! counted as often as they occur.

mod roofline_layers;

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::kernels::int8::Int8Isa;
use model_runtime::kernels::int8::conv::{Constants, Conv, Output, Source, Weight, conv2d};
use model_runtime::pack::int8::{Channel, PackedConstants, Scale, pack_constants, pack_conv, pack_gray};

use roofline_layers::{Layer, layers};

/// Best of this many runs.
const RUNS: usize = 60;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().map_or(default, |n| n.expect("a number"));
    let (input, w) = (next(416), next(16));
    let isa = match std::env::var("INT8_ISA") {
        Ok(name) => {
            Int8Isa::available().into_iter().find(|isa| isa.name() == name).expect("an available path")
        }
        Err(_) => Int8Isa::current(),
    };
    let peak = peak(isa);
    let mut out = std::io::stdout().lock();
    let mut line = |text: String| writeln!(out, "{text}").expect("standard output takes a line");
    line(format!("{} path, one thread, {input} x {input}; peak measured: {peak:.0} GMAC/s\n", isa.name()));
    line("| layers | count | channels | output | MMAC each | ms each | GMAC/s | of peak |".into());
    line("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |".into());
    let (mut total, mut total_macs) = (0.0, 0.0);
    for layer in layers(w) {
        let [from, side] = layer.sides(input);
        let macs =
            (side * side * layer.out_channels * layer.kernel * layer.kernel * layer.in_channels) as f64;
        let seconds = time(isa, &layer, from, side);
        let rate = macs / seconds / 1e9;
        let Layer { name, count, in_channels, out_channels, .. } = layer;
        line(format!(
            "| {name} | {count} | {in_channels} to {out_channels} | {side} x {side} | {:.1} | {:.4} | {rate:.0} | {:.0} % |",
            macs / 1e6,
            seconds * 1e3,
            rate / peak * 100.0,
        ));
        total += seconds * count as f64;
        total_macs += macs * count as f64;
    }
    line(format!(
        "| all of these | | | | {:.0} | {:.2} | {:.0} | {:.0} % |",
        total_macs / 1e6,
        total * 1e3,
        total_macs / total / 1e9,
        total_macs / total / 1e9 / peak * 100.0
    ));
}

/// Seconds for one layer.
fn time(isa: Int8Isa, layer: &Layer, side: usize, out_side: usize) -> f64 {
    let &Layer { in_channels, out_channels, kernel, stride, silu, .. } = layer;
    let values: Vec<i8> =
        (0..out_channels * in_channels * kernel * kernel).map(|i| (i * 37 % 255) as u8 as i8).collect();
    let (bytes, wide);
    let weight = if in_channels == 1 {
        wide = pack_gray(&values, out_channels, 1, [kernel; 2]);
        Weight::Wide(&wide)
    } else {
        bytes = pack_conv(&values, out_channels, in_channels, [kernel; 2]);
        Weight::Bytes(&bytes)
    };
    let packed = constants(&values, out_channels, silu, !silu);
    let conv = Conv {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [layer.padding(); 2],
        weight,
        constants: Constants {
            bias: &packed.bias,
            scale: &packed.scale,
            blocks: &packed.blocks,
            tables: &packed.tables,
        },
        input_zero_point: 8,
        table: None,
    };
    let input: Vec<u8> = (0..side * side * in_channels).map(|i| (i * 7 % 256) as u8).collect();
    let pitch = out_channels.next_multiple_of(16);
    let mut bytes = vec![0; out_side * out_side * pitch];
    let mut floats = vec![0.0; if silu { 0 } else { bytes.len() }];
    let mut once = || {
        let source =
            Source { image: Image::dense(black_box(&input), side, side, in_channels), upsampled: false };
        let mut image = ImageMut::dense(&mut bytes, out_side, out_side, pitch);
        let mut float_image = ImageMut::dense(&mut floats, out_side, out_side, pitch);
        let out = if silu { Output::Bytes(&mut image) } else { Output::Floats(&mut float_image) };
        let start = Instant::now();
        conv2d(isa, &[source], &conv, None, out);
        start.elapsed()
    };
    best(&mut once)
}

fn constants(weight: &[i8], out_channels: usize, silu: bool, floats: bool) -> PackedConstants {
    let output = (!floats).then_some(Scale { scale: 0.05, zero_point: 8 });
    let channel = Channel { bias: 0.1, weight_scale: 0.001, output };
    pack_constants(weight, &vec![channel; out_channels], Scale { scale: 0.01, zero_point: 8 }, silu, None)
}

fn best(once: &mut dyn FnMut() -> Duration) -> f64 {
    (0..RUNS).map(|_| once()).min().unwrap_or(Duration::MAX).as_secs_f64()
}

/// Multiply-accumulates of a register tile in the first-level cache, in GMAC/s: many channels, few
/// pixels.
fn peak(isa: Int8Isa) -> f64 {
    const PIXELS: usize = 13;
    const CHANNELS: usize = 1024;
    let layer = Layer {
        name: "peak",
        count: 1,
        in_channels: CHANNELS,
        out_channels: 32,
        kernel: 1,
        stride: 1,
        scale: 1,
        silu: true,
    };
    let seconds = (0..20).map(|_| time_wide(isa, &layer, PIXELS)).fold(f64::INFINITY, f64::min);
    (PIXELS * CHANNELS * 32) as f64 / seconds / 1e9
}

/// As `time`, for one row of pixels, repeated many times.
fn time_wide(isa: Int8Isa, layer: &Layer, pixels: usize) -> f64 {
    let &Layer { in_channels, out_channels, .. } = layer;
    let weight = pack_conv(&vec![3; out_channels * in_channels], out_channels, in_channels, [1, 1]);
    let packed = constants(&vec![3; out_channels * in_channels], out_channels, false, false);
    let conv = Conv {
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        weight: Weight::Bytes(&weight),
        constants: Constants {
            bias: &packed.bias,
            scale: &packed.scale,
            blocks: &packed.blocks,
            tables: &packed.tables,
        },
        input_zero_point: 8,
        table: None,
    };
    let input = vec![7; pixels * in_channels];
    let mut out = vec![0; pixels * out_channels];
    let start = Instant::now();
    const TIMES: usize = 200;
    for _ in 0..TIMES {
        let source =
            Source { image: Image::dense(black_box(&input), 1, pixels, in_channels), upsampled: false };
        conv2d(
            isa,
            &[source],
            &conv,
            None,
            Output::Bytes(&mut ImageMut::dense(&mut out, 1, pixels, out_channels)),
        );
    }
    black_box(&out);
    start.elapsed().as_secs_f64() / TIMES as f64
}
