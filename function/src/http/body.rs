//! Reading bodies: bounded in bytes, in time, and together in memory.

use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};

use super::negotiate::check_compression;
use crate::app::App;
use crate::body::Body;
use crate::error::{Large, RequestError};

/// Reads a body of up to `limit` bytes: an image, or a document that carries one. `announced` is
/// its `Content-Length`.
pub(super) async fn read_body<B: Buf>(
    app: &App,
    what: Large,
    limit: usize,
    announced: Option<u64>,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Body, RequestError> {
    let mut stream = std::pin::pin!(stream);
    let read = async {
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(RequestError::TooManyBytes { what, limit });
        }
        // hyper ensures that a body has the announced length.
        let most = announced.map_or(limit, |length| limit.min(length as usize));
        let mut body = Body::new(&app.memory, what)?;
        while let Some(chunk) = stream.next().await {
            let mut chunk = chunk.map_err(|_| RequestError::BrokenBody)?;
            while chunk.has_remaining() {
                let piece = chunk.chunk();
                let length = piece.len();
                body.extend(piece, most)?;
                chunk.advance(length);
            }
        }
        check_compression(&body)?;
        Ok(body)
    };
    in_time(app.limits.body_timeout, read).await
}

pub(super) async fn in_time<T, E: From<RequestError>>(
    limit: Duration,
    read: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(RequestError::BodyTimeout(limit).into()))
}
