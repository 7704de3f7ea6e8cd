//! Lends a request's body to the routes and takes back the unread rest, which is then read or
//! discarded.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Activity;

/// An unread rest up to this size is read, so that the connection can be kept: a new one would cost
/// more.
const SMALL_REST: u64 = 64 * 1024;
/// How long that may take: the rest of a small body is in the kernel or on the wire.
const SMALL_REST_TIME: Duration = Duration::from_millis(100);

/// The body of a request, lent.
pub(super) struct LentBody {
    body: Option<Incoming>,
    activity: Arc<Activity>,
    left: Left,
}

/// The slot to which a body that was not read to its end is returned.
#[derive(Clone, Default)]
pub(super) struct Left(Arc<Mutex<Option<Incoming>>>);

impl LentBody {
    pub(super) fn new(body: Incoming, activity: Arc<Activity>) -> (Self, Left) {
        let left = Left::default();
        if body.is_end_stream() {
            activity.body_ended();
        }
        (Self { body: Some(body), activity, left: left.clone() }, left)
    }
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if self.is_end_stream() || matches!(frame, Poll::Ready(None)) {
            self.activity.body_ended();
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl Left {
    /// Reads the rest of the body if it is small. False: it was not read, and the connection must
    /// be closed.
    ///
    /// A client that waits for a `100 Continue` (`expects`) would be sent one by reading: it sends
    /// nothing more when it is not.
    pub(super) async fn finish(self, activity: &Activity, expects: bool) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return true };
        if expects || body.size_hint().lower() > SMALL_REST {
            return false;
        }
        let rest = async {
            let mut taken = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken as u64 > SMALL_REST {
                    return false;
                }
            }
            true
        };
        let read = tokio::time::timeout(SMALL_REST_TIME, rest).await.unwrap_or(false);
        if read {
            activity.body_ended();
        }
        read
    }
}
