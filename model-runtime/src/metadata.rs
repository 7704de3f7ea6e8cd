//! What a compiled-in model is: plain data, written by `model-import`, read by the decoder and the
//! function. No tensor, no backend.

/// A YOLOv5 detection model as `model-import` read it from its ONNX file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelMetadata {
    /// The ONNX file's stem.
    pub name: &'static str,
    /// The first 12 hexadecimal digits of the ONNX file's SHA-256.
    pub version: &'static str,
    /// The licence of the weights as an SPDX expression, or that nobody stated one.
    pub license: &'static str,
    /// Width of the network's input, in pixels.
    pub input_width: usize,
    /// Height of the network's input, in pixels.
    pub input_height: usize,
    /// Class names; the index is the class id.
    pub class_names: &'static [&'static str],
    /// Class ids that mean an open eye; never empty.
    pub open_classes: &'static [usize],
    /// Class ids that mean a closed eye; never empty. Ids in neither list are not about eyes.
    pub closed_classes: &'static [usize],
    /// The detection heads, smallest stride first (P3, P4, P5): the order of the network's outputs.
    pub heads: &'static [HeadMetadata],
    /// Whether the network computes in 8-bit integers and takes a picture's levels as they are.
    pub quantized: bool,
    /// Weights and biases of the network.
    pub parameters: u64,
    /// Multiply-accumulates of one forward pass over one image.
    pub multiply_accumulates: u64,
}

/// One detection head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadMetadata {
    /// Input pixels per cell of the head's map.
    pub stride: usize,
    /// Anchor boxes (width, height), in pixels of the input.
    pub anchors: &'static [(f32, f32)],
}
