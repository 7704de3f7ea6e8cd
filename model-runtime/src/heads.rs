//! Gives the decoder access to a burn tensor's values without a copy.

use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::detect::HeadMap;
use crate::ops::FlexImage;

/// A head's output tensor, kept alive while its values are read.
pub struct HeadTensor {
    values: Values,
    height: usize,
    width: usize,
    channels: usize,
}

enum Values {
    /// Flex: the tensor as the kernels wrote it.
    InPlace(FlexImage),
    /// Other backends: a copy, channels first.
    Copied(Vec<f32>),
}

impl HeadTensor {
    /// Takes `[1, anchors · (5 + classes), H, W]`.
    ///
    /// # Panics
    /// If the tensor isn't of 32-bit floats.
    pub fn new(tensor: Tensor<4>) -> Self {
        let [_, channels, height, width] = tensor.dims();
        let values = match tensor.clone().try_into_primitive::<Flex>() {
            Ok(primitive) => Values::InPlace(FlexImage::new(primitive)),
            Err(_) => Values::Copied(tensor.into_data().try_into_vec().expect("heads are 32-bit floats")),
        };
        Self { values, height, width, channels }
    }

    /// A view of the values for [`crate::detect::decode`].
    pub fn map(&self) -> HeadMap<'_> {
        let Self { height, width, channels, .. } = *self;
        match &self.values {
            Values::InPlace(image) => {
                let image = image.image(0);
                HeadMap {
                    data: image.data,
                    height,
                    width,
                    channels,
                    channel_stride: 1,
                    row_stride: image.row_pitch,
                    column_stride: image.pixel_pitch,
                }
            }
            Values::Copied(data) => HeadMap {
                data,
                height,
                width,
                channels,
                channel_stride: height * width,
                row_stride: width,
                column_stride: 1,
            },
        }
    }
}
