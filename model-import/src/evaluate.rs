//! Runs a detection layer's decode tail on numbers.
//!
//! The exporter writes the tail differently from version to version (slices or splits, the grid's half
//! added here or there). What it computes does not change, so that is what the import looks at: the
//! tail is run on chosen logits and its answers give the anchors, and prove the decoding.

use std::collections::HashMap;

use onnx_ir::NodeProto;

use crate::onnx::{Graph, int, ints, node_name};
use crate::tensor::{Tensor, integers, numbers};

/// The value called `wanted`, from `known` values and the graph's constants; the reason where it fails.
pub(crate) fn evaluate(
    graph: &Graph<'_>,
    wanted: &str,
    known: HashMap<String, Tensor>,
) -> Result<Tensor, String> {
    let borders: Vec<&str> = known.keys().map(String::as_str).collect();
    let nodes = graph.ancestors(&[wanted], &borders);
    let mut values = known;
    for node in nodes {
        let outputs = run(graph, node, &values)?;
        values.extend(node.output.iter().cloned().zip(outputs));
    }
    values.remove(wanted).ok_or_else(|| format!("nothing computes {wanted:?}"))
}

fn run(graph: &Graph<'_>, node: &NodeProto, values: &HashMap<String, Tensor>) -> Result<Vec<Tensor>, String> {
    let fail = |what: &str| format!("{} {}: {what}", node.op_type, node_name(node));
    let input = |at: usize| -> Result<Tensor, String> {
        let name = node.input.get(at).ok_or_else(|| fail("an input is missing"))?;
        match values.get(name) {
            Some(value) => Ok(value.clone()),
            None => match graph.initializer(name) {
                Some(constant) => numbers(constant).map_err(|error| error.to_string()),
                None => Err(fail("an input is not a constant")),
            },
        }
    };
    let integer_input = |at: usize| -> Result<Option<Vec<i64>>, String> {
        let Some(name) = node.input.get(at).filter(|name| !name.is_empty()) else { return Ok(None) };
        let tensor = graph.initializer(name).ok_or_else(|| fail("a size is not a constant"))?;
        integers(tensor).map(Some).map_err(|error| error.to_string())
    };
    let elementwise = |f: fn(f32, f32) -> f32| -> Result<Vec<Tensor>, String> {
        let joined = input(0)?.zip(&input(1)?, f).ok_or_else(|| fail("the shapes do not broadcast"))?;
        Ok(vec![joined])
    };
    let axis = |tensor: &Tensor, default: i64| -> Result<usize, String> {
        resolve_axis(int(node, "axis", default), tensor.shape.len()).ok_or_else(|| fail("no such axis"))
    };

    match node.op_type.as_str() {
        "Add" => elementwise(|a, b| a + b),
        "Sub" => elementwise(|a, b| a - b),
        "Mul" => elementwise(|a, b| a * b),
        "Div" => elementwise(|a, b| a / b),
        "Pow" => elementwise(f32::powf),
        "Sigmoid" => Ok(vec![input(0)?.map(|value| 1.0 / (1.0 + (-value).exp()))]),
        "Transpose" => {
            let tensor = input(0)?;
            let permutation = ints(node, "perm").ok_or_else(|| fail("it has no permutation"))?;
            let permutation = (permutation.iter())
                .map(|&axis| usize::try_from(axis).ok().filter(|&axis| axis < tensor.shape.len()))
                .collect::<Option<Vec<usize>>>()
                .filter(|axes| axes.len() == tensor.shape.len())
                .ok_or_else(|| fail("its permutation does not fit"))?;
            Ok(vec![tensor.transpose(&permutation)])
        }
        "Reshape" => {
            let tensor = input(0)?;
            let wanted = integer_input(1)?.ok_or_else(|| fail("it has no shape"))?;
            let shape = reshaped(&tensor.shape, &wanted).ok_or_else(|| fail("the new shape does not fit"))?;
            Ok(vec![Tensor::new(shape, tensor.data)])
        }
        "Concat" => {
            let parts = (0..node.input.len()).map(input).collect::<Result<Vec<_>, _>>()?;
            let axis = axis(parts.first().ok_or_else(|| fail("it has no inputs"))?, 0)?;
            Ok(vec![Tensor::concat(&parts, axis).ok_or_else(|| fail("the parts do not fit"))?])
        }
        "Split" => {
            let tensor = input(0)?;
            let axis = axis(&tensor, 0)?;
            // Sizes are an input since opset 13 and an attribute before; without either, equal parts.
            let sizes = integer_input(1)?.or_else(|| ints(node, "split")).unwrap_or_else(|| {
                vec![(tensor.shape[axis] / node.output.len().max(1)) as i64; node.output.len()]
            });
            if sizes.iter().any(|&size| size < 0) || sizes.iter().sum::<i64>() != tensor.shape[axis] as i64 {
                return Err(fail("the parts do not add up"));
            }
            let mut start = 0;
            let part = |size: &i64| {
                let end = start + *size as usize;
                tensor.slice(axis, std::mem::replace(&mut start, end), end)
            };
            Ok(sizes.iter().map(part).collect())
        }
        "Slice" => {
            let mut tensor = input(0)?;
            let starts =
                integer_input(1)?.or_else(|| ints(node, "starts")).ok_or_else(|| fail("it has no starts"))?;
            let ends =
                integer_input(2)?.or_else(|| ints(node, "ends")).ok_or_else(|| fail("it has no ends"))?;
            let axes = integer_input(3)?.or_else(|| ints(node, "axes"));
            let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
            if integer_input(4)?.is_some_and(|steps| steps.iter().any(|&step| step != 1)) {
                return Err(fail("it has steps"));
            }
            for ((&start, &end), &axis) in starts.iter().zip(&ends).zip(&axes) {
                let axis = resolve_axis(axis, tensor.shape.len()).ok_or_else(|| fail("no such axis"))?;
                let size = tensor.shape[axis] as i64;
                let clamp =
                    |at: i64| if at < 0 { at.saturating_add(size) } else { at }.clamp(0, size) as usize;
                let (start, end) = (clamp(start), clamp(end));
                tensor = tensor.slice(axis, start, end.max(start));
            }
            Ok(vec![tensor])
        }
        "ScatterND" => Err(fail("boxes written in place")),
        _ => Err(fail("an operator that YOLOv5's detection layer does not have")),
    }
}

fn resolve_axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// ONNX `Reshape`: 0 keeps an axis, one -1 takes what is left.
fn reshaped(from: &[usize], wanted: &[i64]) -> Option<Vec<usize>> {
    let total: usize = from.iter().product();
    let mut shape = Vec::with_capacity(wanted.len());
    for (at, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            0 => *from.get(at)?,
            -1 => {
                let rest = wanted.iter().enumerate().filter(|&(other, _)| other != at);
                let rest =
                    rest.map(
                        |(at, &size)| {
                            if size == 0 { from.get(at).copied() } else { usize::try_from(size).ok() }
                        },
                    );
                total / rest.collect::<Option<Vec<usize>>>()?.iter().product::<usize>().max(1)
            }
            size => usize::try_from(size).ok()?,
        });
    }
    (shape.iter().product::<usize>() == total).then_some(shape)
}
