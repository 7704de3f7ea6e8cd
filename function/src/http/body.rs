//! Reading bodies: bounded in bytes, in time, and together in memory.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, TryStreamExt};

use crate::app::App;
use crate::body::Body;
use crate::error::RequestError;

/// How much of a body that is too large is still taken and thrown away, so that its sender gets to read the
/// answer instead of a broken connection.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(2);

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
        Ok(body)
    };
    let result = in_time(app.limits.body_timeout, read).await;
    if matches!(result, Err(RequestError::TooManyBytes { .. } | RequestError::Overloaded { .. })) {
        discard(stream).await;
    }
    result
}

/// Reads the `file` parts of a multipart body, in order; other parts are passed over.
pub(super) async fn read_parts<B: Buf>(
    app: &App,
    boundary: String,
    stream: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Vec<Body>, RequestError> {
    let limits = app.limits;
    let mut total = 0usize;
    let chunks = stream.map_err(|_| RequestError::BrokenBody).and_then(move |mut chunk| {
        let chunk: Bytes = chunk.copy_to_bytes(chunk.remaining());
        total += chunk.len();
        let fits = total <= limits.max_body_memory;
        std::future::ready(
            fits.then_some(chunk).ok_or(RequestError::TooManyBytes { limit: limits.max_body_memory }),
        )
    });
    let mut chunks = std::pin::pin!(chunks);
    let read = async {
        let mut bodies = Vec::new();
        // The stream is lent, so that what is left of it can be thrown away after an error.
        let mut form = multer::Multipart::new(&mut chunks, boundary);
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
            bodies.push(body);
        }
        if bodies.is_empty() {
            return Err(RequestError::BrokenMultipart("it has no part named \"file\"".into()));
        }
        Ok(bodies)
    };
    let result = in_time(limits.body_timeout, read).await;
    if result.is_err() {
        discard(chunks).await;
    }
    result
}

async fn in_time<T>(
    limit: Duration,
    read: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    tokio::time::timeout(limit, read).await.unwrap_or(Err(RequestError::BodyTimeout(limit)))
}

/// Takes what the client still sends, within bounds, and forgets it.
async fn discard<B: Buf, E>(mut stream: impl Stream<Item = Result<B, E>> + Unpin) {
    let mut taken = 0;
    let rest = async {
        while let Some(Ok(chunk)) = stream.next().await {
            taken += chunk.remaining();
            if taken > LINGER_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}

fn broken(error: multer::Error) -> RequestError {
    match error {
        multer::Error::StreamReadFailed(cause) => {
            cause.downcast::<RequestError>().map_or(RequestError::BrokenBody, |error| *error)
        }
        error => RequestError::BrokenMultipart(error.to_string()),
    }
}
