//! Turns a YOLOv5 detection ONNX into native burn code and weights, at build time.
//!
//! # Layout
//!
//! - [`import`] and [`inspect`] are what a caller uses; [`build_script`] is all of `function/build.rs`.
//! - `onnx` reads and normalizes a file, `detect` recognizes it, `evaluate` runs its decode tail to read
//!   the anchors, `layers` walks its body, `classes` reads its names.
//! - `rewrite` cuts the tail off, `fuse` joins what model-runtime computes in one go, `generate` writes the
//!   Rust code through burn-onnx, `operators` tells it how to call model-runtime.
//! - [`ImportError`] holds every way in which a file can be something else, each with what to do.

mod build_script;
mod classes;
mod detect;
mod error;
mod evaluate;
mod fuse;
mod generate;
mod layers;
mod license;
mod onnx;
mod operators;
mod rewrite;
mod tensor;

use std::path::Path;

pub use build_script::build_script;
pub use classes::StateClasses;
pub use detect::Head;
pub use error::ImportError;
pub use generate::{GENERATED_FILE, PLAIN_FILE};
pub use layers::Layer;
pub use license::LICENSE_NOT_STATED;

use detect::Detector;
use onnx::{Graph, Onnx};

/// What the file does not say, or what shall be understood differently.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// All class names in order, in place of the metadata's.
    pub names: Option<Vec<String>>,
    /// Names of the classes that mean an open eye.
    pub open_classes: Option<Vec<String>>,
    /// Names of the classes that mean a closed eye.
    pub closed_classes: Option<Vec<String>>,
    /// The licence of the weights, an SPDX expression, in place of what the file beside the model says.
    pub license: Option<String>,
    /// Leave the network to burn's own operators.
    pub plain: bool,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The file's stem.
    pub name: String,
    /// The first 12 hexadecimal digits of the file's SHA-256.
    pub version: String,
    /// The licence of the weights, an SPDX expression: from the options, or else from `MODEL.onnx.license`;
    /// [`LICENSE_NOT_STATED`] where neither says it.
    pub license: String,
    /// Who wrote the file: producer and its version, and the ONNX operator set.
    pub producer: String,
    /// `YOLOv5n` to `YOLOv5x`, or what is known about another one.
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

/// A model that can be generated: recognized, with both states among its classes, its tail cut off.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What the model is.
    pub description: Description,
    /// Which of its classes mean what.
    pub states: StateClasses,
    /// The network in burn's own operators.
    plain: onnx_ir::ModelProto,
    /// The network in model-runtime's, unless the options say otherwise.
    fused: Option<onnx_ir::ModelProto>,
}

/// Reads a model and says what it is.
pub fn inspect(path: &Path, options: &Options) -> Result<Description, ImportError> {
    let onnx = read(path)?;
    describe(path, &onnx, detect::recognize(&Graph::new(onnx.graph()))?, options)
}

/// Reads a model, checks that the function can be built with it and prepares its code generation.
pub fn import(path: &Path, options: &Options) -> Result<Imported, ImportError> {
    let onnx = read(path)?;
    let mut detector = detect::recognize(&Graph::new(onnx.graph()))?;
    let shapes = std::mem::take(&mut detector.body.shapes);
    let description = describe(path, &onnx, detector, options)?;
    let states = description.states(options)?;
    let plain = rewrite::cut_tail(&onnx, &description.heads);
    let fused = (!options.plain).then(|| fuse::fuse(plain.clone(), &shapes));
    Ok(Imported { description, states, plain, fused })
}

fn read(path: &Path) -> Result<Onnx, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    Onnx::parse(&bytes)
}

fn describe(
    path: &Path,
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
    // The graph itself tells the strides; metadata that contradicts it belongs to another model.
    let stride = detector.heads.last().map_or(0, |head| head.stride);
    if let Some(text) = onnx.metadata("stride").filter(|text| text.trim().parse::<f64>() != Ok(stride as f64))
    {
        return Err(ImportError::StrideMismatch { metadata: text.to_owned(), graph: stride });
    }
    let opset = onnx.model.opset_import.iter().find(|opset| opset.domain.is_empty());
    let model = &onnx.model;
    Ok(Description {
        name: path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned()),
        version: onnx.version.clone(),
        license: license::of(path, options)?,
        producer: format!(
            "{} {}, opset {}",
            model.producer_name,
            model.producer_version,
            opset.map_or(0, |opset| opset.version)
        ),
        scale: scale(&detector.body.layers),
        input_width: detector.width,
        input_height: detector.height,
        class_names,
        heads: detector.heads,
        layers: detector.body.layers,
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
