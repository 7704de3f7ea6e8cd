//! Shapes through the network's body, and what each layer costs.

use std::collections::{BTreeMap, HashMap};

use onnx_ir::NodeProto;

use crate::ImportError;
use crate::onnx::{Graph, int, ints, node_name};
use crate::tensor;

/// The operators that YOLOv5 v6 and v7 networks consist of up to their heads. SiLU is Sigmoid and Mul.
/// The other activations are the ones that YOLOv5's model files can choose instead (`act:`).
const OPERATORS: [&str; 9] =
    ["Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "Relu", "LeakyRelu"];

/// One convolution of the network, for people and for benchmarks.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The node's name in the ONNX file.
    pub name: String,
    /// Channels, height, width of what goes in.
    pub input: [usize; 3],
    /// Channels, height, width of what comes out.
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

/// What is known about the body after one walk through it.
#[derive(Debug)]
pub(crate) struct Body {
    /// Channels, height and width of every value.
    pub(crate) shapes: HashMap<String, [usize; 3]>,
    pub(crate) layers: Vec<Layer>,
}

/// Walks `nodes` (in order) from an input of `shape`.
pub(crate) fn walk(
    graph: &Graph<'_>,
    nodes: &[&NodeProto],
    input: &str,
    shape: [usize; 3],
) -> Result<Body, ImportError> {
    check_operators(nodes)?;
    let mut body = Body { shapes: HashMap::from([(input.to_owned(), shape)]), layers: Vec::new() };
    for node in nodes {
        let output = match node.op_type.as_str() {
            "Conv" => {
                let layer = convolution(graph, node, &body)?;
                let output = layer.output;
                body.layers.push(layer);
                output
            }
            "MaxPool" => {
                let from = body.shape_of(node, 0)?;
                let window = Window::of(node, None)
                    .ok_or_else(|| broken(node, "its window is not two-dimensional"))?;
                let [height, width] = window
                    .output([from[1], from[2]])
                    .ok_or_else(|| broken(node, "its window does not fit"))?;
                [from[0], height, width]
            }
            "Concat" => {
                if !matches!(int(node, "axis", 1), 1 | -3) {
                    return Err(broken(node, "it does not join channels"));
                }
                let parts =
                    (0..node.input.len()).map(|at| body.shape_of(node, at)).collect::<Result<Vec<_>, _>>()?;
                let first = *parts.first().ok_or_else(|| broken(node, "it has no inputs"))?;
                if parts.iter().any(|part| part[1..] != first[1..]) {
                    return Err(broken(node, "its parts differ in size"));
                }
                [parts.iter().map(|part| part[0]).sum(), first[1], first[2]]
            }
            "Resize" => resized(graph, node, body.shape_of(node, 0)?)?,
            "Mul" | "Add" => {
                let (a, b) = (body.shape_of(node, 0)?, body.shape_of(node, 1)?);
                if a != b {
                    return Err(broken(node, "its inputs differ in shape"));
                }
                a
            }
            _ => body.shape_of(node, 0)?,
        };
        body.shapes.insert(node.output[0].clone(), output);
    }
    Ok(body)
}

impl Body {
    fn shape_of(&self, node: &NodeProto, at: usize) -> Result<[usize; 3], ImportError> {
        let shape = node.input.get(at).and_then(|name| self.shapes.get(name));
        shape.copied().ok_or_else(|| broken(node, "an input comes from nowhere"))
    }
}

/// Names the first operator, in the file's order, that has no place in the network.
fn check_operators(nodes: &[&NodeProto]) -> Result<(), ImportError> {
    let mut unknown: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
    for node in nodes {
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        if !standard || !OPERATORS.contains(&node.op_type.as_str()) {
            unknown.entry(&node.op_type).or_default().push(node);
        }
    }
    let Some((operator, nodes)) = unknown.into_iter().next() else { return Ok(()) };
    // YOLOv5 before v6 took the image apart with slices (its Focus layer).
    if operator == "Slice" {
        return Err(ImportError::OldExport { sign: "it has a Focus stem".into() });
    }
    Err(ImportError::UnsupportedOperator {
        operator: operator.to_owned(),
        count: nodes.len(),
        first: node_name(nodes[0]),
    })
}

/// A window sliding over a map: of a convolution or of a pooling.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Top, left, bottom, right.
    pads: [usize; 4],
}

