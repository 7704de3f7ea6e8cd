//! Nodes in normalized form: explicit, equal pads, Resize by whole factors, and Swish as two nodes.

use onnx_ir::{AttributeProto, AttributeType, NodeProto, TensorProto};

use super::{Fold, broken};
use crate::ImportError;
use crate::compute::Inputs;
use crate::onnx::{float_tensor, int};
use crate::tensor::{self, Tensor};
use crate::value::{MAX_NUMBERS, Value, count};
use crate::window::{self, Window};

impl Fold {
    /// The node in normalized form. A node that has none is kept; the check of the network refuses
    /// it.
    pub(super) fn in_one_way(
        &mut self,
        inputs: &Inputs<'_>,
        outputs: &[Value],
    ) -> Result<NodeProto, ImportError> {
        let mut node = inputs.node.clone();
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        let Some(from) = inputs.get(0).map(|input| input.shape.as_slice()).filter(|_| standard) else {
            return Ok(node);
        };
        node.domain.clear();
        match (node.op_type.as_str(), from) {
            ("Conv", &[.., height, width]) => self.convolution(&mut node, inputs, [height, width])?,
            ("MaxPool", &[.., height, width]) => {
                let window = Window::of(&node, None, [height, width]);
                if let Ok(window) = window
                    .map_err(|_| ())
                    .and_then(|window| window.is_floored([height, width]).then_some(window).ok_or(()))
                {
                    node.attribute = window_attributes(&window);
                }
            }
            ("Concat", from) => {
                let axis = int(&node, "axis", 1);
                let axis = if axis < 0 { axis + from.len() as i64 } else { axis };
                node.attribute = vec![integers("axis", AttributeType::INT, &[axis])];
            }
            ("Resize" | "Upsample", from) => {
                if let Some([vertical, horizontal]) = window::repeats(inputs, from, &outputs[0].shape) {
                    let name = format!("{}.scales", node.output[0]);
                    self.define(&name)?;
                    let scales = [1.0, 1.0, vertical as f32, horizontal as f32];
                    let tensor = TensorProto { name: name.clone(), ..float_tensor(vec![4], &scales) };
                    self.constants.insert(name.clone(), tensor);
                    node.op_type = "Resize".into();
                    node.input = vec![node.input[0].clone(), String::new(), name];
                    node.attribute = vec![
                        text("mode", "nearest"),
                        text("nearest_mode", "floor"),
                        text("coordinate_transformation_mode", "asymmetric"),
                    ];
                }
            }
            _ => {}
        }
        Ok(node)
    }

    /// Explicit pads. Where they are asymmetric, the kernel is extended with zero weights until
    /// they are symmetric, which gives the same sums.
    fn convolution(
        &mut self,
        node: &mut NodeProto,
        inputs: &Inputs<'_>,
        from: [usize; 2],
    ) -> Result<(), ImportError> {
        let weight_shape = inputs.get(1).map(|weight| weight.shape.clone()).unwrap_or_default();
        let window = Window::of(node, weight_shape.get(2..), from);
        let mut window = window.map_err(|_| broken(node, "its window does not fit"))?;
        let [top, left, bottom, right] = window.pads;
        if (top, left) != (bottom, right) && window.dilation == [1, 1] {
            let Some(weight) = self.floats(&node.input[1])? else { return Ok(()) };
            let grown = grown(&weight, window.pads).ok_or_else(|| broken(node, "its window is too large"))?;
            let name = format!("{}.padded", node.output[0]);
            self.define(&name)?;
            let tensor = TensorProto { name: name.clone(), ..float_tensor(grown.shape.clone(), &grown.data) };
            self.constants.insert(name.clone(), tensor);
            node.input[1] = name;
            window.kernel = [grown.shape[2], grown.shape[3]];
            let (vertical, horizontal) = (top.max(bottom), left.max(right));
            window.pads = [vertical, horizontal, vertical, horizontal];
        }
        let group = int(node, "group", 1);
        node.attribute = window_attributes(&window);
        node.attribute.push(integers("group", AttributeType::INT, &[group]));
        Ok(())
    }

    /// A constant's numbers; `None` if the value is not a constant.
    fn floats(&self, name: &str) -> Result<Option<Tensor>, ImportError> {
        if let Some(tensor) = self.constants.get(name) {
            return tensor::floats(tensor).map(Some);
        }
        let value = self.values.get(name);
        Ok(value.and_then(|value| Some(Tensor::new(value.shape.clone(), value.as_floats()?))))
    }
}

/// Weights `[out, in, height, width]` with zeros before and after, where the pads (top, left,
/// bottom, right) of the other side are larger; `None` if they would be more than [`MAX_NUMBERS`].
fn grown(weight: &Tensor, [top, left, bottom, right]: [usize; 4]) -> Option<Tensor> {
    let [out, per_group, height, width] = weight.shape[..] else { unreachable!("weights have four axes") };
    // The window starts earlier by the additional padding, and the leading zero weights compensate
    // for that.
    let (above, before) = (bottom.saturating_sub(top), right.saturating_sub(left));
    let tall = height.checked_add(top.abs_diff(bottom))?;
    let wide = width.checked_add(left.abs_diff(right))?;
    let numbers = count(&[out, per_group, tall, wide]).filter(|&numbers| numbers <= MAX_NUMBERS)?;
    let mut data = vec![0.0; numbers];
    for plane in 0..out * per_group {
        for row in 0..height {
            let from = (plane * height + row) * width;
            let to = (plane * tall + row + above) * wide + before;
            data[to..to + width].copy_from_slice(&weight.data[from..from + width]);
        }
    }
    Some(Tensor::new(vec![out, per_group, tall, wide], data))
}

/// x · σ(x), as two nodes.
pub(super) fn swish(node: NodeProto) -> Vec<NodeProto> {
    let (input, output) = (node.input.first().cloned().unwrap_or_default(), node.output[0].clone());
    let sigmoid = format!("{output}.sigmoid");
    let new = |op: &str, input: Vec<String>, output: String| NodeProto {
        op_type: op.into(),
        name: node.name.clone(),
        input,
        output: vec![output],
        ..Default::default()
    };
    vec![new("Sigmoid", vec![input.clone()], sigmoid.clone()), new("Mul", vec![input, sigmoid], output)]
}

fn window_attributes(window: &Window) -> Vec<AttributeProto> {
    let sizes = |name: &str, sizes: &[usize]| {
        integers(name, AttributeType::INTS, &sizes.iter().map(|&size| size as i64).collect::<Vec<_>>())
    };
    vec![
        sizes("dilations", &window.dilation),
        sizes("kernel_shape", &window.kernel),
        sizes("pads", &window.pads),
        sizes("strides", &window.stride),
    ]
}

fn integers(name: &str, type_: AttributeType, values: &[i64]) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.into(), type_: type_.into(), ..Default::default() };
    match type_ {
        AttributeType::INT => attribute.i = values[0],
        _ => attribute.ints = values.to_vec(),
    }
    attribute
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::STRING.into(),
        s: value.as_bytes().to_vec().into(),
        ..Default::default()
    }
}
