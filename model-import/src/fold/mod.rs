//! Constant folding: every value that does not depend on the picture becomes a constant. Shapes are
//! computed; declared ones are not trusted.
//!
//! The remaining nodes are normalized, whatever form the exporter chose: convolutions and poolings
//! have explicit, equal pads, upsampling is a Resize by whole factors, and renaming nodes are
//! removed.

mod normalize;

use std::collections::{HashMap, HashSet};

use onnx_ir::{GraphProto, NodeProto, TensorProto};

use crate::ImportError;
use crate::compute::{self, Inputs};
use crate::onnx::{attribute, float_tensor, integer_tensor, node_name};
use crate::tensor::{self, data_type};
use crate::value::{Data, Failure, Kind, MAX_NUMBERS, Value};
use normalize::swish;

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
}

/// Converts constants of another precision to 32-bit floats.
fn widened(tensor: TensorProto) -> Result<TensorProto, ImportError> {
    let values = tensor::floats(&tensor)?;
    Ok(TensorProto { name: tensor.name, ..float_tensor(values.shape, &values.data) })
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

fn broken(node: &NodeProto, what: &str) -> ImportError {
    ImportError::BrokenGraph { reason: format!("{} {}: {what}", node.op_type, node_name(node)) }
}
