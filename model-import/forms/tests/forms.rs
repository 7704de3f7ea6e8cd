//! Every form that real exporters and tools write: accepted ones agree with ONNX Runtime, refused
//! ones are named by their kind.

#![expect(clippy::print_stdout, reason = "the figures of docs/exports.md, shown by --nocapture")]

use std::path::Path;

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use forms::{FORMS, Form};
use model_import::{Options, import};

/// Tolerance on logits, which differ by several units between pictures. Those of larger models are
/// held to a part of their standard deviation: in them the last bit of the input moves logits by
/// more than this (docs/exports.md).
const TOLERANCE: f32 = 1e-3;

/// Fewer forms than `accepted/` holds would mean that some were not looked at.
const FEWEST: usize = if option_env!("FORMS_FOLDER").is_some() { 1 } else { 20 };

/// The picture of `reference/raw_heads.py`.
fn image(form: &Form) -> Tensor<4> {
    let (height, width) = (form.metadata.input_height, form.metadata.input_width);
    let pixels = (0..3 * height * width).map(|at| {
        let (c, y, x) = (at / (height * width), at / width % height, at % width);
        ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) as f32 / 255.0
    });
    Tensor::from_data(
        TensorData::new(pixels.collect::<Vec<f32>>(), [1, 3, height, width]),
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

/// The standard deviation of a reference's values.
fn spread(reference: &[(usize, usize, f32)]) -> f32 {
    let count = reference.len() as f32;
    let mean = reference.iter().map(|&(_, _, value)| value).sum::<f32>() / count;
    (reference.iter().map(|&(_, _, value)| (value - mean).powi(2)).sum::<f32>() / count).sqrt()
}

#[test]
fn every_accepted_form_computes_what_onnx_runtime_computes() {
    assert!(FORMS.len() >= FEWEST, "the forms of {} files", FORMS.len());
    let mut too_far = Vec::new();
    for form in FORMS {
        let heads = (form.run)(image(form));
        let reference = reference(form.reference);
        assert!(reference.len() >= 60 * heads.len(), "{}", form.name);
        let mut worst = 0.0_f32;
        for &(head, index, expected) in &reference {
            worst = worst.max((heads[head][index] - expected).abs());
        }
        println!("{}: {} values, the largest difference is {worst:.1e}", form.name, reference.len());
        let scale = if option_env!("FORMS_FOLDER").is_some() { spread(&reference) } else { 1.0 };
        if worst > TOLERANCE * scale {
            too_far.push((form.name, worst));
        }
    }
    assert!(too_far.is_empty(), "{too_far:?}");
}

/// Otherwise a network that ignores its input would pass, too.
#[test]
fn the_references_move_by_several_units() {
    for form in FORMS {
        let spread = spread(&reference(form.reference));
        println!("{}: the standard deviation is {spread:.1}", form.name);
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