impl Window {
    fn of(node: &NodeProto, weight: Option<[usize; 2]>) -> Option<Self> {
        fn sizes<const N: usize>(node: &NodeProto, name: &str, default: [usize; N]) -> Option<[usize; N]> {
            match ints(node, name) {
                None => Some(default),
                Some(sizes) => sizes
                    .iter()
                    .map(|&size| usize::try_from(size).ok())
                    .collect::<Option<Vec<_>>>()?
                    .try_into()
                    .ok(),
            }
        }
        let window = Self {
            kernel: sizes(node, "kernel_shape", weight.unwrap_or([0; 2]))?,
            stride: sizes(node, "strides", [1; 2])?,
            dilation: sizes(node, "dilations", [1; 2])?,
            pads: sizes(node, "pads", [0; 4])?,
        };
        (!window.kernel.contains(&0) && !window.stride.contains(&0)).then_some(window)
    }

    fn output(&self, from: [usize; 2]) -> Option<[usize; 2]> {
        let side = |at: usize| {
            let reach = self.dilation[at] * (self.kernel[at] - 1) + 1;
            let room = (from[at] + self.pads[at] + self.pads[at + 2]).checked_sub(reach)?;
            Some(room / self.stride[at] + 1)
        };
        Some([side(0)?, side(1)?])
    }
}

fn convolution(graph: &Graph<'_>, node: &NodeProto, body: &Body) -> Result<Layer, ImportError> {
    let input = body.shape_of(node, 0)?;
    let weight = (node.input.get(1))
        .and_then(|name| graph.initializer(name))
        .ok_or_else(|| broken(node, "it has no weights"))?;
    // A tensor that is too short must not wait until the generated program runs.
    let weight = tensor::floats(weight)?;
    let [channels, per_group, height, width] = weight.shape[..] else {
        return Err(broken(node, "its weights are not four-dimensional"));
    };
    let groups = usize::try_from(int(node, "group", 1)).unwrap_or(0);
    if groups == 0 || per_group * groups != input[0] {
        return Err(broken(node, "its weights do not fit the channels"));
    }
    let bias = match node.input.get(2) {
        Some(name) => {
            graph.floats(name).ok_or_else(|| broken(node, "its bias is not a constant"))??.data.len()
        }
        None => 0,
    };
    if bias != 0 && bias != channels {
        return Err(broken(node, "its bias does not fit the channels"));
    }
    let window = Window::of(node, Some([height, width]))
        .filter(|window| window.kernel == [height, width])
        .ok_or_else(|| broken(node, "its window does not fit its weights"))?;
    let [out_height, out_width] = window
        .output([input[1], input[2]])
        .ok_or_else(|| broken(node, "its window does not fit its input"))?;
    let cells = (out_height * out_width) as u64;
    Ok(Layer {
        name: if node.name.is_empty() { node.output[0].clone() } else { node.name.clone() },
        input,
        output: [channels, out_height, out_width],
        kernel: window.kernel,
        stride: window.stride,
        parameters: (weight.data.len() + bias) as u64,
        multiply_accumulates: cells * weight.data.len() as u64,
    })
}

/// YOLOv5's upsampling: nearest, by whole factors, given as scales (third input) or sizes (fourth).
fn resized(graph: &Graph<'_>, node: &NodeProto, from: [usize; 3]) -> Result<[usize; 3], ImportError> {
    let given = |at: usize| node.input.get(at).filter(|name| !name.is_empty());
    if let Some(Ok(scales)) = given(2).and_then(|name| graph.floats(name))
        && let [1.0, 1.0, vertical, horizontal] = scales.data[..]
        && vertical.fract() == 0.0
        && horizontal.fract() == 0.0
        && vertical >= 1.0
        && horizontal >= 1.0
    {
        return Ok([from[0], from[1] * vertical as usize, from[2] * horizontal as usize]);
    }
    if let Some(Ok(sizes)) = given(3).and_then(|name| graph.initializer(name)).map(tensor::integers)
        && let [1, channels, height, width] = sizes[..]
        && channels == from[0] as i64
        && height > 0
        && width > 0
    {
        return Ok([from[0], height as usize, width as usize]);
    }
    Err(broken(node, "it does not enlarge by a whole factor"))
}

fn broken(node: &NodeProto, what: &str) -> ImportError {
    ImportError::BrokenGraph { reason: format!("{} {}: {what}", node.op_type, node_name(node)) }
}
