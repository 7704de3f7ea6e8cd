//! Removes the decode tail: the network's outputs are its raw head maps.

use std::collections::HashSet;

use onnx_ir::ModelProto;

use crate::detect::Head;
use crate::fold::OPSET;
use crate::onnx::{Graph, Onnx, float_input};

/// The model with the heads' logits as its outputs, in their order, and only the nodes that they
/// need.
pub(crate) fn cut_tail(onnx: &Onnx, heads: &[Head]) -> ModelProto {
    let graph = Graph::new(onnx.graph());
    let logits: Vec<&str> = heads.iter().map(|head| head.logits.as_str()).collect();
    let nodes: Vec<_> = graph.ancestors(&logits, &[]).into_iter().cloned().collect();
    let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let initializers = (onnx.graph().initializer.iter())
        .filter(|tensor| read.contains(tensor.name.as_str()))
        .cloned()
        .collect();
    let inputs = graph.inputs().into_iter().cloned().collect();
    let outputs = heads
        .iter()
        .map(|head| {
            let weights = graph.producer(&head.logits).and_then(|node| graph.initializer(&node.input[1]));
            let channels = weights.map_or(0, |weights| weights.dims[0]);
            float_input(&head.logits, [1, channels, head.cells[0] as i64, head.cells[1] as i64])
        })
        .collect();

    let mut model = ModelProto {
        ir_version: onnx.model.ir_version,
        producer_name: onnx.model.producer_name.clone(),
        producer_version: onnx.model.producer_version.clone(),
        ..ModelProto::default()
    };
    // The entry's type has no public name, so the vector is resized in place.
    model.opset_import.resize_with(1, Default::default);
    model.opset_import[0].version = OPSET;
    let rewritten = model.graph.mut_or_insert_default();
    rewritten.node = nodes;
    rewritten.initializer = initializers;
    rewritten.input = inputs;
    rewritten.output = outputs;
    model
}
