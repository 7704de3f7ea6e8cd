//! From raw head maps to candidate boxes, as YOLOv5's detection layer and `non_max_suppression`
//! define them (multi_label off). Cells below the threshold are never decoded. Works on slices;
//! suppression is the caller's task.

use crate::metadata::{HeadMetadata, ModelMetadata};

/// Box (x, y, width, height) and objectness come before the class scores.
const BOX_VALUES: usize = 5;
/// The scan compares logits and passes slightly more than the exact test on probabilities after it.
const LOGIT_MARGIN: f32 = 1e-3;

/// One head's logits, logically `[anchors · (5 + classes), height, width]`, in any strided layout.
#[derive(Clone, Copy, Debug)]
pub struct HeadMap<'a> {
    /// The values, from channel 0 of cell (0, 0) on.
    pub data: &'a [f32],
    /// Rows of cells.
    pub height: usize,
    /// Cells of a row.
    pub width: usize,
    /// Anchors · (5 + classes).
    pub channels: usize,
    /// Floats from a channel to the next.
    pub channel_stride: usize,
    /// Floats from a row to the next.
    pub row_stride: usize,
    /// Floats from a cell to the next in its row.
    pub column_stride: usize,
}

/// A box above the threshold, before suppression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Left, top, right, bottom in pixels of the network's input.
    pub xyxy: [f32; 4],
    /// Objectness times the best class's probability.
    pub confidence: f32,
    /// The best class.
    pub class_id: usize,
}

/// Appends every candidate with σ(objectness) and σ(objectness) · σ(class) above
/// `confidence_threshold`. Order: head, anchor, row, column, as in the exporter's output.
///
/// # Panics
/// If `heads` don't match `metadata`, because they are another model's.
pub fn decode(
    heads: &[HeadMap<'_>],
    metadata: &ModelMetadata,
    confidence_threshold: f32,
    out: &mut Vec<Candidate>,
) {
    assert_eq!(heads.len(), metadata.heads.len(), "number of heads");
    let threshold = confidence_threshold.clamp(0.0, 1.0);
    // ln(t / (1 - t)) is -∞ at 0 and +∞ at 1, as it should be.
    let logit = (threshold / (1.0 - threshold)).ln() - LOGIT_MARGIN;
    for (map, head) in heads.iter().zip(metadata.heads) {
        let values = BOX_VALUES + metadata.class_names.len();
        assert_eq!(
            map.channels,
            head.anchors.len() * values,
            "channels of the head with stride {}",
            head.stride
        );
        for (index, &anchor) in head.anchors.iter().enumerate() {
            let anchor = Anchor { map, head, size: anchor, first_channel: index * values, values };
            anchor.scan(logit, threshold, out);
        }
    }
}

/// One anchor of a head, over all its cells.
struct Anchor<'a> {
    map: &'a HeadMap<'a>,
    head: &'a HeadMetadata,
    size: (f32, f32),
    first_channel: usize,
    values: usize,
}

