//! Moving numbers about: reshaping, reordering, cutting, repeating, joining, gathering and
//! scattering them.

use super::walk::{Walk, steps};
use super::{Data, Failure, Kind, MAX_NUMBERS, Value, count};

impl Value {
    /// The numbers at the offsets of `shape` with the given steps.
    fn walked(&self, shape: Vec<usize>, start: usize, steps: &[isize]) -> Result<Self, Failure> {
        let count = count(&shape).ok_or_else(|| Failure::broken("its shape is too large"))?;
        if self.is_known() && count > MAX_NUMBERS {
            return Err(Failure::broken("its result is too large"));
        }
        let data = self.data.take(Walk::new(&shape, start, steps));
        Ok(Self { shape, data })
    }

    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Result<Self, Failure> {
        if count(&shape) != Some(self.count()) {
            return Err(Failure::broken("the new shape does not fit"));
        }
        Ok(Self { shape, data: self.data.clone() })
    }

    /// Axes reordered as ONNX `Transpose` does.
    pub(crate) fn transposed(&self, permutation: &[usize]) -> Result<Self, Failure> {
        let mut seen = permutation.to_vec();
        seen.sort_unstable();
        if !seen.into_iter().eq(0..self.shape.len()) {
            return Err(Failure::broken("its permutation does not fit"));
        }
        let from = steps(&self.shape);
        let steps: Vec<isize> = permutation.iter().map(|&axis| from[axis]).collect();
        self.walked(permutation.iter().map(|&axis| self.shape[axis]).collect(), 0, &steps)
    }

    /// `count` indices of an axis from `start` on, each `step` after the one before.
    pub(crate) fn sliced(
        &self,
        axis: usize,
        start: usize,
        count: usize,
        step: isize,
    ) -> Result<Self, Failure> {
        let mut steps = steps(&self.shape);
        let mut shape = self.shape.clone();
        shape[axis] = count;
        let first = if count == 0 { 0 } else { start * steps[axis] as usize };
        steps[axis] *= step;
        self.walked(shape, first, &steps)
    }

    /// Repeated along axes of size one, as NumPy broadcasts.
    pub(crate) fn broadcast(&self, shape: &[usize]) -> Result<Self, Failure> {
        if self.shape == shape {
            return Ok(self.clone());
        }
        let missing = shape.len().checked_sub(self.shape.len());
        let missing = missing.ok_or_else(|| Failure::broken("the shapes do not broadcast"))?;
        let own = steps(&self.shape);
        let mut all = vec![0; shape.len()];
        for (axis, (&size, &step)) in self.shape.iter().zip(&own).enumerate() {
            match shape[missing + axis] {
                wanted if wanted == size => all[missing + axis] = step,
                _ if size == 1 => {}
                _ => return Err(Failure::broken("the shapes do not broadcast")),
            }
        }
        self.walked(shape.to_vec(), 0, &all)
    }

