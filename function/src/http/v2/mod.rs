//! The Open Inference Protocol, version 2, over REST, as KServe specifies it
//! (<https://github.com/kserve/open-inference-protocol>, `inference_rest.md`), with Triton's
//! extensions for binary tensors and for the configuration of a model
//! (`extension_binary_data.md`, `extension_model_configuration.md` of its server).
//!
//! One model under two names, because metadata says what a model takes: [`ENCODED`] takes an image
//! file, [`PIXELS`] takes samples. `docs/protocols.md` has the shapes.
//!
//! # Layout
//!
//! - here: paths, health and metadata
//! - `request`: what is sent, bounded before it is believed; `document`: its JSON; `data`: the
//!   elements of a tensor in it; `answer`: what is sent back

mod answer;
mod data;
mod document;
mod request;

use bytes::Buf;
use futures_util::Stream;
use serde::Serialize;
use tracing::Instrument;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

#[cfg(test)]
pub(super) use self::answer::InferenceResponse;
use self::answer::Wanted;
#[cfg(test)]
pub(super) use self::document::Document;
use super::body::read_body;
use super::reply::{self, ErrorForm};
use super::{json, negotiate};
use crate::app::{App, Phase, Worker};
use crate::classifier::Classifier;
use crate::error::{Large, RequestError, excerpt};
use crate::server::Peer;
use crate::telemetry::traces;

/// Where all paths of the protocol begin.
pub(super) const ROOT: &str = "/v2";

/// The model that takes an image file.
pub(super) const ENCODED: &str = "eye-state";

/// The same model, where it takes samples.
pub(super) const PIXELS: &str = "eye-state-pixels";

/// What runs the network.
const PLATFORM: &str = "burn_yolov5";

/// What is sent to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// An image file.
    Encoded,
    /// Samples.
    Pixels,
}

impl Input {
    /// What a model takes.
    fn of(model: &str) -> Result<Self, RequestError> {
        match model {
            ENCODED => Ok(Self::Encoded),
            PIXELS => Ok(Self::Pixels),
            _ => Err(unknown(model, "the models are eye-state and eye-state-pixels")),
        }
    }

    fn model(self) -> &'static str {
        match self {
            Self::Encoded => ENCODED,
            Self::Pixels => PIXELS,
        }
    }

    fn tensor(self) -> TensorMetadata {
        match self {
            Self::Encoded => TensorMetadata { name: "image", datatype: "BYTES", shape: &[1] },
            // [1, H, W, C]
            Self::Pixels => TensorMetadata { name: "pixels", datatype: "UINT8", shape: &[1, -1, -1, -1] },
        }
    }
}

fn unknown(model: &str, known: &'static str) -> RequestError {
    RequestError::UnknownModel(format!("{:?}", excerpt(model)), known)
}

/// The answer to `GET /v2`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 3],
}

/// The answer to `GET /v2/health/live`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Live {
    live: bool,
}

/// The answer to `GET /v2/health/ready`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Ready {
    ready: bool,
}

/// The answer to `GET /v2/models/{model}/ready`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ModelReady {
    name: &'static str,
    ready: bool,
}

/// The answer to `GET /v2/models/{model}`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ModelMetadata {
    name: &'static str,
    versions: [&'static str; 1],
    platform: &'static str,
    inputs: [TensorMetadata; 1],
    outputs: [TensorMetadata; Wanted::ALL.len()],
}

/// A tensor that a model takes or gives; -1 is any length.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TensorMetadata {
    name: &'static str,
    datatype: &'static str,
    shape: &'static [i64],
}

impl TensorMetadata {
    /// The same in the words of a configuration.
    fn configuration(self) -> TensorConfiguration {
        let data_type = match self.datatype {
            "BYTES" => "TYPE_STRING",
            "UINT8" => "TYPE_UINT8",
            "INT64" => "TYPE_INT64",
            _ => "TYPE_FP32",
        };
        TensorConfiguration { name: self.name, data_type, dims: self.shape }
    }
}

/// The answer to `GET /v2/models/{model}/config`: of Triton's configuration what load generators
/// read before they send anything.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ModelConfiguration {
    name: &'static str,
    platform: &'static str,
    /// 0: shapes are given whole, and a request is one image.
    max_batch_size: u32,
    input: [TensorConfiguration; 1],
    output: [TensorConfiguration; Wanted::ALL.len()],
}

/// A tensor in a configuration; -1 is any length.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TensorConfiguration {
    name: &'static str,
    data_type: &'static str,
    dims: &'static [i64],
}

