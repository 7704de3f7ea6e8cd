//! Recognizes a YOLOv5 detection model by what its graph takes, gives and computes.

use std::collections::{HashMap, HashSet};

use onnx_ir::ValueInfoProto;

use crate::ImportError;
use crate::evaluate::evaluate;
use crate::layers::{self, Body};
use crate::onnx::{Graph, declared_shape, declared_type};
use crate::tensor::{Tensor, data_type};

/// The largest stride of YOLOv5 n to x; a P6 model's 64 is refused with its fourth head.
const LARGEST_STRIDE: usize = 32;
/// P3, P4, P5.
const HEADS: usize = 3;
/// Box centre and size, then objectness, come before the classes.
const BOX_AND_OBJECTNESS: usize = 5;
/// How far the tail may be from YOLOv5's formula, in strides: half-precision grids stay within.
const DECODE_TOLERANCE: f32 = 4e-3;

/// One detection head.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Input pixels per cell.
    pub stride: usize,
    /// Anchor boxes (width, height), in pixels of the input.
    pub anchors: Vec<(f32, f32)>,
    /// Rows and columns of the head's map.
    pub cells: [usize; 2],
    /// The value in the graph that holds the head's logits.
    pub(crate) logits: String,
}

/// What the graph is.
#[derive(Debug)]
pub(crate) struct Detector {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) classes: usize,
    pub(crate) heads: Vec<Head>,
    pub(crate) body: Body,
}

/// Recognizes the graph, or says what it is instead.
pub(crate) fn recognize(graph: &Graph<'_>) -> Result<Detector, ImportError> {
    let (input, [height, width]) = image_input(graph)?;
    let (output, rows, columns) = candidate_output(graph)?;
    check_input_size(width, height)?;
    let logits = head_logits(graph, &output)?;
    let names: Vec<&str> = logits.iter().map(String::as_str).collect();
    let body = layers::walk(graph, &graph.ancestors(&names, &[]), &input, [3, height, width])?;

    // Largest map first: P3, P4, P5, which is also the order of the candidates.
    let mut maps: Vec<(String, [usize; 3])> =
        logits.into_iter().map(|name| (name.clone(), body.shapes[&name])).collect();
    maps.sort_by_key(|(_, shape)| std::cmp::Reverse(shape[1]));
    let classes = columns - BOX_AND_OBJECTNESS;
    let mut candidates = 0;
    for (_, [channels, map_height, map_width]) in &maps {
        let divides =
            channels % columns == 0 && height % map_height == 0 && height / map_height == width / map_width;
        if !divides {
            let reason = format!("a head of {channels} channels, {map_height} rows and {map_width} columns");
            return Err(ImportError::AnchorsNotFound { reason });
        }
        candidates += channels / columns * map_height * map_width;
    }
    if candidates != rows {
        return Err(ImportError::AnchorsNotFound {
            reason: format!("{candidates} cells for {rows} candidates"),
        });
    }
    let heads = decode_heads(graph, &output, &maps, height, columns)?;
    Ok(Detector { height, width, classes, heads, body })
}

/// The one image input and its size.
fn image_input(graph: &Graph<'_>) -> Result<(String, [usize; 2]), ImportError> {
    let inputs = graph.inputs();
    let [input] = inputs[..] else { return Err(ImportError::InputCount { found: inputs.len() }) };
    let shape = declared_shape(input);
    let (element_type, axes) =
        declared_type(input).ok_or_else(|| ImportError::InputShape { shape: shape.clone() })?;
    if axes.iter().any(Option::is_none) {
        return Err(ImportError::DynamicInput { shape });
    }
    let axes: Vec<usize> = axes.into_iter().flatten().collect();
    let [batch, 3, height, width] = axes[..] else { return Err(ImportError::InputShape { shape }) };
    if batch != 1 {
        return Err(ImportError::Batch { shape, batch });
    }
    if element_type != data_type::FLOAT {
        return Err(ImportError::InputType { element_type: data_type::name(element_type) });
    }
    Ok((input.name.clone(), [height, width]))
}

fn check_input_size(width: usize, height: usize) -> Result<(), ImportError> {
    if width.is_multiple_of(LARGEST_STRIDE) && height.is_multiple_of(LARGEST_STRIDE) {
        return Ok(());
    }
    let up = |size: usize| size.next_multiple_of(LARGEST_STRIDE);
    let suggestion =
        if width == height { up(width).to_string() } else { format!("{} {}", up(height), up(width)) };
    Err(ImportError::InputSize { width, height, multiple: LARGEST_STRIDE, suggestion })
}

/// The output of decoded candidates `[1, rows, columns]`, or what the outputs say the model is instead.
fn candidate_output(graph: &Graph<'_>) -> Result<(String, usize, usize), ImportError> {
    if let Some(node) =
        graph.proto.node.iter().find(|node| matches!(&*node.op_type, "NonMaxSuppression" | "TopK"))
    {
        return Err(ImportError::Postprocessing { operator: node.op_type.clone() });
    }
    let outputs = &graph.proto.output;
    let rank = |output: &ValueInfoProto| declared_type(output).map_or(0, |(_, axes)| axes.len());
    let of_rank = |wanted: usize| outputs.iter().find(|output| rank(output) == wanted);
    if let (Some(_), Some(prototypes)) = (of_rank(3), of_rank(4)) {
        return Err(ImportError::Segmentation { shape: declared_shape(prototypes) });
    }
    let Some(output) = of_rank(3) else {
        let shapes = outputs.iter().map(declared_shape).collect::<Vec<_>>().join(", ");
        // Undecoded maps [1, 3, rows, columns, 5 + classes]: what YOLOv5 up to v5 exported by default.
        return Err(match (of_rank(5), outputs.len()) {
            (Some(map), _) => {
                ImportError::OldExport { sign: format!("it gives undecoded maps {}", declared_shape(map)) }
            }
            (None, 1) if rank(&outputs[0]) == 2 => ImportError::Classifier { shape: shapes },
            _ => ImportError::NotDetection { shapes },
        });
    };
    let shape = declared_shape(output);
    let axes = declared_type(output).map(|(_, axes)| axes).unwrap_or_default();
    match axes[..] {
        [Some(1), Some(channels), Some(candidates)] if channels < candidates => {
            Err(ImportError::AnchorFree { shape })
        }
        [Some(1), Some(rows), Some(columns)] if columns > BOX_AND_OBJECTNESS => {
            Ok((output.name.clone(), rows, columns))
        }
        _ => Err(ImportError::NotDetection { shapes: shape }),
    }
}

