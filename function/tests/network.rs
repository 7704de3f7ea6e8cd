//! The compiled-in network against ONNX Runtime, before any decoding, and against burn's own
//! operators. The reference is made by `make reference-heads`
//! (model-import/reference/raw_heads.py).

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use eye_state::model::{METADATA, Model};

/// The same model in burn's own operators, which the build script generates beside it.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "generated code of which this needs the network")]
mod plain {
    include!(concat!(env!("OUT_DIR"), "/eye_state_plain_model.rs"));
}

const REFERENCE: &str = include_str!("../../model-import/reference/raw_heads.txt");

/// Logits: 1e-3 moves a confidence by at most 2.5e-4, and a box of YOLOv5 by less than 0.1 px a
/// stride of 8.
const TOLERANCE: f32 = 1e-3;

/// Bands and texture with values 0 to 1: with `step` 31 the reference's image, with 0 a gray one.
fn image(channels: usize, step: usize) -> Tensor<4> {
    let (height, width) = (METADATA.input_height, METADATA.input_width);
    let pixels = (0..channels * height * width).map(|at| {
        let (c, y, x) = (at / (height * width), at / width % height, at % width);
        ((c * step + y * 17 + x * 13 + x * y % 251) % 256) as f32 / 255.0
    });
    let data = TensorData::new(pixels.collect::<Vec<f32>>(), [1, channels, height, width]);
    Tensor::from_data(data, &Device::default())
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

#[test]
fn raw_head_maps_are_onnx_runtimes() {
    let maps = model().forward(image(3, 31));
    let shapes = maps.each_ref().map(|map| map.dims());
    let maps = values(maps);

    let mut compared = 0;
    let mut worst = 0.0_f32;
    for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("a word");
        match next() {
            "version" => {
                assert_eq!(next(), METADATA.version, "the reference is another model's: make reference-heads")
            }
            "shape" => {
                let head: usize = next().parse().unwrap();
                let shape = [(); 4].map(|()| next().parse::<usize>().unwrap());
                assert_eq!(shapes[head], shape);
            }
            head => {
                let (head, index): (usize, usize) = (head.parse().unwrap(), next().parse().unwrap());
                let expected: f32 = next().parse().unwrap();
                worst = worst.max((maps[head][index] - expected).abs());
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 200 * METADATA.heads.len());
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
        let difference = largest_difference(model().forward(image(3, step)), plain.forward(image(3, step)));
        assert!(difference <= TOLERANCE, "step {step}: {difference}");
    }
}

/// Night-vision images have equal channels: one is enough.
#[test]
fn a_gray_image_gives_what_its_three_equal_channels_give() {
    let difference = largest_difference(model().forward(image(1, 0)), model().forward(image(3, 0)));
    assert!(difference <= TOLERANCE, "{difference}");
}
