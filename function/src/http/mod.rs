//! HTTP: routes and handlers. Independent of tensors.
//!
//! # Layout
//!
//! - [`Service`] handles the aspects of every request: the head's validity, 404 and 405, CORS,
//!   metrics
//! - `route`: the table of paths, methods and metric labels; a new route goes there and into
//!   [`routes`]
//! - `classify`: `POST /` and `POST /classify`; `body` reads their input, `negotiate` their
//!   parameters
//! - `page`: the page for people and its samples; `openapi`: the contract for programs
//! - `event`: CloudEvents, on the paths of `classify`; `v2`: the Open Inference Protocol; both read
//!   images out of JSON by `json` and `base64`
//! - `reply`: results as JSON, errors as problem documents or in the form of the path

mod base64;
mod body;
mod classify;
mod cors;
mod event;
mod json;
pub mod multipart;
pub mod negotiate;
mod observe;
mod openapi;
mod page;
mod reply;
mod route;
mod v2;

use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Body;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::http::header::{CONNECTION, HOST, TRANSFER_ENCODING, VARY};
use warp::http::uri::Authority;
use warp::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use warp::path::Tail;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use self::observe::Observation;
use self::reply::ErrorForm;
use self::route::Route;
use crate::app::{App, Phase};
use crate::classifier::Classifier;
use crate::error::RequestError;
use crate::server::Peer;

/// Answers requests.
#[derive(Clone)]
pub struct Service {
    app: Arc<App>,
    routes: BoxedFilter<(Response,)>,
}

impl Service {
    /// All routes of `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self { routes: routes(Arc::clone(&app)), app }
    }

    /// Answers one request. All but probes and scrapes first need a place from `admitted`, which
    /// may refuse them.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        admitted: impl Future<Output = Result<(), RequestError>>,
    ) -> Response
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = Route::of(request.uri().path());
        let mut observation =
            Observation::begin(&self.app.metrics, request.method(), request.headers(), route);
        let origin = cors::origin(request.headers());
        let mut response = self.respond(request, route, admitted).await;
        cors::mark(&self.app.origins, origin.as_ref(), response.headers_mut());
        if self.app.phase() >= Phase::Draining {
            // Directs the client's next request to an instance that is not draining.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        observation.answered(&response);
        response
    }

    async fn respond<B>(
        &self,
        request: Request<B>,
        route: Route,
        admitted: impl Future<Output = Result<(), RequestError>>,
    ) -> Response
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let errors = ErrorForm::at(request.uri().path());
        let checked = check_host(request.version(), request.headers());
        let checked = checked.and_then(|()| check_target(request.uri()));
        if let Err(error) = checked.and_then(|()| check_coding(request.headers())) {
            return errors.answer(&error);
        }
        let method = request.method();
        if let Some(response) = cors::preflight(&self.app.origins, method, request.headers(), route) {
            return response;
        }
        match route.methods() {
            None => return errors.answer(&RequestError::NotFound),
            Some(allowed) if !route.takes(method) => {
                return errors.answer(&RequestError::MethodNotAllowed { allowed });
            }
            Some(_) => {}
        }
        if !route.is_probe()
            && let Err(error) = admitted.await
        {
            self.app.metrics.rejected(error.label());
            return errors.answer(&error);
        }
        match warp::service(self.routes.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// A request of HTTP/1.1 has exactly one `Host`, and every other at most one (RFC 9112, section
/// 3.2).
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), RequestError> {
    let mut hosts = headers.get_all(HOST).iter();
    let bad = match (hosts.next(), hosts.next()) {
        (None, _) if version >= Version::HTTP_11 => "it has no Host header",
        (Some(_), Some(_)) => "it has more than one Host header",
        (Some(host), None) if !host.is_empty() => {
            let authority = Authority::try_from(host.as_bytes());
            if authority.is_ok_and(|authority| is_host_and_port(&authority)) {
                return Ok(());
            }
            "its Host header is no host and port"
        }
        _ => return Ok(()),
    };
    Err(RequestError::BadRequest(bad))
}

/// A target that names a host goes before `Host` (RFC 9112, section 3.2.2): the same holds of it.
fn check_target(target: &Uri) -> Result<(), RequestError> {
    match target.authority() {
        Some(authority) if !is_host_and_port(authority) => {
            Err(RequestError::BadRequest("its target names no host and port"))
        }
        _ => Ok(()),
    }
}

/// Whether it is a host, and perhaps a port in digits. What is read as an authority may also have a
/// user before the host, any text in the place of the port, and any between brackets.
fn is_host_and_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let literal = authority.host().strip_prefix('[').map(|rest| rest.trim_end_matches(']'));
    if text.contains('@') || literal.is_some_and(|address| address.parse::<Ipv6Addr>().is_err()) {
        return false;
    }
    let port = &text[authority.host().len()..];
    port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A body is sent as it is, or in chunks. What else its codings say, a gateway in front may read in
/// another way, and see another request begin (RFC 9112, section 11.2).
fn check_coding(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(RequestError::BadRequest("its Transfer-Encoding is not \"chunked\" alone")),
    }
}

