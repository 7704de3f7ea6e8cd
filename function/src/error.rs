//! Every error of a request, with its status, metric label and message.

use std::time::Duration;

use picture::DecodeError;
use serde::Serialize;
use warp::http::StatusCode;

const MIB: usize = 1024 * 1024;

/// Why a request was not answered with a result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The body is empty.
    #[error("the body is empty: send the bytes of an image")]
    EmptyBody,
    /// The bytes are not of a known image format.
    #[error("the body is not an image that this service reads{0}: send JPEG, PNG, WebP, BMP, TIFF or PGM")]
    NotAnImage(
        /// The kind of file, if recognized; begins with a comma.
        &'static str,
    ),
    /// The image ends before its last pixel or its data are corrupt.
    #[error("the image is truncated or corrupt ({0}): send the whole file")]
    BrokenImage(String),
    /// The image is of a known format, in a variant that cannot be read.
    #[error("the image cannot be used ({0}): convert it to an 8-bit or 16-bit gray or RGB image")]
    UnsupportedImage(String),
    /// The decoder of the image's format panicked: a defect of that decoder, on this file.
    #[error("the decoder of this kind of image failed on it: convert it to PNG or JPEG")]
    DecoderFailed,
    /// The content type is not one that the contract lists.
    #[error(
        "content type {0:?} is not supported: send image/jpeg, image/png, image/webp, image/bmp, image/tiff, image/x-portable-graymap, application/octet-stream or multipart/form-data"
    )]
    UnsupportedMediaType(String),
    /// The body is compressed as a whole.
    #[error("the body is compressed ({0}): send the image as it is, image formats are compressed themselves")]
    Compressed(String),
    /// The image, the body or the answer has more bytes than allowed.
    #[error("the {} has more than {} bytes: {}", .what.name(), .limit, .what.to_have_fewer_bytes())]
    TooManyBytes {
        /// What has too many.
        what: Large,
        /// The limit in bytes.
        limit: usize,
    },
    /// The image has more pixels than allowed.
    #[error("the image of {width}×{height} has more than {limit} pixels: scale it down")]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit in pixels.
        limit: u64,
    },
    /// The image is too long for a picture with boxes.
    #[error(
        "a picture with boxes has at most {limit} pixels a side, and this image {side}: ask for application/json, or scale the image down"
    )]
    TooLongToDraw {
        /// The longer side in pixels.
        side: u32,
        /// The limit in pixels.
        limit: u32,
    },
    /// Work on the image or the body would need more memory than the budget.
    #[error(
        "{} takes {} MiB, of which there are {}: {}",
        .what.work(), .needed.div_ceil(MIB), .limit / MIB, .what.to_need_less_memory()
    )]
    TooMuchMemory {
        /// What the work is on.
        what: Large,
        /// Bytes needed.
        needed: usize,
        /// Bytes of the budget.
        limit: usize,
    },
    /// More parts than allowed.
    #[error("more than {limit} file parts: split them over several requests")]
    TooManyParts {
        /// The limit.
        limit: usize,
    },
    /// The multipart body is malformed.
    #[error(
        "the multipart body cannot be read ({0}): send multipart/form-data with one or more parts named \"file\""
    )]
    BrokenMultipart(String),
    /// A query parameter is invalid.
    #[error("query parameter {name}={value:?} is not {expected}")]
    InvalidParameter {
        /// The parameter's name.
        name: String,
        /// The value.
        value: String,
        /// The expected form.
        expected: &'static str,
    },
    /// The connection broke while the body was read.
    #[error("the body could not be read to its end")]
    BrokenBody,
    /// The body took too long to arrive.
    #[error("the body did not arrive within {} s: send it faster or make it smaller", .0.as_secs_f32())]
    BodyTimeout(Duration),
    /// The queue, the memory for bodies or the places for connections are used up.
    #[error("there is no room for another request now: try again in {} s", .retry_after.as_secs())]
    Overloaded {
        /// When there may be room, whole seconds.
        retry_after: Duration,
    },
    /// The process is shutting down.
    #[error("this instance is shutting down: send the request again, another one will take it")]
    Draining,
    /// The deadline passed while the request waited for an inference thread or for memory.
    #[error("the request waited longer than its deadline of {} ms and was not computed: send fewer requests at once", .0.as_millis())]
    DeadlineExceeded(Duration),
    /// A defect of this service.
    #[error("the service failed on this image; other requests are not affected")]
    Internal,
    /// The path does not exist.
    #[error("there is nothing at this path: see the README for the routes")]
    NotFound,
    /// The path does not support this method.
    #[error("this path takes {allowed} only")]
    MethodNotAllowed {
        /// The supported methods, separated by commas.
        allowed: &'static str,
    },
    /// A request of the Open Inference Protocol is malformed.
    #[error("{0}")]
    BadInference(String),
    /// A CloudEvent is malformed or has no image.
    #[error("the event cannot be used: {0}")]
    BadEvent(String),
    /// There is no model of this name and version.
    #[error("there is no model {0}: {1}")]
    UnknownModel(String, &'static str),
    /// The head of the request is malformed.
    #[error("the request is malformed: {0}")]
    BadRequest(&'static str),
    /// No inference thread could be started.
    #[error(
        "this instance cannot start an inference thread: send the request again, another one may take it"
    )]
    NoThreads,
}

