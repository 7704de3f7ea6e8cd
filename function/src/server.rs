//! Serving and stopping: bounded connections, and a shutdown that loses no accepted request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
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
        graceful: GracefulShutdown::new(),
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
    // A zero delay still takes what the kernel has already accepted for us.
    let _ = tokio::time::timeout(policy.delay.max(ACCEPT_BACKOFF), server.accept_all(&listener)).await;
    drop(listener);
    app.set_phase(Phase::Closed);

    let drained = match tokio::time::timeout(policy.timeout, server.graceful.shutdown()).await {
        Ok(()) => Drained::Completely,
        Err(_) => Drained::TimedOut,
    };
    app.pool.close();
    drained
}

struct Server {
    connections: Arc<Semaphore>,
    graceful: GracefulShutdown,
    filters: BoxedFilter<(Response,)>,
    app: Arc<App>,
}

impl Server {
    /// Never ends by itself.
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let permit =
                Arc::clone(&self.connections).acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit: tokio::sync::OwnedSemaphorePermit) {
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
        let watched = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
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
