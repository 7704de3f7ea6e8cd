//! Answers: results as JSON, errors as problem documents.

use bytes::Bytes;
use serde::Serialize;
use warp::http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use crate::app::Analysis;
use crate::classifier::Classifier;
use crate::detection::{BoundingBox, EyeState};
use crate::error::RequestError;
use crate::verdict::State;

/// What is answered for one image.
#[derive(Debug, Serialize)]
pub(super) struct ClassificationBody {
    state: State,
    confidence: f32,
    eyes: Vec<Eye>,
    image: Size,
    timing_ms: Timing,
    model: Model,
}

#[derive(Debug, Serialize)]
struct Eye {
    state: EyeState,
    confidence: f32,
    #[serde(rename = "box")]
    bounding_box: BoundingBox,
}

#[derive(Debug, Serialize)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize)]
struct Timing {
    decode: f32,
    preprocess: f32,
    inference: f32,
    postprocess: f32,
}

#[derive(Debug, Serialize)]
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
fn round(value: f32, steps: f32) -> f32 {
    (value * steps).round() / steps
}

/// An answer of `value` as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(StatusCode::OK, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            problem(&RequestError::Internal, None)
        }
    }
}

/// An error; `part` is the index of the multipart part that it is about.
pub(super) fn problem(error: &RequestError, part: Option<usize>) -> Response {
    let document = crate::error::Problem { part, ..error.problem() };
    let body = serde_json::to_vec(&document).expect("a problem is strings and numbers");
    let mut response = bytes(error.status(), "application/problem+json", body);
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
