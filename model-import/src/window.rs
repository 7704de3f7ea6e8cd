//! The geometry of Conv, MaxPool and Resize as ONNX defines it.

use onnx_ir::NodeProto;

use crate::compute::Inputs;
use crate::onnx::{attribute, int, ints};
use crate::value::{self, Data, Failure, LARGEST_SIDE, Value};

/// A window sliding over a map: of a convolution or of a pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
    /// `ceil_mode`: whether a last window that extends beyond the padding counts.
    ceil: bool,
}

impl Window {
    /// The window of a node over a map of size `from` (height, width); `weights`: the last axes of
    /// its weights, if any.
    pub(crate) fn of(node: &NodeProto, weight: Option<&[usize]>, from: [usize; 2]) -> Result<Self, Failure> {
        let misfit = || Failure::broken("its window is not two-dimensional");
        fn sizes<const N: usize>(node: &NodeProto, name: &str) -> Result<Option<[usize; N]>, Failure> {
            let Some(sizes) = ints(node, name) else { return Ok(None) };
            let sizes = sizes.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
            let sizes = sizes.ok().and_then(|sizes| sizes.try_into().ok());
            sizes.map(Some).ok_or_else(|| Failure::Broken(format!("its {name} do not fit")))
        }
        let weight: Option<[usize; 2]> = match weight {
            Some(weight) => Some(weight.try_into().map_err(|_| misfit())?),
            None => None,
        };
        let kernel = sizes(node, "kernel_shape")?.or(weight).ok_or_else(misfit)?;
        if weight.is_some_and(|weight| weight != kernel) {
            return Err(Failure::broken("its window does not fit its weights"));
        }
        let mut window = Self {
            kernel,
            stride: sizes(node, "strides")?.unwrap_or([1; 2]),
            dilation: sizes(node, "dilations")?.unwrap_or([1; 2]),
            pads: [0; 4],
            ceil: int(node, "ceil_mode", 0) == 1,
        };
        if window.kernel.contains(&0) || window.stride.contains(&0) || window.dilation.contains(&0) {
            return Err(Failure::broken("its window has no size"));
        }
        let auto = attribute(node, "auto_pad").map(|auto| auto.s.to_vec());
        match auto.as_deref() {
            None | Some(b"" | b"NOTSET") => window.pads = sizes(node, "pads")?.unwrap_or([0; 4]),
            Some(b"VALID") => {}
            Some(b"SAME_UPPER") => window.pad_to_same(from, false)?,
            Some(b"SAME_LOWER") => window.pad_to_same(from, true)?,
            Some(_) => return Err(Failure::broken("its auto_pad is unknown")),
        }
        Ok(window)
    }

    /// `auto_pad`: the output has ceil(size / stride) cells; odd padding goes to the end, or with
    /// `lower` to the start.
    fn pad_to_same(&mut self, from: [usize; 2], lower: bool) -> Result<(), Failure> {
        for (axis, &size) in from.iter().enumerate() {
            let cells = size.div_ceil(self.stride[axis]);
            let reach = self.reach(axis)?;
            let needed = cells.saturating_sub(1) * self.stride[axis] + reach;
            let total = needed.saturating_sub(size);
            let start = if lower { total.div_ceil(2) } else { total / 2 };
            (self.pads[axis], self.pads[axis + 2]) = (start, total - start);
        }
        Ok(())
    }

    /// The extent of the dilated window.
    fn reach(&self, axis: usize) -> Result<usize, Failure> {
        let reach = self.dilation[axis].checked_mul(self.kernel[axis] - 1).and_then(|gap| gap.checked_add(1));
        reach.ok_or_else(|| Failure::broken("its window is too large"))
    }

    /// Height and width of the output for a map of size `from`.
    pub(crate) fn output(&self, from: [usize; 2]) -> Result<[usize; 2], Failure> {
        Ok([self.cells(from, 0)?, self.cells(from, 1)?])
    }

    fn cells(&self, from: [usize; 2], axis: usize) -> Result<usize, Failure> {
        let padded = [from[axis], self.pads[axis], self.pads[axis + 2]];
        let room = (padded.iter().try_fold(0_usize, |all, &size| all.checked_add(size)))
            .and_then(|size| size.checked_sub(self.reach(axis).ok()?))
            .ok_or_else(|| Failure::broken("its window does not fit its input"))?;
        let cells = room / self.stride[axis] + 1;
        // One more window may start in the remainder, unless it would start in the padding at the
        // end.
        let more = self.ceil
            && !room.is_multiple_of(self.stride[axis])
            && cells * self.stride[axis] < from[axis] + self.pads[axis];
        Ok(cells + usize::from(more))
    }

    /// Whether `ceil_mode` makes no difference for a map of size `from`.
    pub(crate) fn is_floored(&self, from: [usize; 2]) -> bool {
        !self.ceil || Self { ceil: false, ..self.clone() }.output(from) == self.output(from)
    }
}

