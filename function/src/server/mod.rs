//! Serving and stopping: bounded connections, and a graceful shutdown that loses no accepted
//! request.

mod activity;
mod listen;
mod peer;
mod places;
mod request;
mod socket;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use warp::http::header::{CONNECTION, EXPECT};
use warp::http::{HeaderValue, Request};
use warp::reply::Response;

use self::places::{Place, Places};
use self::request::LentBody;
use self::socket::Socket;
use crate::app::{App, Phase};
use crate::error::RequestError;
use crate::http;
use crate::memory::MAX_HEAD_BYTES;
use crate::telemetry::seldom::Seldom;

pub use listen::listen;
use listen::refuse_handshakes;
pub use peer::Peer;
pub(crate) use places::{connections, places_in};

/// Longest idle time of a connection. Longer than gateways keep theirs (Envoy, Go and Google's load
/// balancer: up to 600 s), since a server that closes first races with a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(620);

/// Polling interval for request heads that stay incomplete.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Threads for sockets and small JSON; inference has its own.
const ASYNC_THREADS: usize = 2;

/// How many tasks a thread takes from its own queue before it takes one from the shared one. Beyond
/// 256 ready tasks a thread puts half of them into the shared queue, where new connections wait
/// behind them: at tokio's own choice (so that it looks about every 200 µs) they would wait many
/// times longer than the others.
const SHARED_QUEUE_INTERVAL: u32 = 2;

/// Pause while every connection is too young to be closed for a new one.
const ADMIT_RETRY: Duration = Duration::from_millis(2);

/// Pause after the kernel refused a connection (out of file descriptors), so as not to spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Grace period of a connection that lost its place.
const CLOSE_TIME: Duration = Duration::from_millis(100);

/// When a request that found every place taken may come back: any of them may become free at any
/// time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When nothing has come out of the kernel's backlog for this long, nothing is in it: no new
/// handshake begins any more, and one that had begun takes a round trip.
const BACKLOG_SETTLES: Duration = Duration::from_millis(100);

/// How long a shutdown waits for a request on a connection that has none: it may be under way, or
/// lie unread in the kernel. As long as a client waits before it sends a lost packet again (RFC
/// 6298, section 2).
const LINGER: Duration = Duration::from_secs(1);

/// When the time for draining is over: how long refusals may take to be written, and running
/// inferences to end. A large picture takes a tenth of a second of CPU time, of which a small pod
/// has a tenth a second.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Outcome of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every accepted request was answered.
    Completely,
    /// Time ran out first.
    TimedOut,
}

/// The time limits of a shutdown.
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy {
    /// How long requests are still accepted while readiness already fails.
    pub delay: Duration,
    /// How long accepted requests may then take.
    pub timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
}

/// The runtime that serves.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(ASYNC_THREADS)
        .global_queue_interval(SHARED_QUEUE_INTERVAL)
        .enable_all()
        .build()
}

/// Serves on an already bound listener until `shutdown` completes, then drains.
///
/// Boxed on both sides, so that the server is compiled once, in this crate, and not again in the
/// binary and in each test.
pub fn run(
    listener: TcpListener,
    app: Arc<App>,
    policy: DrainPolicy,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Drained> {
    Box::pin(serve_until(listener, app, policy, shutdown))
}

async fn serve_until(
    listener: TcpListener,
    app: Arc<App>,
    policy: DrainPolicy,
    shutdown: BoxFuture<'static, ()>,
) -> Drained {
    let connections = places::fitting(policy.max_connections);
    if connections < policy.max_connections {
        tracing::warn!(connections, "the limit on open files allows fewer connections than MAX_CONNECTIONS");
    }
    if app.memory.places() < connections {
        let connections = app.memory.places();
        tracing::info!(connections, "the memory limit allows fewer connections than MAX_CONNECTIONS");
    }
    let server = Server {
        places: Places::new(connections, app.memory.clone()),
        closing: watch::Sender::new(false),
        // Idle connections alone must not use up the time.
        linger: LINGER.min(policy.timeout / 2),
        http: http::Service::new(Arc::clone(&app)),
        app: Arc::clone(&app),
        refused: Mutex::default(),
    };
    let sweeping = tokio::spawn(sweep(Arc::clone(&server.places), app.limits.body_timeout));
    server.accept_until(&listener, shutdown).await;
    app.set_phase(Phase::Draining);
    tracing::info!(
        delay_ms = policy.delay.as_millis() as u64,
        "draining: still taking requests, no longer ready"
    );
    server.accept_until(&listener, tokio::time::sleep(policy.delay)).await;

    let drained = match tokio::time::timeout(policy.timeout, server.close(listener)).await {
        Ok(()) => Drained::Completely,
        Err(_) => Drained::TimedOut,
    };
    app.pool.close();
    if drained == Drained::TimedOut {
        let _ = tokio::time::timeout(LAST_ANSWERS, server.closing.closed()).await;
    }
    sweeping.abort();
    drained
}

/// Closes connections whose request heads take longer than `limit`, and those that memory has no
/// room for any more, again and again.
async fn sweep(places: Arc<Places>, limit: Duration) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        places.close_incomplete(limit);
        places.close_surplus();
    }
}

struct Server {
    places: Arc<Places>,
    /// True once connections are to end; each holds a receiver for as long as it lives.
    closing: watch::Sender<bool>,
    linger: Duration,
    http: http::Service,
    app: Arc<App>,
    refused: Mutex<Refused>,
}

