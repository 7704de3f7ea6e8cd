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

/// Removes the pairs from the graph; `None` if there are none.
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
    let mut found = Quantization::default();
    let mut renamed: HashMap<String, String> = HashMap::new();
    // The quantized value, and the map that it stands for.
    let mut quantized: HashMap<String, (String, Scale)> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for mut node in in_order(std::mem::take(&mut graph.node))? {
        for input in &mut node.input {
            if let Some(source) = renamed.get(input) {
                input.clone_from(source);
            }
        }
        let broken = |what: &str| ImportError::BrokenGraph {
            reason: format!("{} {}: {what}", node.op_type, node_name(&node)),
        };
        match node.op_type.as_str() {
            "QuantizeLinear" => {
                let scale = map_scale(&node, &constants)?;
                quantized.insert(node.output[0].clone(), (node.input[0].clone(), scale));
            }
            "DequantizeLinear" if constants.contains_key(&node.input[0]) => {
                let (values, levels) = dequantized(&node, &constants)?;
                let name = node.output[0].clone();
                found.weights.extend(levels.map(|levels| (name.clone(), levels)));
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
                if found.maps.insert(value.clone(), *scale).is_some_and(|other| other != *scale) {
                    return Err(broken("its map is quantized with two scales"));
                }
                renamed.insert(node.output[0].clone(), value.clone());
            }
            _ => kept.push(node),
        }
    }
    graph.node = kept;
    // An output keeps the name that the file declares.
    for output in &graph.output {
        let Some(source) = renamed.get(&output.name) else { continue };
        for node in &mut graph.node {
            let names = node.input.iter_mut().chain(&mut node.output);
            names.filter(|name| **name == *source).for_each(|name| name.clone_from(&output.name));
        }
    }
    Ok(Some(found))
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
