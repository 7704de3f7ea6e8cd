//! Evaluates single operators: the shape of the result always, its numbers where those of the
//! inputs are known.
//!
//! This is the arithmetic of sizes, grids and decode tails, which differs from exporter to
//! exporter. The network's own arithmetic is burn's and model-runtime's. Operators and their
//! attributes are those of <https://onnx.ai/onnx/operators/>, opsets 7 to 25.

use onnx_ir::NodeProto;

use crate::onnx::{attribute, int, ints};
use crate::value::{self, Data, Failure, Kind, MAX_NUMBERS, Value, count};
use crate::window::{self, Window};

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

/// Largest operand of a sum or product that is evaluated: sizes and masks, not maps.
const MAX_REDUCED: usize = 1 << 20;

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

/// Two or more values, broadcast to each other; the result has the first one's kind.
fn arithmetic(
    inputs: &Inputs<'_>,
    float: fn(f32, f32) -> f32,
    integer: fn(i64, i64) -> Option<i64>,
) -> Result<Value, Failure> {
    let all = inputs.all()?;
    let (&first, rest) = all.split_first().ok_or_else(|| Failure::broken("an input is missing"))?;
    rest.iter().try_fold(first.clone(), |a, b| {
        let shape = Value::common_shape(&a.shape, &b.shape)?;
        let kind = a.kind();
        if !a.is_known() || !b.is_known() {
            return Value::unknown(shape, kind);
        }
        bounded(&shape)?;
        let (a, b) = (a.broadcast(&shape)?, b.cast(kind).broadcast(&shape)?);
        let data = match (a.data, b.data) {
            (Data::Float(a), Data::Float(b)) => {
                Data::Float(a.into_iter().zip(b).map(|(a, b)| float(a, b)).collect())
            }
            (Data::Integer(a), Data::Integer(b)) => {
                let values = a.into_iter().zip(b).map(|(a, b)| integer(a, b));
                let values = values.collect::<Option<Vec<_>>>();
                Data::Integer(values.ok_or_else(|| Failure::broken("its integers overflow"))?)
            }
            _ => return Err(Failure::broken("it computes with truth values")),
        };
        Value::new(shape, data)
    })
}

