//! Evaluates single operators: the shape of the result always, its numbers where those of the
//! inputs are known.
//!
//! This is the arithmetic of sizes, grids and decode tails, which differs from exporter to
//! exporter. The network's own arithmetic is burn's and model-runtime's. Operators and their
//! attributes are those of <https://onnx.ai/onnx/operators/>, opsets 7 to 25.

mod constants;
mod elementwise;
mod shapes;

use onnx_ir::NodeProto;

use crate::onnx::{attribute, int, ints};
use crate::value::{self, Data, Failure, Kind, MAX_NUMBERS, Value, count};
use crate::window::{self, Window};
use constants::{constant_of_shape, non_zero, range, reduce};
use elementwise::{arithmetic, choice, comparison, logic, mapped, modulo, negation, signed};
use shapes::{reshape, shape, slice, split, squeeze, tile, unsqueeze};

/// A node's inputs: an omitted optional input is `None`.
pub(crate) struct Inputs<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) opset: i64,
}

impl Inputs<'_> {
    pub(crate) fn get(&self, at: usize) -> Option<&Value> {
        self.values.get(at).and_then(Option::as_ref)
    }

    pub(crate) fn require(&self, at: usize) -> Result<&Value, Failure> {
        self.get(at).ok_or_else(|| Failure::broken("an input is missing"))
    }

    fn all(&self) -> Result<Vec<&Value>, Failure> {
        (0..self.values.len()).map(|at| self.require(at)).collect()
    }

    /// Sizes that are an input in newer opsets and an attribute in older ones.
    fn sizes(&self, at: usize, name: &str) -> Result<Option<Vec<i64>>, Failure> {
        match self.get(at) {
            Some(value) => value.as_integers().map(|values| Some(values.to_vec())),
            None => Ok(ints(self.node, name)),
        }
    }

    fn axis(&self, rank: usize, default: i64) -> Result<usize, Failure> {
        value::axis(int(self.node, "axis", default), rank)
    }
}

