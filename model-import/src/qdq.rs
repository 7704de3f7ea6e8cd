//! Quantized files in QDQ form: pairs of `QuantizeLinear` and `DequantizeLinear` around the 8-bit
//! operators.
//!
//! The pairs are removed from the graph, and their scales are kept beside it. The remaining graph
//! is the float network with rounded weights, which the rest of this crate handles like any other.

use std::collections::HashMap;

use model_runtime::pack::int8::Scale;
use onnx_ir::{GraphProto, NodeProto, TensorProto};

use crate::ImportError;
use crate::fold::in_order;
use crate::onnx::{attribute, float_tensor, int, node_name};
use crate::tensor::{self, data_type};

/// As many concatenations, poolings and upsamplings follow each other at most: YOLOv5 has five.
const MOST_PASSES: usize = 32;
/// The largest of unsigned levels.
const LEVELS: f32 = 255.0;

/// A weight's signed levels and the scale of each output channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Levels {
    pub(crate) levels: Vec<i8>,
    pub(crate) scales: Vec<f32>,
}

/// The scales of a file's pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Quantization {
    /// The maps that are quantized, by value.
    pub(crate) maps: HashMap<String, Scale>,
    /// The weights that are stored as integers, by the name that they have as floats.
    pub(crate) weights: HashMap<String, Levels>,
}

/// Takes the pairs out of the graph; `None` if there are none.
///
/// What is kept is how each convolution reads its input. Pairs elsewhere (between a convolution and
/// its SiLU, behind heads, in the decode tail) are left out, since those values are not rounded
/// here.
pub(crate) fn take(graph: &mut GraphProto) -> Result<Option<Quantization>, ImportError> {
    let is_pair = |node: &NodeProto| matches!(&*node.op_type, "QuantizeLinear" | "DequantizeLinear");
    if !graph.node.iter().any(is_pair) {
        return Ok(None);
    }
    let mut constants: HashMap<String, TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.clone(), tensor.clone())).collect();
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        if let Some(value) = attribute(node, "value") {
            constants.insert(node.output[0].clone(), value.t.clone().unwrap_or_default());
        }
    }
    let mut weights = HashMap::new();
    // What each pair's result is: a value, stored in this way.
    let mut pairs: HashMap<String, (String, Scale)> = HashMap::new();
    let mut quantized: HashMap<String, (String, Scale)> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in in_order(std::mem::take(&mut graph.node))? {
        let broken = |what: &str| ImportError::BrokenGraph {
            reason: format!("{} {}: {what}", node.op_type, node_name(&node)),
        };
        match node.op_type.as_str() {
            "QuantizeLinear" => {
                // What is quantized again is still the first value.
                let source = pairs.get(&node.input[0]).map_or(&node.input[0], |(value, _)| value);
                let scale = map_scale(&node, &constants)?;
                quantized.insert(node.output[0].clone(), (source.clone(), scale));
            }
            "DequantizeLinear" if constants.contains_key(&node.input[0]) => {
                let (values, levels) = dequantized(&node, &constants)?;
                let name = node.output[0].clone();
                weights.extend(levels.map(|levels| (name.clone(), levels)));
                constants.insert(name.clone(), values.clone());
                graph.initializer.push(TensorProto { name, ..values });
            }
            "DequantizeLinear" => {
                let (value, scale) = quantized
                    .get(&node.input[0])
                    .ok_or_else(|| broken("what it reads is neither a constant nor a QuantizeLinear's"))?;
                if map_scale(&node, &constants)? != *scale {
                    return Err(broken("its scale is not that of the QuantizeLinear that it reads"));
                }
                pairs.insert(node.output[0].clone(), (value.clone(), *scale));
            }
            _ => kept.push(node),
        }
    }
    let mut storage = Storage::new(kept, pairs);
    storage.store_what_convolutions_read();
    let Storage { nodes, pairs, maps, .. } = storage;
    graph.node = nodes;
    // An output keeps the name that the file declares.
    for output in &graph.output {
        let Some((source, _)) = pairs.get(&output.name) else { continue };
        for node in &mut graph.node {
            let names = node.input.iter_mut().chain(&mut node.output);
            names.filter(|name| *name == source).for_each(|name| name.clone_from(&output.name));
        }
    }
    Ok(Some(Quantization { maps, weights }))
}

