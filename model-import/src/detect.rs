//! Recognizes a YOLOv5 detection model by its inputs, outputs and computation.

use std::collections::{HashMap, HashSet};

use crate::ImportError;
use crate::evaluate::evaluate;
use crate::fold::Shapes;
use crate::input::{ImageInput, check_size};
use crate::layers::{self, Body};
use crate::onnx::{Graph, declared_shape, declared_type};
use crate::value::{Data, MAX_NUMBERS, Value};

/// Most heads: more than any YOLOv5 model has (P6 models: four), and the most results of a
/// generated network.
const MOST_HEADS: usize = 8;
/// Box centre and size, then objectness, come before the classes.
const BOX_AND_OBJECTNESS: usize = 5;
/// Tolerance between the tail and YOLOv5's formula, in strides; half-precision grids are within it.
const DECODE_TOLERANCE: f32 = 4e-3;
/// The same of a quantized file, whose tail may have its grid in 255 levels: up to 128 cells.
const ROUNDED_DECODE_TOLERANCE: f32 = 0.26;

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

/// The recognized model.
#[derive(Debug)]
pub(crate) struct Detector {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) classes: usize,
    pub(crate) heads: Vec<Head>,
    pub(crate) body: Body,
}

/// A head's raw map: its name, channels, rows and columns.
type Map = (String, [usize; 3]);

/// The output that holds the decoded candidates.
struct Candidates {
    output: String,
    rows: usize,
    columns: usize,
}

/// Recognizes the folded graph; the error names what it is instead.
pub(crate) fn recognize(
    graph: &Graph<'_>,
    shapes: &Shapes,
    image: &ImageInput,
    quantized: bool,
) -> Result<Detector, ImportError> {
    let outputs: Vec<(String, Option<Vec<usize>>)> =
        graph.proto.output.iter().map(|output| (output.name.clone(), output_shape(output, shapes))).collect();
    let candidates = candidate_output(graph, &outputs)?;
    let logits = head_logits(graph, &candidates.output);
    let names: Vec<&str> = logits.iter().map(String::as_str).collect();
    let &ImageInput { height, width, .. } = image;
    let body = layers::walk(graph, &graph.ancestors(&names, &[]), shapes)?;

    // Largest map first: P3, P4, P5, which is also the order of the candidates.
    let mut maps: Vec<Map> = logits.into_iter().map(|name| (name.clone(), body.shapes[&name])).collect();
    maps.sort_by_key(|(_, shape)| std::cmp::Reverse(shape[1]));
    check_maps(graph, &candidates, &maps, &outputs)?;
    let largest_stride = maps.last().map_or(0, |(_, [_, rows, _])| height.div_ceil(*rows));
    check_size(width, height, largest_stride)?;
    for (_, [channels, map_height, map_width]) in &maps {
        let square = height.is_multiple_of(*map_height) && height / map_height * map_width == width;
        if !square {
            let reason = format!("a head of {channels} channels, {map_height} rows and {map_width} columns");
            return Err(ImportError::AnchorsNotFound { reason });
        }
    }
    let heads = decode_heads(graph, &candidates, &maps, height, quantized)?;
    Ok(Detector { height, width, classes: candidates.columns - BOX_AND_OBJECTNESS, heads, body })
}

/// The computed shape, or else the declared one, if every axis is declared.
fn output_shape(output: &onnx_ir::ValueInfoProto, shapes: &Shapes) -> Option<Vec<usize>> {
    let declared = || declared_type(output)?.1.into_iter().collect::<Option<Vec<_>>>();
    shapes.get(&output.name).cloned().or_else(declared)
}

/// The output that may hold candidates; the error tells from the outputs what the model is instead.
fn candidate_output(
    graph: &Graph<'_>,
    outputs: &[(String, Option<Vec<usize>>)],
) -> Result<Candidates, ImportError> {
    let find = |fits: fn(&[usize]) -> bool| {
        outputs.iter().find_map(|(name, shape)| Some((name, shape.as_ref().filter(|shape| fits(shape))?)))
    };
    // With --batch-size 1; some exporters omit the batch axis.
    let three = find(|shape| matches!(shape, [1, _, columns] if *columns > BOX_AND_OBJECTNESS));
    let two = || find(|shape| matches!(shape, [rows, columns] if *rows > 1 && *columns > BOX_AND_OBJECTNESS));
    if let Some((output, shape)) = three.or_else(two) {
        let [.., rows, columns] = shape[..] else { unreachable!("it has two axes at least") };
        return Ok(Candidates { output: output.clone(), rows, columns });
    }
    let shapes = || {
        let shapes = outputs.iter().zip(&graph.proto.output).map(|((_, shape), declared)| match shape {
            Some(shape) => format!("{shape:?}"),
            None => declared_shape(declared),
        });
        shapes.collect::<Vec<_>>().join(", ")
    };
    // Undecoded maps [1, 3, rows, columns, 5 + classes]: with --train, and what YOLOv5 up to v5
    // exported by default.
    if let Some((_, map)) =
        find(|shape| matches!(shape, [1, _, _, _, columns] if *columns > BOX_AND_OBJECTNESS))
    {
        return Err(ImportError::Undecoded { shape: format!("{map:?}") });
    }
    if outputs.len() == 1 && find(|shape| matches!(shape, [1, _])).is_some() {
        return Err(ImportError::Classifier { shape: shapes() });
    }
    Err(ImportError::NotDetection { shapes: shapes() })
}

/// The convolutions nearest to the output: their results are the raw head maps.
fn head_logits(graph: &Graph<'_>, output: &str) -> Vec<String> {
    let (mut heads, mut seen, mut pending) = (Vec::new(), HashSet::new(), vec![output]);
    while let Some(value) = pending.pop() {
        if !seen.insert(value) {
            continue;
        }
        match graph.producer(value) {
            Some(node) if node.op_type == "Conv" => heads.push(node.output[0].clone()),
            Some(node) => pending.extend(node.input.iter().map(String::as_str)),
            None => {}
        }
    }
    heads
}

