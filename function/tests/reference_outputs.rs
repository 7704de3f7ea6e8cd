//! Against YOLOv5's own pre- and post-processing around ONNX Runtime, on the same pictures.
//!
//! The references of the samples and of some lossless pictures are committed, for the built-in
//! model and for its form in floats; `make reference DATASET=path/to/dataset` makes one of real
//! pictures, which `REFERENCE=path/to/reference.json` points this test to
//! (`tests/reference/README.md` describes them).

use std::path::{Path, PathBuf};

use eye_state::classifier::Classifier;
use eye_state::config::Thresholds;
use eye_state::detection::{Detection, EyeState};
use eye_state::letterbox::letterbox;
use picture::{Frame, decode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// How far kept boxes, in pixels of the image, and confidences may be off.
struct Tolerance {
    pixels: f32,
    confidence: f32,
}

/// A network in floats differs in the order of its sums only.
const IN_FLOATS: Tolerance = Tolerance { pixels: 1.0, confidence: 1e-3 };
/// A network in 8-bit integers may round a value in the middle between two levels the other way
/// than ONNX Runtime, which computes the same file in floats; such differences grow from layer to
/// layer. `model-import` compares each layer by itself, to the level. Drawn faces differ most: the
/// model is less sure of them than of photographs.
const IN_INTEGERS: Tolerance = Tolerance { pixels: 4.0, confidence: 0.15 };
/// Root mean square over all boxes of some pictures, in 8 bits.
const IN_INTEGERS_MEAN: Tolerance = Tolerance { pixels: 1.0, confidence: 0.05 };
/// Boxes with an edge farther away than this are of different eyes.
const SAME_EYE: f32 = 16.0;
/// Said of a picture that is another one before the network sees it.
const LETTERBOX: &str = "the letterboxed picture is not OpenCV's";
/// More than any picture here has.
const MAX_PIXELS: u64 = 1 << 26;

#[derive(Deserialize)]
struct Reference {
    pictures: Option<PathBuf>,
    settings: Settings,
    model: Model,
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Settings {
    confidence_threshold: f32,
    iou_threshold: f32,
}

#[derive(Deserialize)]
struct Model {
    sha256: String,
}

#[derive(Deserialize)]
struct Image {
    path: String,
    width: u32,
    height: u32,
    letterbox_sha256: String,
    state: String,
    boxes: Vec<Box>,
}

#[derive(Deserialize)]
struct Box {
    xyxy: [f32; 4],
    confidence: f32,
    class: String,
}

/// What differs between one reference image and this crate, and how far boxes are apart.
fn differences(
    classifier: &Classifier,
    file: &Path,
    image: &Image,
    thresholds: Thresholds,
) -> (Vec<String>, Vec<Apart>) {
    let bytes = std::fs::read(file).expect("the reference's picture is there");
    let frame = decode(&bytes, MAX_PIXELS, None).expect("OpenCV read it, too");
    let found = classifier.classify(&frame, thresholds);
    let tolerance = if Classifier::metadata().quantized { IN_INTEGERS } else { IN_FLOATS };
    let mut differences = Vec::new();
    if letterbox_digest(&frame) != image.letterbox_sha256 {
        differences.push(LETTERBOX.into());
    }
    if (frame.width, frame.height) != (image.width, image.height) {
        differences.push(format!("{}×{} for {}×{}", frame.width, frame.height, image.width, image.height));
    }
    if found.verdict.state.label() != image.state {
        differences.push(format!("verdict {} for {}", found.verdict.state.label(), image.state));
    }
    let Matched { pairs, alone } = matched(found.eyes.iter().map(Box::from).collect(), &image.boxes);
    for Apart { pixels, confidence } in &pairs {
        if *pixels > tolerance.pixels || *confidence > tolerance.confidence {
            differences.push(format!("box off by {pixels} px, confidence by {confidence}"));
        }
    }
    // The threshold may lie between two confidences of an eye.
    for confidence in alone {
        if confidence > thresholds.confidence + tolerance.confidence {
            differences.push(format!("a box of confidence {confidence} is in one of both only"));
        }
    }
    (differences, pairs)
}

/// How far two boxes of the same class are apart: the largest distance of an edge, and the
/// confidences' difference.
#[derive(Clone, Copy, Debug)]
struct Apart {
    pixels: f32,
    confidence: f32,
}

/// Boxes of the same eyes, and the confidences of those that only one of both has.
struct Matched {
    pairs: Vec<Apart>,
    alone: Vec<f32>,
}

fn matched(mut left: Vec<Box>, expected: &[Box]) -> Matched {
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for expected in expected {
        let apart: Vec<Apart> = left.iter().map(|other| other.apart(expected)).collect();
        let nearest = (0..left.len()).min_by(|&a, &b| apart[a].pixels.total_cmp(&apart[b].pixels));
        match nearest.filter(|&nearest| apart[nearest].pixels <= SAME_EYE) {
            Some(nearest) => {
                left.swap_remove(nearest);
                pairs.push(apart[nearest]);
            }
            None => alone.push(expected.confidence),
        }
    }
    alone.extend(left.iter().map(|other| other.confidence));
    Matched { pairs, alone }
}

/// Root mean squares of pixels and of confidences.
fn root_mean_squares(pairs: &[Apart]) -> Tolerance {
    let mean = |of: fn(&Apart) -> f32| {
        (pairs.iter().map(|apart| of(apart).powi(2)).sum::<f32>() / pairs.len() as f32).sqrt()
    };
    Tolerance { pixels: mean(|apart| apart.pixels), confidence: mean(|apart| apart.confidence) }
}

impl From<&Detection> for Box {
    fn from(eye: &Detection) -> Self {
        let class = if eye.state == EyeState::Open { "eye_open" } else { "eye_closed" };
        let bounds = eye.bounding_box;
        Self {
            xyxy: [bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height],
            confidence: eye.confidence,
            class: class.into(),
        }
    }
}

impl Box {
    /// Infinitely far where the classes differ.
    fn apart(&self, other: &Self) -> Apart {
        let edges = self.xyxy.iter().zip(other.xyxy).map(|(a, b)| (a - b).abs());
        let pixels = if self.class == other.class { edges.fold(0.0, f32::max) } else { f32::INFINITY };
        Apart { pixels, confidence: (self.confidence - other.confidence).abs() }
    }
}

/// SHA-256 of the letterboxed picture as OpenCV holds it: height × width × (blue, green, red), 8
/// bit.
fn letterbox_digest(frame: &Frame) -> String {
    let metadata = Classifier::metadata();
    let boxed = letterbox::<u8>(frame, metadata.input_width, metadata.input_height);
    let plane = metadata.input_width * metadata.input_height;
    let bytes: Vec<u8> = (0..plane)
        .flat_map(|at| [2, 1, 0].map(|channel| boxed.samples[(channel % boxed.channels) * plane + at]))
        .collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a reference file.
fn reference(file: &Path) -> Reference {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("the schema of tests/reference/README.md")
}

/// The committed references of the built-in model: in 8 bits, and in floats.
fn committed(name: &str) -> [Reference; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    [format!("{name}.json"), format!("{name}-floats.json")].map(|file| reference(&folder.join(file)))
}

/// What a comparison found.
#[derive(Default)]
struct Compared {
    images: usize,
    /// Images that differ in anything.
    different: usize,
    /// Images that are another one before the network sees them.
    letterboxes: usize,
    /// Images with another verdict.
    verdicts: usize,
    boxes: Vec<Apart>,
    report: String,
}

/// Compares everything in a reference.
fn compare(reference: &Reference, pictures: &Path) -> Compared {
    assert!(
        reference.model.sha256.starts_with(Classifier::metadata().version),
        "the reference is of another model ({}): make it again with make reference",
        &reference.model.sha256[..12]
    );
    let thresholds = Thresholds {
        confidence: reference.settings.confidence_threshold,
        iou: reference.settings.iou_threshold,
    };
    let classifier = Classifier::load();
    let folder = reference.pictures.as_deref().unwrap_or(pictures);
    let mut compared = Compared { images: reference.images.len(), ..Compared::default() };
    for image in &reference.images {
        let (found, apart) = differences(&classifier, &folder.join(&image.path), image, thresholds);
        compared.boxes.extend(apart);
        compared.different += usize::from(!found.is_empty());
        let that = |begin: &str| found.iter().filter(|difference| difference.starts_with(begin)).count();
        compared.letterboxes += that(LETTERBOX);
        compared.verdicts += that("verdict");
        for difference in found {
            compared.report += &format!("\n{}: {difference}", image.path);
        }
    }
    compared
}

/// Every picture has its verdict and its boxes.
fn agrees(forms: &[Reference; 2], pictures: &Path) -> usize {
    let of_this = |form: &&Reference| form.model.sha256.starts_with(Classifier::metadata().version);
    let form = forms.iter().find(of_this).expect("the references are of other models: make reference");
    let Compared { images, different, boxes, report, .. } = compare(form, pictures);
    assert_eq!(different, 0, "{report}");
    if Classifier::metadata().quantized {
        let Tolerance { pixels, confidence } = root_mean_squares(&boxes);
        let most = IN_INTEGERS_MEAN;
        assert!(pixels <= most.pixels && confidence <= most.confidence, "{pixels} px, {confidence}");
    }
    images
}

#[test]
fn every_sample_agrees_with_onnx_runtime() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let images = agrees(&committed("samples"), &pictures);
    assert!(images >= 8, "only {images} samples");
}

#[test]
fn every_lossless_picture_agrees_with_onnx_runtime() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pictures");
    let images = agrees(&committed("pictures"), &pictures);
    assert!(images >= 6, "only {images} pictures");
}

/// In 8 bits, a few of many pictures have an eye whose confidence follows a rounding.
#[test]
fn every_real_picture_agrees_with_onnx_runtime() {
    let Some(reference) = std::env::var_os("REFERENCE") else {
        eprintln!("no REFERENCE: make one of real pictures with make reference DATASET=path/to/dataset");
        return;
    };
    let Compared { images, different, letterboxes, verdicts, report, .. } =
        compare(&self::reference(Path::new(&reference)), Path::new("."));
    assert!(images >= 50, "only {images} real pictures");
    let [most_different, most_verdicts] =
        if Classifier::metadata().quantized { [images / 50, images / 200] } else { [0, 0] };
    assert_eq!(letterboxes, 0, "{report}");
    assert!(different <= most_different && verdicts <= most_verdicts, "{images} images compared:{report}");
    eprintln!("of {images} real pictures {different} differ, {verdicts} in their verdict");
}