/// What a path below `/v2/models` is about.
struct Target<'a> {
    input: Input,
    /// What follows the model.
    action: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(segments: &[&'a str]) -> Result<Self, RequestError> {
        let (model, version, action) = match *segments {
            [model] => (model, None, None),
            [model, "versions", version] => (model, Some(version), None),
            [model, "versions", version, action] => (model, Some(version), Some(action)),
            [model, action] => (model, None, Some(action)),
            _ => return Err(RequestError::NotFound),
        };
        let input = Input::of(model)?;
        match version {
            Some(version) if version != Classifier::metadata().version => {
                let name = format!("{model}, version {}", excerpt(version));
                Err(RequestError::UnknownModel(name, "ask GET /v2/models/eye-state for its version"))
            }
            _ => Ok(Self { input, action }),
        }
    }
}

/// The segments of a path, less what a slash at its end makes.
fn segments(tail: &str) -> Vec<&str> {
    tail.strip_suffix('/').unwrap_or(tail).split('/').collect()
}

/// `GET` below `/v2`: metadata and health.
pub(super) fn about(app: &App, tail: &str) -> Response {
    let ready = app.phase() == Phase::Ready && app.pool.ensure_threads();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let target = match segments(tail)[..] {
        [""] => {
            return reply::json(&ServerMetadata {
                name: ENCODED,
                version: env!("CARGO_PKG_VERSION"),
                extensions: ["binary_tensor_data", "model_configuration", "parameters"],
            });
        }
        ["health", "live"] => return reply::json(&Live { live: true }),
        ["health", "ready"] => return reply::json_with(status, &Ready { ready }),
        ["models", ref rest @ ..] => Target::of(rest),
        _ => Err(RequestError::NotFound),
    };
    match target {
        Ok(Target { input, action: Some("ready") }) => {
            reply::json_with(status, &ModelReady { name: input.model(), ready })
        }
        Ok(Target { input, action: None }) => reply::json(&ModelMetadata {
            name: input.model(),
            versions: [Classifier::metadata().version],
            platform: PLATFORM,
            inputs: [input.tensor()],
            outputs: Wanted::ALL.map(Wanted::metadata),
        }),
        Ok(Target { input, action: Some("config") }) => reply::json(&ModelConfiguration {
            name: input.model(),
            platform: PLATFORM,
            max_batch_size: 0,
            input: [input.tensor().configuration()],
            output: Wanted::ALL.map(|output| output.metadata().configuration()),
        }),
        Ok(_) => ErrorForm::Inference.answer(&RequestError::NotFound),
        Err(error) => ErrorForm::Inference.answer(&error),
    }
}

/// `POST /v2/models/{model}[/versions/{version}]/infer`.
pub(super) async fn infer<B: Buf>(
    app: &App,
    tail: &str,
    headers: HeaderMap,
    peer: Option<Peer>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Response {
    let _in_flight = app.metrics.concurrency().enter();
    let span = traces::request(&headers, "/v2/models/{model}/infer");
    let answered = respond(app, tail, &headers, peer, body).instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|error| {
        app.metrics.rejected(error.label());
        span.record("error.type", error.label());
        tracing::debug!(parent: &span, reason = error.label(), detail = %error, "refused");
        ErrorForm::Inference.answer(&error)
    });
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    traces::inject(&span, response.headers_mut());
    response
}

async fn respond<B: Buf>(
    app: &App,
    tail: &str,
    headers: &HeaderMap,
    peer: Option<Peer>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Response, RequestError> {
    let segments = segments(tail);
    let Target { input, .. } = Target::of(segments.get(1..).unwrap_or_default())?;
    negotiate::check_coding(headers)?;
    let json_length = request::json_length(headers)?;
    let limit = json::with_image_of(app.limits.max_image_bytes);
    let body = read_body(app, Large::Body, limit, negotiate::announced(headers), body).await?;
    let defaults = app.thresholds;
    let work = move |worker: &Worker<'_>| {
        let request = request::read(input, body, json_length, defaults, worker)?;
        let analysis = worker.analyse(request.image, request.thresholds, None)?;
        Ok((analysis, request.answer))
    };
    let (analysis, wanted) = app.run(peer, work).await?;
    tracing::Span::current().record("eye_state.state", analysis.classification.verdict.state.label());
    Ok(wanted.answer(input.model(), &analysis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_model_and_perhaps_its_version() {
        let version = Classifier::metadata().version;
        let action = |path: &str| Target::of(&segments(path)).map(|target| target.action.map(str::to_owned));
        assert_eq!(action("eye-state"), Ok(None));
        assert_eq!(action("eye-state-pixels/infer/"), Ok(Some("infer".into())));
        assert_eq!(action(&format!("eye-state/versions/{version}/ready")), Ok(Some("ready".into())));
        assert_eq!(action("eyes").expect_err("no such model").label(), "unknown-model");
        assert_eq!(action("eye-state/versions/0").expect_err("no such version").label(), "unknown-model");
    }
}
