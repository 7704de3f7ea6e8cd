//! YOLOv5's convolutions, for both rooflines.

use model_runtime::kernels::conv::output_size;

/// A kind of layer: how often it occurs, and its shape.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Ratio of the image's side to the side of this layer's input.
    pub(crate) scale: usize,
    /// All but the heads.
    pub(crate) silu: bool,
}

/// YOLOv5's convolutions by kind, for a stem of `w` channels and the depth of n and s; siblings are
/// one.
pub(crate) fn layers(w: usize) -> Vec<Layer> {
    let layer = |name, count, in_channels, out_channels, kernel, stride, scale| Layer {
        name,
        count,
        in_channels,
        out_channels,
        kernel,
        stride,
        scale,
        silu: true,
    };
    let head =
        |name, in_channels, scale| Layer { silu: false, ..layer(name, 1, in_channels, 21, 1, 1, scale) };
    vec![
        layer("stem, gray", 1, 1, w, 6, 2, 1),
        layer("down to P2", 1, w, 2 * w, 3, 2, 2),
        layer("down to P3", 1, 2 * w, 4 * w, 3, 2, 4),
        layer("down to P4", 1, 4 * w, 8 * w, 3, 2, 8),
        layer("down to P5", 1, 8 * w, 16 * w, 3, 2, 16),
        layer("neck down to P4", 1, 4 * w, 4 * w, 3, 2, 8),
        layer("neck down to P5", 1, 8 * w, 8 * w, 3, 2, 16),
        layer("3 x 3 at P2", 1, w, w, 3, 1, 4),
        layer("3 x 3 at P3", 3, 2 * w, 2 * w, 3, 1, 8),
        layer("3 x 3 at P4", 5, 4 * w, 4 * w, 3, 1, 16),
        layer("3 x 3 at P5", 2, 8 * w, 8 * w, 3, 1, 32),
        layer("1 x 1 in C3 at P2", 1, w, w, 1, 1, 4),
        layer("1 x 1 around C3 at P2", 2, 2 * w, 2 * w, 1, 1, 4),
        layer("1 x 1 in C3 at P3", 3, 2 * w, 2 * w, 1, 1, 8),
        layer("1 x 1 around C3 at P3", 3, 4 * w, 4 * w, 1, 1, 8),
        layer("1 x 1 into C3, neck at P3", 1, 8 * w, 4 * w, 1, 1, 8),
        layer("1 x 1 in C3 at P4", 5, 4 * w, 4 * w, 1, 1, 16),
        layer("1 x 1 around C3 at P4", 5, 8 * w, 8 * w, 1, 1, 16),
        layer("1 x 1 into C3, neck at P4", 1, 16 * w, 8 * w, 1, 1, 16),
        layer("1 x 1, neck at P4", 1, 8 * w, 4 * w, 1, 1, 16),
        layer("1 x 1 in C3 at P5", 2, 8 * w, 8 * w, 1, 1, 32),
        layer("1 x 1 around C3 at P5", 4, 16 * w, 16 * w, 1, 1, 32),
        layer("1 x 1 before and after pooling", 1, 16 * w, 8 * w, 1, 1, 32),
        layer("1 x 1 after pooling", 1, 32 * w, 16 * w, 1, 1, 32),
        layer("1 x 1, neck at P5", 1, 16 * w, 8 * w, 1, 1, 32),
        head("head at P3", 4 * w, 8),
        head("head at P4", 8 * w, 16),
        head("head at P5", 16 * w, 32),
    ]
}

impl Layer {
    /// What is added around the input.
    pub(crate) fn padding(&self) -> usize {
        if self.kernel == 6 { 2 } else { self.kernel / 2 }
    }

    /// Rows and columns of the input and of the output, for a square image of `side` pixels.
    pub(crate) fn sides(&self, side: usize) -> [usize; 2] {
        let input = side / self.scale;
        [input, output_size([input; 2], [self.kernel; 2], [self.stride; 2], [self.padding(); 2])[0]]
    }
}