/// Decides how every map is stored: as the convolution that reads it wants it.
///
/// Where two want it in different ways, it is computed twice, each time rounded for one of them;
/// the two convolutions then read the same and are merged into one. So no map is rounded twice.
struct Storage {
    nodes: Vec<NodeProto>,
    producers: HashMap<String, usize>,
    pairs: HashMap<String, (String, Scale)>,
    /// How a value is stored.
    maps: HashMap<String, Scale>,
    /// What a value passes on unchanged (a concatenation, a pooling, an upsampling) for this scale.
    passed: HashMap<String, Scale>,
    /// The scale that holds all that such a value is made of, once it was looked for.
    holding: HashMap<String, Option<Scale>>,
    /// Copies of a value for further scales.
    copies: HashMap<String, Vec<(Scale, String)>>,
    /// Copies of nodes, each behind the node at this place.
    added: Vec<(usize, NodeProto)>,
}

impl Storage {
    fn new(nodes: Vec<NodeProto>, pairs: HashMap<String, (String, Scale)>) -> Self {
        let outputs = |(at, node): (usize, &NodeProto)| -> Vec<(String, usize)> {
            node.output.iter().map(|name| (name.clone(), at)).collect()
        };
        let producers = nodes.iter().enumerate().flat_map(outputs).collect();
        Self {
            nodes,
            producers,
            pairs,
            maps: HashMap::new(),
            passed: HashMap::new(),
            holding: HashMap::new(),
            copies: HashMap::new(),
            added: Vec::new(),
        }
    }

