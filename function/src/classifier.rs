//! Runs the model: pixels to eyes and verdict. Used on one inference thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::prelude::{Device, Int, Tensor};
use burn::tensor::TensorData;
use model_runtime::ModelMetadata;
use model_runtime::detect::{self, Candidate};
use model_runtime::heads::HeadTensor;
use model_runtime::ops::int8;

use crate::config::Thresholds;
use crate::detection::{BoundingBox, Detection, EyeState, nms};
use crate::letterbox::{Letterboxed, Transform, letterbox};
use crate::model;
use crate::telemetry::traces;
use crate::verdict::{Verdict, judge};
use picture::Frame;

/// Candidates below this are not decoded; it bounds the confidence of `no_eyes` (0.95).
const WEAKEST_CANDIDATE: f32 = 0.05;

/// The eyes in one image.
#[derive(Clone, Debug)]
pub struct Classification {
    /// State and confidence of the image.
    pub verdict: Verdict,
    /// The eyes, most confident first.
    pub eyes: Vec<Detection>,
    /// Time for letterboxing.
    pub preprocess: Duration,
    /// Time for the model.
    pub inference: Duration,
    /// Time for boxes, NMS and verdict.
    pub postprocess: Duration,
}

/// The built-in model, ready to run. A clone shares the weights.
#[derive(Clone)]
pub struct Classifier {
    model: Arc<model::Model>,
    device: Device,
}

impl Classifier {
    /// Metadata of the built-in model.
    pub fn metadata() -> &'static ModelMetadata {
        &model::METADATA
    }

    /// Loads the weights from the binary.
    pub fn load() -> Self {
        let device = Device::flex();
        Self { model: Arc::new(model::Model::from_embedded(&device)), device }
    }

    /// Runs the model once on gray, so that the first request does not pay for initialization. Not
    /// meant for an inference thread: the calling thread's scratch memory is freed.
    pub fn warm_up(&self) {
        let frame = Frame { width: 64, height: 64, pixels: picture::Pixels::Gray(vec![114; 64 * 64]) };
        self.classify(&frame, Thresholds { confidence: 0.5, iou: 0.5 });
        model_runtime::buffers::release();
    }

    /// The letterboxed image as the network's input, and the transform back to the image.
    fn prepare(&self, frame: &Frame) -> (Input, Transform) {
        let ModelMetadata { input_width: width, input_height: height, quantized, .. } = *Self::metadata();
        if quantized {
            let Letterboxed { samples, channels, transform } = letterbox(frame, width, height);
            return (Input::Levels(int8::levels_from(samples, [1, channels, height, width])), transform);
        }
        let Letterboxed { samples, channels, transform } = letterbox::<f32>(frame, width, height);
        let data = TensorData::new(samples, [1, channels, height, width]);
        (Input::Samples(Tensor::from_data(data, &self.device)), transform)
    }

    /// Finds the eyes in an image.
    pub fn classify(&self, frame: &Frame, thresholds: Thresholds) -> Classification {
        let metadata = Self::metadata();
        let start = Instant::now();
        let stage = traces::stage!("preprocess").entered();
        let (input, transform) = self.prepare(frame);
        drop(stage);
        let preprocessed = Instant::now();

        let stage = traces::stage!("inference").entered();
        let heads = match input {
            Input::Samples(images) => self.model.forward(images),
            Input::Levels(levels) => self.model.forward_levels(levels),
        };
        let heads = heads.map(HeadTensor::new); // heads × [1, A·(5+C), H/s, W/s]
        drop(stage);
        let inferred = Instant::now();

        let _stage = traces::stage!("postprocess").entered();
        let mut candidates = Vec::new();
        let maps = heads.each_ref().map(HeadTensor::map);
        detect::decode(&maps, metadata, thresholds.confidence.min(WEAKEST_CANDIDATE), &mut candidates);
        let strongest_rejected = candidates
            .iter()
            .map(|candidate| candidate.confidence)
            .filter(|confidence| *confidence <= thresholds.confidence)
            .fold(thresholds.confidence.min(WEAKEST_CANDIDATE), f32::max);
        candidates.retain(|candidate| candidate.confidence > thresholds.confidence);
        let detection = |candidate: &Candidate| {
            Some(Detection {
                state: eye_state(metadata, candidate.class_id)?,
                confidence: candidate.confidence,
                bounding_box: BoundingBox::from_xyxy(transform.to_image(candidate.xyxy)),
            })
        };
        let eyes = nms(candidates.iter().filter_map(detection).collect(), thresholds.iou);
        let verdict = judge(&eyes, strongest_rejected);
        Classification {
            verdict,
            eyes,
            preprocess: preprocessed - start,
            inference: inferred - preprocessed,
            postprocess: inferred.elapsed(),
        }
    }
}

/// The network's input: `[1, C, H, W]`.
enum Input {
    /// 0 to 1.
    Samples(Tensor<4>),
    /// 0 to 255, for a network in 8-bit integers.
    Levels(Tensor<4, Int>),
}

fn eye_state(metadata: &ModelMetadata, class_id: usize) -> Option<EyeState> {
    if metadata.open_classes.contains(&class_id) {
        Some(EyeState::Open)
    } else if metadata.closed_classes.contains(&class_id) {
        Some(EyeState::Closed)
    } else {
        // A model may have further classes (a face, a head), which are ignored.
        None
    }
}