impl Anchor<'_> {
    fn scan(&self, logit: f32, threshold: f32, out: &mut Vec<Candidate>) {
        let objectness = (self.first_channel + 4) * self.map.channel_stride;
        for y in 0..self.map.height {
            let row = y * self.map.row_stride;
            for x in 0..self.map.width {
                let cell = row + x * self.map.column_stride;
                if self.map.data[cell + objectness] > logit {
                    out.extend(self.decode_cell(cell, x, y, threshold));
                }
            }
        }
    }

    fn decode_cell(&self, cell: usize, x: usize, y: usize, threshold: f32) -> Option<Candidate> {
        let value =
            |i: usize| sigmoid(self.map.data[cell + (self.first_channel + i) * self.map.channel_stride]);
        let objectness = value(4);
        if objectness <= threshold {
            return None;
        }
        // The first of equal scores wins, as in the reference.
        let (class_id, score) = (BOX_VALUES..self.values)
            .map(|i| (i - BOX_VALUES, value(i)))
            .reduce(|best, other| if other.1 > best.1 { other } else { best })?;
        let confidence = objectness * score;
        if confidence.is_nan() || confidence <= threshold {
            return None;
        }
        let stride = self.head.stride as f32;
        let center_x = (2.0 * value(0) - 0.5 + x as f32) * stride;
        let center_y = (2.0 * value(1) - 0.5 + y as f32) * stride;
        let half_width = (2.0 * value(2)).powi(2) * self.size.0 / 2.0;
        let half_height = (2.0 * value(3)).powi(2) * self.size.1 / 2.0;
        let xyxy =
            [center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height];
        xyxy.iter().all(|edge| edge.is_finite()).then_some(Candidate { xyxy, confidence, class_id })
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: ModelMetadata = ModelMetadata {
        name: "test",
        version: "000000000000",
        license: "CC0-1.0",
        input_width: 32,
        input_height: 16,
        class_names: &["eye_open", "eye_closed"],
        open_classes: &[0],
        closed_classes: &[1],
        heads: &[HeadMetadata { stride: 8, anchors: &[(10.0, 6.0), (20.0, 12.0)] }],
        quantized: false,
        parameters: 0,
        multiply_accumulates: 0,
    };
    const OFF: f32 = -20.0;

    /// A map of 2 × 4 cells, channels first, everything off except `cells` (anchor, y, x, values).
    fn planes(cells: &[(usize, usize, usize, [f32; 7])]) -> Vec<f32> {
        let mut data = vec![OFF; 14 * 8];
        for (anchor, y, x, values) in cells {
            for (i, value) in values.iter().enumerate() {
                data[(anchor * 7 + i) * 8 + y * 4 + x] = *value;
            }
        }
        data
    }

    fn map(data: &[f32]) -> HeadMap<'_> {
        HeadMap {
            data,
            height: 2,
            width: 4,
            channels: 14,
            channel_stride: 8,
            row_stride: 4,
            column_stride: 1,
        }
    }

    fn decoded(map: HeadMap<'_>, threshold: f32) -> Vec<Candidate> {
        let mut out = Vec::new();
        decode(&[map], &METADATA, threshold, &mut out);
        out
    }

    #[test]
    fn zero_logits_give_a_box_of_the_anchors_size_at_the_cells_centre() {
        let data = planes(&[(1, 1, 2, [0.0, 0.0, 0.0, 0.0, 20.0, -1.0, 20.0])]);
        let found = decoded(map(&data), 0.5);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class_id, 1);
        assert!((found[0].confidence - 1.0).abs() < 1e-6);
        assert_eq!(found[0].xyxy, [20.0 - 10.0, 12.0 - 6.0, 20.0 + 10.0, 12.0 + 6.0]);
    }

    #[test]
    fn the_product_of_objectness_and_class_has_to_pass_the_threshold() {
        // σ(1) = 0.731, squared 0.534.
        let data = planes(&[(0, 0, 0, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, OFF])]);
        assert_eq!(decoded(map(&data), 0.53).len(), 1);
        assert_eq!(decoded(map(&data), 0.54).len(), 0);
        assert_eq!(decoded(map(&data), 0.74).len(), 0);
    }

    #[test]
    fn what_is_no_number_is_no_candidate() {
        for at in 0..7 {
            let mut values = [0.0, 0.0, 0.0, 0.0, 20.0, 20.0, OFF];
            values[at] = f32::NAN;
            assert_eq!(decoded(map(&planes(&[(0, 0, 0, values)])), 0.5).len(), usize::from(at == 6), "{at}");
        }
    }

    #[test]
    fn thresholds_of_zero_and_one_let_all_and_nothing_pass() {
        let data = planes(&[(0, 0, 0, [0.0, 0.0, 0.0, 0.0, 30.0, 30.0, OFF])]);
        assert_eq!(decoded(map(&data), 0.0).len(), 16);
        assert_eq!(decoded(map(&data), 1.0).len(), 0);
    }

    #[test]
    fn the_same_map_stored_channels_last_decodes_the_same() {
        let cells = [
            (0, 0, 3, [0.3, -0.2, 1.0, 0.5, 2.0, 1.5, 0.1]),
            (1, 1, 0, [-1.0, 0.7, -0.4, 0.2, 3.0, 0.0, 2.0]),
        ];
        let data = planes(&cells);
        let pitch = 16;
        let mut moved = vec![f32::NAN; 8 * pitch];
        for channel in 0..14 {
            for cell in 0..8 {
                moved[cell * pitch + channel] = data[channel * 8 + cell];
            }
        }
        let last = HeadMap {
            data: &moved,
            channel_stride: 1,
            row_stride: 4 * pitch,
            column_stride: pitch,
            ..map(&data)
        };
        let found = decoded(last, 0.3);
        assert_eq!(found.len(), 2);
        assert_eq!(found, decoded(map(&data), 0.3));
    }

    #[test]
    #[should_panic(expected = "channels of the head with stride 8")]
    fn maps_of_another_model_are_refused() {
        let data = vec![0.0; 21 * 8];
        decoded(HeadMap { channels: 21, ..map(&data) }, 0.5);
    }
}
