//! Rewrites a network into model-runtime's fused operators; all other nodes stay standard ONNX.
//!
//! Bias, SiLU and residual are fused into the convolution; concatenated and upsampled inputs are
//! read in place; siblings on the same input are merged. Nodes that match no pattern are left
//! unchanged.

mod chains;
mod emit;
pub(crate) mod int8;
mod patterns;

use std::collections::HashMap;

use onnx_ir::{GraphProto, ModelProto, NodeProto};

use crate::tensor::Tensor;
use emit::{integers, node};
use patterns::{convolution, doubles, same_size_pool};

/// The operators' domain in the rewritten graph.
pub(crate) const DOMAIN: &str = "nv_micro";
/// A convolution with everything that is fused into it.
pub(crate) const CONV: &str = "FusedConv";
/// The first convolution, with weights for one channel besides those for three.
pub(crate) const STEM: &str = "FusedStem";
/// A chain of convolutions, with additional weights for one channel if the first reads the image.
pub(crate) const CHAIN: &str = "FusedConvChain";
/// SPPF's three chained poolings, joined.
pub(crate) const SPPF_POOL: &str = "SppfPool";
/// A split along the channels, without a copy.
pub(crate) const SPLIT: &str = "SplitChannels";

/// Suffix of the names of weights for one channel.
const GRAY_WEIGHT: &str = "gray_weight";
/// Most inputs of the fused convolution.
const MOST_INPUTS: usize = 4;
/// Siblings are merged where each one's channels fill whole blocks of the packed weights.
const BLOCK: usize = model_runtime::pack::BLOCK;

/// An input of a convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Input {
    value: String,
    upsampled: bool,
}

/// A convolution with everything that will be fused into it.
#[derive(Debug)]
struct Conv {
    /// The position in the file's order at which all of its inputs are computed.
    position: usize,
    inputs: Vec<Input>,
    weight: Tensor,
    bias: Vec<f32>,
    stride: [usize; 2],
    padding: [usize; 2],
    silu: bool,
    residual: Option<String>,
    /// Its outputs and their numbers of channels: more than one after merging siblings.
    outputs: Vec<(String, usize)>,
}

impl Conv {
    fn kernel(&self) -> [usize; 2] {
        [self.weight.shape[2], self.weight.shape[3]]
    }

    /// Only such a convolution can read several tensors, or an upsampled one, in place.
    fn is_pointwise(&self) -> bool {
        (self.kernel(), self.stride, self.padding) == ([1, 1], [1, 1], [0, 0])
    }

    fn reads(&self, value: &str) -> bool {
        self.inputs.iter().any(|input| input.value == value)
    }
}

/// The graph during fusion: nodes that were fused are removed.
struct Fusion {
    graph: GraphProto,
    nodes: Vec<Option<NodeProto>>,
    convs: Vec<Conv>,
    /// New nodes by position.
    added: Vec<(usize, NodeProto)>,
}

/// The model with its patterns replaced; `shapes` holds every value's channels, height and width.
pub(crate) fn fuse(mut model: ModelProto, shapes: &HashMap<String, [usize; 3]>) -> ModelProto {
    let graph = model.graph.take().unwrap_or_default();
    let nodes = graph.node.iter().cloned().map(Some).collect();
    let mut fusion = Fusion { graph, nodes, convs: Vec::new(), added: Vec::new() };
    fusion.take_convolutions();
    fusion.take_sppf(shapes);
    fusion.take_concats();
    fusion.take_upsampling();
    fusion.merge_siblings();
    model.graph = Some(fusion.finish(shapes)).into();
    // The entry's type has no public name: grown in place.
    model.opset_import.resize_with(model.opset_import.len() + 1, Default::default);
    let opset = model.opset_import.last_mut().expect("just grown");
    (opset.domain, opset.version) = (DOMAIN.to_owned(), 1);
    model
}

/// Whether every reader of the image has weights for one channel, too: such a network takes gray
/// images directly.
pub(crate) fn takes_gray(model: &ModelProto) -> bool {
    let Some(image) = model.graph.input.first().map(|input| &input.name) else { return false };
    let mut readers = model.graph.node.iter().filter(|node| node.input.contains(image));
    readers.all(|node| node.input.iter().any(|input| input.ends_with(GRAY_WEIGHT)))
}

