//! Reads ONNX files into a graph, with the queries that the other modules use.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use onnx_ir::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};
use sha2::{Digest, Sha256};

use crate::qdq::Quantization;
use crate::tensor::{self, Tensor, data_type};
use crate::{ImportError, external, file_kind};

/// Hexadecimal digits of the SHA-256 of a model's files that are its version.
const VERSION_DIGITS: usize = 12;
/// Operators broadcast since this version; older ones, of 2017 and 2018, predate YOLOv5.
const OLDEST_OPSET: i64 = 7;

/// An ONNX file's model.
#[derive(Debug, Clone)]
pub(crate) struct Onnx {
    pub(crate) model: ModelProto,
    pub(crate) version: String,
    /// The operator set that the file was written in.
    pub(crate) opset: i64,
    /// Files beside it that hold its weights.
    pub(crate) external: Vec<PathBuf>,
    /// The scales of a quantized file's maps and weights, whose quantization nodes were removed.
    pub(crate) quantization: Option<Quantization>,
}

impl Onnx {
    /// Reads a model; external weights are read from `folder`.
    pub(crate) fn parse(bytes: &[u8], folder: Option<&Path>) -> Result<Self, ImportError> {
        file_kind::check(bytes)?;
        let mut model = ModelProto::parse_from_bytes(bytes)
            .map_err(|error| ImportError::Unreadable { reason: error.to_string() })?;
        let opset = model.opset_import.iter().find(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"));
        let opset = opset.map_or(0, |opset| opset.version);
        let graph = model.graph.as_mut().ok_or(ImportError::NotOnnx)?;
        if graph.node.is_empty() || graph.input.is_empty() || graph.output.is_empty() {
            return Err(ImportError::NotOnnx);
        }
        if opset < OLDEST_OPSET {
            return Err(ImportError::OldOpset { opset, oldest: OLDEST_OPSET });
        }
        let mut digest = Sha256::new();
        digest.update(bytes);
        let external = external::load(graph, folder, &mut digest)?;
        let version = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let version = version[..VERSION_DIGITS].to_owned();
        Ok(Self { model, version, opset, external, quantization: None })
    }

    pub(crate) fn graph(&self) -> &GraphProto {
        &self.model.graph
    }

    /// A value of the file's metadata, as the exporter wrote it.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

/// A graph with an index of its names.
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

    /// The nodes that `outputs` depend on, in the file's (topological) order, stopping at
    /// `borders`.
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

/// An initializer of 32-bit floats.
pub(crate) fn float_tensor(shape: Vec<usize>, values: &[f32]) -> TensorProto {
    TensorProto {
        dims: shape.into_iter().map(|dim| dim as i64).collect(),
        data_type: data_type::FLOAT,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
        ..Default::default()
    }
}

pub(crate) fn integer_tensor(shape: Vec<usize>, values: &[i64]) -> TensorProto {
    TensorProto {
        dims: shape.into_iter().map(|dim| dim as i64).collect(),
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// The declaration of a map of 32-bit floats.
pub(crate) fn float_input(name: &str, shape: [i64; 4]) -> ValueInfoProto {
    let mut axes = TensorShapeProto::default();
    for size in shape {
        // The axis type has no public name, so the vector is resized in place.
        axes.dim.resize_with(axes.dim.len() + 1, Default::default);
        axes.dim.last_mut().expect("just grown").set_dim_value(size);
    }
    let mut declared = TypeProto::default();
    let tensor = declared.mut_tensor_type();
    tensor.elem_type = data_type::FLOAT;
    tensor.shape = Some(axes).into();
    ValueInfoProto { name: name.to_owned(), type_: Some(declared).into(), ..Default::default() }
}