/// Connections that the kernel did not hand over, and that no warning has named yet. Twenty a
/// second where the limit on open files is low.
#[derive(Default)]
struct Refused {
    connections: usize,
    warnings: Seldom,
}

impl Refused {
    /// Counts one more, and warns where that is due.
    fn add(&mut self, error: &std::io::Error) {
        self.connections += 1;
        if self.warnings.due(Instant::now()) {
            let connections = std::mem::take(&mut self.connections);
            tracing::warn!(%error, connections, "connections could not be accepted at once");
        }
    }
}

impl Server {
    /// Takes connections until `end`. One that was accepted is no longer in the kernel, so it gets
    /// its place first.
    async fn accept_until(&self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                biased;
                () = end.as_mut() => return,
                accepted = listener.accept() => accepted,
            };
            self.take(accepted).await;
        }
    }

    /// Ends when every connection has ended, those included that only the kernel had accepted.
    async fn close(&self, listener: TcpListener) {
        let refused = refuse_handshakes(&listener);
        self.closing.send_replace(true);
        match refused {
            Ok(()) => self.empty_backlog(&listener).await,
            Err(error) => {
                // Bounded, so that new clients cannot delay the shutdown.
                tracing::debug!(%error, "connections that begin in this instant may be reset");
                let _ = tokio::time::timeout(self.linger, self.empty_backlog(&listener)).await;
            }
        }
        drop(listener);
        self.closing.closed().await;
    }

    async fn empty_backlog(&self, listener: &TcpListener) {
        loop {
            match tokio::time::timeout(BACKLOG_SETTLES, listener.accept()).await {
                Ok(accepted) => self.take(accepted).await,
                Err(_) => return,
            }
        }
    }

    async fn take(&self, accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>) {
        match accepted {
            Ok((stream, _)) => loop {
                if let Some(place) = self.places.admit() {
                    return self.serve(stream, place);
                }
                tokio::time::sleep(ADMIT_RETRY).await;
            },
            Err(error) => {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).add(&error);
                self.places.close_one();
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }

    fn serve(&self, stream: TcpStream, place: Place) {
        // Answers are small and written at once: Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        let (stream, place) = (Arc::new(stream), Arc::new(place));
        let socket = Socket::new(Arc::clone(&stream), Arc::clone(&place), self.closing.subscribe());
        let exchange = Exchange {
            http: self.http.clone(),
            place: Arc::clone(&place),
            peer: Peer::new(Arc::clone(&stream)),
            longest_wait: self.app.pool.deadline(),
        };
        let exchange = Arc::new(exchange);
        let service = hyper::service::service_fn(move |request| {
            let exchange = Arc::clone(&exchange);
            async move { Ok::<_, Infallible>(exchange.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            // A client may close its side after the request and still read the answer (RFC 9293,
            // section 3.6).
            .half_close(true)
            .serve_connection(TokioIo::new(socket), service);
        let (mut closing, linger) = (self.closing.subscribe(), self.linger);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let lingered = async {
                let _ = closing.wait_for(|closing| *closing).await;
                tokio::time::sleep(linger).await;
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = lingered => {
                    // hyper drops a connection here that it has read nothing from, so it first gets
                    // its time.
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => Some(ended),
                        () = place.lost() => None,
                    }
                }
                () = place.lost() => None,
            };
            // Whether the kernel may hold an answer that was not taken in time.
            let mut unread = false;
            let ended = match ended {
                Some(ended) => ended,
                // No request was sent, so none is lost.
                None if !place.activity.has_served() => Ok(()),
                None if place.activity.stalled().is_some() => Ok(()),
                None => {
                    unread |= !place.activity.is_serving();
                    connection.as_mut().graceful_shutdown();
                    loop {
                        tokio::select! {
                            ended = tokio::time::timeout(CLOSE_TIME, connection.as_mut()) => match ended {
                                Ok(ended) => break ended,
                                Err(_) if place.activity.is_busy() => {}
                                Err(_) => break Ok(()),
                            },
                            () = place.cut() => {
                                unread = true;
                                break Ok(());
                            }
                        }
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            if unread || place.activity.stalled().is_some() {
                // Without this it would hold it until the client takes it.
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            }
            drop((place, closing));
        });
    }
}

/// State shared by the requests of one connection.
struct Exchange {
    http: http::Service,
    place: Arc<Place>,
    peer: Peer,
    longest_wait: Duration,
}

impl Exchange {
    async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response {
        let activity = &self.place.activity;
        let pipelined = activity.begin();
        let _ended = EndOnDrop(activity);
        let expects = request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        let (body, left) = LentBody::new(body, Arc::clone(activity));
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(self.peer.clone());
        if pipelined {
            // One request, then it is the others' turn: hyper would answer 16.
            tokio::task::yield_now().await;
        }
        let mut response = self.http.answer(request, self.admitted()).await;
        if !left.finish(activity, expects).await || !self.place.keep() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Waits for a place if there is none.
    async fn admitted(&self) -> Result<(), RequestError> {
        match tokio::time::timeout(self.longest_wait, self.place.wait()).await {
            Ok(Some(())) => Ok(()),
            Ok(None) | Err(_) => Err(RequestError::Overloaded { retry_after: RETRY_AFTER }),
        }
    }
}

/// Marks the request as ended, also where its future is dropped because the client disconnected.
struct EndOnDrop<'a>(&'a activity::Activity);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
