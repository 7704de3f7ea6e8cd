//! The errors of each operation, out of the error type.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Large, RequestError};
use crate::http::reply::InferenceError;

/// What an error is about: which operations can be answered with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The head of any request.
    Head,
    /// What is at no path and no method.
    Route,
    /// Places, threads, deadlines.
    Load,
    /// A body that is read.
    Body,
    /// An image.
    Image,
    /// `POST /` alone: content types, multipart, query, events.
    Classify,
    /// Inference requests.
    Inference,
}

fn about(error: &RequestError) -> About {
    match error {
        RequestError::BadRequest(_) => About::Head,
        RequestError::NotFound | RequestError::MethodNotAllowed { .. } => About::Route,
        RequestError::Overloaded { .. }
        | RequestError::Draining
        | RequestError::NoThreads
        | RequestError::DeadlineExceeded(_)
        | RequestError::Internal => About::Load,
        RequestError::EmptyBody
        | RequestError::BrokenBody
        | RequestError::BodyTimeout(_)
        | RequestError::Compressed(_)
        | RequestError::TooManyBytes { .. } => About::Body,
        RequestError::NotAnImage(_)
        | RequestError::BrokenImage(_)
        | RequestError::UnsupportedImage(_)
        | RequestError::DecoderFailed
        | RequestError::TooManyPixels { .. }
        | RequestError::TooMuchMemory { .. } => About::Image,
        RequestError::UnsupportedMediaType(_)
        | RequestError::TooLongToDraw { .. }
        | RequestError::TooManyParts { .. }
        | RequestError::BrokenMultipart(_)
        | RequestError::InvalidParameter { .. }
        | RequestError::BadEvent(_) => About::Classify,
        RequestError::BadInference(_) | RequestError::UnknownModel(..) => About::Inference,
    }
}

/// One error of each kind.
fn errors() -> Vec<RequestError> {
    let second = Duration::from_secs(1);
    vec![
        RequestError::EmptyBody,
        RequestError::NotAnImage(""),
        RequestError::BrokenImage("it ends early".into()),
        RequestError::UnsupportedImage("CMYK".into()),
        RequestError::DecoderFailed,
        RequestError::UnsupportedMediaType("text/html".into()),
        RequestError::Compressed("gzip".into()),
        RequestError::TooManyBytes { what: Large::Image, limit: 10_485_760 },
        RequestError::TooManyPixels { width: 8000, height: 6000, limit: 16_777_216 },
        RequestError::TooLongToDraw { side: 100_000, limit: 65_535 },
        RequestError::TooMuchMemory { what: Large::Image, needed: 200 << 20, limit: 80 << 20 },
        RequestError::TooManyParts { limit: 16 },
        RequestError::BrokenMultipart("it has no part named \"file\"".into()),
        RequestError::InvalidParameter {
            name: "iou_threshold".into(),
            value: "7".into(),
            expected: "a number from 0 to 1",
        },
        RequestError::BrokenBody,
        RequestError::BodyTimeout(10 * second),
        RequestError::Overloaded { retry_after: second },
        RequestError::Draining,
        RequestError::DeadlineExceeded(2 * second),
        RequestError::Internal,
        RequestError::NotFound,
        RequestError::MethodNotAllowed { allowed: "POST" },
        RequestError::BadInference("the input has neither data nor binary_data_size".into()),
        RequestError::BadEvent("it has no ce-id".into()),
        RequestError::UnknownModel("\"eyes\"".into(), "the models are eye-state and eye-state-pixels"),
        RequestError::BadRequest("it has no Host header"),
        RequestError::NoThreads,
    ]
}

/// The shape of errors at an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Problem,
    Inference,
}

/// The answers of all errors about these, by status.
fn refusals(form: Form, subjects: &[About]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<RequestError>> = BTreeMap::new();
    for error in errors().into_iter().filter(|error| subjects.contains(&about(error))) {
        by_status.entry(error.status().as_u16()).or_default().push(error);
    }
    let answers = by_status.into_iter().map(|(status, errors)| {
        let kinds: Vec<String> = errors.iter().map(|error| error.problem().kind).collect();
        let titles: Vec<&str> = errors.iter().map(|error| error.problem().title).collect();
        let examples: Map<String, Value> = errors
            .iter()
            .map(|error| {
                let value = match form {
                    Form::Problem => json!(error.problem()),
                    Form::Inference => json!(InferenceError::from(error)),
                };
                (error.label().to_owned(), json!({ "value": value }))
            })
            .collect();
        let content = match form {
            Form::Problem => json!({ "application/problem+json": {
                "schema": { "allOf": [
                    { "$ref": "#/components/schemas/Problem" },
                    { "properties": { "type": { "enum": kinds }, "status": { "const": status } } },
                ] },
                "examples": examples,
            } }),
            Form::Inference => json!({ "application/json": {
                "schema": { "$ref": "#/components/schemas/InferenceError" },
                "examples": examples,
            } }),
        };
        let mut answer = json!({ "description": titles.join("; "), "content": content });
        if errors.iter().any(|error| error.retry_after().is_some()) {
            answer["headers"] = json!({ "Retry-After": { "$ref": "#/components/headers/Retry-After" } });
        }
        (status.to_string(), answer)
    });
    answers.collect()
}

/// Answers that succeed, and errors.
pub(super) fn answers(successes: Value, form: Form, subjects: &[About]) -> Value {
    let mut all = refusals(form, subjects);
    if subjects.contains(&About::Head) {
        // hyper's own, before there is a request.
        let kibibytes = crate::memory::MAX_HEAD_BYTES / 1024;
        let description = format!("The head has more than {kibibytes} KiB or 100 fields; without a body");
        all.insert("431".into(), json!({ "description": description }));
    }
    for (status, answer) in successes.as_object().expect("answers by status") {
        all.insert(status.clone(), answer.clone());
    }
    Value::Object(all)
}
