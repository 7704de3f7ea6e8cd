//! Every reason to refuse a model, each with one message: what the file is and what to do.

use std::path::PathBuf;

/// The export command; every message that asks for a new export names it.
macro_rules! export_again {
    () => {
        "export it with YOLOv5 v6 or v7: `make export WEIGHTS=best.pt`"
    };
}

/// Why a file cannot become the function's model.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not there or may not be read.
    #[error("cannot read the model {}: {source}; set MODEL to the path of an ONNX file", path.display())]
    Read {
        /// The path, as given by the user.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// `MODEL` is not set and the folder of built-in weights does not hold exactly one ONNX file.
    #[error("{} holds {found} ONNX files instead of one; set MODEL to the path of the one to build", folder.display())]
    NoDefaultModel {
        /// The folder of built-in weights.
        folder: PathBuf,
        /// How many ONNX files it holds.
        found: usize,
    },

    /// Another kind of file, by its first bytes.
    #[error("this is {what}; {advice}")]
    OtherFile {
        /// The kind of file.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },

    /// The bytes are not a protobuf message.
    #[error(
        "this is not a readable ONNX file, it is truncated or something else ({reason}); copy it again, or {}",
        export_again!()
    )]
    Unreadable {
        /// The protobuf reader's error.
        reason: String,
    },

    /// A protobuf message without a graph.
    #[error("this is not an ONNX model, or one that is cut off: it holds no graph with nodes, inputs and outputs; copy it again, or {}", export_again!())]
    NotOnnx,

    /// Weights are in a second file, which cannot be read.
    #[error(
        "the weights of {tensor} are in the file {file:?}, which cannot be read ({reason}); put it beside the model, or save the model as a single ONNX file"
    )]
    ExternalData {
        /// The first tensor with external data.
        tensor: String,
        /// The path of the external data.
        file: String,
        /// Why it cannot be read.
        reason: String,
    },

    /// An operator set from before YOLOv5.
    #[error("the file uses ONNX operator set {opset}, older than {oldest}; {}", export_again!())]
    OldOpset {
        /// The file's operator set; 0 if it names none.
        opset: i64,
        /// The oldest supported one.
        oldest: i64,
    },

    /// A tensor's declared shape and its bytes disagree, or its type is not supported.
    #[error("the tensor {tensor} is broken: {reason}; {}", export_again!())]
    BrokenTensor {
        /// The tensor's name.
        tensor: String,
        /// The reason.
        reason: String,
    },

    /// The graph refers to a value that it does not contain.
    #[error("the graph is broken: {reason}; {}", export_again!())]
    BrokenGraph {
        /// The reason.
        reason: String,
    },

    /// More or fewer than one input.
    #[error("the model has {found} inputs instead of one image; {}", export_again!())]
    InputCount {
        /// How many inputs it has.
        found: usize,
    },

    /// An input axis without a fixed size.
    #[error(
        "the input {shape} has dynamic axes; set IMGSZ to the size that the function shall use, for example IMGSZ=416 or IMGSZ=\"384 640\" (height, width)"
    )]
    DynamicInput {
        /// The input's shape as written in the file.
        shape: String,
    },

    /// `IMGSZ` is set, but the file has a fixed size.
    #[error(
        "the model is made for {width}x{height} pixels and IMGSZ asks for another size; unset IMGSZ, or export the model again with it"
    )]
    SizeIsFixed {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },

    /// `IMGSZ` is not one or two numbers.
    #[error(
        "IMGSZ is {value:?}; give the size in pixels, for example IMGSZ=416 or IMGSZ=\"384 640\" (height, width)"
    )]
    SizeUnreadable {
        /// The variable's value.
        value: String,
    },

    /// A declared size that would exhaust the memory.
    #[error(
        "the input is {width}x{height} pixels; the function takes up to {largest} a side: export it again with a smaller --imgsz"
    )]
    InputTooLarge {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The largest side.
        largest: usize,
    },

    /// Height, width, channels: as TensorFlow orders them.
    #[error("the input {shape} has its channels last, as TensorFlow writes them; {}", export_again!())]
    ChannelsLast {
        /// The input's shape.
        shape: String,
    },

    /// More than one image at once.
    #[error(
        "the input {shape} takes {batch} images at once, the function sends one; export it again with --batch-size 1"
    )]
    Batch {
        /// The input's shape.
        shape: String,
        /// Its batch size.
        batch: usize,
    },

    /// An input of integers.
    #[error("the input is of type {element_type}, the function sends floats from 0 to 1; {}", export_again!())]
    InputType {
        /// The input's element type.
        element_type: String,
    },

    /// Not an RGB image.
    #[error("the input {shape} is not an image [1, 3, height, width]; YOLOv5 takes three channels: {}", export_again!())]
    InputShape {
        /// The input's shape.
        shape: String,
    },

    /// A size that is not a multiple of the strides.
    #[error(
        "the input is {width}x{height} pixels, not multiples of {multiple}; export it again with --imgsz {suggestion}, or set IMGSZ=\"{suggestion}\" if it is dynamic"
    )]
    InputSize {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The largest stride.
        multiple: usize,
        /// `--imgsz` values that work.
        suggestion: String,
    },

    /// A classifier.
    #[error(
        "this is a classifier (output {shape}), not a detector; train and export a YOLOv5 detection model"
    )]
    Classifier {
        /// The output's shape.
        shape: String,
    },

    /// A segmentation model.
    #[error(
        "this is a segmentation model (it has mask prototypes {shape}); train and export a YOLOv5 detection model"
    )]
    Segmentation {
        /// The prototypes' shape.
        shape: String,
    },

    /// A YOLOv8-like head: no objectness, channels before candidates.
    #[error(
        "this has a YOLOv8 head (output {shape}: 4 + classes by candidates, no objectness); train and export a YOLOv5 model"
    )]
    AnchorFree {
        /// The output's shape.
        shape: String,
    },

    /// Separate convolutions for boxes, objectness and classes.
    #[error(
        "this has a decoupled head (output {shape} of {convolutions} convolutions), as YOLOX and YOLOv6 have; train and export a YOLOv5 model"
    )]
    DecoupledHead {
        /// The output's shape.
        shape: String,
        /// How many convolutions the candidates come from.
        convolutions: usize,
    },

    /// Landmarks, masks or angles behind the boxes.
    #[error(
        "this finds more than boxes (number {column} of the {columns} of a candidate is no probability of a class): a model for landmarks (faces, armour plates) or angles; train and export a YOLOv5 detection model"
    )]
    MoreThanBoxes {
        /// The first column that is no class.
        column: usize,
        /// Numbers of a candidate.
        columns: usize,
    },

    /// Raw maps in place of candidates.
    #[error(
        "the model gives undecoded maps {shape}: it was exported with --train, or by a YOLOv5 older than v6; {} without --train",
        export_again!()
    )]
    Undecoded {
        /// The first map's shape.
        shape: String,
    },

    /// An int8 model.
    #[error(
        "this model is quantized to int8 ({form}: {count} nodes {operator}); give the float model that it was made from, or {}",
        export_again!()
    )]
    Quantized {
        /// How quantization is written.
        form: &'static str,
        /// The operator that shows it.
        operator: String,
        /// How many nodes use it.
        count: usize,
    },

    /// A graph that ONNX Runtime rewrote for itself.
    #[error(
        "this file was optimized by ONNX Runtime for itself (it uses {operator} of com.microsoft); give the file from before that, or {}",
        export_again!()
    )]
    RuntimeOptimized {
        /// One of ONNX Runtime's own operators.
        operator: String,
    },

    /// Non-maximum suppression inside the graph.
    #[error(
        "the export holds its own postprocessing ({operator}); export it again without it (--nms, --end2end)"
    )]
    Postprocessing {
        /// The operator that shows it.
        operator: String,
    },

    /// Any other model whose output is not one map of candidates.
    #[error("this is not a YOLOv5 detection model (outputs {shapes}, expected [1, candidates, 5 + classes]); {}", export_again!())]
    NotDetection {
        /// The outputs' shapes.
        shapes: String,
    },

    /// More heads than the generated code can return.
    #[error("the model has {found} detection heads, more than {most}; {}", export_again!())]
    HeadCount {
        /// How many heads it has.
        found: usize,
        /// The most that are supported.
        most: usize,
    },

    /// A stem or tail of a YOLOv5 older than v6.
    #[error("this was exported by a YOLOv5 older than v6 ({sign}); {}", export_again!())]
    OldExport {
        /// The sign of it.
        sign: String,
    },

    /// The decode tail does not compute YOLOv5's boxes.
    #[error("cannot find the anchors: the detection layer does not decode as YOLOv5 does ({reason}); {}", export_again!())]
    AnchorsNotFound {
        /// The first difference.
        reason: String,
    },

    /// Metadata and graph disagree about the stride.
    #[error("the metadata says stride {metadata}, the graph has {graph}; {}", export_again!())]
    StrideMismatch {
        /// The value in the metadata.
        metadata: String,
        /// The largest stride of the graph.
        graph: usize,
    },

    /// An operator that no YOLOv5 v6 or v7 has.
    #[error("the operator {operator} ({count} nodes, first {first}) is not one that YOLOv5 v6 or v7 uses; {}", export_again!())]
    UnsupportedOperator {
        /// The operator's type.
        operator: String,
        /// How many nodes use it.
        count: usize,
        /// The first node's name.
        first: String,
    },

    /// An operator of YOLOv5, in a form that YOLOv5 does not use.
    #[error("the network has {node}, and {what}, which no YOLOv5 does; {}", export_again!())]
    UnsupportedForm {
        /// The node.
        node: String,
        /// How it differs.
        what: &'static str,
    },

    /// No class names in the metadata and none configured.
    #[error(
        "the model's metadata holds no class names; give all {classes} in order, for example MODEL_NAMES=\"eye_open,eye_closed\""
    )]
    NamesMissing {
        /// How many classes the head has.
        classes: usize,
    },

    /// The number of names differs from the head's classes.
    #[error(
        "there are {names} class names for {classes} classes; give all in order, for example MODEL_NAMES=\"eye_open,eye_closed\""
    )]
    NameCount {
        /// How many names there are.
        names: usize,
        /// How many classes the head has.
        classes: usize,
    },

    /// Class names in an unknown form.
    #[error(
        "cannot read the class names {text:?}; give them by hand, for example MODEL_NAMES=\"eye_open,eye_closed\""
    )]
    NamesUnreadable {
        /// The metadata's text.
        text: String,
    },

    /// No class means this state.
    #[error(
        "no class means {state} eyes: the model has {names}; set {variable} to the names that do, for example {variable}=\"{example}\""
    )]
    StateMissing {
        /// `open` or `closed`.
        state: &'static str,
        /// The variable that names the classes.
        variable: &'static str,
        /// The model's class names.
        names: String,
        /// A class name as an example.
        example: String,
    },

    /// All classes mean the same state, or none is left for this one.
    #[error(
        "no class means {state} eyes, and the model has no other than {names}; train it with a class for open and one for closed eyes"
    )]
    OneState {
        /// `open` or `closed`.
        state: &'static str,
        /// The model's class names.
        names: String,
    },

    /// A configured name that the model does not have.
    #[error("{variable} names {name:?}, which the model does not have; it has {names}")]
    UnknownClass {
        /// The variable.
        variable: &'static str,
        /// The unknown name.
        name: String,
        /// The model's class names.
        names: String,
    },

    /// The same class in both lists.
    #[error("the class {name:?} is in both OPEN_CLASSES and CLOSED_CLASSES; an eye cannot be both")]
    ClassInBoth {
        /// The class.
        name: String,
    },

    /// A quantized file in which some values are not quantized.
    #[error(
        "the file is quantized, but not {value:?}: {reason}; quantize the float model with `make quantize`, or give that one"
    )]
    NotQuantized {
        /// The value in the graph.
        value: String,
        /// Why it must be quantized.
        reason: String,
    },

    /// burn-onnx could not generate code for a graph that passed every check.
    #[error(
        "burn-onnx cannot generate code for this model ({reason}); please report it with the model's export options"
    )]
    Generation {
        /// burn-onnx's error.
        reason: String,
    },

    /// The generated code cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}
