//! Constant tensors: reads ONNX tensors of any width.

use half::{bf16, f16};
use onnx_ir::TensorProto;

use crate::{ImportError, value};

/// ONNX `TensorProto.DataType` numbers (onnx.proto).
pub(crate) mod data_type {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const UINT16: i32 = 4;
    pub(crate) const INT16: i32 = 5;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const BOOL: i32 = 9;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
    pub(crate) const UINT32: i32 = 12;
    pub(crate) const UINT64: i32 = 13;
    pub(crate) const BFLOAT16: i32 = 16;

    pub(crate) fn is_float(data_type: i32) -> bool {
        matches!(data_type, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
    }

    pub(crate) fn is_integer(data_type: i32) -> bool {
        matches!(data_type, UINT8 | INT8 | UINT16 | INT16 | INT32 | INT64 | UINT32 | UINT64)
    }

    pub(crate) fn name(data_type: i32) -> String {
        match data_type {
            FLOAT => "float32".into(),
            FLOAT16 => "float16 (half precision)".into(),
            BFLOAT16 => "bfloat16 (half precision)".into(),
            DOUBLE => "float64".into(),
            UINT8 => "uint8".into(),
            INT8 => "int8".into(),
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

/// The values of an integer tensor, or of one of truth values (0 and 1).
pub(crate) fn integers(tensor: &TensorProto) -> Result<Vec<i64>, ImportError> {
    let raw = &tensor.raw_data;
    macro_rules! read {
        ($type:ty) => {{
            let bytes = raw.chunks_exact(size_of::<$type>());
            bytes.map(|b| <$type>::from_le_bytes(b.try_into().expect("chunks of its size")) as i64).collect()
        }};
    }
    let data: Vec<i64> = match tensor.data_type {
        data_type::INT64 if raw.is_empty() => tensor.int64_data.clone(),
        data_type::UINT32 | data_type::UINT64 if raw.is_empty() => {
            tensor.uint64_data.iter().map(|&value| value as i64).collect()
        }
        data_type::BOOL if !raw.is_empty() => raw.iter().map(|&value| (value != 0).into()).collect(),
        data_type if raw.is_empty() && (data_type == data_type::BOOL || data_type::is_integer(data_type)) => {
            tensor.int32_data.iter().map(|&value| value.into()).collect()
        }
        data_type::INT64 => read!(i64),
        data_type::INT32 => read!(i32),
        data_type::INT16 => read!(i16),
        data_type::INT8 => read!(i8),
        data_type::UINT64 => read!(u64),
        data_type::UINT32 => read!(u32),
        data_type::UINT16 => read!(u16),
        data_type::UINT8 => read!(u8),
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

/// A tensor's shape.
pub(crate) fn dims(tensor: &TensorProto) -> Result<Vec<usize>, ImportError> {
    (tensor.dims.iter())
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<Vec<usize>>>()
        .filter(|dims| value::count(dims).is_some())
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
