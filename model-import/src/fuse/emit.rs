//! Writes the fused operators as nodes, with weights packed in the kernels' layout.

use std::collections::{HashMap, HashSet};

use model_runtime::pack::{fold_gray, pack_bias, pack_conv};
use onnx_ir::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

use super::{CHAIN, CONV, Conv, DOMAIN, Fusion, GRAY_WEIGHT, SPLIT, STEM};
use crate::onnx::float_tensor;

impl Fusion {
    /// The graph of the remaining and the new nodes, in the file's order.
    pub(super) fn finish(mut self, shapes: &HashMap<String, [usize; 3]>) -> GraphProto {
        let image = self.graph.input[0].name.clone();
        for chain in self.take_chains(shapes) {
            self.emit(chain, &image, shapes);
        }
        let kept = self.nodes.into_iter().enumerate().filter_map(|(at, node)| node.map(|node| (at, node)));
        self.added.extend(kept);
        // The sort is stable, so that a merged convolution stays before the split of its result.
        self.added.sort_by_key(|(position, _)| *position);
        let mut graph = self.graph;
        graph.node = self.added.into_iter().map(|(_, node)| node).collect();
        let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        graph.initializer.retain(|tensor| read.contains(&tensor.name));
        graph
    }

    /// One node for a chain of convolutions, most often a single one. Its inputs are those of the
    /// first convolution, then each one's weight, gray weight if it reads the image, and bias, then
    /// the residual.
    fn emit(&mut self, chain: Vec<Conv>, image: &str, shapes: &HashMap<String, [usize; 3]>) {
        let stem = chain[0].inputs.len() == 1 && chain[0].inputs[0].value == image;
        let mut inputs: Vec<String> = chain[0].inputs.iter().map(|input| input.value.clone()).collect();
        let upsampled: Vec<usize> =
            chain[0].inputs.iter().map(|input| usize::from(input.upsampled)).collect();
        for (i, conv) in chain.iter().enumerate() {
            inputs.extend(self.constants(conv, stem && i == 0, shapes));
        }
        let each = |name: &str, of: fn(&Conv) -> Vec<usize>| {
            integers(name, &chain.iter().flat_map(of).collect::<Vec<_>>())
        };
        let mut attribute = vec![
            each("out_channels", |conv| vec![conv.weight.shape[0]]),
            each("kernel", |conv| conv.kernel().to_vec()),
            each("stride", |conv| conv.stride.to_vec()),
            each("padding", |conv| conv.padding.to_vec()),
            each("silu", |conv| vec![usize::from(conv.silu)]),
            integers("upsampled", &upsampled),
        ];
        let operator = match (chain.len(), stem) {
            (1, true) => STEM,
            (1, false) => CONV,
            _ => {
                attribute.push(integers("gray", &[usize::from(stem)]));
                CHAIN
            }
        };
        let last = chain.into_iter().next_back().expect("a chain has stages");
        let name = last.outputs[0].0.clone();
        let [_, height, width] = shapes[&name];
        attribute.push(integers("shapes", &[last.weight.shape[0], height, width]));
        inputs.extend(last.residual);
        let result = if last.outputs.len() == 1 { name } else { format!("{name}.merged") };
        let fused = NodeProto { attribute, ..node(operator, inputs, vec![result.clone()]) };
        self.added.push((last.position, fused));
        if last.outputs.len() > 1 {
            let shapes: Vec<usize> =
                last.outputs.iter().flat_map(|(_, channels)| [*channels, height, width]).collect();
            let outputs = last.outputs.into_iter().map(|(name, _)| name).collect();
            let split = NodeProto {
                attribute: vec![integers("shapes", &shapes)],
                ..node(SPLIT, vec![result], outputs)
            };
            self.added.push((last.position, split));
        }
    }

    /// Adds a convolution's packed constants to the graph; their names, in the operators' order.
    fn constants(&mut self, conv: &Conv, stem: bool, shapes: &HashMap<String, [usize; 3]>) -> Vec<String> {
        let name = &conv.outputs[0].0;
        let [out, per_input, ..] = conv.weight.shape[..] else { unreachable!("weights have four axes") };
        let (kernel, [_, height, width]) = (conv.kernel(), shapes[name]);
        let mut names = Vec::new();
        let mut constant = |suffix: &str, tensor: TensorProto| {
            let name = format!("{name}.{suffix}");
            names.push(name.clone());
            self.graph.initializer.push(TensorProto { name, ..tensor });
        };
        let packed = pack_conv(&conv.weight.data, out, per_input, kernel, conv.stride, [height, width]);
        constant("weight", float_tensor(packed.shape.to_vec(), &packed.values));
        if stem {
            let gray = fold_gray(&conv.weight.data, out, per_input, kernel);
            let packed = pack_conv(&gray, out, 1, kernel, conv.stride, [height, width]);
            constant(GRAY_WEIGHT, float_tensor(packed.shape.to_vec(), &packed.values));
        }
        let bias = pack_bias(&conv.bias);
        constant("bias", float_tensor(vec![bias.len()], &bias));
        names
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