/// ONNX `Mod`: the sign of the divisor, or with `fmod` of the dividend.
fn modulo(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    if int(inputs.node, "fmod", 0) == 1 {
        return arithmetic(inputs, |a, b| a % b, i64::checked_rem);
    }
    arithmetic(
        inputs,
        |a, b| a - b * (a / b).floor(),
        |a, b| {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
    )
}

/// A shape, and two values broadcast to it unless they depend on the picture.
type Paired = (Vec<usize>, Option<[Vec<f64>; 2]>);

/// Two values of the same shape, converted to numbers with the same order and equality (integers
/// beyond 2^53 do not occur).
fn paired(inputs: &Inputs<'_>) -> Result<Paired, Failure> {
    let (a, b) = (inputs.require(0)?, inputs.require(1)?);
    let shape = Value::common_shape(&a.shape, &b.shape)?;
    if !a.is_known() || !b.is_known() {
        return Ok((shape, None));
    }
    bounded(&shape)?;
    let wide = |value: &Value| -> Result<Vec<f64>, Failure> {
        Ok(match value.broadcast(&shape)?.data {
            Data::Float(values) => values.into_iter().map(f64::from).collect(),
            Data::Integer(values) => values.into_iter().map(|value| value as f64).collect(),
            Data::Bool(values) => values.into_iter().map(|value| f64::from(u8::from(value))).collect(),
            Data::Unknown(_) => return Err(Failure::Unknown),
        })
    };
    let pair = [wide(a)?, wide(b)?];
    Ok((shape, Some(pair)))
}

fn comparison(inputs: &Inputs<'_>, holds: fn(f64, f64) -> bool) -> Result<Value, Failure> {
    let (shape, pair) = paired(inputs)?;
    match pair {
        Some([a, b]) => {
            Value::new(shape, Data::Bool(a.into_iter().zip(b).map(|(a, b)| holds(a, b)).collect()))
        }
        None => Value::unknown(shape, Kind::Bool),
    }
}

fn logic(inputs: &Inputs<'_>, joined: fn(bool, bool) -> bool) -> Result<Value, Failure> {
    let (shape, pair) = paired(inputs)?;
    match pair {
        Some([a, b]) => {
            let values = a.into_iter().zip(b).map(|(a, b)| joined(a != 0.0, b != 0.0));
            Value::new(shape, Data::Bool(values.collect()))
        }
        None => Value::unknown(shape, Kind::Bool),
    }
}

fn negation(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    match &input.data {
        Data::Bool(values) => {
            Value::new(input.shape.clone(), Data::Bool(values.iter().map(|value| !value).collect()))
        }
        Data::Unknown(Kind::Bool) => Ok(input.clone()),
        _ => Err(Failure::broken("it negates numbers")),
    }
}

fn choice(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let (condition, a, b) = (inputs.require(0)?, inputs.require(1)?, inputs.require(2)?);
    let shape = Value::common_shape(&Value::common_shape(&condition.shape, &a.shape)?, &b.shape)?;
    if [condition, a, b].iter().any(|value| !value.is_known()) {
        return Value::unknown(shape, a.kind());
    }
    bounded(&shape)?;
    let Data::Bool(condition) = condition.broadcast(&shape)?.data else {
        return Err(Failure::broken("its condition is not a truth value"));
    };
    // Concatenated, the two are one axis to gather from.
    let both = Value::joined(&[&flat(a.broadcast(&shape)?), &flat(b.cast(a.kind()).broadcast(&shape)?)], 0)?;
    let places = condition.iter().enumerate();
    let places = places.map(|(at, &first)| if first { at } else { condition.len() + at } as i64).collect();
    both.gathered(0, &Value::integers(places))?.reshaped(shape)
}

fn flat(value: Value) -> Value {
    Value { shape: vec![value.count()], data: value.data }
}

fn mapped(inputs: &Inputs<'_>, f: impl Fn(f32) -> f32) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    match &input.data {
        Data::Float(values) => {
            Value::new(input.shape.clone(), Data::Float(values.iter().map(|&value| f(value)).collect()))
        }
        Data::Unknown(Kind::Float) => Ok(input.clone()),
        _ => Err(Failure::Unknown),
    }
}

fn signed(
    inputs: &Inputs<'_>,
    float: fn(f32) -> f32,
    integer: fn(i64) -> Option<i64>,
) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let Data::Integer(values) = &input.data else { return mapped(inputs, float) };
    let values = values.iter().map(|&value| integer(value)).collect::<Option<Vec<_>>>();
    Value::new(
        input.shape.clone(),
        Data::Integer(values.ok_or_else(|| Failure::broken("its integers overflow"))?),
    )
}

/// The shape of the input, or a part of it (opset 15).
fn shape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let shape = &inputs.require(0)?.shape;
    let rank = shape.len() as i64;
    let bound = |name, default| {
        let at: i64 = int(inputs.node, name, default);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    Ok(Value::integers(shape[start..end.max(start)].iter().map(|&size| size as i64).collect()))
}

/// 0 keeps an axis (unless `allowzero`), and a -1 is inferred.
fn reshape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let wanted = inputs.sizes(1, "shape")?.ok_or_else(|| Failure::broken("it has no shape"))?;
    let misfit = || Failure::broken("the new shape does not fit");
    let keep = int(inputs.node, "allowzero", 0) == 0;
    let mut shape = Vec::with_capacity(wanted.len());
    for (at, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            0 if keep => *input.shape.get(at).ok_or_else(misfit)?,
            -1 => 1,
            size => usize::try_from(size).map_err(|_| misfit())?,
        });
    }
    let mut open = wanted.iter().enumerate().filter(|&(_, &size)| size == -1).map(|(at, _)| at);
    if let Some(at) = open.next() {
        let rest = count(&shape).ok_or_else(misfit)?;
        shape[at] = input.count().checked_div(rest).ok_or_else(misfit)?;
        if open.next().is_some() {
            return Err(misfit());
        }
    }
    input.reshaped(shape)
}

