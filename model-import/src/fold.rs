//! Constant folding: every value that does not depend on the picture becomes a constant. Shapes are
//! computed; declared ones are not trusted.
//!
//! The remaining nodes are normalized, whatever form the exporter chose: convolutions and poolings
//! have explicit, equal pads, upsampling is a Resize by whole factors, and renaming nodes are
//! removed.

use std::collections::{HashMap, HashSet};

use onnx_ir::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

use crate::ImportError;
use crate::compute::{self, Inputs};
use crate::onnx::{attribute, float_tensor, int, integer_tensor, node_name};
use crate::tensor::{self, Tensor, data_type};
use crate::value::{Data, Failure, Kind, MAX_NUMBERS, Value};
use crate::window::{self, Window};

/// The operator set of the folded graph.
pub(crate) const OPSET: i64 = 17;

/// Largest total size of the computed values, in numbers: four of the largest value.
const MAX_ALL_NUMBERS: usize = 4 * MAX_NUMBERS;

/// Shapes of the values that depend on the picture.
pub(crate) type Shapes = HashMap<String, Vec<usize>>;

/// Folds `graph` for an image input called `image` of `shape` and of floats.
pub(crate) fn fold(
    graph: &mut GraphProto,
    image: &str,
    shape: [usize; 4],
    opset: i64,
) -> Result<Shapes, ImportError> {
    let mut fold = Fold { opset, ..Fold::default() };
    let image_value = Value { shape: shape.to_vec(), data: Data::Unknown(Kind::Float) };
    fold.values.insert(image.to_owned(), image_value);
    fold.add_constants(std::mem::take(&mut graph.initializer))?;
    fold.walk(in_order(std::mem::take(&mut graph.node))?)?;

    for output in &mut graph.output {
        fold.rename(&mut output.name);
    }
    let read: HashSet<&String> = (fold.kept.iter().flat_map(|node| &node.input))
        .chain(graph.output.iter().map(|output| &output.name))
        .collect();
    let mut constants = Vec::new();
    for name in read {
        if let Some(tensor) = fold.constants.remove(name) {
            let wide = tensor.data_type == data_type::FLOAT || !data_type::is_float(tensor.data_type);
            constants.push(if wide { tensor } else { widened(tensor)? });
        } else if let Some(value) = fold.values.get(name).filter(|value| value.is_known()) {
            constants.push(TensorProto { name: name.clone(), ..written(value) });
        }
    }
    constants.sort_by(|a, b| a.name.cmp(&b.name));
    (graph.node, graph.initializer) = (fold.kept, constants);
    Ok(fold.values.into_iter().map(|(name, value)| (name, value.shape)).collect())
}

/// Sorts the nodes topologically, in a stable way: converters may append nodes anywhere.
pub(crate) fn in_order(nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, ImportError> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        producers.extend(node.output.iter().map(|name| (name.as_str(), at)));
    }
    let sources: Vec<Vec<usize>> = (nodes.iter())
        .map(|node| read_by(node).into_iter().filter_map(|name| producers.get(name).copied()).collect())
        .collect();
    // Each node's state: started before its sources are visited, done after them.
    let (mut begun, mut done, mut order) = (vec![false; nodes.len()], vec![false; nodes.len()], Vec::new());
    for start in 0..nodes.len() {
        let mut path = vec![start];
        while let Some(&at) = path.last() {
            let open = sources[at].iter().find(|&&source| !done[source]);
            match open {
                _ if done[at] => drop(path.pop()),
                Some(&source) if begun[source] => return Err(broken(&nodes[source], "it depends on itself")),
                Some(&source) => {
                    begun[at] = true;
                    path.push(source);
                }
                None => {
                    done[at] = true;
                    order.push(at);
                    path.pop();
                }
            }
        }
    }
    let mut nodes: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| nodes[at].take()).collect())
}

/// A node's inputs, including those of the graphs of its branches.
fn read_by(node: &NodeProto) -> Vec<&str> {
    let branches = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
    let inner = branches.flat_map(|branch| &branch.node).flat_map(read_by);
    node.input.iter().map(String::as_str).chain(inner).collect()
}

#[derive(Default)]
struct Fold {
    opset: i64,
    /// The file's constants whose numbers were not needed yet.
    constants: HashMap<String, TensorProto>,
    values: HashMap<String, Value>,
    /// Results of unknown operators, and everything that depends on them.
    opaque: HashSet<String>,
    renamed: HashMap<String, String>,
    kept: Vec<NodeProto>,
    /// Count of computed numbers.
    numbers: usize,
}

