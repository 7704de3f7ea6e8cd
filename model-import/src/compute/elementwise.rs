//! Operators that compute number by number, on operands broadcast to each other: arithmetic,
//! comparisons, logic, choices, and functions of one number.

use super::{Inputs, bounded};
use crate::onnx::int;
use crate::value::{Data, Failure, Kind, Value};

/// Two or more values, broadcast to each other; the result has the first one's kind.
pub(super) fn arithmetic(
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
pub(super) fn modulo(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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

pub(super) fn comparison(inputs: &Inputs<'_>, holds: fn(f64, f64) -> bool) -> Result<Value, Failure> {
    let (shape, pair) = paired(inputs)?;
    match pair {
        Some([a, b]) => {
            Value::new(shape, Data::Bool(a.into_iter().zip(b).map(|(a, b)| holds(a, b)).collect()))
        }
        None => Value::unknown(shape, Kind::Bool),
    }
}

pub(super) fn logic(inputs: &Inputs<'_>, joined: fn(bool, bool) -> bool) -> Result<Value, Failure> {
    let (shape, pair) = paired(inputs)?;
    match pair {
        Some([a, b]) => {
            let values = a.into_iter().zip(b).map(|(a, b)| joined(a != 0.0, b != 0.0));
            Value::new(shape, Data::Bool(values.collect()))
        }
        None => Value::unknown(shape, Kind::Bool),
    }
}

pub(super) fn negation(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    match &input.data {
        Data::Bool(values) => {
            Value::new(input.shape.clone(), Data::Bool(values.iter().map(|value| !value).collect()))
        }
        Data::Unknown(Kind::Bool) => Ok(input.clone()),
        _ => Err(Failure::broken("it negates numbers")),
    }
}

pub(super) fn choice(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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

pub(super) fn mapped(inputs: &Inputs<'_>, f: impl Fn(f32) -> f32) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    match &input.data {
        Data::Float(values) => {
            Value::new(input.shape.clone(), Data::Float(values.iter().map(|&value| f(value)).collect()))
        }
        Data::Unknown(Kind::Float) => Ok(input.clone()),
        _ => Err(Failure::Unknown),
    }
}

pub(super) fn signed(
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