fn squeeze(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let rank = input.shape.len();
    let axes = match inputs.sizes(1, "axes")? {
        Some(axes) => axes.into_iter().map(|axis| value::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).filter(|&axis| input.shape[axis] == 1).collect(),
    };
    let kept = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| input.shape[axis]);
    input.reshaped(kept.collect())
}

fn unsqueeze(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let axes = inputs.sizes(1, "axes")?.ok_or_else(|| Failure::broken("it has no axes"))?;
    let rank = input.shape.len() + axes.len();
    let axes = axes.into_iter().map(|axis| value::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sizes = input.shape.iter();
    let shape = (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { sizes.next().copied() });
    let shape = shape.collect::<Option<Vec<_>>>().ok_or_else(|| Failure::broken("it names an axis twice"))?;
    input.reshaped(shape)
}

fn tile(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let repeats = sizes(inputs.require(1)?.as_integers()?)?;
    if repeats.len() != input.shape.len() {
        return Err(Failure::broken("its repeats do not fit"));
    }
    // Each axis gets an additional axis for the repeats, which is broadcast and then merged with
    // it.
    let apart: Vec<usize> = input.shape.iter().flat_map(|&size| [1, size]).collect();
    let wide: Vec<usize> = input.shape.iter().zip(&repeats).flat_map(|(&size, &n)| [n, size]).collect();
    let shape = input.shape.iter().zip(&repeats).map(|(&size, &n)| size.checked_mul(n));
    let shape = shape.collect::<Option<Vec<_>>>().ok_or_else(|| Failure::broken("its shape is too large"))?;
    input.reshaped(apart)?.broadcast(&wide)?.reshaped(shape)
}

fn split(inputs: &Inputs<'_>) -> Result<Vec<Value>, Failure> {
    let (input, parts) = (inputs.require(0)?, inputs.node.output.len());
    let axis = inputs.axis(input.shape.len(), 0)?;
    let whole = input.shape[axis];
    // Sizes are an input since opset 13 and an attribute before; without either, equal parts, the
    // last one smaller (opset 18).
    let sizes = match inputs.sizes(1, "split")? {
        Some(given) => sizes(&given)?,
        None => {
            let size = whole.div_ceil(parts.max(1));
            (0..parts).map(|part| size.min(whole.saturating_sub(part * size))).collect()
        }
    };
    let total = sizes.iter().try_fold(0_usize, |all, &size| all.checked_add(size));
    if total != Some(whole) || sizes.len() != parts {
        return Err(Failure::broken("the parts do not add up"));
    }
    let mut start = 0;
    let part = |size: usize| {
        let end = start + size;
        input.sliced(axis, std::mem::replace(&mut start, end), size, 1)
    };
    sizes.into_iter().map(part).collect()
}

fn slice(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let missing = || Failure::broken("it has no bounds");
    let starts = inputs.sizes(1, "starts")?.ok_or_else(missing)?;
    let ends = inputs.sizes(2, "ends")?.ok_or_else(missing)?;
    let axes = inputs.sizes(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = inputs.sizes(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Failure::broken("its bounds do not fit"));
    }
    let mut value = inputs.require(0)?.clone();
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = value::axis(axis, value.shape.len())?;
        let size = value.shape[axis] as i64;
        let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (start, end) = (from_start(start), from_start(end));
        // With a negative step the range starts at the last index at most, and ends before the
        // first.
        let (start, room) = if step > 0 {
            (start.clamp(0, size), end.clamp(0, size) - start.clamp(0, size))
        } else {
            let start = start.clamp(-1, size - 1);
            (start, start - end.clamp(-1, size - 1))
        };
        let stride = step.checked_abs().filter(|&stride| stride > 0);
        let stride = stride.ok_or_else(|| Failure::broken("its step is zero"))?;
        let count = if room <= 0 { 0 } else { (room - 1) / stride + 1 };
        // A single index is independent of the step.
        let step = if count > 1 { step as isize } else { 1 };
        value = value.sliced(axis, start.max(0) as usize, count as usize, step)?;
    }
    Ok(value)
}