impl Fold {
    fn add_constants(&mut self, tensors: Vec<TensorProto>) -> Result<(), ImportError> {
        for tensor in tensors {
            self.define(&tensor.name)?;
            self.constants.insert(tensor.name.clone(), tensor);
        }
        Ok(())
    }

    /// Every value has one definition.
    fn define(&self, name: &str) -> Result<(), ImportError> {
        let known = self.constants.contains_key(name)
            || self.values.contains_key(name)
            || self.opaque.contains(name)
            || self.renamed.contains_key(name);
        if !known {
            return Ok(());
        }
        Err(ImportError::BrokenGraph { reason: format!("{name:?} is given twice") })
    }

    fn rename(&self, name: &mut String) {
        if let Some(source) = self.renamed.get(name) {
            name.clone_from(source);
        }
    }

    fn walk(&mut self, nodes: Vec<NodeProto>) -> Result<(), ImportError> {
        nodes.into_iter().try_for_each(|node| self.visit(node))
    }

    fn visit(&mut self, mut node: NodeProto) -> Result<(), ImportError> {
        node.input.iter_mut().for_each(|input| self.rename(input));
        if node.output.first().is_none_or(String::is_empty) {
            return Err(broken(&node, "it gives nothing"));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            self.define(output)?;
        }
        match node.op_type.as_str() {
            "Constant" => return self.add_constants(vec![constant(&node)?]),
            "If" => {
                if let Some(taken) = self.branch(&node)? {
                    return self.inline(taken, &node.output);
                }
            }
            "Swish" if attribute(&node, "alpha").is_none_or(|alpha| alpha.f == 1.0) => {
                return self.walk(swish(node));
            }
            _ => {}
        }
        let Some(inputs) = self.inputs(&node)? else { return self.leave(node) };
        if self.is_alias(&inputs) {
            let source = node.input[0].clone();
            self.renamed.insert(node.output[0].clone(), source);
            return Ok(());
        }
        match compute::run(&inputs) {
            Ok(outputs) => {
                self.numbers +=
                    outputs.iter().filter(|value| value.is_known()).map(Value::count).sum::<usize>();
                if self.numbers > MAX_ALL_NUMBERS {
                    return Err(broken(&node, "too much is computed from constants"));
                }
                let names: Vec<String> = node.output.clone();
                if !outputs.iter().all(Value::is_known) {
                    let node = self.in_one_way(&inputs, &outputs)?;
                    self.kept.push(node);
                }
                let outputs = names.into_iter().zip(outputs).filter(|(name, _)| !name.is_empty());
                self.values.extend(outputs);
                Ok(())
            }
            Err(Failure::Unknown) => self.leave(node),
            Err(Failure::Broken(what)) => Err(broken(&node, &what)),
        }
    }

    /// An unknown node is kept, and so is everything that reads it.
    fn leave(&mut self, node: NodeProto) -> Result<(), ImportError> {
        self.opaque.extend(node.output.iter().filter(|output| !output.is_empty()).cloned());
        self.kept.push(node);
        Ok(())
    }

