//! One engine with one model at one size: `bench-peers ENGINE SCALE WIDTH HEIGHT THREADS`.
//!
//! Reads how many times to run from each line of standard input and answers with the milliseconds
//! of each run, so that bench.py can let the engines take turns. ENGINE: `kernels` (gray image),
//! `kernels-rgb`, `kernels-int8` (gray), `kernels-int8-rgb`, `burn` or `tract`.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use model_runtime::detect::{HeadMap, decode};
use model_runtime::heads::HeadTensor;
use model_runtime::ops::int8::levels_from;
use tract_onnx::prelude::*;

/// Like the function's default.
const CONFIDENCE_THRESHOLD: f32 = 0.25;

/// Includes a generated network. `forward` is what the function calls; plain burn's makes three
/// channels of the size that it was exported for, and nothing else in it depends on that size:
/// `any_size` leaves that out.
macro_rules! network {
    ($name:ident, $file:literal $(, $any_size:ident)?) => {
        #[allow(dead_code, unreachable_pub)]
        mod $name {
            include!(concat!(env!("OUT_DIR"), $file));

            $(impl Model {
                pub fn $any_size(&self, images: burn::prelude::Tensor<4>) -> [burn::prelude::Tensor<4>; 3] {
                    self.network.forward(images).into()
                }
            })?
        }
    };
}

network!(nano, "/yolov5n/eye_state_model.rs");
network!(nano_int8, "/yolov5n-int8/eye_state_model.rs");
network!(nano_plain, "/yolov5n/eye_state_plain_model.rs", any_size);
network!(small, "/yolov5s/eye_state_model.rs");
network!(small_int8, "/yolov5s-int8/eye_state_model.rs");
network!(small_plain, "/yolov5s/eye_state_plain_model.rs", any_size);

type Engine = Box<dyn FnMut() -> Result<()>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, scale, width, height, threads] = &arguments[..] else {
        bail!("usage: bench-peers kernels[-int8][-rgb]|burn|tract yolov5n|yolov5s WIDTH HEIGHT THREADS");
    };
    let (width, height) = (width.parse()?, height.parse()?);
    model_runtime::threads::set_threads(threads.parse()?);
    let mut engine = build(engine, scale, width, height)?;
    for line in std::io::stdin().lock().lines() {
        let runs: usize = line?.trim().parse().context("a line is a number of runs")?;
        let mut answer = String::new();
        for _ in 0..runs {
            let start = Instant::now();
            engine()?;
            answer += &format!("{:.4} ", start.elapsed().as_secs_f64() * 1e3);
        }
        writeln!(std::io::stdout(), "{}", answer.trim_end())?;
    }
    Ok(())
}

fn build(engine: &str, scale: &str, width: usize, height: usize) -> Result<Engine> {
    let gray = picture(width, height);
    let colour: Vec<f32> = gray.repeat(3);
    let tensor = |values: Vec<f32>, channels| {
        Tensor::<4>::from_data(TensorData::new(values, [1, channels, height, width]), &Device::default())
    };
    let levels = |samples: &[f32], channels| {
        let levels = samples.iter().map(|sample| (sample * 255.0).round() as u8).collect();
        levels_from(levels, [1, channels, height, width])
    };
    macro_rules! native {
        ($network:ident, $forward:ident, $image:expr) => {{
            let model = $network::Model::from_embedded(&Device::default());
            let image = $image;
            let mut candidates = Vec::new();
            Box::new(move || {
                let heads = model.$forward(image.clone()).map(HeadTensor::new);
                let maps: [HeadMap<'_>; 3] = std::array::from_fn(|i| heads[i].map());
                candidates.clear();
                decode(&maps, &$network::METADATA, CONFIDENCE_THRESHOLD, &mut candidates);
                Ok(())
            }) as Engine
        }};
    }
    Ok(match (engine, scale) {
        ("kernels-int8", "yolov5n") => native!(nano_int8, forward_levels, levels(&gray, 1)),
        ("kernels-int8", "yolov5s") => native!(small_int8, forward_levels, levels(&gray, 1)),
        ("kernels-int8-rgb", "yolov5n") => native!(nano_int8, forward_levels, levels(&colour, 3)),
        ("kernels-int8-rgb", "yolov5s") => native!(small_int8, forward_levels, levels(&colour, 3)),
        ("kernels", "yolov5n") => native!(nano, forward, tensor(gray, 1)),
        ("kernels", "yolov5s") => native!(small, forward, tensor(gray, 1)),
        ("kernels-rgb", "yolov5n") => native!(nano, forward, tensor(colour, 3)),
        ("kernels-rgb", "yolov5s") => native!(small, forward, tensor(colour, 3)),
        ("burn", "yolov5n") => native!(nano_plain, any_size, tensor(colour, 3)),
        ("burn", "yolov5s") => native!(small_plain, any_size, tensor(colour, 3)),
        ("tract", _) => {
            let path = format!("{}/models/{scale}-{width}x{height}.onnx", env!("CARGO_MANIFEST_DIR"));
            let model = tract_onnx::onnx().model_for_path(path)?.into_optimized()?.into_runnable()?;
            let image = tract_ndarray::Array4::from_shape_vec((1, 3, height, width), colour)?;
            let image: TValue = tract_onnx::prelude::Tensor::from(image).into();
            Box::new(move || {
                model.run(tvec!(image.clone()))?;
                Ok(())
            })
        }
        _ => bail!("no engine {engine} for {scale}"),
    })
}

/// The pattern that bench.py gives the others.
fn picture(width: usize, height: usize) -> Vec<f32> {
    (0..height).flat_map(|y| (0..width).map(move |x| ((x * 7 + y * 13) % 256) as f32 / 255.0)).collect()
}