fn constant_of_shape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let shape = sizes(inputs.require(0)?.as_integers()?)?;
    bounded(&shape)?;
    let value = match attribute(inputs.node, "value").and_then(|value| value.t.as_ref()) {
        Some(tensor) => Value::read(tensor).map_err(|error| Failure::Broken(error.to_string()))?,
        None => Value { shape: vec![1], data: Data::Float(vec![0.0]) },
    };
    if value.count() != 1 {
        return Err(Failure::broken("it repeats more than one number"));
    }
    value.reshaped(vec![])?.broadcast(&shape)
}

fn range(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let (start, limit, delta) = (inputs.require(0)?, inputs.require(1)?, inputs.require(2)?);
    let single = |value: &Value| {
        value.as_floats().filter(|values| values.len() == 1).map(|values| f64::from(values[0]))
    };
    if [start, limit, delta].iter().any(|value| !value.is_known()) {
        return Err(Failure::Unknown);
    }
    let bounds = (single(start), single(limit), single(delta));
    let (Some(from), Some(to), Some(by)) = bounds else {
        return Err(Failure::broken("its bounds are no numbers"));
    };
    // Beyond 2^24 integers are not exact as floats, and the result would be too large.
    let count = ((to - from) / by).ceil().max(0.0);
    if !count.is_finite() || count > MAX_NUMBERS as f64 {
        return Err(Failure::broken("its result is too large"));
    }
    let count = count as usize;
    let values = (0..count).map(|at| from + at as f64 * by);
    let data = match start.kind() {
        Kind::Integer => Data::Integer(values.map(|value| value as i64).collect()),
        _ => Data::Float(values.map(|value| value as f32).collect()),
    };
    Value::new(vec![count], data)
}

/// The indices of the non-zero elements, one row per axis.
fn non_zero(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let values = input.as_floats().ok_or(Failure::Unknown)?;
    let found: Vec<usize> = (0..values.len()).filter(|&at| values[at] != 0.0).collect();
    let mut rows = Vec::with_capacity(found.len() * input.shape.len());
    for axis in 0..input.shape.len() {
        let inner: usize = input.shape[axis + 1..].iter().product();
        rows.extend(found.iter().map(|at| (at / inner % input.shape[axis]) as i64));
    }
    Value::new(vec![input.shape.len(), found.len()], Data::Integer(rows))
}

/// Reduces axes by combining their slices with `float` or `integer`.
fn reduce(
    inputs: &Inputs<'_>,
    float: fn(f32, f32) -> f32,
    integer: fn(i64, i64) -> Option<i64>,
) -> Result<Value, Failure> {
    let (input, rank) = (inputs.require(0)?, inputs.require(0)?.shape.len());
    let axes = inputs.sizes(1, "axes")?.filter(|axes| !axes.is_empty());
    let axes = match axes {
        Some(axes) => axes.into_iter().map(|axis| value::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None if int(inputs.node, "noop_with_empty_axes", 0) == 1 => return Ok(input.clone()),
        None => (0..rank).collect(),
    };
    let keep = int(inputs.node, "keepdims", 1) == 1;
    let (mut value, empty) = (input.clone(), || Failure::broken("it reduces nothing"));
    if input.is_known() && input.count() > MAX_REDUCED {
        return Err(Failure::Unknown);
    }
    for &axis in &axes {
        if !value.is_known() {
            value.shape[axis] = 1;
            continue;
        }
        let mut slices =
            (0..value.shape[axis]).map(|at| value.sliced(axis, at, 1, 1)).collect::<Vec<_>>().into_iter();
        let mut total = slices.next().ok_or_else(empty)??;
        for slice in slices {
            let pair =
                Inputs { node: inputs.node, values: vec![Some(total), Some(slice?)], opset: inputs.opset };
            total = arithmetic(&pair, float, integer)?;
        }
        value = total;
    }
    let kept = (0..rank).filter(|axis| keep || !axes.contains(axis)).map(|axis| value.shape[axis]);
    value.reshaped(kept.collect())
}
