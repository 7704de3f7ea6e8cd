//! CloudEvents 1.0 over HTTP: an image in, an `eye-state` event out
//! (<https://github.com/cloudevents/spec>, `spec.md`, `formats/json-format.md`,
//! `bindings/http-protocol-binding.md`).
//!
//! The mode of the request is that of the answer. On the same paths as other images: brokers post
//! to `/`, and the headers say that it is an event. `docs/protocols.md` has what brokers do with
//! each status.

mod attributes;

use bytes::Buf;
use futures_util::Stream;
use picture::BitDepth;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use self::attributes::{Incoming, Outgoing, bad};
use super::body::read_body;
use super::json::{self, Detached, Few, Text};
use super::negotiate;
use super::reply::{self, ClassificationBody};
use crate::app::{App, Image, Worker};
use crate::body::Body;
use crate::config::{MAX_MAX_PARTS, Thresholds};
use crate::error::{Failure, Large, RequestError, excerpt};
use crate::server::Peer;

/// Media types of the modes (JSON format, sections 3 and 4).
const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
/// What they and those of other formats begin with.
const ANY: &str = "application/cloudevents";

/// How an event comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Attributes in headers, the image as the body.
    Binary,
    /// All in JSON.
    Structured,
    /// A list of those.
    Batched,
}

impl Mode {
    /// `None` where the request is no event.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, RequestError> {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            STRUCTURED => Ok(Some(Self::Structured)),
            BATCHED => Ok(Some(Self::Batched)),
            other if other.starts_with(ANY) => Err(RequestError::UnsupportedMediaType(excerpt(other))),
            _ => Ok(Incoming::is_in(headers).then_some(Self::Binary)),
        }
    }
}

/// An event that was sent without a trace belongs to the trace that it began in (distributed
/// tracing extension).
pub(super) fn follow_trace(headers: &mut HeaderMap) {
    const TRACEPARENT: &str = "traceparent";
    if let Some(began) = headers.get("ce-traceparent").filter(|_| !headers.contains_key(TRACEPARENT)).cloned()
    {
        headers.insert(TRACEPARENT, began);
    }
}

/// What the request asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) depth: Option<BitDepth>,
    pub(super) thresholds: Thresholds,
}

/// Answers an event, or several.
pub(super) async fn respond<B: Buf>(
    app: &App,
    mode: Mode,
    headers: &HeaderMap,
    asked: Asked,
    peer: Option<Peer>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Response, Failure> {
    let announced = negotiate::announced(headers);
    let limits = app.limits;
    match mode {
        Mode::Binary => {
            let event = Incoming::from_headers(headers)?;
            negotiate::image(headers)?;
            let body = read_body(app, Large::Image, limits.max_image_bytes, announced, body).await?;
            let Asked { depth, thresholds } = asked;
            let analysis = app.classify(body, depth, thresholds, None, peer).await?;
            let mut response = reply::json(&ClassificationBody::from(&analysis));
            event.outcome().write(response.headers_mut());
            Ok(response)
        }
        Mode::Structured => {
            negotiate::check_coding(headers)?;
            let limit = json::with_image_of(limits.max_image_bytes);
            let body = read_body(app, Large::Body, limit, announced, body).await?;
            let work = move |worker: &Worker<'_>| {
                let (event, body) = read_one(body, worker)?;
                let image = Image::Encoded { bytes: body, depth: asked.depth };
                Ok((worker.analyse(image, asked.thresholds, None)?, event))
            };
            let (analysis, event) = app.run(peer, work).await?;
            let answer = OutgoingEvent { attributes: event.outcome(), data: (&analysis).into() };
            Ok(typed(&answer, STRUCTURED))
        }
        Mode::Batched => {
            negotiate::check_coding(headers)?;
            let body = read_body(app, Large::Body, limits.max_body_memory, announced, body).await?;
            // Errors of the pool have no index: one with an index is a result to it.
            let events = app.run(peer.clone(), move |worker| Ok(read_batch(body, worker))).await??;
            // One after the other, as the parts of a multipart body.
            let mut answers = Vec::with_capacity(events.len());
            for (part, (event, body)) in events.into_iter().enumerate() {
                let analysis = app.classify(body, asked.depth, asked.thresholds, None, peer.clone()).await;
                let analysis = analysis.map_err(Failure::of(part))?;
                answers.push(OutgoingEvent { attributes: event.outcome(), data: (&analysis).into() });
            }
            Ok(typed(&answers, BATCHED))
        }
    }
}

