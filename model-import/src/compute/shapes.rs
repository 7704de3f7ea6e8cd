//! Operators on shapes: reading one, changing one, and cutting or repeating along axes.

use super::{Inputs, sizes};
use crate::onnx::int;
use crate::value::{self, Failure, Value, count};

/// The shape of the input, or a part of it (opset 15).
pub(super) fn shape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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
pub(super) fn reshape(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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

pub(super) fn squeeze(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let rank = input.shape.len();
    let axes = match inputs.sizes(1, "axes")? {
        Some(axes) => axes.into_iter().map(|axis| value::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).filter(|&axis| input.shape[axis] == 1).collect(),
    };
    let kept = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| input.shape[axis]);
    input.reshaped(kept.collect())
}

pub(super) fn unsqueeze(inputs: &Inputs<'_>) -> Result<Value, Failure> {
    let input = inputs.require(0)?;
    let axes = inputs.sizes(1, "axes")?.ok_or_else(|| Failure::broken("it has no axes"))?;
    let rank = input.shape.len() + axes.len();
    let axes = axes.into_iter().map(|axis| value::axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sizes = input.shape.iter();
    let shape = (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { sizes.next().copied() });
    let shape = shape.collect::<Option<Vec<_>>>().ok_or_else(|| Failure::broken("it names an axis twice"))?;
    input.reshaped(shape)
}

pub(super) fn tile(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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

pub(super) fn split(inputs: &Inputs<'_>) -> Result<Vec<Value>, Failure> {
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

pub(super) fn slice(inputs: &Inputs<'_>) -> Result<Value, Failure> {
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