/// Every route of the function.
fn routes(app: Arc<App>) -> BoxedFilter<(Response,)> {
    let (license, source) = (Classifier::metadata().license, app.source_url.as_deref());
    let page = page::render(license, source);
    // Written when it is first asked for: the start need not wait for it.
    let source = app.source_url.clone();
    let document = Arc::new(LazyLock::new(move || openapi::render(license, source.as_deref())));
    let shared = {
        let app = Arc::clone(&app);
        warp::any().map(move || Arc::clone(&app))
    };
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let classify = warp::path::end()
        .or(warp::path!("classify"))
        .unify()
        .and(warp::post())
        .and(shared.clone())
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::ext::optional::<Peer>())
        .and(warp::body::stream())
        .then(|app: Arc<App>, headers, query: String, peer, body| async move {
            classify::handle(&app, headers, &query, peer, body).await
        });
    let inference = warp::path("v2")
        .and(warp::path::tail())
        .and(warp::post())
        .and(shared.clone())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::body::stream())
        .then(|tail: Tail, app: Arc<App>, headers, peer, body| async move {
            v2::infer(&app, tail.as_str(), headers, peer, body).await
        });
    let about = warp::path("v2")
        .and(warp::path::tail())
        .and(read())
        .and(shared.clone())
        .map(|tail: Tail, app: Arc<App>| v2::about(&app, tail.as_str()));
    let livez = warp::path!("livez").and(read()).map(|| text(StatusCode::OK, "ok\n"));
    let readyz = warp::path!("readyz").and(read()).and(shared.clone()).map(|app: Arc<App>| readiness(&app));
    let metrics = warp::path!("metrics")
        .and(read())
        .and(shared)
        .and(warp::header::headers_cloned())
        .then(|app: Arc<App>, headers| async move { metrics(&app, &headers).await });
    let samples = warp::path!("samples").and(read()).map(page::sample_list);
    let sample = warp::path!("samples" / String).and(read()).map(|name: String| page::sample(&name));
    let part = warp::path!("page" / String).and(read()).map(|name: String| page::part(&name));
    let openapi = warp::path!("openapi.json")
        .and(read())
        .map(move || reply::bytes(StatusCode::OK, "application/json", Bytes::clone(&document)));
    let page = warp::path::end().and(read()).map(move || page::page(page.clone()));

    livez
        .or(readyz)
        .unify()
        .or(classify)
        .unify()
        .or(inference)
        .unify()
        .or(about)
        .unify()
        .or(metrics)
        .unify()
        .or(page)
        .unify()
        .or(openapi)
        .unify()
        .or(part)
        .unify()
        .or(samples)
        .unify()
        .or(sample)
        .unify()
        .recover(recover)
        .unify()
        .boxed()
}

/// GET, and HEAD, whose body the server leaves out.
fn read() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::get().or(warp::head()).unify()
}

fn readiness(app: &App) -> Response {
    match app.phase() {
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready if !app.pool.ensure_threads() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "no inference thread can be started\n")
        }
        Phase::Ready => text(StatusCode::OK, "ready\n"),
        Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics(app: &App, headers: &HeaderMap) -> Response {
    let format = negotiate::exposition(headers);
    let asked = Instant::now();
    // Others who ask get to be known, too.
    tokio::task::yield_now().await;
    match app.metrics.render(format, asked) {
        Ok(text) => {
            let mut response = reply::bytes(StatusCode::OK, format.content_type(), text);
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be rendered");
            reply::problem(&RequestError::Internal, None)
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    reply::bytes(status, "text/plain; charset=utf-8", text)
}

/// Rejections of warp, which the table of routes makes unreachable. Handlers never reject, so that
/// no error falls through to another route.
async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    tracing::debug!(?rejection, "rejected by warp");
    let error = if rejection.is_not_found() {
        RequestError::NotFound
    } else {
        RequestError::BadRequest("it is not what this path takes")
    };
    Ok(reply::problem(&error, None).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(version: Version, hosts: &[&'static str]) -> Result<(), RequestError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        check_host(version, &headers)
    }

    #[test]
    fn a_target_that_names_a_host_names_no_user_and_a_port_in_digits() {
        let target = |text: &'static str| check_target(&Uri::from_static(text));
        for good in ["/livez", "*", "http://a/livez", "http://a:80/", "http://[::1]:8080/"] {
            assert_eq!(target(good), Ok(()), "{good}");
        }
        for bad in ["http://u:p@h/livez", "http://u@h/", "http://h:x/livez"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_is_chunked_or_nothing() {
        let coding = |codings: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            check_coding(&headers)
        };
        for good in [&[][..], &["chunked"], &["Chunked"]] {
            assert_eq!(coding(good), Ok(()), "{good:?}");
        }
        for bad in [&["gzip, chunked"][..], &["chunked, chunked"], &["chunked", "chunked"], &["identity"]] {
            assert!(coding(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        for good in ["a", "a:80", "a:", "[::1]", "[::1]:8080", "", "10.0.0.1:8080", "eye_state.default.svc"] {
            assert_eq!(host(Version::HTTP_11, &[good]), Ok(()), "{good}");
        }
        assert_eq!(host(Version::HTTP_10, &[]), Ok(()));
        for bad in [&[][..], &["a", "a"], &["a b"], &["a/b"], &["a, b"]] {
            assert!(host(Version::HTTP_11, bad).is_err(), "{bad:?}");
        }
        for bad in [
            "u:p@h", "u@h", "h@h:80", "h:80@h", "a:b", "a:80x", "a:+80", "[::1]:b", "[::1]b", "[]", "[a]:80",
            "[::1",
        ] {
            assert!(host(Version::HTTP_11, &[bad]).is_err(), "{bad}");
        }
        assert!(host(Version::HTTP_10, &["a", "b"]).is_err());
    }
}
