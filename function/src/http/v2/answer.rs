//! What is sent back: tensors in JSON, or as bytes behind it.

use serde::Serialize;
use warp::http::header::HeaderValue;
use warp::http::{HeaderName, StatusCode};
use warp::reply::Response;

use super::TensorMetadata;
use crate::app::Analysis;
use crate::classifier::Classifier;
use crate::detection::EyeState;
use crate::http::reply::{self, round};

/// Says where the JSON ends and the bytes begin, in requests and answers.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A tensor that can be asked for. *K* is the number of eyes, most confident first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `BYTES` `[1]`: `open`, `closed` or `no_eyes`.
    State,
    /// `FP32` `[1]`: the confidence of that, 0..1.
    Confidence,
    /// `FP32` `[K, 4]`: x and y of the upper left corner, width, height, in pixels of the upright
    /// image.
    Boxes,
    /// `FP32` `[K]`: confidence of each eye, 0..1.
    Scores,
    /// `INT64` `[K]`: 0 open, 1 closed.
    ClassIds,
}

impl Wanted {
    pub(super) const ALL: [Self; 5] =
        [Self::State, Self::Confidence, Self::Boxes, Self::Scores, Self::ClassIds];

    pub(super) fn metadata(self) -> TensorMetadata {
        let (name, datatype, shape): (_, _, &[i64]) = match self {
            Self::State => ("state", "BYTES", &[1]),
            Self::Confidence => ("confidence", "FP32", &[1]),
            Self::Boxes => ("boxes", "FP32", &[-1, 4]),
            Self::Scores => ("scores", "FP32", &[-1]),
            Self::ClassIds => ("class_ids", "INT64", &[-1]),
        };
        TensorMetadata { name, datatype, shape }
    }

    fn data(self, analysis: &Analysis) -> Data {
        let classification = &analysis.classification;
        let eyes = classification.eyes.iter();
        match self {
            Self::State => Data::Texts([classification.verdict.state.label()]),
            Self::Confidence => Data::Reals(vec![round(classification.verdict.confidence, 1e4)]),
            Self::Boxes => {
                let sides = eyes.flat_map(|eye| {
                    let area = &eye.bounding_box;
                    [area.x, area.y, area.width, area.height]
                });
                Data::Reals(sides.map(|side| round(side, 1e2)).collect())
            }
            Self::Scores => Data::Reals(eyes.map(|eye| round(eye.confidence, 1e4)).collect()),
            Self::ClassIds => Data::Integers(eyes.map(|eye| class_id(eye.state)).collect()),
        }
    }
}

/// The model's own class ids differ from model to model; these do not.
fn class_id(state: EyeState) -> i64 {
    match state {
        EyeState::Open => 0,
        EyeState::Closed => 1,
    }
}

/// The elements of a tensor.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(super) enum Data {
    Texts([&'static str; 1]),
    Reals(Vec<f32>),
    Integers(Vec<i64>),
}

impl Data {
    /// Little-endian; texts with their length before them.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Texts([text]) => [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat(),
            Self::Reals(reals) => reals.iter().flat_map(|real| real.to_le_bytes()).collect(),
            Self::Integers(integers) => integers.iter().flat_map(|integer| integer.to_le_bytes()).collect(),
        }
    }
}

/// The answer, or the JSON before its bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::http) struct InferenceResponse<'a> {
    model_name: &'static str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    parameters: ImageParameters,
    outputs: Vec<OutputTensor>,
}

/// Size of the upright image, which the boxes are in.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ImageParameters {
    image_width: u32,
    image_height: u32,
}

/// A tensor of the answer: with `data`, or with `binary_data_size` where its bytes are behind the
/// JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct OutputTensor {
    name: &'static str,
    shape: Vec<usize>,
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinaryParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// Where the bytes of a tensor are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct BinaryParameters {
    binary_data_size: usize,
}

/// How a request wants to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AnswerForm {
    pub(super) id: Option<String>,
    /// Tensors in order, and whether as bytes.
    pub(super) outputs: Vec<(Wanted, bool)>,
}

impl AnswerForm {
    pub(super) fn answer(&self, model: &'static str, analysis: &Analysis) -> Response {
        let mut behind = Vec::new();
        let eyes = analysis.classification.eyes.len();
        let outputs = self.outputs.iter().map(|(wanted, binary)| {
            let TensorMetadata { name, datatype, shape } = wanted.metadata();
            let shape = shape.iter().map(|length| usize::try_from(*length).unwrap_or(eyes)).collect();
            let data = wanted.data(analysis);
            let bytes = binary.then(|| data.bytes());
            let parameters = bytes.as_ref().map(|bytes| BinaryParameters { binary_data_size: bytes.len() });
            behind.extend(bytes.unwrap_or_default());
            OutputTensor { name, shape, datatype, parameters, data: (!binary).then_some(data) }
        });
        let response = InferenceResponse {
            model_name: model,
            model_version: Classifier::metadata().version,
            id: self.id.as_deref(),
            parameters: ImageParameters { image_width: analysis.width, image_height: analysis.height },
            outputs: outputs.collect(),
        };
        if !self.outputs.iter().any(|(_, binary)| *binary) {
            return reply::json(&response);
        }
        let mut body = serde_json::to_vec(&response).expect("texts and numbers");
        let length = body.len();
        body.append(&mut behind);
        let mut response = reply::bytes(StatusCode::OK, "application/octet-stream", body);
        response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(length));
        response
    }
}
