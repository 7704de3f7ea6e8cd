//! The compiled-in network against ONNX Runtime, before any decoding.
//! The reference is made by `make reference-heads` (model-import/reference/raw_heads.py).

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use eye_state::model::{METADATA, Model};

const REFERENCE: &str = include_str!("../../model-import/reference/raw_heads.txt");

/// Logits: 1e-3 moves a confidence by at most 2.5e-4, and a box of YOLOv5 by less than 0.1 px a stride of 8.
const TOLERANCE: f32 = 1e-3;

/// The reference's image: bands and texture with values 0 to 1.
fn image() -> Tensor<4> {
    let (height, width) = (METADATA.input_height, METADATA.input_width);
    let pixels = (0..3 * height * width).map(|at| {
        let (c, y, x) = (at / (height * width), at / width % height, at % width);
        ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) as f32 / 255.0
    });
    let data = TensorData::new(pixels.collect::<Vec<f32>>(), [1, 3, height, width]);
    Tensor::from_data(data, &Device::default())
}

#[test]
fn raw_head_maps_are_onnx_runtimes() {
    let maps = Model::from_embedded(&Device::default()).forward(image());
    let shapes = maps.each_ref().map(|map| map.dims());
    let maps = maps.map(|map| map.into_data().convert::<f32>().try_to_vec::<f32>().expect("floats"));

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
    assert_eq!(compared, 600);
    assert!(worst <= TOLERANCE, "the largest difference is {worst}");
}

#[test]
fn metadata_fits_the_network() {
    let maps = Model::from_embedded(&Device::default()).forward(image());
    let columns = 5 + METADATA.class_names.len();
    assert_eq!(METADATA.heads.len(), maps.len());
    for (head, map) in METADATA.heads.iter().zip(&maps) {
        let cells = [METADATA.input_height / head.stride, METADATA.input_width / head.stride];
        assert_eq!(map.dims(), [1, head.anchors.len() * columns, cells[0], cells[1]]);
    }
    assert!(METADATA.open_classes.iter().all(|id| !METADATA.closed_classes.contains(id)));
}