impl Fusion {
    /// The readers of `value`: the remaining nodes, and `usize::MAX` for every fused convolution or
    /// output of the graph.
    fn readers(&self, value: &str) -> Vec<usize> {
        let convs =
            self.convs.iter().filter(|conv| conv.reads(value) || conv.residual.as_deref() == Some(value));
        let mut readers = self.node_readers(value);
        readers.extend(convs.map(|_| usize::MAX));
        readers
    }

    fn node_readers(&self, value: &str) -> Vec<usize> {
        let reads = |node: &NodeProto| node.input.iter().any(|input| input == value);
        let nodes = (0..self.nodes.len()).filter(|&at| self.node(at).is_some_and(reads));
        let outputs = self.graph.output.iter().filter(|output| output.name == value).map(|_| usize::MAX);
        nodes.chain(outputs).collect()
    }

    fn node(&self, at: usize) -> Option<&NodeProto> {
        self.nodes.get(at)?.as_ref()
    }

    fn operator(&self, at: usize, operator: &str) -> Option<&NodeProto> {
        self.node(at).filter(|node| node.op_type == operator)
    }

    fn take_convolutions(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(mut conv) = self.node(at).and_then(|node| convolution(&self.graph, node, at)) else {
                continue;
            };
            let mut used = vec![at];
            self.take_silu(&mut conv, &mut used);
            self.take_residual(&mut conv, &mut used);
            used.into_iter().for_each(|at| self.nodes[at] = None);
            self.convs.push(conv);
        }
    }

    /// x · σ(x), if x has no other reader.
    fn take_silu(&self, conv: &mut Conv, used: &mut Vec<usize>) {
        let [a, b] = self.readers(&conv.outputs[0].0)[..] else { return };
        let pair = |sigmoid, product| {
            Some((self.operator(sigmoid, "Sigmoid")?, self.operator(product, "Mul")?, product))
        };
        let Some((sigmoid, product, at)) = pair(a, b).or_else(|| pair(b, a)) else { return };
        if product.input.contains(&sigmoid.output[0]) && self.readers(&sigmoid.output[0]) == [at] {
            used.extend([a, b]);
            (conv.silu, conv.position) = (true, at);
            conv.outputs[0].0.clone_from(&product.output[0]);
        }
    }

    /// The sum with another value, if this operand has no other reader.
    fn take_residual(&self, conv: &mut Conv, used: &mut Vec<usize>) {
        let value = &conv.outputs[0].0;
        let [at] = self.readers(value)[..] else { return };
        let Some(sum) = self.operator(at, "Add").filter(|_| conv.silu) else { return };
        let Some(other) = sum.input.iter().find(|input| *input != value) else { return };
        used.push(at);
        (conv.residual, conv.position) = (Some(other.clone()), at);
        conv.outputs[0].0.clone_from(&sum.output[0]);
    }

    /// Concat(x, m(x), m(m(x)), m(m(m(x)))) becomes Concat(x, pool(x)).
    fn take_sppf(&mut self, shapes: &HashMap<String, [usize; 3]>) {
        for at in 0..self.nodes.len() {
            let Some(concat) = self.operator(at, "Concat") else { continue };
            let [source, pooled @ ..] = &concat.input[..] else { continue };
            let (source, pooled) = (source.clone(), pooled.to_vec());
            let Some((kernel, pools)) = self.pool_chain(&source, &pooled, at) else { continue };
            let output = format!("{source}.sppf_pool");
            let [channels, height, width] = shapes[&source];
            let node = NodeProto {
                attribute: vec![
                    integers("kernel", &[kernel]),
                    integers("shapes", &[pooled.len() * channels, height, width]),
                ],
                ..node(SPPF_POOL, vec![source.clone()], vec![output.clone()])
            };
            self.added.push((pools[0], node));
            pools.into_iter().for_each(|at| self.nodes[at] = None);
            if let Some(concat) = &mut self.nodes[at] {
                concat.input = vec![source, output];
            }
        }
    }

    /// Kernel size and positions of three equal poolings in a chain that keep the image's size and
    /// are read only by the next one and by `concat`.
    fn pool_chain(&self, source: &str, pooled: &[String], concat: usize) -> Option<(usize, Vec<usize>)> {
        let mut before = source;
        let mut pools = Vec::new();
        for value in pooled {
            let at = (0..self.nodes.len())
                .find(|&at| self.node(at).is_some_and(|node| &node.output[0] == value))?;
            let pool = self.operator(at, "MaxPool").filter(|pool| pool.input[0] == before)?;
            pools.push((at, same_size_pool(pool)?));
            before = value;
        }
        let [(first, kernel), (second, same), (third, alike)] = pools[..] else { return None };
        let read_in_turn = self.readers(&pooled[0]) == sorted([second, concat])
            && self.readers(&pooled[1]) == sorted([third, concat])
            && self.readers(&pooled[2]) == [concat];
        (read_in_turn && kernel == same && kernel == alike).then(|| (kernel, vec![first, second, third]))
    }

    /// Whether pointwise fused convolutions are the only readers of `value`.
    fn only_pointwise_read(&self, value: &str) -> bool {
        let residual = |conv: &Conv| conv.residual.as_deref() == Some(value);
        let readers = || self.convs.iter().filter(|conv| conv.reads(value));
        self.node_readers(value).is_empty()
            && !self.convs.iter().any(residual)
            && readers().next().is_some()
            && readers().all(Conv::is_pointwise)
    }

    /// Removes a concatenation that only pointwise convolutions read: they read its parts.
    fn take_concats(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(concat) = self.operator(at, "Concat") else { continue };
            let (parts, value) = (concat.input.clone(), concat.output[0].clone());
            let alone = |conv: &Conv| !conv.reads(&value) || conv.inputs.len() == 1;
            if parts.len() > MOST_INPUTS || !self.only_pointwise_read(&value) || !self.convs.iter().all(alone)
            {
                continue;
            }
            let parts: Vec<Input> =
                parts.into_iter().map(|value| Input { value, upsampled: false }).collect();
            self.convs
                .iter_mut()
                .filter(|conv| conv.reads(&value))
                .for_each(|conv| conv.inputs.clone_from(&parts));
            self.nodes[at] = None;
        }
    }

    /// Removes nearest 2x upsampling that only pointwise convolutions read: they read each pixel in
    /// place.
    fn take_upsampling(&mut self) {
        for at in 0..self.nodes.len() {
            let resize = self.operator(at, "Resize").filter(|node| doubles(&self.graph, node));
            let Some(resize) = resize else { continue };
            let (source, value) = (resize.input[0].clone(), resize.output[0].clone());
            if !self.only_pointwise_read(&value) {
                continue;
            }
            let inputs = self.convs.iter_mut().flat_map(|conv| &mut conv.inputs);
            for input in inputs.filter(|input| input.value == value) {
                *input = Input { value: source.clone(), upsampled: true };
            }
            self.nodes[at] = None;
        }
    }

    /// Merges pointwise convolutions of the same input.
    fn merge_siblings(&mut self) {
        let fits = |conv: &Conv| {
            conv.is_pointwise()
                && conv.silu
                && conv.residual.is_none()
                && conv.outputs.iter().all(|(_, c)| c % BLOCK == 0)
        };
        let mut merged: Vec<Conv> = Vec::new();
        for conv in std::mem::take(&mut self.convs) {
            let twin =
                merged.iter_mut().find(|other| fits(other) && fits(&conv) && other.inputs == conv.inputs);
            let Some(twin) = twin else {
                merged.push(conv);
                continue;
            };
            twin.weight = Tensor::concat(&[twin.weight.clone(), conv.weight], 0)
                .expect("siblings read the same channels");
            twin.bias.extend(conv.bias);
            twin.outputs.extend(conv.outputs);
        }
        self.convs = merged;
    }
}

fn sorted(mut places: [usize; 2]) -> [usize; 2] {
    places.sort_unstable();
    places
}