/// The beginning of what a client wrote, to be shown to it: an answer that nobody reads is held in
/// memory that no budget counts.
pub(crate) fn excerpt(text: &str) -> String {
    /// Longer than any name here; what is longer is not one.
    const SHOWN: usize = 60;
    text.chars().take(SHOWN).collect()
}

/// What of a request or its answer is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    /// One image: its file, or its samples.
    Image,
    /// The body as a whole: JSON, events, parts.
    Body,
    /// The picture with boxes, which is the answer.
    Picture,
}

impl Large {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Body => "body",
            Self::Picture => "picture with boxes",
        }
    }

    /// What the client can do about its bytes.
    fn to_have_fewer_bytes(self) -> &'static str {
        match self {
            Self::Image => "send a smaller or more compressed one",
            Self::Body => "send fewer or smaller images at once",
            Self::Picture => "ask for image/jpeg or for JSON, or scale the image down",
        }
    }

    /// The work that takes its memory.
    fn work(self) -> &'static str {
        match self {
            Self::Image => "decoding the image",
            Self::Body => "reading the body",
            Self::Picture => "drawing the picture with boxes",
        }
    }

    /// What the client can do about that memory.
    fn to_need_less_memory(self) -> &'static str {
        match self {
            Self::Image => "scale it down, or send it as gray and not progressive",
            Self::Body => "send fewer or smaller images at once, or one image as it is and not in JSON",
            Self::Picture => "scale the image down, or ask for JSON",
        }
    }
}

/// An error, and the index of its part or event where a request has several.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What is wrong.
    pub error: RequestError,
    /// The index of the part or event that it is about.
    pub part: Option<usize>,
}

impl Failure {
    /// Makes an error one of this part or event.
    pub(crate) fn of(part: usize) -> impl FnOnce(RequestError) -> Self {
        move |error| Self { error, part: Some(part) }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self { error, part: None }
    }
}

impl From<DecodeError> for RequestError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::NotAnImage(instead) => Self::NotAnImage(instead),
            DecodeError::Broken(reason) => Self::BrokenImage(reason),
            DecodeError::Unsupported(kind) => Self::UnsupportedImage(kind),
            DecodeError::TooManyPixels { width, height, limit } => {
                Self::TooManyPixels { width, height, limit }
            }
            DecodeError::DecoderFailed => Self::DecoderFailed,
        }
    }
}

/// The body of an error, RFC 9457 section 3.1.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// Stable identifier of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status code.
    pub status: u16,
    /// What happened to this request and what to do.
    pub detail: String,
    /// Index of the multipart part, or of the event of a batch, that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
}

