//! The ground truth of a picture, in the form that detectors are trained and evaluated with.

use serde::{Deserialize, Serialize};

use crate::field::Point;

/// An eye's box against the distance between its corners, before it is turned: the rule of the data
/// set the default model was trained on.
const BOX_WIDTH: f32 = 1.45;
const BOX_HEIGHT: f32 = 0.95;

/// The verdict over a picture: open if any eye is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// At least one eye is open.
    Open,
    /// There are eyes, and all are closed.
    Closed,
    /// No eye can be seen.
    NoEyes,
}

/// An axis-aligned box in pixels, `x` and `y` its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BoundingBox {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

/// One eye that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EyeTruth {
    /// [`State::Open`] or [`State::Closed`].
    pub state: State,
    /// Where it is.
    #[serde(rename = "box")]
    pub bounds: BoundingBox,
}

impl EyeTruth {
    /// From the eye's corners in pixels. None when its middle lies outside the picture.
    pub(crate) fn from_corners(state: State, corners: [Point; 2], size: (u32, u32)) -> Option<Self> {
        let [a, b] = corners;
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let distance = (dx * dx + dy * dy).sqrt();
        let (cos, sin) = (dx / distance, dy / distance);
        let (long, short) = (0.5 * BOX_WIDTH * distance, 0.5 * BOX_HEIGHT * distance);
        // Half the extents of a turned ellipse.
        let half_x = ((long * cos) * (long * cos) + (short * sin) * (short * sin)).sqrt();
        let half_y = ((long * sin) * (long * sin) + (short * cos) * (short * cos)).sqrt();
        let (cx, cy) = (0.5 * (a.x + b.x), 0.5 * (a.y + b.y));
        let (width, height) = (size.0 as f32, size.1 as f32);
        if !(0.0..width).contains(&cx) || !(0.0..height).contains(&cy) {
            return None;
        }
        let (left, right) = ((cx - half_x).max(0.0), (cx + half_x).min(width));
        let (top, bottom) = ((cy - half_y).max(0.0), (cy + half_y).min(height));
        let bounds = BoundingBox { x: left, y: top, width: right - left, height: bottom - top };
        Some(Self { state, bounds })
    }

    /// A line of a YOLO label file: class, centre and size as fractions of the picture.
    pub fn yolo_line(&self, size: (u32, u32)) -> String {
        let class_id = if self.state == State::Open { 0 } else { 1 };
        let (w, h) = (size.0 as f32, size.1 as f32);
        let b = self.bounds;
        format!(
            "{class_id} {:.6} {:.6} {:.6} {:.6}",
            (b.x + 0.5 * b.width) / w,
            (b.y + 0.5 * b.height) / h,
            b.width / w,
            b.height / h
        )
    }
}
