//! Checks the operators of the network's body, and computes every value's shape and each layer's
//! cost.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx_ir::NodeProto;

use crate::ImportError;
use crate::fold::Shapes;
use crate::onnx::{Graph, attribute, int, ints, node_name};
use crate::tensor;
use crate::value::MAX_NUMBERS;

/// The operators that YOLOv5 v6 and v7 networks consist of up to their heads. SiLU is Sigmoid and
/// Mul. The other activations are the ones that YOLOv5's model files can choose instead (`act:`).
const OPERATORS: [&str; 9] =
    ["Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "Relu", "LeakyRelu"];

/// One convolution of the network, for `inspect` and for benchmarks.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The node's name in the ONNX file.
    pub name: String,
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Channels, height and width of the output.
    pub output: [usize; 3],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Weights and biases.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub multiply_accumulates: u64,
}

/// The result of one pass over the body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Channels, height and width of every value.
    pub(crate) shapes: HashMap<String, [usize; 3]>,
    pub(crate) layers: Vec<Layer>,
}

/// Walks `nodes` of a folded graph (in order).
pub(crate) fn walk(graph: &Graph<'_>, nodes: &[&NodeProto], shapes: &Shapes) -> Result<Body, ImportError> {
    check_operators(nodes)?;
    let mut body = Body { shapes: HashMap::new(), layers: Vec::new() };
    let mut weights = HashSet::new();
    for node in nodes {
        let map = |name: &String| match shapes.get(name).map(Vec::as_slice) {
            Some(&[1, channels, height, width]) => Ok([channels, height, width]),
            _ => Err(broken(node, "it computes something else than a map of the image")),
        };
        let maps = match node.op_type.as_str() {
            "Add" | "Mul" | "Concat" => node.input.iter().map(map).collect::<Result<Vec<_>, _>>()?,
            _ => node.input.first().map(map).into_iter().collect::<Result<Vec<_>, _>>()?,
        };
        let first = *maps.first().ok_or_else(|| broken(node, "it has no inputs"))?;
        let output = map(&node.output[0])?;
        if output.iter().product::<usize>() > MAX_NUMBERS {
            return Err(broken(node, "its map is too large"));
        }
        match node.op_type.as_str() {
            "Conv" => {
                let layer = convolution(graph, node, first, output)?;
                // The same weights again are a quantized file's layer, rounded for another reader.
                if weights.insert(&node.input[1]) {
                    body.layers.push(layer);
                }
            }
            "MaxPool" => check_pool(node)?,
            "Concat" if int(node, "axis", 1) != 1 => return Err(broken(node, "it does not join channels")),
            "Resize" => check_resize(graph, node)?,
            "Mul" | "Add" if maps.iter().any(|map| *map != first) => {
                return Err(broken(node, "its inputs differ in shape"));
            }
            _ => {}
        }
        body.shapes.extend(node.input.iter().zip(maps).map(|(name, map)| (name.clone(), map)));
        body.shapes.insert(node.output[0].clone(), output);
    }
    Ok(body)
}

/// Returns the first unsupported operator, in the file's order.
fn check_operators(nodes: &[&NodeProto]) -> Result<(), ImportError> {
    let mut unknown: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
    for node in nodes {
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        if !standard || !OPERATORS.contains(&node.op_type.as_str()) {
            unknown.entry(&node.op_type).or_default().push(node);
        }
    }
    let Some((operator, nodes)) = unknown.into_iter().next() else { return Ok(()) };
    // YOLOv5 before v6 sliced the image (its Focus layer).
    if operator == "Slice" {
        return Err(ImportError::OldExport { sign: "it has a Focus stem".into() });
    }
    Err(ImportError::UnsupportedOperator {
        operator: operator.to_owned(),
        count: nodes.len(),
        first: node_name(nodes[0]),
    })
}

fn convolution(
    graph: &Graph<'_>,
    node: &NodeProto,
    input: [usize; 3],
    output: [usize; 3],
) -> Result<Layer, ImportError> {
    // A tensor that is too short must be found now, not when the generated code runs.
    let weight = (node.input.get(1)).and_then(|name| graph.initializer(name));
    let weight = tensor::floats(weight.ok_or_else(|| broken(node, "its weights are no constant"))?)?;
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => {
            let bias = graph.floats(name).ok_or_else(|| broken(node, "its bias is not a constant"))??;
            if bias.shape != [output[0]] {
                return Err(broken(node, "its bias does not fit the channels"));
            }
            bias.data.len()
        }
        None => 0,
    };
    let pads = ints(node, "pads").unwrap_or_default();
    if pads.len() == 4 && pads[..2] != pads[2..] {
        // Folding makes the pads symmetric where there is no dilation.
        let what = "its pads differ from side to side while it is dilated";
        return Err(ImportError::UnsupportedForm { node: described(node), what });
    }
    let pair = |name: &str| match ints(node, name).as_deref() {
        Some(&[vertical, horizontal]) => [vertical as usize, horizontal as usize],
        _ => [1, 1],
    };
    let cells = (output[1] * output[2]) as u64;
    Ok(Layer {
        name: if node.name.is_empty() { node.output[0].clone() } else { node.name.clone() },
        input,
        output,
        kernel: pair("kernel_shape"),
        stride: pair("strides"),
        parameters: (weight.data.len() + bias) as u64,
        multiply_accumulates: cells.saturating_mul(weight.data.len() as u64),
    })
}

/// Refuses poolings that burn computes differently from ONNX, or not at all.
fn check_pool(node: &NodeProto) -> Result<(), ImportError> {
    let pads = ints(node, "pads").unwrap_or_default();
    let kernel = ints(node, "kernel_shape").unwrap_or_default();
    let what = if pads.iter().zip(kernel.iter().chain(&kernel)).any(|(pad, size)| pad >= size) {
        "its pads are as large as its window"
    } else if int(node, "ceil_mode", 0) != 0 {
        "it rounds its size up (ceil_mode)"
    } else if pads.len() == 4 && pads[..2] != pads[2..] {
        "its pads differ from side to side (auto_pad)"
    } else if node.output.get(1).is_some_and(|indices| !indices.is_empty()) {
        "it gives indices, too"
    } else {
        return Ok(());
    };
    Err(ImportError::UnsupportedForm { node: described(node), what })
}

/// Folding normalized every resize that repeats whole pixels; any other resize is not supported.
fn check_resize(graph: &Graph<'_>, node: &NodeProto) -> Result<(), ImportError> {
    let text = |name: &str| attribute(node, name).map(|text| text.s.to_vec()).unwrap_or_default();
    let scales = node.input.get(2).and_then(|name| graph.floats(name)).and_then(Result::ok);
    let repeats = text("mode") == b"nearest"
        && text("nearest_mode") == b"floor"
        && text("coordinate_transformation_mode") == b"asymmetric"
        && scales.is_some_and(|scales| scales.shape == [4] && scales.data.iter().all(|s| s.fract() == 0.0));
    if repeats {
        return Ok(());
    }
    let what = "it does not repeat each pixel a whole number of times (mode, nearest_mode, sizes)";
    Err(ImportError::UnsupportedForm { node: described(node), what })
}

fn described(node: &NodeProto) -> String {
    format!("{} {}", node.op_type, node_name(node))
}

fn broken(node: &NodeProto, what: &str) -> ImportError {
    ImportError::BrokenGraph { reason: format!("{}: {what}", described(node)) }
}
