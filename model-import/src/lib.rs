//! Turns a YOLOv5 detection ONNX into native burn code and weights, at build time.
//!
//! # Layout
//!
//! - [`import`] and [`inspect`] are the entry points; [`build_script`] implements
//!   `function/build.rs`.
//! - `onnx` reads a file (`file_kind` recognizes other files, `external` reads weights beside it),
//!   `foreign` refuses graphs that other tools modified, `input` finds the image.
//! - `qdq` removes the quantization nodes from the graph and keeps their scales.
//! - `fold` folds constants and computes every shape: `compute` holds the operators, `value` holds
//!   their numbers, `window` is the geometry of convolutions, poolings and upsampling.
//! - `detect` recognizes the folded graph, `evaluate` runs its decode tail to read the anchors,
//!   `layers` checks its body, `classes` reads its names (`literal`: as Python and JSON write
//!   them).
//! - `rewrite` removes the tail, `fuse` replaces patterns by model-runtime's fused operators,
//!   `generate` writes the Rust code through burn-onnx, `operators` tells it how to call
//!   model-runtime.
//! - [`ImportError`] holds every reason to refuse a file, each with what to do.

mod build_script;
mod classes;
mod compute;
mod detect;
mod error;
mod evaluate;
mod external;
mod file_kind;
mod fold;
mod foreign;
mod fuse;
mod generate;
mod input;
mod layers;
mod license;
mod literal;
mod onnx;
mod operators;
mod qdq;
mod rewrite;
mod tensor;
mod value;
mod window;

use std::path::{Path, PathBuf};

pub use build_script::build_script;
pub use classes::StateClasses;
pub use detect::Head;
pub use error::ImportError;
pub use generate::{GENERATED_FILE, PLAIN_FILE};
pub use layers::Layer;
pub use license::LICENSE_NOT_STATED;

use detect::Detector;
use onnx::{Graph, Onnx};

/// Options for what the file does not state, or that override it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// All class names in order, in place of the metadata's.
    pub names: Option<Vec<String>>,
    /// Names of the classes that mean an open eye.
    pub open_classes: Option<Vec<String>>,
    /// Names of the classes that mean a closed eye.
    pub closed_classes: Option<Vec<String>>,
    /// The licence of the weights, an SPDX expression, overriding the file beside the model.
    pub license: Option<String>,
    /// Height and width in pixels, for files with dynamic axes.
    pub image_size: Option<[usize; 2]>,
    /// Use burn's own operators instead of the fused ones.
    pub plain: bool,
}

/// The description of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The file's stem.
    pub name: String,
    /// The first 12 hexadecimal digits of the file's SHA-256.
    pub version: String,
    /// The licence of the weights, an SPDX expression: from the options, or else from
    /// `MODEL.onnx.license`; [`LICENSE_NOT_STATED`] where neither says it.
    pub license: String,
    /// Who wrote the file: producer and its version, and the ONNX operator set.
    pub producer: String,
    /// `YOLOv5n` to `YOLOv5x`, or a description of another scale.
    pub scale: String,
    /// Width of the input, in pixels.
    pub input_width: usize,
    /// Height of the input, in pixels.
    pub input_height: usize,
    /// Class names; the index is the class id.
    pub class_names: Vec<String>,
    /// The detection heads, smallest stride first.
    pub heads: Vec<Head>,
    /// The convolutions, in order of execution.
    pub layers: Vec<Layer>,
    /// Whether the file is quantized to 8 bits.
    pub quantized: bool,
}

impl Description {
    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }

    /// Multiply-accumulates of one forward pass.
    pub fn multiply_accumulates(&self) -> u64 {
        self.layers.iter().map(|layer| layer.multiply_accumulates).sum()
    }

    /// Which classes mean open and closed eyes.
    pub fn states(&self, options: &Options) -> Result<StateClasses, ImportError> {
        classes::find_states(
            &self.class_names,
            options.open_classes.as_deref(),
            options.closed_classes.as_deref(),
        )
    }
}

/// A model that code can be generated for: recognized, with classes for both states, and without
/// its decode tail.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model's description.
    pub description: Description,
    /// The meaning of its classes.
    pub states: StateClasses,
    /// Files beside the model that hold its weights.
    pub external: Vec<PathBuf>,
    /// The network in burn's own operators.
    plain: onnx_ir::ModelProto,
    /// The network in model-runtime's, unless the options say otherwise.
    fused: Option<onnx_ir::ModelProto>,
}

