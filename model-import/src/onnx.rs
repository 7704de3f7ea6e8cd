//! Reading ONNX: bytes to a normalized graph, and the few questions that the other rooms ask of it.
//!
//! Normalized means: every constant is an initializer, every float is 32 bits wide, and nothing is left
//! that only renames or converts between float widths.

use std::collections::{HashMap, HashSet};

use onnx_ir::{AttributeProto, GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use sha2::{Digest, Sha256};

use crate::ImportError;
use crate::tensor::{self, Tensor, data_type};

/// How many hexadecimal digits of the file's SHA-256 name a model's version.
const VERSION_DIGITS: usize = 12;

/// An ONNX file's model with a normalized graph.
#[derive(Debug, Clone)]
pub(crate) struct Onnx {
    pub(crate) model: ModelProto,
    pub(crate) version: String,
}

impl Onnx {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ImportError> {
        // `torch.save` writes zip archives (since 1.6) or pickles.
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") {
            return Err(ImportError::Checkpoint);
        }
        let mut model = ModelProto::parse_from_bytes(bytes)
            .map_err(|error| ImportError::Unreadable { reason: error.to_string() })?;
        let graph = model.graph.as_mut().ok_or(ImportError::NotOnnx)?;
        if graph.node.is_empty() || graph.input.is_empty() || graph.output.is_empty() {
            return Err(ImportError::NotOnnx);
        }
        normalize(graph)?;
        let version = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Ok(Self { model, version: version[..VERSION_DIGITS].to_owned() })
    }

    pub(crate) fn graph(&self) -> &GraphProto {
        &self.model.graph
    }

    /// A value of the file's metadata, as the exporter wrote it.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

/// A graph with its names looked up once.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) proto: &'a GraphProto,
    producers: HashMap<&'a str, &'a NodeProto>,
    initializers: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(proto: &'a GraphProto) -> Self {
        let producers =
            proto.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)));
        let initializers = proto.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
        Self { proto, producers: producers.collect(), initializers: initializers.collect() }
    }

    /// The inputs that a caller fills: files older than ONNX IR 4 list initializers there, too.
    pub(crate) fn inputs(&self) -> Vec<&'a ValueInfoProto> {
        self.proto.input.iter().filter(|input| !self.initializers.contains_key(input.name.as_str())).collect()
    }

    pub(crate) fn producer(&self, value: &str) -> Option<&'a NodeProto> {
        self.producers.get(value).copied()
    }

    pub(crate) fn initializer(&self, value: &str) -> Option<&'a TensorProto> {
        self.initializers.get(value).copied()
    }

    pub(crate) fn floats(&self, value: &str) -> Option<Result<Tensor, ImportError>> {
        self.initializer(value).map(tensor::floats)
    }

    /// The nodes that `outputs` depend on, in the file's (topological) order, not going past `borders`.
    pub(crate) fn ancestors(&self, outputs: &[&str], borders: &[&str]) -> Vec<&'a NodeProto> {
        let mut wanted: HashSet<&str> = HashSet::new();
        let mut pending: Vec<&str> = outputs.to_vec();
        while let Some(value) = pending.pop() {
            if borders.contains(&value) {
                continue;
            }
            let Some(node) = self.producer(value) else { continue };
            if wanted.insert(node.output[0].as_str()) {
                pending.extend(node.input.iter().map(String::as_str));
            }
        }
        self.proto
            .node
            .iter()
            .filter(|node| node.output.first().is_some_and(|name| wanted.contains(name.as_str())))
            .collect()
    }
}

pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(crate) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

pub(crate) fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    attribute(node, name).map(|attribute| attribute.ints.clone())
}

/// A node's name for messages; exporters may leave it empty.
pub(crate) fn node_name(node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => format!("for {output:?}"),
        (name, _) => format!("{name:?}"),
    }
}

/// A declared type: element type and axes; an axis without a number is `None`.
pub(crate) fn declared_type(value: &ValueInfoProto) -> Option<(i32, Vec<Option<usize>>)> {
    let declared = value.type_.as_ref().filter(|declared| declared.has_tensor_type())?.tensor_type();
    let axes = declared.shape.as_ref()?.dim.iter();
    let size = |dim: i64| usize::try_from(dim).ok().filter(|&dim| dim > 0);
    Some((
        declared.elem_type,
        axes.map(|axis| axis.has_dim_value().then(|| axis.dim_value()).and_then(size)).collect(),
    ))
}

