//! Boxes, their overlap and class-wise non-maximum suppression, as YOLOv5's `general.py` defines
//! them.

use serde::Serialize;

/// Most boxes kept in one image (`max_det` of YOLOv5).
pub const MAX_DETECTIONS: usize = 300;

/// Most candidates that NMS considers (`max_nms` of YOLOv5).
pub const MAX_NMS_CANDIDATES: usize = 30_000;

/// State of one eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EyeState {
    /// The eye is open.
    Open,
    /// The eye is closed.
    Closed,
}

/// An axis-aligned box; origin top left, x to the right, y down, unit pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BoundingBox {
    /// From the corners `x1, y1, x2, y2`.
    pub fn from_xyxy([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }
    }

    fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Intersection over union, 0..1.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

/// One eye that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// Open or closed.
    pub state: EyeState,
    /// Objectness times class probability, 0..1.
    pub confidence: f32,
    /// Its box, in pixels of the image as sent (upright, where EXIF says how it is turned).
    #[serde(rename = "box")]
    pub bounding_box: BoundingBox,
}

/// Keeps the most confident of each group of overlapping boxes of one class, most confident first.
pub fn nms(mut candidates: Vec<Detection>, iou_threshold: f32) -> Vec<Detection> {
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    candidates.truncate(MAX_NMS_CANDIDATES);
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in candidates {
        if kept.len() == MAX_DETECTIONS {
            break;
        }
        let overlaps = |other: &Detection| {
            other.state == candidate.state && other.bounding_box.iou(&candidate.bounding_box) > iou_threshold
        };
        if !kept.iter().any(overlaps) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eye(state: EyeState, confidence: f32, x: f32) -> Detection {
        Detection { state, confidence, bounding_box: BoundingBox { x, y: 0.0, width: 10.0, height: 10.0 } }
    }

    #[test]
    fn overlapping_boxes_of_one_class_become_the_most_confident_one() {
        let kept = nms(vec![eye(EyeState::Open, 0.5, 1.0), eye(EyeState::Open, 0.9, 0.0)], 0.45);
        assert_eq!(kept, [eye(EyeState::Open, 0.9, 0.0)]);
    }

    #[test]
    fn overlapping_boxes_of_different_classes_both_stay() {
        let kept = nms(vec![eye(EyeState::Open, 0.5, 1.0), eye(EyeState::Closed, 0.9, 0.0)], 0.45);
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn a_box_suppressed_by_nothing_that_was_kept_stays() {
        // The middle one overlaps both others, which do not overlap each other enough.
        let kept = nms(
            vec![eye(EyeState::Open, 0.9, 0.0), eye(EyeState::Open, 0.8, 3.0), eye(EyeState::Open, 0.7, 6.0)],
            0.45,
        );
        assert_eq!(kept.iter().map(|eye| eye.confidence).collect::<Vec<_>>(), [0.9, 0.7]);
    }

    #[test]
    fn iou_of_half_shifted_boxes_is_one_third() {
        let (a, b) = (eye(EyeState::Open, 1.0, 0.0).bounding_box, eye(EyeState::Open, 1.0, 5.0).bounding_box);
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn boxes_without_area_overlap_nothing() {
        let flat = BoundingBox { x: 0.0, y: 0.0, width: 0.0, height: 0.0 };
        assert_eq!(flat.iou(&flat), 0.0);
    }
}
