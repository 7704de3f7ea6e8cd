//! Conditions on single nodes that the fused operators can compute.

use onnx_ir::{GraphProto, NodeProto};

use super::{Conv, Input};
use crate::onnx::{Graph, attribute, int, ints};

/// A convolution that the fused operator can compute: one group, no dilation, equal padding on both
/// sides.
pub(super) fn convolution(graph: &GraphProto, node: &NodeProto, position: usize) -> Option<Conv> {
    if node.op_type != "Conv"
        || int(node, "group", 1) != 1
        || ints(node, "dilations").is_some_and(|d| d != [1, 1])
    {
        return None;
    }
    let graph = Graph::new(graph);
    let weight = graph.floats(&node.input[1])?.ok().filter(|weight| weight.shape.len() == 4)?;
    let bias = match node.input.get(2) {
        Some(name) => graph.floats(name)?.ok()?.data,
        None => vec![0.0; weight.shape[0]],
    };
    let pair = |values: Vec<i64>| Some([usize::try_from(values[0]).ok()?, usize::try_from(values[1]).ok()?]);
    let pads = ints(node, "pads").unwrap_or(vec![0; 4]);
    let padding = pair(pads.clone()).filter(|_| pads[..2] == pads[2..])?;
    let stride = pair(ints(node, "strides").unwrap_or(vec![1; 2]))?;
    Some(Conv {
        position,
        inputs: vec![Input { value: node.input[0].clone(), upsampled: false }],
        outputs: vec![(node.output[0].clone(), weight.shape[0])],
        weight,
        bias,
        stride,
        padding,
        silu: false,
        residual: None,
    })
}

/// The size of a square max pool that keeps the image's size.
pub(super) fn same_size_pool(node: &NodeProto) -> Option<usize> {
    let [size, same] = ints(node, "kernel_shape")?[..] else { return None };
    let ones = |name: &str| ints(node, name).is_none_or(|values| values == [1, 1]);
    let keeps = size == same && size % 2 == 1 && ints(node, "pads")? == [size / 2; 4];
    (keeps && ones("strides") && ones("dilations")).then_some(size as usize)
}

/// Nearest-neighbour resizing by two, each pixel becoming a block of four.
pub(super) fn doubles(graph: &GraphProto, node: &NodeProto) -> bool {
    let text = |name: &str| attribute(node, name).map(|attribute| attribute.s.to_vec());
    let nearest = text("mode").is_none_or(|mode| mode == b"nearest");
    // Other modes would shift the blocks.
    let floors = text("nearest_mode").is_some_and(|mode| mode == b"floor")
        && text("coordinate_transformation_mode").is_some_and(|mode| mode == b"asymmetric");
    let scales = node.input.get(2).and_then(|name| Graph::new(graph).floats(name));
    nearest && floors && matches!(scales, Some(Ok(scales)) if scales.data == [1.0, 1.0, 2.0, 2.0])
}