    /// The shape that two broadcast to.
    pub(crate) fn common_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Failure> {
        let rank = a.len().max(b.len());
        let size = |shape: &[usize], axis: usize| {
            (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
        };
        (0..rank)
            .map(|axis| match (size(a, axis), size(b, axis)) {
                (a, b) if a == b || b == 1 => Ok(a),
                (1, b) => Ok(b),
                _ => Err(Failure::broken("the shapes do not broadcast")),
            })
            .collect()
    }

    /// Parts joined along `axis`.
    pub(crate) fn joined(parts: &[&Self], axis: usize) -> Result<Self, Failure> {
        let first = parts.first().ok_or_else(|| Failure::broken("it has no inputs"))?;
        let fits = |part: &&Self| {
            part.shape.len() == first.shape.len()
                && (part.shape.iter().zip(&first.shape).enumerate()).all(|(at, (a, b))| at == axis || a == b)
        };
        if !parts.iter().all(fits) {
            return Err(Failure::broken("its parts do not fit"));
        }
        let mut shape = first.shape.clone();
        shape[axis] = (parts.iter())
            .try_fold(0_usize, |all, part| all.checked_add(part.shape[axis]))
            .ok_or_else(|| Failure::broken("its shape is too large"))?;
        let kind = first.kind();
        if parts.iter().any(|part| !part.is_known()) {
            return Self::unknown(shape, kind);
        }
        if count(&shape).is_none_or(|count| count > MAX_NUMBERS) {
            return Err(Failure::broken("its result is too large"));
        }
        let outer: usize = shape[..axis].iter().product();
        // Rows are taken from each part in turn.
        let rows = |part: &Self| part.count().checked_div(outer).unwrap_or(0);
        macro_rules! join {
            ($variant:ident) => {{
                let mut data = Vec::with_capacity(shape.iter().product());
                for at in 0..outer {
                    for part in parts {
                        let Data::$variant(values) = &part.data else {
                            return Err(Failure::broken("its parts are of different types"));
                        };
                        data.extend_from_slice(&values[at * rows(part)..][..rows(part)]);
                    }
                }
                Data::$variant(data)
            }};
        }
        let data = match kind {
            Kind::Float => join!(Float),
            Kind::Integer => join!(Integer),
            Kind::Bool => join!(Bool),
        };
        Self::new(shape, data)
    }

    /// ONNX `Gather`: the slices of `axis` that `indices` name.
    pub(crate) fn gathered(&self, axis: usize, indices: &Self) -> Result<Self, Failure> {
        let shape = [&self.shape[..axis], &indices.shape, &self.shape[axis + 1..]].concat();
        if !self.is_known() || !indices.is_known() {
            return Self::unknown(shape, self.kind());
        }
        let count = count(&shape).filter(|&count| count <= MAX_NUMBERS);
        count.ok_or_else(|| Failure::broken("its result is too large"))?;
        let size = self.shape[axis];
        let places =
            indices.as_integers()?.iter().map(|&index| place(index, size)).collect::<Result<Vec<_>, _>>()?;
        let outer: usize = self.shape[..axis].iter().product();
        let inner: usize = self.shape[axis + 1..].iter().product();
        let at = (0..outer).flat_map(|row| {
            places
                .iter()
                .flat_map(move |&place| (0..inner).map(move |column| (row * size + place) * inner + column))
        });
        let data = self.data.take(at);
        Self::new(shape, data)
    }

    /// ONNX `ScatterND`: a copy with `updates` written where the last axis of `indices` points.
    pub(crate) fn scattered(&self, indices: &Self, updates: &Self) -> Result<Self, Failure> {
        let misfit = || Failure::broken("its indices do not fit");
        let (&depth, outer) = indices.shape.split_last().ok_or_else(misfit)?;
        let inner = self.shape.get(depth..).ok_or_else(misfit)?;
        if updates.shape != [outer, inner].concat() {
            return Err(Failure::broken("its updates do not fit"));
        }
        let (true, true, true) = (self.is_known(), indices.is_known(), updates.is_known()) else {
            return Self::unknown(self.shape.clone(), self.kind());
        };
        let (steps, row) = (steps(&self.shape), inner.iter().product::<usize>());
        let starts = if depth == 0 {
            vec![0; outer.iter().product()]
        } else {
            (indices.as_integers()?.chunks_exact(depth))
                .map(|index| {
                    (index.iter().enumerate()).try_fold(0, |sum, (axis, &index)| {
                        Ok(sum + place(index, self.shape[axis])? * steps[axis] as usize)
                    })
                })
                .collect::<Result<Vec<usize>, Failure>>()?
        };
        macro_rules! scatter {
            ($values:ident, $variant:ident) => {{
                let Data::$variant(updates) = &updates.data else {
                    return Err(Failure::broken("its updates are of another type"));
                };
                let mut values = $values.clone();
                for (at, start) in starts.into_iter().enumerate() {
                    values[start..start + row].copy_from_slice(&updates[at * row..][..row]);
                }
                Data::$variant(values)
            }};
        }
        let data = match &self.data {
            Data::Float(values) => scatter!(values, Float),
            Data::Integer(values) => scatter!(values, Integer),
            Data::Bool(values) => scatter!(values, Bool),
            Data::Unknown(kind) => Data::Unknown(*kind),
        };
        Self::new(self.shape.clone(), data)
    }
}

/// An index counted from either end.
fn place(index: i64, size: usize) -> Result<usize, Failure> {
    let index = if index < 0 { index.checked_add(size as i64) } else { Some(index) };
    index
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < size)
        .ok_or_else(|| Failure::broken("an index is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Value {
        let count = shape.iter().product::<usize>();
        Value::new(shape.to_vec(), Data::Integer((0..count as i64).collect())).unwrap()
    }

    fn numbers(value: Result<Value, Failure>) -> Vec<i64> {
        value.unwrap().as_integers().unwrap().to_vec()
    }

    /// As NumPy moves them: np.arange(6).reshape(2, 3) and so on.
    #[test]
    fn numbers_move_as_in_numpy() {
        let a = counted(&[2, 3]);
        assert_eq!(numbers(a.transposed(&[1, 0])), [0, 3, 1, 4, 2, 5]);
        assert_eq!(numbers(a.sliced(1, 2, 3, -1)), [2, 1, 0, 5, 4, 3]);
        assert_eq!(numbers(a.sliced(1, 0, 2, 2)), [0, 2, 3, 5]);
        assert_eq!(numbers(counted(&[2, 1]).broadcast(&[2, 2, 2])), [0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(numbers(Value::joined(&[&a, &a], 1)), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
        assert_eq!(numbers(a.gathered(1, &Value::integers(vec![-1, 0]))), [2, 0, 5, 3]);
    }

    /// The second example of ScatterND in the ONNX specification, shortened.
    #[test]
    fn scattering_overwrites_whole_rows() {
        let indices = Value::new(vec![2, 1], Data::Integer(vec![0, -1])).unwrap();
        let updates = Value::new(vec![2, 2], Data::Integer(vec![10, 11, 12, 13])).unwrap();
        assert_eq!(numbers(counted(&[3, 2]).scattered(&indices, &updates)), [10, 11, 2, 3, 12, 13]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_broken_and_nothing_is_allocated_for_huge_ones() {
        let one = counted(&[1]);
        assert!(matches!(one.broadcast(&[1 << 40]), Err(Failure::Broken(_))));
        assert!(matches!(one.broadcast(&[usize::MAX, 2]), Err(Failure::Broken(_))));
        assert!(matches!(counted(&[2]).broadcast(&[3]), Err(Failure::Broken(_))));
        assert!(matches!(one.gathered(0, &Value::integers(vec![1])), Err(Failure::Broken(_))));
        assert!(matches!(one.transposed(&[1]), Err(Failure::Broken(_))));
        let empty = counted(&[0, 3]);
        assert_eq!(numbers(empty.sliced(1, 1, 2, 1)), Vec::<i64>::new());
    }
}