fn typed(value: &impl Serialize, content_type: &'static str) -> Response {
    let mut response = reply::json(value);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An event that is answered with, in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct OutgoingEvent {
    #[serde(flatten)]
    attributes: Outgoing,
    data: ClassificationBody,
}

/// Where the image of an event is, beside its attributes.
#[derive(Deserialize)]
#[serde(expecting = "an event, which is an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Data<'a> {
    /// The image file in base64.
    #[serde(borrow, default)]
    #[cfg_attr(test, schemars(with = "String", required))]
    data_base64: Option<Text<'a>>,
    /// Excluded by `data_base64` (CloudEvents JSON format, section 3.1).
    #[serde(default)]
    #[cfg_attr(test, schemars(skip))]
    data: Option<IgnoredAny>,
}

impl<'a> Data<'a> {
    fn text(self) -> Result<Text<'a>, RequestError> {
        match (self.data_base64, self.data) {
            (Some(_), Some(_)) => {
                Err(bad("it has both data and data_base64: put the image file into data_base64 alone"))
            }
            (text, _) => text.ok_or_else(no_data),
        }
    }
}

/// Attributes and image of an event in JSON.
type Event = (Incoming, Body);

/// Reads one event.
fn read_one(mut body: Body, worker: &Worker<'_>) -> Result<Event, RequestError> {
    let reserved = json::reserve(worker, body.len())?;
    json::check_texts(&body).map_err(bad)?;
    let event: Incoming = parse(&body)?;
    check(&event)?;
    let text = parse::<Data<'_>>(&body)?.text()?.detach(&body);
    let image = text.decode(body.bytes_mut()).ok_or_else(no_base64)?;
    body.keep(image);
    drop(reserved);
    let limit = worker.limits.max_image_bytes;
    if body.len() > limit {
        return Err(RequestError::TooManyBytes { what: Large::Image, limit });
    }
    negotiate::check_compression(&body)?;
    Ok((event, body))
}

/// Reads a list of events; each image is a body of its own. An error of one of them has its index,
/// save where the list is no list of events.
fn read_batch(mut body: Body, worker: &Worker<'_>) -> Result<Vec<Event>, Failure> {
    let reserved = json::reserve(worker, body.len())?;
    json::check_texts(&body).map_err(bad)?;
    let Few::<Incoming, MAX_MAX_PARTS>(events) = parse(&body)?;
    let limit = worker.limits.max_parts;
    if events.len() > limit {
        return Err(RequestError::TooManyParts { limit }.into());
    }
    let Few::<Data<'_>, MAX_MAX_PARTS>(data) = parse(&body)?;
    let mut read = Vec::with_capacity(events.len());
    for (at, (event, data)) in events.into_iter().zip(data).enumerate() {
        check(&event).map_err(Failure::of(at))?;
        let text = data.text().map_err(Failure::of(at))?.detach(&body);
        read.push((at, text, event));
    }
    // Those that lie in the document come first: others are put where these are.
    read.sort_by_key(|(_, text, _)| matches!(text, Detached::Owned(_)));
    let mut images = Vec::with_capacity(read.len());
    let mut held = 0;
    for (at, text, event) in read {
        let image = take_image(text, &mut body, held, worker).map_err(Failure::of(at))?;
        held += image.held();
        images.push((at, (event, image)));
    }
    images.sort_by_key(|(at, _)| *at);
    drop(reserved);
    Ok(images.into_iter().map(|(_, event)| event).collect())
}

/// Takes one of several images out of a document; those before it hold `held` bytes.
fn take_image(
    text: Detached,
    document: &mut Body,
    held: usize,
    worker: &Worker<'_>,
) -> Result<Body, RequestError> {
    let part = text.decode(document.bytes_mut()).ok_or_else(no_base64)?;
    let all = document.held() + held + part.len();
    let mut image = Body::new(worker.memory, Large::Image)?;
    let taken = image.extend(&document[part], worker.limits.max_image_bytes);
    taken.map_err(|error| worker.memory.for_ever(error, all))?;
    negotiate::check_compression(&image)?;
    Ok(image)
}

fn parse<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T, RequestError> {
    json::parse(document).map_err(bad)
}

fn check(event: &Incoming) -> Result<(), RequestError> {
    event.check()?;
    event.datacontenttype.as_deref().map_or(Ok(()), negotiate::check_image_type)
}

fn no_data() -> RequestError {
    bad("it has no data_base64: put the image file there, in base64")
}

fn no_base64() -> RequestError {
    bad("its data_base64 is not base64 in one line (RFC 4648, section 4)")
}

/// An event as it is sent in JSON, for the document of the contract: both halves of what is read.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct IncomingEvent<'a> {
    #[schemars(flatten)]
    attributes: Incoming,
    #[schemars(flatten)]
    data: Data<'a>,
}