    fn store_what_convolutions_read(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].op_type != "Conv" {
                continue;
            }
            let input = self.nodes[at].input[0].clone();
            if let Some((value, scale)) = self.scale_of(&input, 0) {
                self.nodes[at].input[0] = self.stored(&value, scale, 0);
            }
        }
        // What else reads a pair's result, such as a sum, reads the map itself.
        for node in &mut self.nodes {
            for input in &mut node.input {
                if let Some((value, _)) = self.pairs.get(input) {
                    input.clone_from(value);
                }
            }
        }
        let mut added = std::mem::take(&mut self.added);
        added.sort_by_key(|(at, _)| *at);
        let mut added = added.into_iter().peekable();
        for (at, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            self.nodes.push(node);
            while let Some((_, copy)) = added.next_if(|(behind, _)| *behind == at) {
                self.nodes.push(copy);
            }
        }
    }

    /// The node that gives `value` by passing others on.
    fn passing(&self, value: &str, depth: usize) -> Option<usize> {
        if depth > MOST_PASSES {
            return None;
        }
        let at = *self.producers.get(value)?;
        matches!(&*self.nodes[at].op_type, "Concat" | "MaxPool" | "Resize").then_some(at)
    }

    /// The maps that a node passes on.
    fn parts(&self, at: usize) -> Vec<String> {
        let node = &self.nodes[at];
        if node.op_type == "Concat" { node.input.clone() } else { node.input[..1].to_vec() }
    }

    /// The value behind a name, and how it wants to be read: a pair's scale, or one that holds all
    /// that it is made of.
    fn scale_of(&mut self, name: &str, depth: usize) -> Option<(String, Scale)> {
        if let Some(pair) = self.pairs.get(name) {
            return Some(pair.clone());
        }
        if let Some(known) = self.holding.get(name) {
            return known.map(|scale| (name.to_owned(), scale));
        }
        let parts = self.parts(self.passing(name, depth)?);
        let scales: Option<Vec<Scale>> =
            parts.iter().map(|part| self.scale_of(part, depth + 1).map(|(_, scale)| scale)).collect();
        let scale = scales.and_then(|scales| scales.into_iter().reduce(holding_both));
        self.holding.insert(name.to_owned(), scale);
        scale.map(|scale| (name.to_owned(), scale))
    }

    /// The name under which `value` is stored in this way.
    fn stored(&mut self, value: &str, scale: Scale, depth: usize) -> String {
        if let Some(at) = self.passing(value, depth) {
            return self.passed_on(value, at, scale, depth);
        }
        match self.maps.get(value) {
            None => {
                self.maps.insert(value.to_owned(), scale);
                value.to_owned()
            }
            Some(known) if *known == scale => value.to_owned(),
            Some(_) => match self.copy_for(value, scale) {
                Ok(copy) => copy,
                Err(copy) => {
                    self.compute_again(value, &copy);
                    self.maps.insert(copy.clone(), scale);
                    copy
                }
            },
        }
    }

    fn passed_on(&mut self, value: &str, at: usize, scale: Scale, depth: usize) -> String {
        let first = match self.passed.get(value) {
            Some(known) if *known == scale => return value.to_owned(),
            known => known.is_none(),
        };
        let (mut node, name) = (self.nodes[at].clone(), value.to_owned());
        let name = if first {
            self.passed.insert(name.clone(), scale);
            name
        } else {
            match self.copy_for(value, scale) {
                Ok(copy) => return copy,
                Err(copy) => copy,
            }
        };
        let count = self.parts(at).len();
        for part in &mut node.input[..count] {
            let source = self.pairs.get(part).map_or(&*part, |(value, _)| value).clone();
            *part = self.stored(&source, scale, depth + 1);
        }
        if first {
            self.nodes[at] = node;
        } else {
            node.name = format!("{}{}", node.name, &name[value.len()..]);
            node.output[0].clone_from(&name);
            self.added.push((at, node));
        }
        name
    }

    /// The copy of a value for a scale, or the name of a new one.
    fn copy_for(&mut self, value: &str, scale: Scale) -> Result<String, String> {
        let copies = self.copies.entry(value.to_owned()).or_default();
        if let Some((_, copy)) = copies.iter().find(|(of, _)| *of == scale) {
            return Ok(copy.clone());
        }
        let name = format!("{value}.scale{}", copies.len() + 2);
        copies.push((scale, name.clone()));
        Err(name)
    }

    /// Another convolution, with what follows it, that gives `copy`.
    fn compute_again(&mut self, value: &str, copy: &str) {
        let Some(&at) = self.producers.get(value) else { return };
        let suffix = &copy[value.len()..];
        let mut pending = vec![at];
        let mut copied = Vec::new();
        while let Some(at) = pending.pop() {
            if copied.contains(&at) {
                continue;
            }
            copied.push(at);
            let mut node = self.nodes[at].clone();
            node.name = format!("{}{suffix}", node.name);
            node.output[0] = format!("{}{suffix}", node.output[0]);
            // A convolution reads what is stored; so does a sum on one side.
            let inner = !matches!(&*node.op_type, "Conv");
            for input in node.input.iter_mut().filter(|_| inner) {
                let source = self.pairs.get(input).map_or(&*input, |(value, _)| value).clone();
                let Some(&producer) = self.producers.get(&source) else { continue };
                if self.maps.contains_key(&source) || self.passing(&source, 0).is_some() {
                    *input = source;
                } else {
                    *input = format!("{source}{suffix}");
                    pending.push(producer);
                }
            }
            self.added.push((at, node));
        }
    }
}

/// A scale for all values of both; the first one's where they are the same.
fn holding_both(a: Scale, b: Scale) -> Scale {
    if a == b {
        return a;
    }
    let range = |of: Scale| {
        let zero = f32::from(of.zero_point);
        (-zero * of.scale, (LEVELS - zero) * of.scale)
    };
    let ((low, high), (other_low, other_high)) = (range(a), range(b));
    let (low, high) = (low.min(other_low), high.max(other_high));
    let scale = (high - low) / LEVELS;
    Scale { scale, zero_point: (-low / scale).round().clamp(0.0, LEVELS) as u8 }
}

