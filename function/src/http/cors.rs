//! Cross-origin requests of browsers (<https://fetch.spec.whatwg.org/#http-cors-protocol>): off
//! unless configured.
//!
//! Not warp's `cors()`: that answers 403 to every request with an `Origin` that it does not know,
//! and browsers send one with the page's own requests, too. Here such a request is answered without
//! the headers, and the browser withholds the answer from a foreign page, as the protocol
//! specifies.

use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::reply::Response;

use super::route::Route;
use crate::config::Origins;

/// How long a browser may remember the answer to a preflight, in seconds: the most that Chromium
/// does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Headers of an answer that scripts may read besides the ones that they always may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("retry-after, traceparent, inference-header-content-length");

/// The answer to a preflight request, where this is one and cross-origin requests are allowed at
/// all.
pub(super) fn preflight(
    origins: &Origins,
    method: &Method,
    headers: &HeaderMap,
    route: Route,
) -> Option<Response> {
    let asks = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let methods = route.methods().filter(|_| asks && *origins != Origins::None)?;
    let mut response = Response::new(bytes::Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = response.headers_mut();
    allowed.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    allowed.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    allowed.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Some(response)
}

/// Tells the browser whether the page at `origin` may read this answer.
pub(super) fn mark(origins: &Origins, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    let allowed = match origins {
        Origins::None => return,
        Origins::Any => HeaderValue::from_static("*"),
        Origins::These(origins) => {
            // Caches must not serve one origin's answer to another, or to a request without an
            // origin.
            answer.append(VARY, HeaderValue::from_static("origin"));
            let listed = |origin: &&HeaderValue| {
                origin.to_str().is_ok_and(|origin| origins.iter().any(|o| o.eq_ignore_ascii_case(origin)))
            };
            let Some(origin) = origin.filter(listed) else { return };
            origin.clone()
        }
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The header that a browser names a page's origin in.
pub(super) fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}