    /// The node's input values; `None` if one of them is unknown.
    fn inputs<'a>(&mut self, node: &'a NodeProto) -> Result<Option<Inputs<'a>>, ImportError> {
        let mut values = Vec::with_capacity(node.input.len());
        for (at, name) in node.input.iter().enumerate() {
            if name.is_empty() {
                values.push(None);
                continue;
            }
            if self.opaque.contains(name) {
                return Ok(None);
            }
            // Weights are not loaded: their shape is enough.
            let weights = node.op_type == "Conv" && at > 0;
            if let Some(tensor) = self.constants.get(name) {
                let Some(kind) = Kind::of(tensor.data_type) else { return Ok(None) };
                if weights {
                    let shape = tensor::dims(tensor)?;
                    values.push(Some(Value { shape, data: Data::Unknown(kind) }));
                    continue;
                }
                let value = Value::read(tensor)?;
                self.constants.remove(name);
                self.values.insert(name.clone(), value);
            }
            match self.values.get(name) {
                Some(value) => values.push(Some(value.clone())),
                None => return Err(broken(node, &format!("nothing gives {name:?}, which it reads"))),
            }
        }
        Ok(Some(Inputs { node, values, opset: self.opset }))
    }

    /// Whether the node only renames a value that depends on the picture; a cast between float
    /// types counts as renaming.
    fn is_alias(&self, inputs: &Inputs<'_>) -> bool {
        let Some(source) = inputs.get(0).filter(|source| !source.is_known()) else { return false };
        let standard = matches!(inputs.node.domain.as_str(), "" | "ai.onnx");
        standard
            && match inputs.node.op_type.as_str() {
                "Identity" | "Dropout" => true,
                "Cast" | "CastLike" => {
                    compute::run(inputs).is_ok_and(|cast| cast[0].kind() == source.kind())
                        && source.kind() == Kind::Float
                }
                _ => false,
            }
    }

    /// The branch of an If whose condition is known.
    fn branch(&mut self, node: &NodeProto) -> Result<Option<GraphProto>, ImportError> {
        let condition = self.inputs(node)?;
        let Some(Data::Bool(condition)) = condition.as_ref().and_then(|c| c.get(0)).map(|value| &value.data)
        else {
            return Ok(None);
        };
        let name = if condition.first() == Some(&true) { "then_branch" } else { "else_branch" };
        Ok(attribute(node, name).and_then(|branch| branch.g.as_ref()).cloned())
    }

    /// Replaces an If node by the nodes of the chosen branch.
    fn inline(&mut self, branch: GraphProto, outputs: &[String]) -> Result<(), ImportError> {
        self.add_constants(branch.initializer)?;
        self.walk(branch.node)?;
        for (inner, outer) in branch.output.iter().zip(outputs) {
            let mut source = inner.name.clone();
            self.rename(&mut source);
            self.renamed.insert(outer.clone(), source);
        }
        Ok(())
    }

    /// The node in normalized form. A node that has none is kept; the check of the network refuses
    /// it.
    fn in_one_way(&mut self, inputs: &Inputs<'_>, outputs: &[Value]) -> Result<NodeProto, ImportError> {
        let mut node = inputs.node.clone();
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        let Some(from) = inputs.get(0).map(|input| input.shape.as_slice()).filter(|_| standard) else {
            return Ok(node);
        };
        node.domain.clear();
        match (node.op_type.as_str(), from) {
            ("Conv", &[.., height, width]) => self.convolution(&mut node, inputs, [height, width])?,
            ("MaxPool", &[.., height, width]) => {
                let window = Window::of(&node, None, [height, width]);
                if let Ok(window) = window
                    .map_err(|_| ())
                    .and_then(|window| window.is_floored([height, width]).then_some(window).ok_or(()))
                {
                    node.attribute = window_attributes(&window);
                }
            }
            ("Concat", from) => {
                let axis = int(&node, "axis", 1);
                let axis = if axis < 0 { axis + from.len() as i64 } else { axis };
                node.attribute = vec![integers("axis", AttributeType::INT, &[axis])];
            }
            ("Resize" | "Upsample", from) => {
                if let Some([vertical, horizontal]) = window::repeats(inputs, from, &outputs[0].shape) {
                    let name = format!("{}.scales", node.output[0]);
                    self.define(&name)?;
                    let scales = [1.0, 1.0, vertical as f32, horizontal as f32];
                    let tensor = TensorProto { name: name.clone(), ..float_tensor(vec![4], &scales) };
                    self.constants.insert(name.clone(), tensor);
                    node.op_type = "Resize".into();
                    node.input = vec![node.input[0].clone(), String::new(), name];
                    node.attribute = vec![
                        text("mode", "nearest"),
                        text("nearest_mode", "floor"),
                        text("coordinate_transformation_mode", "asymmetric"),
                    ];
                }
            }
            _ => {}
        }
        Ok(node)
    }

    /// Explicit pads. Where they are asymmetric, the kernel is extended with zero weights until
    /// they are symmetric, which gives the same sums.
    fn convolution(
        &mut self,
        node: &mut NodeProto,
        inputs: &Inputs<'_>,
        from: [usize; 2],
    ) -> Result<(), ImportError> {
        let weight_shape = inputs.get(1).map(|weight| weight.shape.clone()).unwrap_or_default();
        let window = Window::of(node, weight_shape.get(2..), from);
        let mut window = window.map_err(|_| broken(node, "its window does not fit"))?;
        let [top, left, bottom, right] = window.pads;
        if (top, left) != (bottom, right) && window.dilation == [1, 1] {
            let Some(weight) = self.floats(&node.input[1])? else { return Ok(()) };
            let large = weight.data.len().saturating_mul(top.abs_diff(bottom) + left.abs_diff(right) + 1);
            if large > MAX_NUMBERS {
                return Err(broken(node, "its window is too large"));
            }
            let grown = grown(&weight, window.pads);
            let name = format!("{}.padded", node.output[0]);
            self.define(&name)?;
            let tensor = TensorProto { name: name.clone(), ..float_tensor(grown.shape.clone(), &grown.data) };
            self.constants.insert(name.clone(), tensor);
            node.input[1] = name;
            window.kernel = [grown.shape[2], grown.shape[3]];
            let (vertical, horizontal) = (top.max(bottom), left.max(right));
            window.pads = [vertical, horizontal, vertical, horizontal];
        }
        let group = int(node, "group", 1);
        node.attribute = window_attributes(&window);
        node.attribute.push(integers("group", AttributeType::INT, &[group]));
        Ok(())
    }

    /// A constant's numbers; `None` if the value is not a constant.
    fn floats(&self, name: &str) -> Result<Option<Tensor>, ImportError> {
        if let Some(tensor) = self.constants.get(name) {
            return tensor::floats(tensor).map(Some);
        }
        let value = self.values.get(name);
        Ok(value.and_then(|value| Some(Tensor::new(value.shape.clone(), value.as_floats()?))))
    }
}