/// The output shape of Resize or Upsample: by scales or by sizes, of all axes or of some (opset
/// 18).
pub(crate) fn resized(inputs: &Inputs<'_>) -> Result<Vec<usize>, Failure> {
    let node = inputs.node;
    let from = &inputs.require(0)?.shape;
    if attribute(node, "keep_aspect_ratio_policy").is_some_and(|policy| &policy.s[..] != b"stretch") {
        return Err(Failure::Unknown);
    }
    let axes = match ints(node, "axes") {
        Some(axes) => axes.into_iter().map(|axis| value::axis(axis, from.len())).collect::<Result<_, _>>()?,
        None => (0..from.len()).collect::<Vec<_>>(),
    };
    let mut shape = from.clone();
    let misfit = || Failure::broken("its sizes do not fit");
    let (scales, sizes) = scales_or_sizes(inputs);
    if let Some(sizes) = sizes {
        let sizes = sizes.as_integers()?;
        if sizes.len() != axes.len() {
            return Err(misfit());
        }
        for (&axis, &size) in axes.iter().zip(sizes) {
            shape[axis] = usize::try_from(size).map_err(|_| misfit())?;
        }
        return within_bounds(shape, from);
    }
    let scales = scales.ok_or_else(|| Failure::broken("it has neither scales nor sizes"))??;
    if scales.len() != axes.len() {
        return Err(misfit());
    }
    for (&axis, &scale) in axes.iter().zip(&scales) {
        let size = (from[axis] as f64 * f64::from(scale)).floor();
        // NaN must not pass.
        if !(0.0..=f64::from(u32::MAX)).contains(&size) {
            return Err(misfit());
        }
        shape[axis] = size as usize;
    }
    within_bounds(shape, from)
}

/// No map of a network that reads images is larger than the largest image; [`repeats`] looks at
/// every row and column.
fn within_bounds(shape: Vec<usize>, from: &[usize]) -> Result<Vec<usize>, Failure> {
    if shape.iter().zip(from).any(|(&size, &before)| size > before.max(LARGEST_SIDE)) {
        return Err(Failure::Broken(format!("it resizes to more than {LARGEST_SIDE} pixels a side")));
    }
    Ok(shape)
}

/// The factors or the sizes of Resize or Upsample; sizes have precedence.
fn scales_or_sizes<'a>(inputs: &'a Inputs<'_>) -> (Option<Result<Vec<f32>, Failure>>, Option<&'a Value>) {
    let given = |at: usize| inputs.get(at).filter(|value| value.count() > 0);
    // Opset 10 has no region of interest between the two, and no sizes.
    let (scales, sizes) = match inputs.node.op_type.as_str() {
        "Upsample" => (given(1), None),
        _ if inputs.opset < 11 => (given(1), None),
        _ => (given(2), given(3)),
    };
    let scales = match (scales.map(|scales| &scales.data), attribute(inputs.node, "scales")) {
        (Some(Data::Float(scales)), _) => Some(Ok(scales.clone())),
        (Some(_), _) => Some(Err(Failure::Unknown)),
        (None, scales) => scales.map(|scales| Ok(scales.floats.clone())),
    };
    (scales, sizes)
}

/// The factors by which Resize or Upsample repeats each row and each column; `None` for any other
/// resize.
///
/// Determined from the source of each pixel, so that all equivalent forms (sizes, half-pixel
/// coordinates, older operators) are recognized. Follows `coordinate_transformation_mode` and
/// `nearest_mode` of the ONNX specification.
pub(crate) fn repeats(inputs: &Inputs<'_>, from: &[usize], to: &[usize]) -> Option<[usize; 2]> {
    let (&[_, channels, ..], &[_, same, ..]) = (from, to) else { return None };
    if from.len() != 4 || to.len() != 4 || channels != same || from[0] != to[0] {
        return None;
    }
    let node = inputs.node;
    let text = |name: &str, default: &str| {
        attribute(node, name)
            .map_or_else(|| default.to_owned(), |text| String::from_utf8_lossy(&text.s).into_owned())
    };
    let old = node.op_type == "Upsample" || inputs.opset < 11;
    if text("mode", "nearest") != "nearest" || int(node, "antialias", 0) != 0 {
        return None;
    }
    let (transformation, rounding) = match old {
        true => ("asymmetric".to_owned(), "floor".to_owned()),
        false => {
            (text("coordinate_transformation_mode", "half_pixel"), text("nearest_mode", "round_prefer_floor"))
        }
    };
    // A factor such as 2.01 may give the same size as 2, but other pixels.
    if let (Some(Ok(scales)), None) = scales_or_sizes(inputs)
        && scales.iter().any(|scale| scale.fract() != 0.0)
    {
        return None;
    }
    let source = |at: usize, from: usize, to: usize| -> Option<usize> {
        let (at, scale) = (at as f64, to as f64 / from as f64);
        let original = match transformation.as_str() {
            "asymmetric" => at / scale,
            "half_pixel" | "half_pixel_symmetric" => (at + 0.5) / scale - 0.5,
            "pytorch_half_pixel" if to > 1 => (at + 0.5) / scale - 0.5,
            "pytorch_half_pixel" => 0.0,
            "align_corners" if to > 1 => at * (from as f64 - 1.0) / (to as f64 - 1.0),
            "align_corners" => 0.0,
            _ => return None,
        };
        let whole = match rounding.as_str() {
            "floor" => original.floor(),
            "ceil" => original.ceil(),
            "round_prefer_floor" => (original - 0.5).ceil(),
            "round_prefer_ceil" => (original + 0.5).floor(),
            _ => return None,
        };
        Some(whole.clamp(0.0, from as f64 - 1.0) as usize)
    };
    let factor = |axis: usize| -> Option<usize> {
        let (from, to) = (from[axis], to[axis]);
        let factor = to.checked_div(from).filter(|factor| *factor > 0 && to.is_multiple_of(from))?;
        (0..to).all(|at| source(at, from, to) == Some(at / factor)).then_some(factor)
    };
    Some([factor(2)?, factor(3)?])
}
