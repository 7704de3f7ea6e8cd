//! Constant tensors: reading them out of ONNX in any float width, and the little arithmetic the decode
//! tail needs. Not the network's arithmetic: that is burn's.

use half::{bf16, f16};
use onnx_ir::TensorProto;

use crate::ImportError;

/// ONNX `TensorProto.DataType` numbers (onnx.proto).
pub(crate) mod data_type {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
    pub(crate) const BFLOAT16: i32 = 16;

    pub(crate) fn is_float(data_type: i32) -> bool {
        matches!(data_type, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
    }

    pub(crate) fn name(data_type: i32) -> String {
        match data_type {
            FLOAT => "float32".into(),
            FLOAT16 => "float16 (half precision)".into(),
            BFLOAT16 => "bfloat16 (half precision)".into(),
            DOUBLE => "float64".into(),
            2 => "uint8".into(),
            INT32 => "int32".into(),
            INT64 => "int64".into(),
            other => format!("ONNX data type {other}"),
        }
    }
}

/// A dense row-major tensor of 32-bit floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

impl Tensor {
    pub(crate) fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "a tensor's data fills its shape");
        Self { shape, data }
    }

    /// Row-major strides, in elements.
    pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
        let mut strides = vec![1; shape.len()];
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * shape[axis + 1];
        }
        strides
    }

    /// Elementwise with NumPy broadcasting; `None` where the shapes do not broadcast.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Option<Self> {
        let rank = self.shape.len().max(other.shape.len());
        let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let (a, b) = (padded(&self.shape), padded(&other.shape));
        let shape = (a.iter().zip(&b))
            .map(|(&a, &b)| (a == b || a == 1 || b == 1).then_some(if a == 1 { b } else { a }))
            .collect::<Option<Vec<usize>>>()?;
        // A broadcast axis does not move in its source.
        let steps = |from: &[usize]| -> Vec<usize> {
            (Self::strides(from).into_iter().zip(from))
                .map(|(stride, &size)| if size == 1 { 0 } else { stride })
                .collect()
        };
        let (steps_a, steps_b, steps_out) = (steps(&a), steps(&b), Self::strides(&shape));
        let data = (0..shape.iter().product())
            .map(|flat| {
                let (mut rest, mut at_a, mut at_b) = (flat, 0, 0);
                for axis in 0..rank {
                    let index = rest / steps_out[axis];
                    rest %= steps_out[axis];
                    at_a += index * steps_a[axis];
                    at_b += index * steps_b[axis];
                }
                f(self.data[at_a], other.data[at_b])
            })
            .collect();
        Some(Self::new(shape, data))
    }

    pub(crate) fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.data.iter_mut().for_each(|value| *value = f(*value));
        self
    }

    /// Axes reordered as ONNX `Transpose` does.
    pub(crate) fn transpose(&self, permutation: &[usize]) -> Self {
        let from = Self::strides(&self.shape);
        let shape: Vec<usize> = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let to = Self::strides(&shape);
        let data = (0..self.data.len())
            .map(|flat| {
                let mut rest = flat;
                let at: usize = (permutation.iter().zip(&to))
                    .map(|(&axis, &step)| {
                        let index = rest / step;
                        rest %= step;
                        index * from[axis]
                    })
                    .sum();
                self.data[at]
            })
            .collect();
        Self::new(shape, data)
    }

    /// `start..end` along `axis`.
    pub(crate) fn slice(&self, axis: usize, start: usize, end: usize) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let row = self.shape[axis] * inner;
        let data = (self.data.chunks_exact(row))
            .flat_map(|chunk| &chunk[start * inner..end * inner])
            .copied()
            .collect();
        let mut shape = self.shape.clone();
        shape[axis] = end - start;
        Self::new(shape, data)
    }

    /// Parts joined along `axis`; `None` where their other axes differ.
    pub(crate) fn concat(parts: &[Self], axis: usize) -> Option<Self> {
        let mut shape = parts.first()?.shape.clone();
        let fits = |part: &Self| {
            part.shape.len() == shape.len()
                && (part.shape.iter().zip(&shape).enumerate()).all(|(at, (a, b))| at == axis || a == b)
        };
        if axis >= shape.len() || !parts.iter().all(fits) {
            return None;
        }
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let mut data = Vec::with_capacity(shape.iter().product());
        for at in 0..outer {
            for part in parts {
                let row = part.data.len() / outer;
                data.extend_from_slice(&part.data[at * row..][..row]);
            }
        }
        Some(Self::new(shape, data))
    }
}