/// One scale and zero point for a whole map, whatever the sign of its levels.
fn map_scale(node: &NodeProto, constants: &HashMap<String, TensorProto>) -> Result<Scale, ImportError> {
    let broken = |what: &str| ImportError::BrokenGraph {
        reason: format!("{} {}: {what}", node.op_type, node_name(node)),
    };
    let constant = |at: usize| node.input.get(at).and_then(|name| constants.get(name));
    let scale = tensor::floats(constant(1).ok_or_else(|| broken("its scale is not a constant"))?)?;
    let [scale] = scale.data[..] else { return Err(broken("a map has one scale, not one for each channel")) };
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(broken(&format!("a scale of {scale}")));
    }
    let zero_point = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => 0,
        Some(name) => {
            let tensor = constants.get(name).ok_or_else(|| broken("its zero point is not a constant"))?;
            match bytes(tensor)?[..] {
                // Signed levels are unsigned ones minus 128.
                [zero_point] if tensor.data_type == data_type::INT8 => zero_point + 128,
                [zero_point] => zero_point,
                _ => return Err(broken("a map has one zero point")),
            }
        }
    };
    let zero_point = u8::try_from(zero_point).map_err(|_| broken("its zero point is no level"))?;
    Ok(Scale { scale, zero_point })
}

/// A constant's real values, and its levels if it is a convolution's weight of eight bits.
fn dequantized(
    node: &NodeProto,
    constants: &HashMap<String, TensorProto>,
) -> Result<(TensorProto, Option<Levels>), ImportError> {
    let broken = |what: &str| ImportError::BrokenGraph {
        reason: format!("{} {}: {what}", node.op_type, node_name(node)),
    };
    let constant =
        |at: usize| node.input.get(at).filter(|name| !name.is_empty()).and_then(|name| constants.get(name));
    let stored = constant(0).ok_or_else(|| broken("it has no input"))?;
    let shape = tensor::dims(stored)?;
    let values = bytes(stored)?;
    let scales = tensor::floats(constant(1).ok_or_else(|| broken("its scale is not a constant"))?)?.data;
    let zero_points = constant(2).map(bytes).transpose()?.unwrap_or_else(|| vec![0; scales.len()]);
    if scales.is_empty() || scales.len() != zero_points.len() {
        return Err(broken("it has not as many zero points as scales"));
    }
    // A constant with one axis, such as a bias, may have a scale for each value.
    let axis = int(node, "axis", 1);
    let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).unwrap_or(usize::MAX);
    let each = if scales.len() == 1 {
        values.len().max(1)
    } else if shape.get(axis) == Some(&scales.len()) && shape[..axis].iter().all(|&size| size == 1) {
        values.len() / scales.len()
    } else {
        return Err(broken("its scales are not of its output channels"));
    };
    let level = |i: usize| values[i] - zero_points[(i / each).min(zero_points.len() - 1)];
    let real: Vec<f32> =
        (0..values.len()).map(|i| level(i) as f32 * scales[(i / each).min(scales.len() - 1)]).collect();
    let eight_bits = matches!(stored.data_type, data_type::INT8 | data_type::UINT8);
    let levels: Option<Vec<i8>> = (0..values.len()).map(|i| i8::try_from(level(i)).ok()).collect();
    let levels = levels.filter(|_| eight_bits && shape.len() == 4).map(|levels| {
        let scales = if scales.len() == 1 { vec![scales[0]; shape[0]] } else { scales.clone() };
        Levels { levels, scales }
    });
    Ok((float_tensor(shape, &real), levels))
}

/// Integers of eight or 32 bits.
fn bytes(tensor: &TensorProto) -> Result<Vec<i32>, ImportError> {
    let raw = &tensor.raw_data;
    Ok(match tensor.data_type {
        // Without raw data, ONNX keeps all of these in 32 bits.
        data_type::INT8 | data_type::UINT8 | data_type::INT32 if raw.is_empty() => tensor.int32_data.clone(),
        data_type::INT8 => raw.iter().map(|&byte| (byte as i8).into()).collect(),
        data_type::UINT8 => raw.iter().map(|&byte| byte.into()).collect(),
        data_type::INT32 => {
            raw.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        other => {
            return Err(ImportError::BrokenTensor {
                tensor: tensor.name.clone(),
                reason: format!("its values are {}, not integers of 8 or 32 bits", data_type::name(other)),
            });
        }
    })
}
