//! Every form that real exporters and tools write: accepted ones agree with ONNX Runtime, refused
//! ones are named by their kind.

use std::path::Path;

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use forms::FORMS;
use model_import::{Options, import};

/// Tolerance on logits, which differ by several units between pictures.
const TOLERANCE: f32 = 1e-3;
const HEIGHT: usize = 64;
const WIDTH: usize = 128;

/// The picture of `reference/raw_heads.py`.
fn image() -> Tensor<4> {
    let pixels = (0..3 * HEIGHT * WIDTH).map(|at| {
        let (c, y, x) = (at / (HEIGHT * WIDTH), at / WIDTH % HEIGHT, at % WIDTH);
        ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) as f32 / 255.0
    });
    Tensor::from_data(
        TensorData::new(pixels.collect::<Vec<f32>>(), [1, 3, HEIGHT, WIDTH]),
        &Device::default(),
    )
}

/// Head, index and value of every line.
fn reference(text: &str) -> Vec<(usize, usize, f32)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("three words a line");
        (next().parse().unwrap(), next().parse().unwrap(), next().parse().unwrap())
    });
    values.collect()
}

#[test]
fn every_accepted_form_computes_what_onnx_runtime_computes() {
    assert!(FORMS.len() >= 20, "the forms of {} files", FORMS.len());
    for form in FORMS {
        let heads = (form.run)(image());
        let reference = reference(form.reference);
        assert_eq!(reference.len(), 60 * heads.len(), "{}", form.name);
        let mut worst = 0.0_f32;
        for &(head, index, expected) in &reference {
            worst = worst.max((heads[head][index] - expected).abs());
        }
        assert!(worst <= TOLERANCE, "{}: the largest difference is {worst}", form.name);
    }
}

/// Otherwise a network that ignores its input would pass, too.
#[test]
fn the_references_move_by_several_units() {
    for form in FORMS {
        let values: Vec<f32> = reference(form.reference).into_iter().map(|(_, _, value)| value).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let spread =
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(spread > 1.0, "{}: {spread}", form.name);
    }
}

#[test]
fn every_accepted_form_has_the_anchors_of_its_model_file() {
    let anchors: [f32; 24] = [
        10., 13., 16., 30., 33., 23., 30., 61., 62., 45., 59., 119., 116., 90., 156., 198., 373., 326., 436.,
        615., 739., 380., 925., 792.,
    ];
    for form in FORMS {
        let heads = form.metadata.heads;
        let found = heads.iter().flat_map(|head| head.anchors).flat_map(|&(width, height)| [width, height]);
        for (found, expected) in found.zip(anchors) {
            // Half precision keeps three digits.
            assert!((found - expected).abs() <= expected * 1e-3, "{}: {found} for {expected}", form.name);
        }
        assert_eq!(form.metadata.class_names, ["eye_open", "eye_closed"], "{}", form.name);
    }
}

#[test]
fn every_refused_form_says_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("refused");
    for (file, what) in [
        ("int8-dynamic.onnx", "quantized to int8 (quantized while it runs"),
        ("int8-qoperator.onnx", "quantized to int8 (operators on integers"),
        ("optimized.onnx", "optimized by ONNX Runtime"),
        ("v6.0-torch1.10-train.onnx", "without --train"),
    ] {
        let error = import(&folder.join(file), &Options::default()).expect_err(file).to_string();
        assert!(error.contains(what) && error.contains("make export"), "{file}: {error}");
    }
}
