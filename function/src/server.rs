//! Serving and stopping: bounded connections, and a shutdown that loses no accepted request.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::http::header::CONNECTION;
use warp::http::{HeaderValue, Method, Request};
use warp::reply::Response;

use crate::app::{App, Phase};
use crate::http::routes;
use crate::telemetry::Metrics;

/// How long a connection may lie idle, or take to send a request's head. Longer than the gateways in front
/// keep theirs (Envoy, Go and Google's load balancer: up to 600 s), since a server that closes first races with a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(620);

/// Pause after the kernel refused a connection (out of file descriptors), so as not to spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// When nothing has come out of the kernel's backlog for this long, nothing is in it: no new handshake begins
/// any more, and one that had begun takes a round trip.
const BACKLOG_SETTLES: Duration = Duration::from_millis(100);

/// How long the stop waits for a request on a connection that has none: it may be under way, or lie unread in the
/// kernel. As long as a client waits before it sends a lost packet again (RFC 6298, section 2).
const LINGER: Duration = Duration::from_secs(1);

/// When the time for draining is over: how long refusals may take to be written, and what is being computed to end. A large
/// picture takes a tenth of a second of CPU time, of which a small pod has a tenth a second.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How the stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every accepted request was answered.
    Completely,
    /// Time ran out first.
    TimedOut,
}

/// How a stop is paced.
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy {
    /// How long requests are still taken, while readiness already says no.
    pub delay: Duration,
    /// How long accepted requests may then take.
    pub timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
}

/// Serves on an already bound listener until `shutdown` completes, then drains.
pub async fn run(
    listener: TcpListener,
    app: Arc<App>,
    policy: DrainPolicy,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let server = Server {
        connections: Arc::new(Semaphore::new(policy.max_connections)),
        closing: watch::Sender::new(false),
        // Idle connections alone must not use up the time.
        linger: LINGER.min(policy.timeout / 2),
        filters: routes(Arc::clone(&app)),
        app: Arc::clone(&app),
    };
    tokio::select! {
        () = server.accept_all(&listener) => {}
        () = shutdown => {}
    }
    app.set_phase(Phase::Draining);
    tracing::info!(
        delay_ms = policy.delay.as_millis() as u64,
        "draining: still taking requests, no longer ready"
    );
    let _ = tokio::time::timeout(policy.delay, server.accept_all(&listener)).await;

    let drained = match tokio::time::timeout(policy.timeout, server.close(listener)).await {
        Ok(()) => Drained::Completely,
        Err(_) => Drained::TimedOut,
    };
    app.pool.close();
    if drained == Drained::TimedOut {
        let _ = tokio::time::timeout(LAST_ANSWERS, server.closing.closed()).await;
    }
    drained
}

struct Server {
    connections: Arc<Semaphore>,
    /// True once connections are to end; each holds a receiver for as long as it lives.
    closing: watch::Sender<bool>,
    linger: Duration,
    filters: BoxedFilter<(Response,)>,
    app: Arc<App>,
}

impl Server {
    /// Never ends by itself.
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let permit = self.room().await;
            self.take(listener.accept().await, permit).await;
        }
    }

    /// Ends when every connection has ended, those included that only the kernel had accepted.
    async fn close(&self, listener: TcpListener) {
        let refused = refuse_handshakes(&listener);
        self.closing.send_replace(true);
        match refused {
            Ok(()) => self.empty_backlog(&listener).await,
            Err(error) => {
                // Whoever keeps connecting must not keep the stop from ending.
                tracing::debug!(%error, "connections that begin in this instant may be reset");
                let _ = tokio::time::timeout(self.linger, self.empty_backlog(&listener)).await;
            }
        }
        drop(listener);
        self.closing.closed().await;
    }

    async fn empty_backlog(&self, listener: &TcpListener) {
        loop {
            let permit = self.room().await;
            match tokio::time::timeout(BACKLOG_SETTLES, listener.accept()).await {
                Ok(accepted) => self.take(accepted, permit).await,
                Err(_) => return,
            }
        }
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.connections).acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn take(
        &self,
        accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>,
        permit: OwnedSemaphorePermit,
    ) {
        match accepted {
            Ok((stream, _)) => self.serve(stream, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Answers are small and written at once: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let app = Arc::clone(&self.app);
        let filters = warp::service(self.filters.clone());
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            observed(Arc::clone(&app), filters.clone(), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let (mut closing, linger) = (self.closing.subscribe(), self.linger);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let lingered = async {
                let _ = closing.wait_for(|closing| *closing).await;
                tokio::time::sleep(linger).await;
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = lingered => {
                    // hyper drops a connection here from which it has read nothing: not before it had its time.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((permit, closing));
        });
    }
}

/// From here on the kernel ignores who begins to connect, and still finishes the handshakes that it has begun. Closing
/// a listener resets what it holds, so it must be emptied first, and cannot be while it fills.
#[cfg(target_os = "linux")]
fn refuse_handshakes(listener: &TcpListener) -> std::io::Result<()> {
    use socket2::SockFilter;
    // Classic BPF, which sees a segment from its TCP header on (linux/filter.h): pass all but SYN without ACK.
    const FLAGS: u32 = 13; // their place in the header, RFC 9293, section 3.1
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    socket2::SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),     // load that byte
        SockFilter::new(0x54, 0, 0, SYN | ACK), // keep two of its bits
        SockFilter::new(0x15, 0, 1, SYN),       // skip one instruction unless only SYN is set
        SockFilter::new(0x06, 0, 0, 0),         // drop
        SockFilter::new(0x06, 0, 0, u32::MAX),  // pass, whole
    ])
}

#[cfg(not(target_os = "linux"))]
fn refuse_handshakes(_: &TcpListener) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Measures a request from its head to its answer.
async fn observed<S>(
    app: Arc<App>,
    mut service: S,
    request: Request<hyper::body::Incoming>,
) -> Result<Response, Infallible>
where
    S: Service<Request<hyper::body::Incoming>, Response = Response, Error = Infallible>,
{
    let mut observation = Observation::begin(&app.metrics, &request);
    let mut response = service.call(request).await?;
    if app.phase() >= Phase::Draining {
        // The client's next request goes to an instance that stays.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    observation.status = Some(response.status().as_u16());
    Ok(response)
}

struct Observation {
    metrics: Metrics,
    method: &'static str,
    route: &'static str,
    status: Option<u16>,
    start: Instant,
}

impl Observation {
    fn begin<B>(metrics: &Metrics, request: &Request<B>) -> Self {
        metrics.request_began();
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            _ => "_OTHER",
        };
        let route = match request.uri().path() {
            "/" if *request.method() == Method::POST => "/classify",
            "/" => "/",
            "/classify" => "/classify",
            "/livez" => "/livez",
            "/readyz" => "/readyz",
            "/metrics" => "/metrics",
            path if path.starts_with("/samples") => "/samples",
            _ => "_OTHER",
        };
        Self { metrics: metrics.clone(), method, route, status: None, start: Instant::now() }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.metrics.request_ended(self.method, self.route, self.status, self.start.elapsed());
    }
}