/// Checks that the candidates are decoded from the maps; the error names the kind of head
/// otherwise.
fn check_maps(
    graph: &Graph<'_>,
    candidates: &Candidates,
    maps: &[Map],
    outputs: &[(String, Option<Vec<usize>>)],
) -> Result<(), ImportError> {
    let &Candidates { ref output, rows, columns } = candidates;
    let shape = format!("[1, {rows}, {columns}]");
    let cells = |[channels, map_height, map_width]: [usize; 3], columns: usize| {
        channels.is_multiple_of(columns).then(|| channels / columns * map_height * map_width)
    };
    let found = maps.iter().try_fold(0, |all, (_, map)| Some(all + cells(*map, columns)?));
    let Some(first) = maps.first() else { return Err(ImportError::NotDetection { shapes: shape }) };
    if found == Some(rows) {
        // Prototypes of masks are larger than the largest head's map.
        let prototypes = outputs.iter().filter_map(|(_, shape)| shape.as_ref()).find(
            |shape| matches!(shape[..], [1, _, height, width] if height > first.1[1] && width > first.1[2]),
        );
        if let Some(prototypes) = prototypes {
            return Err(ImportError::Segmentation { shape: format!("{prototypes:?}") });
        }
        if maps.len() > MOST_HEADS {
            return Err(ImportError::HeadCount { found: maps.len(), most: MOST_HEADS });
        }
        return Ok(());
    }
    let tail_has = |operator: &str| {
        let borders: Vec<&str> = maps.iter().map(|(name, _)| name.as_str()).collect();
        graph.ancestors(&[output], &borders).iter().any(|node| node.op_type == operator)
    };
    if rows < columns || tail_has("Softmax") {
        return Err(ImportError::AnchorFree { shape });
    }
    if tail_has("Exp") || maps.iter().any(|(_, [channels, ..])| *channels == 4) {
        return Err(ImportError::DecoupledHead { shape, convolutions: maps.len() });
    }
    let reason = format!("{} convolutions before {rows} candidates of {columns} numbers", maps.len());
    Err(ImportError::AnchorsNotFound { reason })
}

/// Reads strides and anchors by evaluating the tail on zeros, and verifies the decoding on other
/// logits.
fn decode_heads(
    graph: &Graph<'_>,
    candidates: &Candidates,
    maps: &[Map],
    height: usize,
    quantized: bool,
) -> Result<Vec<Head>, ImportError> {
    let &Candidates { ref output, rows: all_rows, columns } = candidates;
    if all_rows.checked_mul(columns).is_none_or(|count| count > MAX_NUMBERS) {
        let reason = format!("{all_rows} candidates of {columns} numbers are too many; use a smaller input");
        return Err(ImportError::AnchorsNotFound { reason });
    }
    let run = |logit: fn(usize) -> f32| {
        let known: HashMap<String, Value> = (maps.iter())
            .map(|(name, [channels, rows, cells])| {
                let values = (0..channels * rows * cells).map(logit).collect();
                let shape = vec![1, *channels, *rows, *cells];
                (name.clone(), Value { shape, data: Data::Float(values) })
            })
            .collect();
        let decoded = evaluate(graph, output, known.clone())
            .map_err(|reason| ImportError::AnchorsNotFound { reason })?;
        Ok::<_, ImportError>((known, decoded))
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
    let tolerance = if quantized { ROUNDED_DECODE_TOLERANCE } else { DECODE_TOLERANCE };
    check_decoding(&heads, &logits, &decoded, columns, tolerance)?;
    Ok(heads)
}

/// Logits from -4 to 4 in an order that a wrong axis order would change.
fn spread_logit(at: usize) -> f32 {
    (at.wrapping_mul(2_654_435_761) % 8000) as f32 / 1000.0 - 4.0
}

/// YOLOv5's decoding (`Detect.forward` in its models/yolo.py), compared with what the tail
/// computed.
fn check_decoding(
    heads: &[Head],
    logits: &HashMap<String, Value>,
    decoded: &[f32],
    columns: usize,
    tolerance: f32,
) -> Result<(), ImportError> {
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    let mut found = decoded.chunks_exact(columns);
    for head in heads {
        let stride = head.stride as f32;
        let [rows, cells] = head.cells;
        let Data::Float(map) = &logits[&head.logits].data else { unreachable!("logits are floats") };
        for (anchor, &(anchor_width, anchor_height)) in head.anchors.iter().enumerate() {
            if !(anchor_width > 0.0 && anchor_height > 0.0) {
                let reason = format!("anchor {anchor} of stride {stride} is {anchor_width}x{anchor_height}");
                return Err(ImportError::AnchorsNotFound { reason });
            }
            for cell in 0..rows * cells {
                let Some(found) = found.next() else {
                    let reason = format!("there are fewer than {} candidates", rows * cells);
                    return Err(ImportError::AnchorsNotFound { reason });
                };
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
                    let close = (found - expected).abs() <= tolerance * unit;
                    if close {
                        continue;
                    }
                    // Boxes and objectness are right: only the columns after them differ.
                    if column >= BOX_AND_OBJECTNESS && cell == 0 && anchor == 0 {
                        return Err(ImportError::MoreThanBoxes { column, columns });
                    }
                    let reason = format!(
                        "stride {stride}, anchor {anchor}, cell {cell}, column {column}: {found} instead of {expected}"
                    );
                    return Err(ImportError::AnchorsNotFound { reason });
                }
            }
        }
    }
    Ok(())
}