/// The convolutions nearest to the output: their results are the raw head maps.
fn head_logits(graph: &Graph<'_>, output: &str) -> Result<Vec<String>, ImportError> {
    let (mut heads, mut seen, mut pending) = (Vec::new(), HashSet::new(), vec![output]);
    while let Some(value) = pending.pop() {
        if !seen.insert(value) {
            continue;
        }
        match graph.producer(value) {
            Some(node) if node.op_type == "Conv" => heads.push(node.output[0].clone()),
            Some(node) if node.op_type == "ScatterND" => {
                return Err(ImportError::OldExport { sign: "it writes boxes in place (ScatterND)".into() });
            }
            Some(node) => pending.extend(node.input.iter().map(String::as_str)),
            None => {}
        }
    }
    if heads.len() == HEADS { Ok(heads) } else { Err(ImportError::HeadCount { found: heads.len() }) }
}

/// Reads strides and anchors by running the tail on zeros, and proves the decoding on other logits.
fn decode_heads(
    graph: &Graph<'_>,
    output: &str,
    maps: &[(String, [usize; 3])],
    height: usize,
    columns: usize,
) -> Result<Vec<Head>, ImportError> {
    let run = |logit: fn(usize) -> f32| {
        let known: HashMap<String, Tensor> = (maps.iter())
            .map(|(name, [channels, rows, cells])| {
                let values = (0..channels * rows * cells).map(logit).collect();
                (name.clone(), Tensor::new(vec![1, *channels, *rows, *cells], values))
            })
            .collect();
        let decoded = evaluate(graph, output, known.clone())
            .map_err(|reason| ImportError::AnchorsNotFound { reason })?;
        Ok::<_, ImportError>((known, decoded.data))
    };
    // A logit of 0 is a sigmoid of 1/2: every box is its anchor, centred in its cell.
    let (_, at_rest) = run(|_| 0.0)?;
    let mut first_row = 0;
    let mut heads = Vec::with_capacity(maps.len());
    for (name, [channels, rows, cells]) in maps {
        let anchors = (0..channels / columns).map(|anchor| {
            let at = (first_row + anchor * rows * cells) * columns;
            (at_rest.get(at + 2).copied().unwrap_or(0.0), at_rest.get(at + 3).copied().unwrap_or(0.0))
        });
        let anchors: Vec<(f32, f32)> = anchors.collect();
        first_row += channels / columns * rows * cells;
        heads.push(Head { stride: height / rows, anchors, cells: [*rows, *cells], logits: name.clone() });
    }
    let (logits, decoded) = run(spread_logit)?;
    check_decoding(&heads, &logits, &decoded, columns)?;
    Ok(heads)
}

/// Logits spread over -4..4 in no order that a wrong axis order would keep.
fn spread_logit(at: usize) -> f32 {
    (at.wrapping_mul(2_654_435_761) % 8000) as f32 / 1000.0 - 4.0
}

/// YOLOv5's decoding (`Detect.forward` in its models/yolo.py), compared with what the tail computed.
fn check_decoding(
    heads: &[Head],
    logits: &HashMap<String, Tensor>,
    decoded: &[f32],
    columns: usize,
) -> Result<(), ImportError> {
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    let mut found = decoded.chunks_exact(columns);
    for head in heads {
        let stride = head.stride as f32;
        let [rows, cells] = head.cells;
        let map = &logits[&head.logits].data;
        for (anchor, &(anchor_width, anchor_height)) in head.anchors.iter().enumerate() {
            if !(anchor_width > 0.0 && anchor_height > 0.0) {
                let reason = format!("anchor {anchor} of stride {stride} is {anchor_width}x{anchor_height}");
                return Err(ImportError::AnchorsNotFound { reason });
            }
            for cell in 0..rows * cells {
                let Some(found) = found.next() else { break };
                let grid = [(cell % cells) as f32, (cell / cells) as f32];
                for (column, &found) in found.iter().enumerate() {
                    let value = sigmoid(map[(anchor * columns + column) * rows * cells + cell]);
                    let (expected, unit) = match column {
                        0 | 1 => ((2.0 * value - 0.5 + grid[column]) * stride, stride),
                        2 => ((2.0 * value).powi(2) * anchor_width, anchor_width),
                        3 => ((2.0 * value).powi(2) * anchor_height, anchor_height),
                        _ => (value, 1.0),
                    };
                    // Not a number must not pass.
                    let close = (found - expected).abs() <= DECODE_TOLERANCE * unit;
                    if !close {
                        let reason = format!(
                            "stride {stride}, anchor {anchor}, cell {cell}, column {column}: {found} instead of {expected}"
                        );
                        return Err(ImportError::AnchorsNotFound { reason });
                    }
                }
            }
        }
    }
    Ok(())
}