/// Reads a model and describes it.
pub fn inspect(path: &Path, options: &Options) -> Result<Description, ImportError> {
    let mut onnx = read(path)?;
    let detector = recognize(&mut onnx, options)?;
    describe(Some(path), &stem(path), &onnx, detector, options)
}

/// Reads a model, checks that the function can be built with it and prepares its code generation.
pub fn import(path: &Path, options: &Options) -> Result<Imported, ImportError> {
    prepare(read(path)?, Some(path), &stem(path), options)
}

/// The same for the bytes of a file without external weights.
pub fn import_bytes(name: &str, bytes: &[u8], options: &Options) -> Result<Imported, ImportError> {
    prepare(Onnx::parse(bytes, None)?, None, name, options)
}

fn prepare(
    mut onnx: Onnx,
    path: Option<&Path>,
    name: &str,
    options: &Options,
) -> Result<Imported, ImportError> {
    let mut detector = recognize(&mut onnx, options)?;
    let shapes = std::mem::take(&mut detector.body.shapes);
    let description = describe(path, name, &onnx, detector, options)?;
    let states = description.states(options)?;
    let plain = rewrite::cut_tail(&onnx, &description.heads);
    let fused = match &onnx.quantization {
        _ if options.plain => None,
        None => Some(fuse::fuse(plain.clone(), &shapes)),
        Some(quantization) => Some(fuse::int8::fuse(plain.clone(), &shapes, quantization)?),
    };
    Ok(Imported { description, states, external: onnx.external, plain, fused })
}

fn read(path: &Path) -> Result<Onnx, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    Onnx::parse(&bytes, Some(path.parent().unwrap_or(Path::new(""))))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
}

/// Folds the graph and describes it.
fn recognize(onnx: &mut Onnx, options: &Options) -> Result<Detector, ImportError> {
    let stride = onnx.metadata("stride").and_then(classes::parse_stride);
    let opset = onnx.opset;
    let graph = onnx.model.graph.mut_or_insert_default();
    foreign::check(graph)?;
    onnx.quantization = qdq::take(graph)?;
    let image = input::choose(graph, options.image_size, stride)?;
    let shapes = fold::fold(graph, &image.name, [1, 3, image.height, image.width], opset)?;
    detect::recognize(&Graph::new(graph), &shapes, &image, onnx.quantization.is_some())
}

fn describe(
    path: Option<&Path>,
    name: &str,
    onnx: &Onnx,
    detector: Detector,
    options: &Options,
) -> Result<Description, ImportError> {
    let class_names = match (&options.names, onnx.metadata("names")) {
        (Some(names), _) => names.clone(),
        (None, Some(text)) => classes::parse_names(text)?,
        (None, None) => return Err(ImportError::NamesMissing { classes: detector.classes }),
    };
    if class_names.len() != detector.classes {
        return Err(ImportError::NameCount { names: class_names.len(), classes: detector.classes });
    }
    // The strides are read from the graph; metadata that contradicts it belongs to another model.
    let stride = detector.heads.last().map_or(0, |head| head.stride);
    if let Some(text) = onnx.metadata("stride").filter(|text| classes::parse_stride(text) != Some(stride)) {
        return Err(ImportError::StrideMismatch { metadata: text.to_owned(), graph: stride });
    }
    let model = &onnx.model;
    Ok(Description {
        name: name.to_owned(),
        version: onnx.version.clone(),
        license: license::of(path, options)?,
        producer: format!("{} {}, opset {}", model.producer_name, model.producer_version, onnx.opset),
        scale: scale(&detector.body.layers),
        input_width: detector.width,
        input_height: detector.height,
        class_names,
        heads: detector.heads,
        layers: detector.body.layers,
        quantized: onnx.quantization.is_some(),
    })
}

/// YOLOv5's scales differ in width (channels of the stem) and depth (number of convolutions).
fn scale(layers: &[Layer]) -> String {
    let width = layers.first().map_or(0, |layer| layer.output[0]);
    let scale = match (width, layers.len()) {
        (16, 60) => "YOLOv5n",
        (32, 60) => "YOLOv5s",
        (48, 82) => "YOLOv5m",
        (64, 104) => "YOLOv5l",
        (80, 126) => "YOLOv5x",
        (width, depth) => {
            return format!("YOLOv5 of its own scale ({width} channels in the stem, {depth} convolutions)");
        }
    };
    scale.to_owned()
}
