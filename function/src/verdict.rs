//! Derives the verdict from the detected eyes.
//!
//! An image with no eye above the threshold is `no_eyes`. Otherwise it is `open` if any eye is
//! open: the case that matters is an open eye in a sleeper. `confidence` is that of the deciding
//! eye: the most confident open one, or, where all are closed, the most confident closed one. For
//! `no_eyes` it is one minus the strongest candidate that stayed below the threshold.

use serde::Serialize;

use crate::detection::{Detection, EyeState};

/// What the image shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// At least one open eye.
    Open,
    /// Eyes, all of them closed.
    Closed,
    /// No eye above the threshold.
    NoEyes,
}

impl State {
    /// Every state, in the order of the metrics' label.
    pub const ALL: [State; 3] = [State::Open, State::Closed, State::NoEyes];

    /// The name on the wire and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::NoEyes => "no_eyes",
        }
    }
}

/// State and confidence of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What the image shows.
    pub state: State,
    /// 0..1, see the module's text.
    pub confidence: f32,
}

/// Judges the eyes that were found; `strongest_rejected` is the confidence of the best candidate
/// that stayed below the threshold, or the least that is decoded where there is none.
pub fn judge(eyes: &[Detection], strongest_rejected: f32) -> Verdict {
    let best = |state: EyeState| {
        eyes.iter().filter(|eye| eye.state == state).map(|eye| eye.confidence).max_by(f32::total_cmp)
    };
    if let Some(confidence) = best(EyeState::Open) {
        Verdict { state: State::Open, confidence }
    } else if let Some(confidence) = best(EyeState::Closed) {
        Verdict { state: State::Closed, confidence }
    } else {
        Verdict { state: State::NoEyes, confidence: (1.0 - strongest_rejected).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;

    fn eye(state: EyeState, confidence: f32) -> Detection {
        Detection { state, confidence, bounding_box: BoundingBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 } }
    }

    #[test]
    fn one_open_eye_beats_a_more_confident_closed_one() {
        let verdict = judge(&[eye(EyeState::Closed, 0.95), eye(EyeState::Open, 0.4)], 0.0);
        assert_eq!(verdict, Verdict { state: State::Open, confidence: 0.4 });
    }

    #[test]
    fn only_closed_eyes_are_closed_with_the_best_confidence() {
        let verdict = judge(&[eye(EyeState::Closed, 0.6), eye(EyeState::Closed, 0.8)], 0.0);
        assert_eq!(verdict, Verdict { state: State::Closed, confidence: 0.8 });
    }

    #[test]
    fn no_eye_is_as_sure_as_the_best_rejected_candidate_is_weak() {
        assert_eq!(judge(&[], 0.25), Verdict { state: State::NoEyes, confidence: 0.75 });
    }
}
