//! Answers: results as JSON, errors as problem documents.

use bytes::Bytes;
use serde::Serialize;
use warp::http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::v2;
use crate::app::Analysis;
use crate::classifier::Classifier;
use crate::detection::{BoundingBox, EyeState};
use crate::error::RequestError;
use crate::verdict::State;

/// What is answered for one image.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ClassificationBody {
    state: State,
    /// 0..1: that of the deciding eye; for `no_eyes` one minus the strongest candidate.
    confidence: f32,
    /// Most confident first.
    eyes: Vec<Eye>,
    /// Size of the upright image in pixels.
    image: Size,
    timing_ms: Timing,
    model: Model,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Eye {
    state: EyeState,
    /// 0..1.
    confidence: f32,
    /// In pixels of the upright image.
    #[serde(rename = "box")]
    bounding_box: BoundingBox,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Timing {
    decode: f32,
    preprocess: f32,
    inference: f32,
    postprocess: f32,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Model {
    name: &'static str,
    version: &'static str,
}

impl From<&Analysis> for ClassificationBody {
    fn from(analysis: &Analysis) -> Self {
        let classification = &analysis.classification;
        let milliseconds = |time: std::time::Duration| round(time.as_secs_f32() * 1e3, 1e3);
        let metadata = Classifier::metadata();
        Self {
            state: classification.verdict.state,
            confidence: round(classification.verdict.confidence, 1e4),
            eyes: classification
                .eyes
                .iter()
                .map(|eye| Eye {
                    state: eye.state,
                    confidence: round(eye.confidence, 1e4),
                    bounding_box: BoundingBox {
                        x: round(eye.bounding_box.x, 1e2),
                        y: round(eye.bounding_box.y, 1e2),
                        width: round(eye.bounding_box.width, 1e2),
                        height: round(eye.bounding_box.height, 1e2),
                    },
                })
                .collect(),
            image: Size { width: analysis.width, height: analysis.height },
            timing_ms: Timing {
                decode: milliseconds(analysis.decode),
                preprocess: milliseconds(classification.preprocess),
                inference: milliseconds(classification.inference),
                postprocess: milliseconds(classification.postprocess),
            },
            model: Model { name: metadata.name, version: metadata.version },
        }
    }
}

/// Digits that mean nothing only make answers longer: pixels to 1/100, confidences to 1/10,000.
pub(super) fn round(value: f32, steps: f32) -> f32 {
    (value * steps).round() / steps
}

/// An answer of `value` as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    json_with(StatusCode::OK, value)
}

/// An answer of `value` as JSON, with this status.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            problem(&RequestError::Internal, None)
        }
    }
}

/// The body of an error of the Open Inference Protocol.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct InferenceError {
    /// What happened to this request and what to do.
    error: String,
}

impl From<&RequestError> for InferenceError {
    fn from(error: &RequestError) -> Self {
        Self { error: error.to_string() }
    }
}

/// How errors are written, which the path decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorForm {
    /// As RFC 9457 has it.
    Problem,
    /// As the Open Inference Protocol has it: `{"error": …}`.
    Inference,
}

impl ErrorForm {
    /// The form at a path.
    pub(super) fn at(path: &str) -> Self {
        match path.strip_prefix(v2::ROOT) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::Inference,
            _ => Self::Problem,
        }
    }

    /// The answer of an error.
    pub(super) fn answer(self, error: &RequestError) -> Response {
        match self {
            Self::Problem => problem(error, None),
            Self::Inference => {
                let body = serde_json::to_vec(&InferenceError::from(error)).expect("a text");
                refusal(error, "application/json", body)
            }
        }
    }
}

/// An error as a problem document; `part` is the index of the multipart part that it is about.
pub(super) fn problem(error: &RequestError, part: Option<usize>) -> Response {
    let document = crate::error::Problem { part, ..error.problem() };
    let body = serde_json::to_vec(&document).expect("a problem is strings and numbers");
    refusal(error, "application/problem+json", body)
}

/// An error with the headers that go with it.
fn refusal(error: &RequestError, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = bytes(error.status(), content_type, body);
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error {
        RequestError::MethodNotAllowed { allowed } => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        RequestError::Compressed(_) => {
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        _ => {}
    }
    response
}

/// Any bytes; nothing that this service answers may be kept by a cache unless its caller says so.
pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