/// The values of a float tensor of any width, widened or narrowed to 32 bits.
pub(crate) fn floats(tensor: &TensorProto) -> Result<Tensor, ImportError> {
    let raw = &tensor.raw_data;
    let data: Vec<f32> = match tensor.data_type {
        data_type::FLOAT if raw.is_empty() => tensor.float_data.clone(),
        data_type::FLOAT => {
            raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        // ONNX keeps 16-bit floats as bit patterns in int32_data when there is no raw data.
        data_type::FLOAT16 if raw.is_empty() => {
            tensor.int32_data.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect()
        }
        data_type::FLOAT16 => {
            raw.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        data_type::BFLOAT16 if raw.is_empty() => {
            tensor.int32_data.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32()).collect()
        }
        data_type::BFLOAT16 => {
            raw.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        data_type::DOUBLE if raw.is_empty() => tensor.double_data.iter().map(|&value| value as f32).collect(),
        data_type::DOUBLE => (raw.chunks_exact(8))
            .map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight")) as f32)
            .collect(),
        other => {
            return Err(ImportError::BrokenTensor {
                tensor: tensor.name.clone(),
                reason: format!("its values are {}", data_type::name(other)),
            });
        }
    };
    let shape = dims(tensor)?;
    check_length(tensor, &shape, data.len())?;
    Ok(Tensor::new(shape, data))
}

/// The values of an integer tensor.
pub(crate) fn integers(tensor: &TensorProto) -> Result<Vec<i64>, ImportError> {
    let raw = &tensor.raw_data;
    let data: Vec<i64> = match tensor.data_type {
        data_type::INT64 if raw.is_empty() => tensor.int64_data.clone(),
        data_type::INT64 => {
            raw.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("chunks of eight"))).collect()
        }
        data_type::INT32 if raw.is_empty() => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        data_type::INT32 => {
            raw.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect()
        }
        other => {
            return Err(ImportError::BrokenTensor {
                tensor: tensor.name.clone(),
                reason: format!("its values are {} where integers belong", data_type::name(other)),
            });
        }
    };
    check_length(tensor, &dims(tensor)?, data.len())?;
    Ok(data)
}

/// The values of a float or integer tensor, as floats: exponents come as either.
pub(crate) fn numbers(tensor: &TensorProto) -> Result<Tensor, ImportError> {
    if data_type::is_float(tensor.data_type) {
        return floats(tensor);
    }
    let values = integers(tensor)?.into_iter().map(|value| value as f32).collect();
    Ok(Tensor::new(dims(tensor)?, values))
}

/// A tensor's shape.
pub(crate) fn dims(tensor: &TensorProto) -> Result<Vec<usize>, ImportError> {
    (tensor.dims.iter())
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<Vec<usize>>>()
        .filter(|dims| dims.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim)).is_some())
        .ok_or_else(|| ImportError::BrokenTensor {
            tensor: tensor.name.clone(),
            reason: format!("its shape is {:?}", tensor.dims),
        })
}

fn check_length(tensor: &TensorProto, shape: &[usize], found: usize) -> Result<(), ImportError> {
    let expected: usize = shape.iter().product();
    if found == expected {
        return Ok(());
    }
    Err(ImportError::BrokenTensor {
        tensor: tensor.name.clone(),
        reason: format!("shape {shape:?} needs {expected} values, it holds {found}"),
    })
}
