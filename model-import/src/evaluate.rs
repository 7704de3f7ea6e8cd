//! Evaluates a detection layer's decode tail.
//!
//! The exporter writes the tail differently from version to version (slices, splits or writes in
//! place, the grid's half added here or there). The result is always the same, so the import
//! evaluates the tail on chosen logits: the results give the anchors, and verify the decoding.

use std::collections::HashMap;

use crate::compute::{self, Inputs};
use crate::fold::OPSET;
use crate::onnx::{Graph, node_name};
use crate::value::{Failure, Value};

/// Evaluates the value `wanted` from `known` values and the graph's constants; the error is the
/// reason.
pub(crate) fn evaluate(
    graph: &Graph<'_>,
    wanted: &str,
    known: HashMap<String, Value>,
) -> Result<Vec<f32>, String> {
    let borders: Vec<&str> = known.keys().map(String::as_str).collect();
    let nodes = graph.ancestors(&[wanted], &borders);
    let mut values = known;
    for node in nodes {
        let fail = |what: &str| format!("{} {}: {what}", node.op_type, node_name(node));
        let value = |name: &String| -> Result<Option<Value>, String> {
            match (values.get(name), graph.initializer(name)) {
                _ if name.is_empty() => Ok(None),
                (Some(value), _) => Ok(Some(value.clone())),
                (None, Some(constant)) => Value::read(constant).map(Some).map_err(|error| error.to_string()),
                (None, None) => Err(fail("an input is not a constant")),
            }
        };
        let inputs = node.input.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        let outputs = compute::run(&Inputs { node, values: inputs, opset: OPSET });
        let outputs = outputs.and_then(|outputs| match outputs.iter().all(Value::is_known) {
            true => Ok(outputs),
            false => Err(Failure::Unknown),
        });
        let outputs = outputs.map_err(|failure| match failure {
            Failure::Unknown => fail("an operator that YOLOv5's detection layer does not have"),
            Failure::Broken(what) => fail(&what),
        })?;
        values.extend(node.output.iter().cloned().zip(outputs));
    }
    let found = values.remove(wanted).and_then(|value| value.as_floats());
    found.ok_or_else(|| format!("nothing computes {wanted:?}"))
}
