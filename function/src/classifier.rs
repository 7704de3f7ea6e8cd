//! The model with its eyes on: pixels in, eyes and verdict out. Runs on one inference thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::prelude::{Device, Tensor};
use burn::tensor::TensorData;
use model_runtime::ModelMetadata;
use model_runtime::detect::{self, Candidate};
use model_runtime::heads::HeadTensor;

use crate::config::Thresholds;
use crate::detection::{BoundingBox, Detection, EyeState, nms};
use crate::letterbox::letterbox;
use crate::model;
use crate::telemetry::traces;
use crate::verdict::{Verdict, judge};
use picture::Frame;

/// Candidates weaker than this are not even looked at; it bounds how sure `no_eyes` can be (0.95).
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
    /// What the built-in model is.
    pub fn metadata() -> &'static ModelMetadata {
        &model::METADATA
    }

    /// Takes the weights from the binary.
    pub fn load() -> Self {
        let device = Device::flex();
        Self { model: Arc::new(model::Model::from_embedded(&device)), device }
    }

    /// Runs the model once on gray, so that the first request finds everything in place. Not meant
    /// for an inference thread: what the calling thread worked in is given back.
    pub fn warm_up(&self) {
        let frame = Frame { width: 64, height: 64, pixels: picture::Pixels::Gray(vec![114; 64 * 64]) };
        self.classify(&frame, Thresholds { confidence: 0.5, iou: 0.5 });
        model_runtime::buffers::release();
    }

    /// Finds the eyes in an image.
    pub fn classify(&self, frame: &Frame, thresholds: Thresholds) -> Classification {
        let metadata = Self::metadata();
        let start = Instant::now();
        let stage = traces::stage!("preprocess").entered();
        let boxed = letterbox(frame, metadata.input_width, metadata.input_height);
        let shape = [1, boxed.channels, metadata.input_height, metadata.input_width];
        let images = Tensor::<4>::from_data(TensorData::new(boxed.samples, shape), &self.device); // [1, C, H, W]
        drop(stage);
        let preprocessed = Instant::now();

        let stage = traces::stage!("inference").entered();
        let heads = self.model.forward(images).map(HeadTensor::new); // heads × [1, A·(5+C), H/s, W/s]
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
            .fold(0.0, f32::max);
        candidates.retain(|candidate| candidate.confidence > thresholds.confidence);
        let detection = |candidate: &Candidate| {
            Some(Detection {
                state: eye_state(metadata, candidate.class_id)?,
                confidence: candidate.confidence,
                bounding_box: BoundingBox::from_xyxy(boxed.transform.to_image(candidate.xyxy)),
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

fn eye_state(metadata: &ModelMetadata, class_id: usize) -> Option<EyeState> {
    if metadata.open_classes.contains(&class_id) {
        Some(EyeState::Open)
    } else if metadata.closed_classes.contains(&class_id) {
        Some(EyeState::Closed)
    } else {
        // A model may know more classes (a face, a head); they say nothing about the eyes.
        None
    }
}
