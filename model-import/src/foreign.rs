//! Recognizes graphs that were modified by other tools, by their operators.

use onnx_ir::{GraphProto, NodeProto};

use crate::ImportError;

/// Refuses graphs of integer operators, runtime-optimized graphs, and postprocessing inside the
/// graph.
pub(crate) fn check(graph: &GraphProto) -> Result<(), ImportError> {
    let find = |is: Test| {
        let mut nodes = graph.node.iter().filter(|node| is(node));
        nodes.next().map(|first| (first.op_type.clone(), 1 + nodes.count()))
    };
    if let Some((operator, _)) = find(is_postprocessing) {
        return Err(ImportError::Postprocessing { operator });
    }
    for (form, is) in FORMS {
        if let Some((operator, count)) = find(is) {
            return Err(ImportError::Quantized { form, operator, count });
        }
    }
    if let Some((operator, _)) = find(|node| node.domain.starts_with("com.microsoft")) {
        return Err(ImportError::RuntimeOptimized { operator });
    }
    Ok(())
}

/// A test of a node's kind.
type Test = fn(&NodeProto) -> bool;

/// Forms of int8 models that are not supported; `qdq` reads the supported one, pairs of
/// `QuantizeLinear` and `DequantizeLinear`.
const FORMS: [(&str, Test); 2] = [
    ("operators on integers, QOperator", |node| node.op_type.starts_with("QLinear")),
    ("quantized while it runs, dynamic", |node| {
        matches!(&*node.op_type, "DynamicQuantizeLinear" | "ConvInteger" | "MatMulInteger")
    }),
];

/// Non-maximum suppression of ONNX, and of TensorRT's plugins.
fn is_postprocessing(node: &NodeProto) -> bool {
    matches!(&*node.op_type, "NonMaxSuppression" | "TopK")
        || ["EfficientNMS", "BatchedNMS", "BatchedNMSDynamic", "EfficientRotatedNMS"]
            .iter()
            .any(|plugin| node.op_type.starts_with(plugin))
}