/// A declared shape for messages: `[1, 3, height, 416]`.
pub(crate) fn declared_shape(value: &ValueInfoProto) -> String {
    let Some(shape) = (value.type_.as_ref()).and_then(|declared| declared.tensor_type().shape.as_ref())
    else {
        return "of unknown shape".into();
    };
    let axes = shape.dim.iter().map(|axis| match (axis.dim_param(), axis.dim_value()) {
        ("", size) if size > 0 => size.to_string(),
        ("", _) => "?".to_owned(),
        (name, _) => name.to_owned(),
    });
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

fn normalize(graph: &mut GraphProto) -> Result<(), ImportError> {
    // 1 = TensorProto.DataLocation.EXTERNAL
    if let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.data_location.value() == 1) {
        return Err(ImportError::ExternalData { tensor: tensor.name.clone() });
    }
    if graph.node.iter().any(|node| node.output.is_empty()) {
        return Err(ImportError::BrokenGraph { reason: "a node has no output".into() });
    }
    lift_constants(graph)?;
    for tensor in &mut graph.initializer {
        if data_type::is_float(tensor.data_type) {
            widen(tensor)?;
        }
    }
    drop_renames(graph);
    // Declared types of inner values may still say float16, and nobody needs them.
    graph.value_info.clear();
    Ok(())
}

/// `Constant` nodes become initializers.
fn lift_constants(graph: &mut GraphProto) -> Result<(), ImportError> {
    let (constants, nodes) =
        std::mem::take(&mut graph.node).into_iter().partition(|node| node.op_type == "Constant");
    graph.node = nodes;
    let constants: Vec<NodeProto> = constants;
    for node in constants {
        let value = node.attribute.first();
        let mut tensor = match value.map(|value| (value.name.as_str(), value)) {
            Some(("value", value)) => value.t.clone().unwrap_or_default(),
            Some(("value_float", value)) => float_tensor(vec![], &[value.f]),
            Some(("value_floats", value)) => float_tensor(vec![value.floats.len()], &value.floats),
            Some(("value_int", value)) => integer_tensor(vec![], &[value.i]),
            Some(("value_ints", value)) => integer_tensor(vec![value.ints.len()], &value.ints),
            _ => {
                let reason = format!("the constant {} has no numbers", node_name(&node));
                return Err(ImportError::BrokenGraph { reason });
            }
        };
        tensor.name.clone_from(&node.output[0]);
        graph.initializer.push(tensor);
    }
    Ok(())
}

/// An initializer of 32-bit floats.
pub(crate) fn float_tensor(shape: Vec<usize>, values: &[f32]) -> TensorProto {
    TensorProto {
        dims: shape.into_iter().map(|dim| dim as i64).collect(),
        data_type: data_type::FLOAT,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
        ..Default::default()
    }
}

fn integer_tensor(shape: Vec<usize>, values: &[i64]) -> TensorProto {
    TensorProto {
        dims: shape.into_iter().map(|dim| dim as i64).collect(),
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// Weights kept in half precision on disk become 32-bit floats.
fn widen(tensor: &mut TensorProto) -> Result<(), ImportError> {
    let values = tensor::floats(tensor)?;
    *tensor =
        TensorProto { name: std::mem::take(&mut tensor.name), ..float_tensor(values.shape, &values.data) };
    Ok(())
}

/// `Identity` and casts between float widths go; what read their output reads their input.
fn drop_renames(graph: &mut GraphProto) {
    let integers: HashSet<String> = (graph.initializer.iter())
        .filter(|tensor| !data_type::is_float(tensor.data_type))
        .map(|tensor| tensor.name.clone())
        .collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        for input in &mut node.input {
            if let Some(source) = renamed.get(input) {
                input.clone_from(source);
            }
        }
        let to_float = node.op_type == "Cast" && data_type::is_float(int(&node, "to", 0) as i32);
        match node.input.first() {
            Some(source) if node.op_type == "Identity" || (to_float && !integers.contains(source)) => {
                renamed.insert(node.output[0].clone(), source.clone());
            }
            _ => kept.push(node),
        }
    }
    graph.node = kept;
    for output in &mut graph.output {
        if let Some(source) = renamed.get(&output.name) {
            output.name.clone_from(source);
        }
    }
}
