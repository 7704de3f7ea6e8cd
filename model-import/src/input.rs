//! Finds a model's image input and its size.

use onnx_ir::GraphProto;

use crate::ImportError;
use crate::onnx::{Graph, declared_shape, declared_type, float_input};
use crate::tensor::data_type;
use crate::value::LARGEST_SIDE;

/// The sides of every YOLOv5 model's input are multiples of this, or of the stride in its metadata
/// (P6 models: 64).
const USUAL_STRIDE: usize = 32;

/// The one image input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageInput {
    pub(crate) name: String,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Finds the input, gives it the size of `wanted` (height, width) where the file has dynamic axes,
/// and makes it one of 32-bit floats.
pub(crate) fn choose(
    graph: &mut GraphProto,
    wanted: Option<[usize; 2]>,
    stride: Option<usize>,
) -> Result<ImageInput, ImportError> {
    let inputs = Graph::new(graph).inputs();
    let [input] = inputs[..] else { return Err(ImportError::InputCount { found: inputs.len() }) };
    let shape = declared_shape(input);
    let misfit = || ImportError::InputShape { shape: shape.clone() };
    let (element_type, axes) = declared_type(input).ok_or_else(misfit)?;
    let [batch, channels, height, width] = axes[..] else { return Err(misfit()) };
    if channels.is_some_and(|channels| channels != 3) {
        let last = axes[3] == Some(3);
        return Err(if last { ImportError::ChannelsLast { shape } } else { misfit() });
    }
    if let Some(batch) = batch.filter(|&batch| batch != 1) {
        return Err(ImportError::Batch { shape, batch });
    }
    if !matches!(element_type, data_type::FLOAT | data_type::FLOAT16) {
        return Err(ImportError::InputType { element_type: data_type::name(element_type) });
    }
    let [height, width] = match (height, width, wanted) {
        (Some(height), Some(width), None) => [height, width],
        (Some(height), Some(width), Some(wanted)) if wanted == [height, width] => wanted,
        (Some(height), Some(width), Some(_)) => {
            return Err(ImportError::SizeIsFixed { width, height });
        }
        (height, width, Some(wanted)) => {
            let fits = |size: Option<usize>, wanted| size.is_none_or(|size| size == wanted);
            if !fits(height, wanted[0]) || !fits(width, wanted[1]) {
                return Err(misfit());
            }
            wanted
        }
        (_, _, None) => return Err(ImportError::DynamicInput { shape }),
    };
    // A fixed size is not checked here: the heads show whether the strides divide it.
    let stride = stride.filter(|_| wanted.is_some()).unwrap_or(USUAL_STRIDE);
    check_size(width, height, stride.max(USUAL_STRIDE))?;
    let name = input.name.clone();
    let declared = graph.input.iter_mut().find(|input| input.name == name).expect("it was found there");
    *declared = float_input(&name, [1, 3, height as i64, width as i64]);
    Ok(ImageInput { name, height, width })
}

/// Both sides must be multiples of the largest stride.
pub(crate) fn check_size(width: usize, height: usize, multiple: usize) -> Result<(), ImportError> {
    if width > LARGEST_SIDE || height > LARGEST_SIDE {
        return Err(ImportError::InputTooLarge { width, height, largest: LARGEST_SIDE });
    }
    if multiple > 0 && width.is_multiple_of(multiple) && height.is_multiple_of(multiple) {
        return Ok(());
    }
    let up = |size: usize| size.next_multiple_of(multiple.max(1));
    let suggestion =
        if width == height { up(width).to_string() } else { format!("{} {}", up(height), up(width)) };
    Err(ImportError::InputSize { width, height, multiple, suggestion })
}
