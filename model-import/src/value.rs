//! Values of a graph: a shape, and its numbers where they do not depend on the picture. Moving
//! numbers about.

use onnx_ir::TensorProto;

use crate::ImportError;
use crate::tensor::{self, data_type};

/// The most numbers that a value may hold, 128 MB as 32-bit floats: half as many again as the
/// candidates of COCO's 80 classes at 2048 x 2048. A file that needs more is refused before
/// anything is allocated.
pub(crate) const MAX_NUMBERS: usize = 1 << 25;

/// Pixels along a side: four times the largest size that YOLOv5 is trained for (1280), rounded. A
/// larger one would exhaust the memory.
pub(crate) const LARGEST_SIDE: usize = 4096;

/// What kind of numbers a value holds; widths do not matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Integer,
    Bool,
}

impl Kind {
    /// Of an ONNX `TensorProto.DataType`.
    pub(crate) fn of(data_type: i32) -> Option<Self> {
        match data_type {
            data_type::BOOL => Some(Self::Bool),
            _ if data_type::is_float(data_type) => Some(Self::Float),
            _ if data_type::is_integer(data_type) => Some(Self::Integer),
            _ => None,
        }
    }
}

/// The numbers of a value, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Integer(Vec<i64>),
    Bool(Vec<bool>),
    /// Unknown: they depend on the picture.
    Unknown(Kind),
}

/// Why an operator has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The operator, or this form of it, is unknown.
    Unknown,
    /// The operator contradicts itself or its inputs.
    Broken(String),
}

impl Failure {
    pub(crate) fn broken(what: &str) -> Self {
        Self::Broken(what.to_owned())
    }
}

/// A value of the graph.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

impl Data {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Float(_) => Kind::Float,
            Self::Integer(_) => Kind::Integer,
            Self::Bool(_) => Kind::Bool,
            Self::Unknown(kind) => *kind,
        }
    }

    fn len(&self) -> Option<usize> {
        match self {
            Self::Float(values) => Some(values.len()),
            Self::Integer(values) => Some(values.len()),
            Self::Bool(values) => Some(values.len()),
            Self::Unknown(_) => None,
        }
    }

    /// The numbers at `places`, in that order.
    fn take(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Float(values) => Self::Float(places.map(|at| values[at]).collect()),
            Self::Integer(values) => Self::Integer(places.map(|at| values[at]).collect()),
            Self::Bool(values) => Self::Bool(places.map(|at| values[at]).collect()),
            Self::Unknown(kind) => Self::Unknown(*kind),
        }
    }
}

/// How many numbers a shape holds; `None` on overflow, also for a part of its axes.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    let bound = shape.iter().try_fold(1_isize, |all, &size| all.checked_mul(size.max(1).try_into().ok()?))?;
    Some(if shape.contains(&0) { 0 } else { bound as usize })
}

/// An axis counted from either end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Failure> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| Failure::broken("it has no such axis"))
}

/// Row-major steps from an index of each axis to the next, in numbers.
fn steps(shape: &[usize]) -> Vec<isize> {
    let mut steps = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        steps[axis] = steps[axis + 1] * shape[axis + 1] as isize;
    }
    steps
}

/// Offsets in row-major order over `shape`, with a step for each axis.
struct Walk<'a> {
    shape: &'a [usize],
    steps: &'a [isize],
    index: Vec<usize>,
    place: isize,
    left: usize,
}

impl<'a> Walk<'a> {
    fn new(shape: &'a [usize], start: usize, steps: &'a [isize]) -> Self {
        let left = shape.iter().product();
        Self { shape, steps, index: vec![0; shape.len()], place: start as isize, left }
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place as usize;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.place += self.steps[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.place -= self.steps[axis] * self.shape[axis] as isize;
            self.index[axis] = 0;
        }
        Some(place)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl Value {
    /// A value whose numbers are known; they must fill the shape.
    pub(crate) fn new(shape: Vec<usize>, data: Data) -> Result<Self, Failure> {
        let count = count(&shape).ok_or_else(|| Failure::broken("its shape is too large"))?;
        match data.len() {
            Some(len) if len != count => Err(Failure::broken("its numbers do not fill its shape")),
            _ => Ok(Self { shape, data }),
        }
    }

    pub(crate) fn unknown(shape: Vec<usize>, kind: Kind) -> Result<Self, Failure> {
        Self::new(shape, Data::Unknown(kind))
    }

    pub(crate) fn integers(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::Integer(values) }
    }

    /// A constant of the file.
    pub(crate) fn read(tensor: &TensorProto) -> Result<Self, ImportError> {
        let shape = tensor::dims(tensor)?;
        let data = match Kind::of(tensor.data_type) {
            Some(Kind::Float) => Data::Float(tensor::floats(tensor)?.data),
            Some(Kind::Bool) => {
                Data::Bool(tensor::integers(tensor)?.into_iter().map(|value| value != 0).collect())
            }
            _ => Data::Integer(tensor::integers(tensor)?),
        };
        Ok(Self { shape, data })
    }

    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.data.kind()
    }

    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.data, Data::Unknown(_))
    }

    /// The numbers as integers: shapes, axes, indices.
    pub(crate) fn as_integers(&self) -> Result<&[i64], Failure> {
        match &self.data {
            Data::Integer(values) => Ok(values),
            Data::Unknown(_) => Err(Failure::Unknown),
            _ => Err(Failure::broken("its sizes are not integers")),
        }
    }

    /// The numbers, converted to floats.
    pub(crate) fn as_floats(&self) -> Option<Vec<f32>> {
        match &self.data {
            Data::Float(values) => Some(values.clone()),
            Data::Integer(values) => Some(values.iter().map(|&value| value as f32).collect()),
            Data::Bool(values) => Some(values.iter().map(|&value| f32::from(u8::from(value))).collect()),
            Data::Unknown(_) => None,
        }
    }

    /// The same numbers as another kind, as ONNX `Cast` converts them: floats towards zero, not
    /// zero is true.
    pub(crate) fn cast(&self, kind: Kind) -> Self {
        let data = match (&self.data, kind) {
            (Data::Unknown(_), kind) => Data::Unknown(kind),
            (data, kind) if data.kind() == kind => data.clone(),
            (Data::Float(values), Kind::Integer) => {
                Data::Integer(values.iter().map(|&value| value as i64).collect())
            }
            (Data::Float(values), _) => Data::Bool(values.iter().map(|&value| value != 0.0).collect()),
            (Data::Integer(values), Kind::Bool) => {
                Data::Bool(values.iter().map(|&value| value != 0).collect())
            }
            (Data::Bool(values), Kind::Integer) => {
                Data::Integer(values.iter().map(|&value| value.into()).collect())
            }
            (_, _) => Data::Float(self.as_floats().unwrap_or_default()),
        };
        Self { shape: self.shape.clone(), data }
    }

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
