//! Reading multipart bodies: what the parser holds is bounded, and every byte that is kept counts.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};

use super::body::in_time;
use super::negotiate::check_compression;
use crate::body::Body;
use crate::config::RequestLimits;
use crate::error::{Failure, Large, RequestError};
use crate::memory::Memory;

/// Name of the parts that are images.
const FILE_PART: &str = "file";

/// Longest head of a part; browsers and libraries write about 200 bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What the parser may hold while it looks for the end of a head: the head, and the chunks in which
/// its first and its last byte come, in a buffer that doubles. hyper's chunks are up to 64 KiB
/// here.
const PARSER_BYTES: usize = 256 * 1024;

/// Reads the `file` parts of a multipart body, in order; other parts are passed over. An error of
/// one of them has its index.
pub async fn read_parts<B: Buf>(
    limits: RequestLimits,
    memory: &Memory,
    announced: Option<u64>,
    boundary: String,
    stream: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Vec<Body>, Failure> {
    if announced.is_some_and(|length| length > limits.max_body_memory as u64) {
        let limit = limits.max_body_memory;
        return Err(RequestError::TooManyBytes { what: Large::Body, limit }.into());
    }
    let _parser = memory.transit(PARSER_BYTES, Large::Body).map_err(|error| match error {
        // The body is not what is too large.
        RequestError::TooManyBytes { what, limit } => {
            RequestError::TooMuchMemory { what, needed: PARSER_BYTES, limit }
        }
        other => other,
    })?;
    // Bytes that the parser took since it last gave something back.
    let unread = Arc::new(AtomicUsize::new(0));
    let (taken, total) = (Arc::clone(&unread), Arc::new(AtomicUsize::new(0)));
    let chunks = stream.then(move |chunk| {
        let (taken, total) = (Arc::clone(&taken), Arc::clone(&total));
        let chunk = chunk.map(|mut chunk: B| -> Bytes { chunk.copy_to_bytes(chunk.remaining()) });
        async move {
            // The parser takes chunks as long as there are any, whether it needs them or not: it
            // gets one each time its task runs.
            next_run().await;
            let chunk = chunk.map_err(|_| RequestError::BrokenBody)?;
            let limit = limits.max_body_memory;
            if total.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len() > limit {
                return Err(RequestError::TooManyBytes { what: Large::Body, limit });
            }
            if taken.fetch_add(chunk.len(), Ordering::Relaxed) > MAX_HEAD_BYTES {
                let reason = format!("the head of a part has more than {MAX_HEAD_BYTES} bytes");
                return Err(RequestError::BrokenMultipart(reason));
            }
            Ok(chunk)
        }
    });
    let read = async {
        let mut bodies = Vec::new();
        let mut form = multer::Multipart::new(chunks, boundary);
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            unread.store(0, Ordering::Relaxed);
            let file = field.name() == Some(FILE_PART);
            if file && bodies.len() == limits.max_parts {
                return Err(RequestError::TooManyParts { limit: limits.max_parts }.into());
            }
            let part = bodies.len();
            let held = PARSER_BYTES + bodies.iter().map(Body::held).sum::<usize>();
            let mut body = Body::new(memory, Large::Image)?;
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                unread.store(0, Ordering::Relaxed);
                if file {
                    let all = held + body.len() + chunk.len();
                    let taken = body.extend(&chunk, limits.max_image_bytes);
                    taken.map_err(|error| memory.for_ever(error, all)).map_err(Failure::of(part))?;
                }
            }
            if file {
                check_compression(&body).map_err(Failure::of(part))?;
                bodies.push(body);
            }
        }
        if bodies.is_empty() {
            return Err(RequestError::BrokenMultipart("it has no part named \"file\"".into()).into());
        }
        Ok::<_, Failure>(bodies)
    };
    in_time(limits.body_timeout, read).await
}

/// Completes when the runtime runs this task again, and not sooner.
///
/// `yield_now` alone completes at the second poll, even within one run of the task. multer 3.1
/// polls twice while it looks for the first boundary, and reports an incomplete body where the
/// second poll brings all of it.
async fn next_run() {
    let turn = Arc::new(Turn::default());
    let mut yielded = std::pin::pin!(tokio::task::yield_now());
    let mut asked = false;
    poll_fn(|context| {
        if turn.came.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *turn.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if !asked {
            asked = true;
            let waker = Waker::from(Arc::clone(&turn));
            let _ = yielded.as_mut().poll(&mut Context::from_waker(&waker));
        }
        Poll::Pending
    })
    .await;
}

/// Whether the runtime has come round to a task, and how to wake it.
#[derive(Default)]
struct Turn {
    came: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.came.store(true, Ordering::Release);
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.wake();
        }
    }
}

fn broken(error: multer::Error) -> RequestError {
    match error {
        multer::Error::StreamReadFailed(cause) => {
            cause.downcast::<RequestError>().map_or(RequestError::BrokenBody, |error| *error)
        }
        error => RequestError::BrokenMultipart(in_words(&error).into()),
    }
}

/// What is wrong, without the client's own words: a name may be as long as a head.
fn in_words(error: &multer::Error) -> &'static str {
    use multer::Error::*;
    match error {
        IncompleteStream | IncompleteHeaders => {
            "it ends before its last boundary, a part has no empty line behind its head, or content-type names another \
             boundary"
        }
        IncompleteFieldData { .. } => "it ends in the content of a part",
        ReadHeaderFailed(_) | DecodeHeaderName { .. } | DecodeHeaderValue { .. } => {
            "the head of a part has a line that is no header"
        }
        _ => "it is not as RFC 7578 has it",
    }
}
