//! Reading bodies: bounded in bytes, in time, and together in memory.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::negotiate::check_compression;
use crate::app::App;
use crate::body::Body;
use crate::error::RequestError;

/// Name of the multipart parts that are images.
const FILE_PART: &str = "file";

/// Reads a body that is one image. `announced` is its `Content-Length`.
pub(super) async fn read_image<B: Buf>(
    app: &App,
    announced: Option<u64>,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Body, RequestError> {
    let limit = app.limits.max_image_bytes;
    let mut stream = std::pin::pin!(stream);
    let read = async {
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(RequestError::TooManyBytes { limit });
        }
        let mut body = Body::new(&app.body_memory);
        while let Some(chunk) = stream.next().await {
            let mut chunk = chunk.map_err(|_| RequestError::BrokenBody)?;
            while chunk.has_remaining() {
                let piece = chunk.chunk();
                let length = piece.len();
                body.extend(piece, limit)?;
                chunk.advance(length);
            }
        }
        check_compression(&body)?;
        Ok(body)
    };
    in_time(app.limits.body_timeout, read).await
}

/// Reads the `file` parts of a multipart body, in order; other parts are passed over.
pub(super) async fn read_parts<B: Buf>(
    app: &App,
    announced: Option<u64>,
    boundary: String,
    stream: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Vec<Body>, RequestError> {
    let limits = app.limits;
    if announced.is_some_and(|length| length > limits.max_body_memory as u64) {
        return Err(RequestError::TooManyBytes { limit: limits.max_body_memory });
    }
    let mut total = 0usize;
    let chunks = stream.map_err(|_| RequestError::BrokenBody).and_then(move |mut chunk| {
        let chunk: Bytes = chunk.copy_to_bytes(chunk.remaining());
        total += chunk.len();
        let fits = total <= limits.max_body_memory;
        std::future::ready(
            fits.then_some(chunk).ok_or(RequestError::TooManyBytes { limit: limits.max_body_memory }),
        )
    });
    let read = async {
        let mut bodies = Vec::new();
        let mut form = multer::Multipart::new(chunks, boundary);
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            if field.name() != Some(FILE_PART) {
                continue;
            }
            if bodies.len() == limits.max_parts {
                return Err(RequestError::TooManyParts { limit: limits.max_parts });
            }
            let mut body = Body::new(&app.body_memory);
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                body.extend(&chunk, limits.max_image_bytes)?;
            }
            check_compression(&body)?;
            bodies.push(body);
        }
        if bodies.is_empty() {
            return Err(RequestError::BrokenMultipart("it has no part named \"file\"".into()));
        }
        Ok(bodies)
    };
    in_time(limits.body_timeout, read).await
}

async fn in_time<T>(
    limit: Duration,
    read: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    tokio::time::timeout(limit, read).await.unwrap_or(Err(RequestError::BodyTimeout(limit)))
}

fn broken(error: multer::Error) -> RequestError {
    match error {
        multer::Error::StreamReadFailed(cause) => {
            cause.downcast::<RequestError>().map_or(RequestError::BrokenBody, |error| *error)
        }
        error => RequestError::BrokenMultipart(error.to_string()),
    }
}