/// Weights `[out, in, height, width]` with zeros before and after, where the pads (top, left,
/// bottom, right) of the other side are larger.
fn grown(weight: &Tensor, [top, left, bottom, right]: [usize; 4]) -> Tensor {
    let [out, per_group, height, width] = weight.shape[..] else { unreachable!("weights have four axes") };
    // The window starts earlier by the additional padding, and the leading zero weights compensate
    // for that.
    let (above, before) = (bottom.saturating_sub(top), right.saturating_sub(left));
    let (tall, wide) = (height + top.abs_diff(bottom), width + left.abs_diff(right));
    let mut data = vec![0.0; out * per_group * tall * wide];
    for plane in 0..out * per_group {
        for row in 0..height {
            let from = (plane * height + row) * width;
            let to = (plane * tall + row + above) * wide + before;
            data[to..to + width].copy_from_slice(&weight.data[from..from + width]);
        }
    }
    Tensor::new(vec![out, per_group, tall, wide], data)
}

/// Converts constants of another precision to 32-bit floats.
fn widened(tensor: TensorProto) -> Result<TensorProto, ImportError> {
    let values = tensor::floats(&tensor)?;
    Ok(TensorProto { name: tensor.name, ..float_tensor(values.shape, &values.data) })
}

/// x · σ(x), as two nodes.
fn swish(node: NodeProto) -> Vec<NodeProto> {
    let (input, output) = (node.input.first().cloned().unwrap_or_default(), node.output[0].clone());
    let sigmoid = format!("{output}.sigmoid");
    let new = |op: &str, input: Vec<String>, output: String| NodeProto {
        op_type: op.into(),
        name: node.name.clone(),
        input,
        output: vec![output],
        ..Default::default()
    };
    vec![new("Sigmoid", vec![input.clone()], sigmoid.clone()), new("Mul", vec![input, sigmoid], output)]
}

/// The tensor of a Constant node.
fn constant(node: &NodeProto) -> Result<TensorProto, ImportError> {
    let value = node.attribute.first();
    let tensor = match value.map(|value| (value.name.as_str(), value)) {
        Some(("value", value)) => value.t.clone().unwrap_or_default(),
        Some(("value_float", value)) => float_tensor(vec![], &[value.f]),
        Some(("value_floats", value)) => float_tensor(vec![value.floats.len()], &value.floats),
        Some(("value_int", value)) => integer_tensor(vec![], &[value.i]),
        Some(("value_ints", value)) => integer_tensor(vec![value.ints.len()], &value.ints),
        _ => return Err(broken(node, "it has no numbers")),
    };
    Ok(TensorProto { name: node.output[0].clone(), ..tensor })
}

/// A value as a constant of the file.
fn written(value: &Value) -> TensorProto {
    match &value.data {
        Data::Integer(values) => integer_tensor(value.shape.clone(), values),
        _ => float_tensor(value.shape.clone(), &value.as_floats().unwrap_or_default()),
    }
}

fn window_attributes(window: &Window) -> Vec<AttributeProto> {
    let sizes = |name: &str, sizes: &[usize]| {
        integers(name, AttributeType::INTS, &sizes.iter().map(|&size| size as i64).collect::<Vec<_>>())
    };
    vec![
        sizes("dilations", &window.dilation),
        sizes("kernel_shape", &window.kernel),
        sizes("pads", &window.pads),
        sizes("strides", &window.stride),
    ]
}

fn integers(name: &str, type_: AttributeType, values: &[i64]) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.into(), type_: type_.into(), ..Default::default() };
    match type_ {
        AttributeType::INT => attribute.i = values[0],
        _ => attribute.ints = values.to_vec(),
    }
    attribute
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::STRING.into(),
        s: value.as_bytes().to_vec().into(),
        ..Default::default()
    }
}

fn broken(node: &NodeProto, what: &str) -> ImportError {
    ImportError::BrokenGraph { reason: format!("{} {}: {what}", node.op_type, node_name(node)) }
}
