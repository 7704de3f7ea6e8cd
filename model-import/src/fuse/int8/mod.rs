//! Writes the fused operators in 8-bit integers, for files that state the quantization of their
//! maps.

use std::collections::{HashMap, HashSet};

use model_runtime::pack::int8::{
    Channel, PackedConstants, Scale, fit_sums, pack_constants, pack_conv, pack_gray,
};
use onnx_ir::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::emit::{integers, node};
use super::{Conv, Fusion, SPLIT, SPPF_POOL};
use crate::ImportError;
use crate::onnx::float_tensor;
use crate::qdq::Quantization;
use crate::tensor::data_type;

/// A convolution with 8-bit input and output, or with float output for a head.
pub(crate) const CONV: &str = "Int8Conv";
/// SPPF's poolings.
pub(crate) const POOL: &str = "Int8SppfPool";
/// A split along the channels, without a copy.
pub(crate) const TAKE_APART: &str = "Int8SplitChannels";
/// The part of black to white by which the image's levels may miss black.
const NEGLIGIBLE: f32 = 0.05;
/// The least part of black to white that the image's levels hold. Quantizers that do not take the
/// brightest pixel of all pictures hold less than all (NNCF takes the mean of the pictures'
/// brightest); a file whose pictures are not 0 to 1 is another matter.
const LEAST_BRIGHTEST: f32 = 0.5;
/// Where signed levels that are symmetric have their zero.
const SIGNED_ZERO: u8 = 128;

/// The 8-bit network of a model whose pairs of quantization were taken out; `shapes` as for
/// [`super::fuse`].
///
/// # Errors
/// [`ImportError::NotQuantized`] where a node has no integer operator.
pub(crate) fn fuse(
    mut model: ModelProto,
    shapes: &HashMap<String, [usize; 3]>,
    quantization: &Quantization,
) -> Result<ModelProto, ImportError> {
    let graph = model.graph.take().unwrap_or_default();
    let nodes = graph.node.iter().cloned().map(Some).collect();
    let mut fusion = Fusion { graph, nodes, convs: Vec::new(), added: Vec::new() };
    let original = fusion.graph.clone();
    fusion.take_convolutions();
    fusion.take_sppf(shapes);
    fusion.take_concats();
    fusion.take_upsampling();
    fusion.merge_siblings();
    let emitter = Emitter::new(fusion, shapes, quantization, &original);
    model.graph = Some(emitter.finish()?).into();
    model.opset_import.resize_with(model.opset_import.len() + 1, Default::default);
    let opset = model.opset_import.last_mut().expect("just grown");
    (opset.domain, opset.version) = (super::DOMAIN.to_owned(), 1);
    Ok(model)
}

struct Emitter<'a> {
    fusion: Fusion,
    shapes: &'a HashMap<String, [usize; 3]>,
    quantization: &'a Quantization,
    /// The scale of every map.
    stored: HashMap<String, Scale>,
    /// The weight's name of each convolution of the file, by what it gives after activation and
    /// sum.
    weights: HashMap<String, String>,
}

impl<'a> Emitter<'a> {
    fn new(
        fusion: Fusion,
        shapes: &'a HashMap<String, [usize; 3]>,
        quantization: &'a Quantization,
        original: &GraphProto,
    ) -> Self {
        // A fused convolution's result has the name of the last node that was fused into it.
        let mut weights = HashMap::new();
        for conv in original.node.iter().filter(|node| node.op_type == "Conv") {
            let mut value = conv.output[0].clone();
            loop {
                weights.insert(value.clone(), conv.input[1].clone());
                let next = original
                    .node
                    .iter()
                    .find(|node| matches!(&*node.op_type, "Mul" | "Add") && node.input.contains(&value));
                match next {
                    Some(next)
                        if fusion.convs.iter().all(|conv| conv.outputs.iter().all(|o| o.0 != value)) =>
                    {
                        value = next.output[0].clone();
                    }
                    _ => break,
                }
            }
        }
        let mut emitter = Self { fusion, shapes, quantization, stored: quantization.maps.clone(), weights };
        emitter.spread(original);
        emitter
    }