impl RequestError {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::EmptyBody
            | Self::NotAnImage(_)
            | Self::BrokenImage(_)
            | Self::BrokenMultipart(_)
            | Self::BrokenBody
            | Self::BadInference(_)
            | Self::BadEvent(_)
            | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::UnknownModel(..) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyBytes { .. }
            | Self::TooManyPixels { .. }
            | Self::TooLongToDraw { .. }
            | Self::TooMuchMemory { .. }
            | Self::TooManyParts { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) | Self::Compressed(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedImage(_) | Self::DecoderFailed | Self::InvalidParameter { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Draining | Self::NoThreads => StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Metric label and last part of the problem's `type`: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::EmptyBody => "empty-body",
            Self::NotAnImage(_) => "not-an-image",
            Self::BrokenImage(_) => "broken-image",
            Self::UnsupportedImage(_) => "unsupported-image",
            Self::DecoderFailed => "decoder-failed",
            Self::UnsupportedMediaType(_) => "unsupported-media-type",
            Self::TooManyBytes { .. } => "too-many-bytes",
            Self::TooManyPixels { .. } => "too-many-pixels",
            Self::TooLongToDraw { .. } => "too-long-to-draw",
            Self::TooMuchMemory { .. } => "too-much-memory",
            Self::TooManyParts { .. } => "too-many-parts",
            Self::BrokenMultipart(_) => "broken-multipart",
            Self::InvalidParameter { .. } => "invalid-parameter",
            Self::BrokenBody => "broken-body",
            Self::BodyTimeout(_) => "body-timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::Draining => "draining",
            Self::DeadlineExceeded(_) => "deadline-exceeded",
            Self::Internal => "internal",
            Self::BadInference(_) => "bad-inference-request",
            Self::BadEvent(_) => "bad-event",
            Self::UnknownModel(..) => "unknown-model",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::BadRequest(_) => "bad-request",
            Self::Compressed(_) => "compressed-body",
            Self::NoThreads => "no-threads",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::EmptyBody => "Empty body",
            Self::NotAnImage(_) => "Not an image",
            Self::BrokenImage(_) => "Broken image",
            Self::UnsupportedImage(_) => "Unsupported kind of image",
            Self::DecoderFailed => "Decoder failed",
            Self::UnsupportedMediaType(_) => "Unsupported content type",
            Self::TooManyBytes { .. } => "Too many bytes",
            Self::TooManyPixels { .. } => "Too many pixels",
            Self::TooLongToDraw { .. } => "Too long to draw",
            Self::TooMuchMemory { .. } => "Too much memory",
            Self::TooManyParts { .. } => "Too many parts",
            Self::BrokenMultipart(_) => "Broken multipart body",
            Self::InvalidParameter { .. } => "Invalid query parameter",
            Self::BrokenBody => "Broken body",
            Self::BodyTimeout(_) => "Body timeout",
            Self::Overloaded { .. } => "Overloaded",
            Self::Draining => "Shutting down",
            Self::DeadlineExceeded(_) => "Deadline exceeded",
            Self::Internal => "Internal error",
            Self::BadInference(_) => "Bad inference request",
            Self::BadEvent(_) => "Bad event",
            Self::UnknownModel(..) => "Unknown model",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::BadRequest(_) => "Bad request",
            Self::Compressed(_) => "Compressed body",
            Self::NoThreads => "No inference thread",
        }
    }

    /// Seconds for the `Retry-After` header, if waiting helps.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after } => Some(retry_after.as_secs().max(1)),
            // Another instance can answer at once; one second allows for endpoint propagation.
            Self::Draining | Self::NoThreads => Some(1),
            _ => None,
        }
    }

    /// The error as a problem document.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: format!("urn:nv-micro:problem:{}", self.label()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.to_string(),
            part: None,
        }
    }
}
