//! The compiled-in network against ONNX Runtime, before any decoding, and against burn's own
//! operators. The reference is made by `make reference-heads`
//! (model-import/reference/raw_heads.py).

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use eye_state::letterbox::letterbox;
use eye_state::model::{METADATA, Model};

/// The same model in burn's own operators, which the build script generates beside it.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "generated code of which this needs the network")]
mod plain {
    include!(concat!(env!("OUT_DIR"), "/eye_state_plain_model.rs"));
}

/// ONNX Runtime's values for the built-in model and for its form in floats.
const REFERENCES: [&str; 2] = [
    include_str!("../../model-import/reference/raw_heads.txt"),
    include_str!("../../model-import/reference/raw_heads-floats.txt"),
];

/// Logits: 1e-3 moves a confidence by at most 2.5e-4, and a box of YOLOv5 by less than 0.1 px a
/// stride of 8.
const TOLERANCE: f32 = 1e-3;

/// How far a network in 8-bit integers may be from ONNX Runtime on the same file (mean square), for
/// how far that is from the same weights with no map rounded. Networks that round independently of
/// each other have 2.
const NEARER: f64 = 1.0;

/// Tolerated distance (root mean square) of a network in 8-bit integers from the same in floats, in
/// standard deviations of the logits: on noise, on which rounding costs the most.
const QUANTIZED: f64 = 0.15;

fn tensor_of(pixels: Vec<f32>, channels: usize) -> Tensor<4> {
    let data = TensorData::new(pixels, [1, channels, METADATA.input_height, METADATA.input_width]);
    Tensor::from_data(data, &Device::default())
}

/// Bands and texture with values 0 to 1, nearly noise; with `step` 0 a gray one.
fn image(channels: usize, step: usize) -> Tensor<4> {
    let (height, width) = (METADATA.input_height, METADATA.input_width);
    let pixels = (0..channels * height * width).map(|at| {
        let (c, y, x) = (at / (height * width), at / width % height, at % width);
        ((c * step + y * 17 + x * 13 + x * y % 251) % 256) as f32 / 255.0
    });
    tensor_of(pixels.collect(), channels)
}

/// The reference's picture, with equal channels.
fn face() -> Tensor<4> {
    let frame = picture::decode(include_bytes!("reference/pictures/open.png"), 1 << 20, None);
    let frame = frame.expect("a picture without loss");
    let boxed = letterbox::<f32>(&frame, METADATA.input_width, METADATA.input_height);
    let planes = if boxed.channels == 1 { boxed.samples.repeat(3) } else { boxed.samples };
    tensor_of(planes, 3)
}

fn model() -> Model {
    Model::from_embedded(&Device::default())
}

fn values<const HEADS: usize>(maps: [Tensor<4>; HEADS]) -> [Vec<f32>; HEADS] {
    maps.map(|map| map.into_data().convert::<f32>().try_to_vec::<f32>().expect("floats"))
}

fn largest_difference<const HEADS: usize>(a: [Tensor<4>; HEADS], b: [Tensor<4>; HEADS]) -> f32 {
    let (a, b) = (values(a).concat(), values(b).concat());
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Head, index into its map and ONNX Runtime's value, of the compiled-in model.
fn reference(shapes: &[[usize; 4]]) -> Vec<(usize, usize, f32)> {
    let version = format!("version {}", METADATA.version);
    let of_this = |text: &&&str| text.lines().any(|line| line == version);
    let text =
        REFERENCES.iter().find(of_this).expect("the references are of other models: make reference-heads");
    let mut values = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["version", _] => {}
            ["shape", head, ref shape @ ..] => {
                let shape: Vec<usize> = shape.iter().map(|axis| axis.parse().unwrap()).collect();
                assert_eq!(shapes[head.parse::<usize>().unwrap()][..], shape);
            }
            [head, index, value] => {
                values.push((head.parse().unwrap(), index.parse().unwrap(), value.parse().unwrap()));
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(values.len(), 200 * METADATA.heads.len());
    values
}

/// The mean square of the difference.
fn mean_square(pairs: impl ExactSizeIterator<Item = (f32, f32)>) -> f64 {
    let count = pairs.len() as f64;
    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / count
}

#[test]
fn raw_head_maps_are_onnx_runtimes() {
    let maps = model().forward(face());
    let reference = reference(&maps.each_ref().map(|map| map.dims()));
    let maps = values(maps);
    let off: Vec<(f32, f32)> = reference.iter().map(|&(head, at, value)| (maps[head][at], value)).collect();
    if METADATA.quantized {
        // ONNX Runtime rounds in the same places, but a value in the middle between two levels may
        // go the other way. Layer by layer, `model-import` compares to the level.
        let exact = values(plain::Model::from_embedded(&Device::default()).forward(face()));
        let of_rounding = mean_square(reference.iter().map(|&(head, at, value)| (exact[head][at], value)));
        let apart = mean_square(off.iter().copied());
        assert!(
            apart <= NEARER * of_rounding,
            "{apart} from ONNX Runtime's, which is {of_rounding} from floats"
        );
        return;
    }
    let worst = off.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "the largest difference is {worst}");
}

#[test]
fn metadata_fits_the_network() {
    let maps = model().forward(image(3, 31));
    let columns = 5 + METADATA.class_names.len();
    assert_eq!(METADATA.heads.len(), maps.len());
    for (head, map) in METADATA.heads.iter().zip(&maps) {
        let cells = [METADATA.input_height / head.stride, METADATA.input_width / head.stride];
        assert_eq!(map.dims(), [1, head.anchors.len() * columns, cells[0], cells[1]]);
    }
    assert!(METADATA.open_classes.iter().all(|id| !METADATA.closed_classes.contains(id)));
}

#[test]
fn fused_and_plain_operators_agree() {
    let plain = plain::Model::from_embedded(&Device::default());
    for step in [0, 31] {
        let (fused, plain) = (model().forward(image(3, step)), plain.forward(image(3, step)));
        if METADATA.quantized {
            // The plain network has the rounded weights, but computes in floats.
            let (fused, plain) = (values(fused).concat(), values(plain).concat());
            let mean = plain.iter().map(|&value| f64::from(value)).sum::<f64>() / plain.len() as f64;
            let spread = mean_square(plain.iter().map(|&value| (value, mean as f32)));
            let off = mean_square(fused.into_iter().zip(plain));
            assert!(off <= QUANTIZED.powi(2) * spread, "step {step}: {off} of {spread}");
        } else {
            let difference = largest_difference(fused, plain);
            assert!(difference <= TOLERANCE, "step {step}: {difference}");
        }
    }
}

/// Night-vision images have equal channels: one is enough.
#[test]
fn a_gray_image_gives_what_its_three_equal_channels_give() {
    let difference = largest_difference(model().forward(image(1, 0)), model().forward(image(3, 0)));
    // Sums of integers are exact.
    let tolerance = if METADATA.quantized { 0.0 } else { TOLERANCE };
    assert!(difference <= tolerance, "{difference}");
}
