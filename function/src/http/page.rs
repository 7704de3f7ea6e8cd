//! The page for people and its samples: embedded, from no outside resource.

use warp::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::reply;
use crate::error::RequestError;

const PAGE: &str = include_str!("../../page/index.html");
const SAMPLE_LIST: &str = include_str!("../../samples/samples.json");

/// Everything inline, nothing from elsewhere; the camera and chosen files are blobs.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
    style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// Samples change with the build only; an hour spares repeated loads and outlives no deployment by much.
const SAMPLE_CACHE: &str = "public, max-age=3600";

macro_rules! samples {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../samples/", $name)) as &[u8])),*]
    };
}

const SAMPLES: &[(&str, &[u8])] = samples![
    "blanket.jpg",
    "closed-far.jpg",
    "closed-rolled.jpg",
    "closed-upside-down.jpg",
    "closed.jpg",
    "covered.jpg",
    "empty-bed.jpg",
    "glasses-closed.jpg",
    "glasses-open.jpg",
    "hand.jpg",
    "one-open.jpg",
    "open-far.jpg",
    "open-rolled.jpg",
    "open-upside-down.jpg",
    "open.jpg",
];

pub(super) fn page() -> Response {
    let mut response = reply::bytes(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

pub(super) fn sample_list() -> Response {
    reply::bytes(StatusCode::OK, "application/json", SAMPLE_LIST)
}

pub(super) fn sample(name: &str) -> Response {
    let Some((name, bytes)) = SAMPLES.iter().find(|(sample, _)| *sample == name) else {
        return reply::problem(&RequestError::NotFound, None);
    };
    let content_type = if name.ends_with(".png") { "image/png" } else { "image/jpeg" };
    let mut response = reply::bytes(StatusCode::OK, content_type, *bytes);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(SAMPLE_CACHE));
    response
}
