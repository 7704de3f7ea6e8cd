//! `POST /` and `POST /classify`: one image or several, to results or to a picture; events to
//! events.

use bytes::{Buf, Bytes};
use futures_util::Stream;
use picture::BitDepth;
use tracing::Instrument;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::body::read_body;
use super::event::{self, Asked, Mode};
use super::multipart::read_parts;
use super::negotiate::{self, Content};
use super::reply::{self, ClassificationBody};
use crate::annotate::PictureFormat;
use crate::app::App;
use crate::body::Body;
use crate::config::Thresholds;
use crate::error::{Failure, Large, RequestError};
use crate::server::Peer;
use crate::telemetry::traces;

pub(super) async fn handle<B: Buf>(
    app: &App,
    mut headers: HeaderMap,
    query: &str,
    peer: Option<Peer>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Response {
    event::follow_trace(&mut headers);
    let _in_flight = app.metrics.concurrency().enter();
    let span = traces::request(&headers, "/classify");
    let mut response = match respond(app, &headers, query, peer, body).instrument(span.clone()).await {
        Ok(response) => response,
        Err(Failure { error, part }) => {
            app.metrics.rejected(error.label());
            span.record("error.type", error.label());
            tracing::debug!(parent: &span, reason = error.label(), detail = %error, "refused");
            reply::problem(&error, part)
        }
    };
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    traces::inject(&span, response.headers_mut());
    response
}

async fn respond<B: Buf>(
    app: &App,
    headers: &HeaderMap,
    query: &str,
    peer: Option<Peer>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Response, Failure> {
    let depth = negotiate::bit_depth(query)?;
    let thresholds = negotiate::thresholds(query, app.thresholds)?;
    if let Some(mode) = Mode::of(headers)? {
        return event::respond(app, mode, headers, Asked { depth, thresholds }, peer, body).await;
    }
    let format = negotiate::picture(headers);
    let announced = negotiate::announced(headers);
    match negotiate::content(headers)? {
        Content::Image => {
            let body = read_body(app, Large::Image, app.limits.max_image_bytes, announced, body).await?;
            Ok(one(app, body, depth, thresholds, format, peer).await?)
        }
        Content::Multipart(boundary) => {
            let mut bodies = read_parts(app.limits, &app.memory, announced, boundary, body).await?;
            match bodies.len() {
                1 => {
                    let answer = one(app, bodies.remove(0), depth, thresholds, format, peer).await;
                    answer.map_err(Failure::of(0))
                }
                _ => several(app, bodies, depth, thresholds, peer).await,
            }
        }
    }
}

/// A single image: a result, or the picture if requested.
async fn one(
    app: &App,
    body: Body,
    depth: Option<BitDepth>,
    thresholds: Thresholds,
    format: Option<PictureFormat>,
    peer: Option<Peer>,
) -> Result<Response, RequestError> {
    let mut analysis = app.classify(body, depth, thresholds, format, peer).await?;
    tracing::Span::current().record("eye_state.state", analysis.classification.verdict.state.label());
    Ok(match (format, analysis.picture.take()) {
        (Some(format), Some(picture)) => {
            reply::bytes(StatusCode::OK, format.content_type(), Bytes::from_owner(picture))
        }
        _ => reply::json(&ClassificationBody::from(&analysis)),
    })
}

/// Parts are classified one after the other: one request never takes more than one place in the
/// queue.
async fn several(
    app: &App,
    bodies: Vec<Body>,
    depth: Option<BitDepth>,
    thresholds: Thresholds,
    peer: Option<Peer>,
) -> Result<Response, Failure> {
    let mut results = Vec::with_capacity(bodies.len());
    for (part, body) in bodies.into_iter().enumerate() {
        let analysis = app.classify(body, depth, thresholds, None, peer.clone()).await;
        let analysis = analysis.map_err(Failure::of(part))?;
        results.push(ClassificationBody::from(&analysis));
    }
    Ok(reply::json(&results))
}
