//! Operators that make numbers from sizes, bounds or positions (ConstantOfShape, Range, NonZero),
//! and reductions.

use super::elementwise::arithmetic;
use super::{Inputs, bounded, sizes};
use crate::onnx::{attribute, int};
use crate::value::{self, Data, Failure, Kind, MAX_NUMBERS, Value};

/// Largest operand of a sum or product that is evaluated: sizes and masks, not maps.
const MAX_REDUCED: usize = 1 << 20;

pub(super) fn constant_of_shape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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

pub(super) fn range(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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
pub(super) fn non_zero(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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
pub(super) fn reduce(
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
