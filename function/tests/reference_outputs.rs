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
/// layer. `model-import` compares each layer by itself, to the level.
const IN_INTEGERS: Tolerance = Tolerance { pixels: 2.0, confidence: 0.03 };
/// Of so many drawn pictures one may have a box beyond that, in 8 bits. Of the 484 photographs of
/// val 7 to 10 % have, as the file's rounding falls; the model is less sure of drawn faces.
const DIFFERENT_SHARE: usize = 3;
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

/// What differs between one reference image and this crate.
fn differences(classifier: &Classifier, file: &Path, image: &Image, thresholds: Thresholds) -> Vec<String> {
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
    if found.eyes.len() != image.boxes.len() {
        differences.push(format!("{} boxes for {}", found.eyes.len(), image.boxes.len()));
    }
    let mut left = found.eyes.clone();
    for expected in &image.boxes {
        let Some(nearest) = (0..left.len())
            .min_by(|a, b| distance(&left[*a], expected).total_cmp(&distance(&left[*b], expected)))
        else {
            break;
        };
        let eye = left.swap_remove(nearest);
        let (off, confidence) = (distance(&eye, expected), (eye.confidence - expected.confidence).abs());
        if off > tolerance.pixels || confidence > tolerance.confidence {
            differences.push(format!("box off by {off} px, confidence by {confidence}"));
        }
    }
    differences
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

/// Largest distance of an edge; infinite between different classes.
fn distance(eye: &Detection, expected: &Box) -> f32 {
    let class = if eye.state == EyeState::Open { "eye_open" } else { "eye_closed" };
    if class != expected.class {
        return f32::INFINITY;
    }
    let bounds = eye.bounding_box;
    let edges = [bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height];
    edges.iter().zip(expected.xyxy).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Reads a reference file.
fn reference(file: &Path) -> Reference {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("the schema of tests/reference/README.md")
}

/// The committed reference of the compiled-in model.
fn committed(name: &str) -> Reference {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let forms = [format!("{name}.json"), format!("{name}-floats.json")];
    let mut references = forms.iter().map(|file| reference(&folder.join(file)));
    let same = |reference: &Reference| reference.model.sha256.starts_with(Classifier::metadata().version);
    references.find(same).unwrap_or_else(|| panic!("{forms:?} are of other models: make reference"))
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
        let found = differences(&classifier, &folder.join(&image.path), image, thresholds);
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

/// Every picture the same in floats; in 8 bits, every verdict, and the boxes of two thirds.
fn agrees(compared: &Compared) {
    let Compared { images, different, letterboxes, verdicts, report } = compared;
    assert_eq!((*letterboxes, *verdicts), (0, 0), "{report}");
    let most_different = if Classifier::metadata().quantized { images / DIFFERENT_SHARE } else { 0 };
    assert!(*different <= most_different, "{report}");
}

#[test]
fn every_sample_agrees_with_onnx_runtime() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let compared = compare(&committed("samples"), &pictures);
    assert!(compared.images >= 8, "only {} samples", compared.images);
    agrees(&compared);
}

#[test]
fn every_lossless_picture_agrees_with_onnx_runtime() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pictures");
    let compared = compare(&committed("pictures"), &pictures);
    assert!(compared.images >= 6, "only {} pictures", compared.images);
    agrees(&compared);
}

/// In 8 bits, a few of many pictures have an eye whose confidence follows a rounding.
#[test]
fn every_real_picture_agrees_with_onnx_runtime() {
    let Some(reference) = std::env::var_os("REFERENCE") else {
        eprintln!("no REFERENCE: make one of real pictures with make reference DATASET=path/to/dataset");
        return;
    };
    let Compared { images, different, letterboxes, verdicts, report } =
        compare(&self::reference(Path::new(&reference)), Path::new("."));
    assert!(images >= 50, "only {images} real pictures");
    let [most_different, most_verdicts] =
        if Classifier::metadata().quantized { [images / 8, images / 200] } else { [0, 0] };
    assert_eq!(letterboxes, 0, "{report}");
    assert!(different <= most_different && verdicts <= most_verdicts, "{images} images compared:{report}");
    eprintln!("of {images} real pictures {different} differ, {verdicts} in their verdict");
}
