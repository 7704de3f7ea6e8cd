//! Values of a graph: a shape, and its numbers where they do not depend on the picture.

mod moves;
mod walk;

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
}