/// The operator's results.
pub(crate) fn run(inputs: &Inputs<'_>) -> Result<Vec<Value>, Failure> {
    let node = inputs.node;
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return Err(Failure::Unknown);
    }
    let one = |value: Result<Value, Failure>| value.map(|value| vec![value]);
    match node.op_type.as_str() {
        "Add" => one(arithmetic(inputs, |a, b| a + b, i64::checked_add)),
        "Sub" => one(arithmetic(inputs, |a, b| a - b, i64::checked_sub)),
        "Mul" => one(arithmetic(inputs, |a, b| a * b, i64::checked_mul)),
        "Div" => one(arithmetic(inputs, |a, b| a / b, i64::checked_div)),
        "Mod" => one(modulo(inputs)),
        "Pow" => {
            one(arithmetic(inputs, f32::powf, |a, b| u32::try_from(b).ok().and_then(|b| a.checked_pow(b))))
        }
        "Min" => one(arithmetic(inputs, f32::min, |a, b| Some(a.min(b)))),
        "Max" => one(arithmetic(inputs, f32::max, |a, b| Some(a.max(b)))),
        "Equal" => one(comparison(inputs, |a, b| a == b)),
        "Greater" => one(comparison(inputs, |a, b| a > b)),
        "GreaterOrEqual" => one(comparison(inputs, |a, b| a >= b)),
        "Less" => one(comparison(inputs, |a, b| a < b)),
        "LessOrEqual" => one(comparison(inputs, |a, b| a <= b)),
        "And" => one(logic(inputs, |a, b| a && b)),
        "Or" => one(logic(inputs, |a, b| a || b)),
        "Not" => one(negation(inputs)),
        "Where" => one(choice(inputs)),

        "Sigmoid" => one(mapped(inputs, |x| 1.0 / (1.0 + (-x).exp()))),
        "Exp" => one(mapped(inputs, f32::exp)),
        "Log" => one(mapped(inputs, f32::ln)),
        "Sqrt" => one(mapped(inputs, f32::sqrt)),
        "Tanh" => one(mapped(inputs, f32::tanh)),
        "Relu" => one(mapped(inputs, |x| x.max(0.0))),
        "Reciprocal" => one(mapped(inputs, f32::recip)),
        "Floor" => one(mapped(inputs, f32::floor)),
        "Ceil" => one(mapped(inputs, f32::ceil)),
        "Round" => one(mapped(inputs, f32::round_ties_even)),
        "Neg" => one(signed(inputs, |x| -x, i64::checked_neg)),
        "Abs" => one(signed(inputs, f32::abs, i64::checked_abs)),
        "LeakyRelu" => {
            let slope = attribute(node, "alpha").map_or(0.01, |alpha| alpha.f);
            one(mapped(inputs, |x| if x < 0.0 { slope * x } else { x }))
        }
        "BatchNormalization" | "Clip" | "Elu" | "Erf" | "HardSigmoid" | "HardSwish" | "Mish" | "PRelu"
        | "Softmax" | "Softplus" => {
            let input = inputs.require(0)?;
            one(Value::unknown(input.shape.clone(), input.kind()))
        }

        "Cast" => {
            let kind = Kind::of(i32::try_from(int(node, "to", 0)).unwrap_or(0)).ok_or(Failure::Unknown)?;
            one(Ok(inputs.require(0)?.cast(kind)))
        }
        "CastLike" => one(Ok(inputs.require(0)?.cast(inputs.require(1)?.kind()))),
        "Identity" | "Dropout" => one(inputs.require(0).cloned()),

        "Shape" => one(shape(inputs)),
        "Size" => one(Ok(Value {
            shape: vec![],
            data: Data::Integer(vec![i64::try_from(inputs.require(0)?.count()).unwrap_or(i64::MAX)]),
        })),
        "Reshape" => one(reshape(inputs)),
        "Flatten" => {
            let input = inputs.require(0)?;
            let axis = match int(node, "axis", 1) {
                axis if axis == input.shape.len() as i64 => input.shape.len(),
                axis => value::axis(axis, input.shape.len())?,
            };
            let (outer, inner) = input.shape.split_at(axis);
            one(input.reshaped(vec![outer.iter().product(), inner.iter().product()]))
        }
        "Squeeze" => one(squeeze(inputs)),
        "Unsqueeze" => one(unsqueeze(inputs)),
        "Transpose" => {
            let input = inputs.require(0)?;
            let reversed = || (0..input.shape.len() as i64).rev().collect();
            let permutation = ints(node, "perm").unwrap_or_else(reversed);
            let axes = permutation.into_iter().map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
            one(input.transposed(&axes.collect::<Vec<_>>()))
        }
        "Expand" => {
            let input = inputs.require(0)?;
            let shape = Value::common_shape(&input.shape, &sizes(inputs.require(1)?.as_integers()?)?)?;
            one(input.broadcast(&shape))
        }
        "Tile" => one(tile(inputs)),
        "Concat" => {
            let parts = inputs.all()?;
            let rank = parts.first().map_or(0, |part| part.shape.len());
            one(Value::joined(&parts, inputs.axis(rank, 1)?))
        }
        "Split" => split(inputs),
        "Slice" => one(slice(inputs)),
        "Gather" => {
            let input = inputs.require(0)?;
            one(input.gathered(inputs.axis(input.shape.len(), 0)?, inputs.require(1)?))
        }
        "ScatterND" => {
            if attribute(node, "reduction").is_some_and(|reduction| &reduction.s[..] != b"none") {
                return Err(Failure::Unknown);
            }
            one(inputs.require(0)?.scattered(inputs.require(1)?, inputs.require(2)?))
        }
        "ConstantOfShape" => one(constant_of_shape(inputs)),
        "Range" => one(range(inputs)),
        "NonZero" => one(non_zero(inputs)),
        "ReduceProd" => one(reduce(inputs, |a, b| a * b, i64::checked_mul)),
        "ReduceSum" => one(reduce(inputs, |a, b| a + b, i64::checked_add)),
        "ReduceMax" => one(reduce(inputs, f32::max, |a, b| Some(a.max(b)))),
        "ReduceMin" => one(reduce(inputs, f32::min, |a, b| Some(a.min(b)))),

        "Conv" => {
            let (input, weight) = (inputs.require(0)?, inputs.require(1)?);
            let [batch, channels, height, width] = input.shape[..] else { return Err(Failure::Unknown) };
            let [out, per_group, ..] = weight.shape[..] else { return Err(Failure::Unknown) };
            let groups = usize::try_from(int(node, "group", 1)).unwrap_or(0);
            if groups == 0 || per_group.checked_mul(groups) != Some(channels) {
                return Err(Failure::broken("its weights do not fit the channels"));
            }
            let window = Window::of(node, weight.shape.get(2..), [height, width])?;
            let [height, width] = window.output([height, width])?;
            one(Value::unknown(vec![batch, out, height, width], Kind::Float))
        }
        "MaxPool" => {
            let input = inputs.require(0)?;
            let [batch, channels, height, width] = input.shape[..] else { return Err(Failure::Unknown) };
            let window = Window::of(node, None, [height, width])?;
            let [height, width] = window.output([height, width])?;
            one(Value::unknown(vec![batch, channels, height, width], input.kind()))
        }
        "Resize" | "Upsample" => {
            let input = inputs.require(0)?;
            one(Value::unknown(window::resized(inputs)?, input.kind()))
        }
        _ => Err(Failure::Unknown),
    }
}

/// Sizes that must not be negative.
fn sizes(values: &[i64]) -> Result<Vec<usize>, Failure> {
    let sizes = values.iter().map(|&size| usize::try_from(size).ok());
    sizes.collect::<Option<Vec<_>>>().ok_or_else(|| Failure::broken("a size is negative"))
}

fn bounded(shape: &[usize]) -> Result<usize, Failure> {
    let count = count(shape).filter(|&count| count <= MAX_NUMBERS);
    count.ok_or_else(|| Failure::broken("its result is too large"))
}