    /// Concatenation, pooling and upsampling change no value: a map without a scale takes that of
    /// the map on the other side of such a node, in both directions.
    fn spread(&mut self, original: &GraphProto) {
        let passes: Vec<&NodeProto> = original
            .node
            .iter()
            .filter(|node| matches!(&*node.op_type, "Concat" | "MaxPool" | "Resize"))
            .collect();
        let mut changed = true;
        while changed {
            changed = false;
            for node in &passes {
                let parts = if node.op_type == "Concat" { &node.input[..] } else { &node.input[..1] };
                let output = &node.output[0];
                if let Some(&scale) = self.stored.get(output) {
                    for part in parts
                        .iter()
                        .filter(|part| !self.stored.contains_key(*part))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        self.stored.insert(part, scale);
                        changed = true;
                    }
                } else if let Some(&scale) = parts.first().and_then(|part| self.stored.get(part))
                    && parts.iter().all(|part| self.stored.get(part) == Some(&scale))
                {
                    self.stored.insert(output.clone(), scale);
                    changed = true;
                }
            }
        }
        // SPPF's fused pooling keeps the scale of its input.
        for (_, node) in self.fusion.added.iter().filter(|(_, node)| node.op_type == SPPF_POOL) {
            if let Some(&scale) = self.stored.get(&node.input[0]) {
                self.stored.insert(node.output[0].clone(), scale);
            }
        }
    }

    fn scale_of(&self, value: &str, reader: &str) -> Result<Scale, ImportError> {
        self.stored.get(value).copied().ok_or_else(|| ImportError::NotQuantized {
            value: value.to_owned(),
            reason: format!("{reader} reads it"),
        })
    }

    fn finish(mut self) -> Result<GraphProto, ImportError> {
        let image = self.fusion.graph.input[0].name.clone();
        self.declare_image(&image)?;
        for conv in std::mem::take(&mut self.fusion.convs) {
            self.emit(conv, &image)?;
        }
        for (_, node) in &mut self.fusion.added {
            match node.op_type.as_str() {
                SPPF_POOL => node.op_type = POOL.to_owned(),
                SPLIT => node.op_type = TAKE_APART.to_owned(),
                _ => {}
            }
        }
        if let Some(left) = self.fusion.nodes.iter().flatten().next() {
            return Err(ImportError::NotQuantized {
                value: left.output[0].clone(),
                reason: format!("no operator in integers computes its {}", left.op_type),
            });
        }
        self.fusion.added.sort_by_key(|(position, _)| *position);
        let mut graph = self.fusion.graph;
        graph.node = self.fusion.added.into_iter().map(|(_, node)| node).collect();
        let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        graph.initializer.retain(|tensor| read.contains(&tensor.name));
        Ok(graph)
    }

    /// The image comes as its own levels, whatever type and scale the file declares: they are
    /// exact. So what the file would clip of bright pixels is not clipped.
    fn declare_image(&mut self, image: &str) -> Result<(), ImportError> {
        let Scale { scale, zero_point } = self.scale_of(image, "the first convolution")?;
        let zero = f32::from(zero_point);
        let from_black = zero * scale < NEGLIGIBLE || zero_point == SIGNED_ZERO;
        if !from_black || (255.0 - zero) * scale < LEAST_BRIGHTEST {
            return Err(ImportError::NotQuantized {
                value: image.to_owned(),
                reason: format!(
                    "its levels do not go from 0 to 1, black to white: scale {scale}, zero point {zero_point}"
                ),
            });
        }
        self.stored.insert(image.to_owned(), Scale { scale: 1.0 / 255.0, zero_point: 0 });
        let declared = self.fusion.graph.input[0].type_.mut_or_insert_default();
        declared.mut_tensor_type().elem_type = data_type::UINT8;
        Ok(())
    }

    /// One convolution; inputs: what it reads, then weight, integers, scale, SiLU's tables if it
    /// follows, the gray weight if it reads the image, and the residual.
    fn emit(&mut self, conv: Conv, image: &str) -> Result<(), ImportError> {
        let name = conv.outputs[0].0.clone();
        let is_head = self.fusion.graph.output.iter().any(|output| output.name == name);
        let scales = (conv.inputs.iter())
            .map(|input| self.scale_of(&input.value, &format!("the convolution of {name:?}")))
            .collect::<Result<Vec<_>, _>>()?;
        let input = scales[0];
        if let Some(at) = scales.iter().position(|scale| *scale != input) {
            return Err(ImportError::NotQuantized {
                value: conv.inputs[at].value.clone(),
                reason: format!("the convolution of {name:?} reads maps of different scales"),
            });
        }
        let (mut levels, mut channels) = self.channels(&conv, is_head)?;
        fit_sums(&mut levels, &mut channels, input);
        let [out, per_input, ..] = conv.weight.shape[..] else { unreachable!("weights have four axes") };
        let kernel = conv.kernel();
        let residual = match &conv.residual {
            Some(residual) => Some(self.scale_of(residual, &format!("the sum {name:?}"))?),
            None => None,
        };
        let constants = pack_constants(&levels, &channels, input, conv.silu, residual);
        let PackedConstants { bias, scale, blocks, tables, residual: multiplier } = constants;
        let stem = conv.inputs.len() == 1 && conv.inputs[0].value == image;
        let mut inputs: Vec<String> = conv.inputs.iter().map(|input| input.value.clone()).collect();
        let mut constant = |suffix: &str, tensor: TensorProto| {
            let name = format!("{name}.{suffix}");
            inputs.push(name.clone());
            self.fusion.graph.initializer.push(TensorProto { name, ..tensor });
        };
        let packed = pack_conv(&levels, out, per_input, kernel);
        let raw = packed.iter().map(|&level| level as u8).collect();
        constant("int8_weight", raw_tensor(vec![packed.len()], data_type::INT8, raw));
        let words: Vec<i32> = bias.into_iter().chain(blocks.into_iter().flatten()).collect();
        let raw = words.iter().flat_map(|value| value.to_le_bytes()).collect();
        constant("int8_integers", raw_tensor(vec![words.len()], data_type::INT32, raw));
        constant("int8_scale", float_tensor(vec![scale.len()], &scale));
        if conv.silu {
            let raw = tables.iter().flat_map(|value| value.to_le_bytes()).collect();
            constant("int8_silu", raw_tensor(vec![tables.len()], data_type::INT16, raw));
        }
        if stem {
            let gray = pack_gray(&levels, out, per_input, kernel);
            let raw = gray.iter().flat_map(|value| value.to_le_bytes()).collect();
            constant("int8_gray_weight", raw_tensor(vec![gray.len()], data_type::INT16, raw));
        }
        inputs.extend(conv.residual.clone());
        let [_, height, width] = self.shapes[&name];
        let upsampled: Vec<usize> = conv.inputs.iter().map(|input| usize::from(input.upsampled)).collect();
        let attribute = vec![
            integers("out_channels", &[out]),
            integers("kernel", &kernel),
            integers("stride", &conv.stride),
            integers("padding", &conv.padding),
            integers("silu", &[usize::from(conv.silu)]),
            integers("upsampled", &upsampled),
            integers("input_zero_point", &[input.zero_point.into()]),
            integers("gray", &[usize::from(stem)]),
            integers("head", &[usize::from(is_head)]),
            // Flags for the residual, and its constants.
            integers(
                "residual",
                &match (residual, multiplier) {
                    (Some(scale), Some(multiplier)) => [1, multiplier as usize, scale.zero_point.into()],
                    _ => [0; 3],
                },
            ),
            integers("shapes", &[out, height, width]),
        ];
        let result = if conv.outputs.len() == 1 { name.clone() } else { format!("{name}.merged") };
        let fused = NodeProto { attribute, ..node(CONV, inputs, vec![result.clone()]) };
        self.fusion.added.push((conv.position, fused));
        if conv.outputs.len() > 1 {
            let shapes: Vec<usize> =
                conv.outputs.iter().flat_map(|(_, channels)| [*channels, height, width]).collect();
            let outputs = conv.outputs.into_iter().map(|(name, _)| name).collect();
            let split = NodeProto {
                attribute: vec![integers("shapes", &shapes)],
                ..node(SPLIT, vec![result], outputs)
            };
            self.fusion.added.push((conv.position, split));
        }
        Ok(())
    }

    /// Every output channel's weights and the conversion of its sums; merged siblings are in the
    /// order of their outputs.
    fn channels(&self, conv: &Conv, is_head: bool) -> Result<(Vec<i8>, Vec<Channel>), ImportError> {
        let (mut levels, mut channels) = (Vec::new(), Vec::new());
        for (output, count) in &conv.outputs {
            let not_quantized =
                |reason: &str| ImportError::NotQuantized { value: output.clone(), reason: reason.to_owned() };
            let weight = self.weights.get(output).and_then(|name| self.quantization.weights.get(name));
            let weight = weight.ok_or_else(|| not_quantized("its convolution's weights are floats"))?;
            let stored = self.stored.get(output).copied();
            if stored.is_none() && !is_head {
                return Err(not_quantized("what its convolution gives is not"));
            }
            let output = stored.filter(|_| !is_head);
            for weight_scale in &weight.scales {
                channels.push(Channel {
                    bias: conv.bias[channels.len()].into(),
                    weight_scale: *weight_scale,
                    output,
                });
            }
            debug_assert_eq!(weight.scales.len(), *count, "a scale for each channel");
            levels.extend_from_slice(&weight.levels);
        }
        Ok((levels, channels))
    }
}

fn raw_tensor(shape: Vec<usize>, of: i32, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: shape.into_iter().map(|dim| dim as i64).collect(),
        data_type: of,
        raw_data: raw.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
