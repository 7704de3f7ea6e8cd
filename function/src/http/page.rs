//! The page for people and its samples: embedded, from no outside resource.

use bytes::Bytes;
use warp::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::reply;
use crate::error::RequestError;

/// `{{model_license}}` and `{{source}}` stand for what only the running function knows.
const PAGE: &str = include_str!("../../page/index.html");

/// The page's style and behaviour: name, content type, text. Files of their own, so that the policy
/// can forbid everything inline.
const PARTS: &[(&str, &str, &str)] = &[
    ("answer.js", "text/javascript; charset=utf-8", include_str!("../../page/answer.js")),
    ("page.css", "text/css; charset=utf-8", include_str!("../../page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../page/page.js")),
];
const SAMPLE_LIST: &str = include_str!("../../samples/samples.json");

/// Nothing from elsewhere, nothing inline; the camera and chosen files are blobs, the icon is a
/// data URL.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Samples change with the build only; an hour spares repeated loads and outlives no deployment by
/// much.
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

/// The page with the model's licence and the offer of the source (AGPL-3.0, section 13) filled in.
pub(super) fn render(model_license: &str, source_url: Option<&str>) -> Bytes {
    let source = source_url.map_or_else(
        || "Source code: ask whoever runs this function.".to_owned(),
        |url| format!("<a id=\"source\" href=\"{}\">Source code</a>", escape(url)),
    );
    PAGE.replace("{{model_license}}", &escape(model_license)).replace("{{source}}", &source).into()
}

/// Text as HTML, also inside double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn page(page: Bytes) -> Response {
    let mut response = reply::bytes(StatusCode::OK, "text/html; charset=utf-8", page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

pub(super) fn part(name: &str) -> Response {
    match PARTS.iter().find(|(part, ..)| *part == name) {
        Some((_, content_type, text)) => reply::bytes(StatusCode::OK, content_type, *text),
        None => reply::problem(&RequestError::NotFound, None),
    }
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
