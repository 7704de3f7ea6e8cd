//! Writes the fused operators as nodes, their weights packed the way the kernels read them.

use std::collections::{HashMap, HashSet};

use model_runtime::pack::{fold_gray, pack_bias, pack_conv};
use onnx_ir::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

use super::{CONV, Conv, DOMAIN, Fusion, SPLIT, STEM};
use crate::onnx::float_tensor;

impl Fusion {
    /// The graph of what is left and what is new, in the file's order.
    pub(super) fn finish(mut self, shapes: &HashMap<String, [usize; 3]>) -> GraphProto {
        let image = self.graph.input[0].name.clone();
        for conv in std::mem::take(&mut self.convs) {
            self.emit(conv, &image, shapes);
        }
        let kept = self.nodes.into_iter().enumerate().filter_map(|(at, node)| node.map(|node| (at, node)));
        self.added.extend(kept);
        // Stable: a merged convolution stays before the split of its result.
        self.added.sort_by_key(|(position, _)| *position);
        let mut graph = self.graph;
        graph.node = self.added.into_iter().map(|(_, node)| node).collect();
        let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        graph.initializer.retain(|tensor| read.contains(&tensor.name));
        graph
    }

    fn emit(&mut self, conv: Conv, image: &str, shapes: &HashMap<String, [usize; 3]>) {
        let name = conv.outputs[0].0.clone();
        let [out, per_input, ..] = conv.weight.shape[..] else { unreachable!("weights have four axes") };
        let (kernel, [_, height, width]) = (conv.kernel(), shapes[&name]);
        let stem = conv.inputs.len() == 1 && conv.inputs[0].value == image;
        let mut inputs: Vec<String> = conv.inputs.iter().map(|input| input.value.clone()).collect();
        let mut constant = |suffix: &str, tensor: TensorProto| {
            let name = format!("{name}.{suffix}");
            inputs.push(name.clone());
            self.graph.initializer.push(TensorProto { name, ..tensor });
        };
        let packed = pack_conv(&conv.weight.data, out, per_input, kernel, conv.stride, [height, width]);
        constant("weight", float_tensor(packed.shape.to_vec(), &packed.values));
        if stem {
            let gray = fold_gray(&conv.weight.data, out, per_input, kernel);
            let packed = pack_conv(&gray, out, 1, kernel, conv.stride, [height, width]);
            constant("gray_weight", float_tensor(packed.shape.to_vec(), &packed.values));
        }
        let bias = pack_bias(&conv.bias);
        constant("bias", float_tensor(vec![bias.len()], &bias));
        inputs.extend(conv.residual);

        let upsampled: Vec<usize> = conv.inputs.iter().map(|input| usize::from(input.upsampled)).collect();
        let result = if conv.outputs.len() == 1 { name } else { format!("{name}.merged") };
        let fused = NodeProto {
            attribute: vec![
                integers("out_channels", &[out]),
                integers("kernel", &kernel),
                integers("stride", &conv.stride),
                integers("padding", &conv.padding),
                integers("silu", &[usize::from(conv.silu)]),
                integers("upsampled", &upsampled),
                integers("shapes", &[out, height, width]),
            ],
            ..node(if stem { STEM } else { CONV }, inputs, vec![result.clone()])
        };
        self.added.push((conv.position, fused));
        if conv.outputs.len() > 1 {
            let shapes: Vec<usize> =
                conv.outputs.iter().flat_map(|(_, channels)| [*channels, height, width]).collect();
            let outputs = conv.outputs.into_iter().map(|(name, _)| name).collect();
            let split = NodeProto {
                attribute: vec![integers("shapes", &shapes)],
                ..node(SPLIT, vec![result], outputs)
            };
            self.added.push((conv.position, split));
        }
    }
}

/// A node of the operators' own domain.
pub(super) fn node(operator: &str, input: Vec<String>, output: Vec<String>) -> NodeProto {
    NodeProto {
        name: output[0].clone(),
        op_type: operator.to_owned(),
        domain: DOMAIN.to_owned(),
        input,
        output,
        ..Default::default()
    }
}

pub(super) fn integers(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::INTS.into(),
        ints: values.iter().map(|&value| value as i64).collect(),
        ..Default::default()
    }
}
