//! Fuzz targets for the function's parsing of requests and its configuration.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use eye_state::annotate::PictureFormat;
use eye_state::config::{Config, Origins, RequestLimits, Thresholds};
use eye_state::error::Failure;
use eye_state::http::multipart::read_parts;
use eye_state::http::negotiate;
use eye_state::memory::Memory;
use form_urlencoded::Serializer;
use futures_util::stream;
use warp::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use warp::http::{HeaderMap, HeaderValue};

const THRESHOLDS: Thresholds = Thresholds { confidence: 0.35, iou: 0.45 };

/// Small limits, so that small inputs reach them.
const LIMITS: RequestLimits = RequestLimits {
    max_image_bytes: 256,
    max_image_pixels: 1,
    max_parts: 3,
    max_body_memory: 1 << 20,
    body_timeout: Duration::from_secs(60),
};

/// A multipart body is read the same however it is split into chunks, every part is a slice of it,
/// and all memory is released. The first byte says in how many pieces, the boundary is `cut`.
pub fn multipart(input: &[u8]) {
    let Some((pieces, body)) = input.split_first() else { return };
    let whole = parts(body, body.len().max(1));
    let in_pieces = parts(body, body.len().div_ceil(usize::from(*pieces).max(1)).max(1));
    match (&whole, &in_pieces) {
        // The first error may differ, but both are errors.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, in_pieces, "in pieces it reads otherwise"),
    }
    let Ok(parts) = whole else { return };
    assert!(!parts.is_empty() && parts.len() <= LIMITS.max_parts);
    for part in parts {
        assert!(part.len() <= LIMITS.max_image_bytes);
        assert!(part.is_empty() || body.windows(part.len()).any(|piece| piece == part));
    }
}

fn parts(body: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, Failure> {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    });
    let memory = Memory::new(None, 1, 1, LIMITS.max_body_memory);
    let pieces: Vec<_> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let read = read_parts(LIMITS, &memory, None, "cut".into(), stream::iter(pieces));
    let parts = RUNTIME.block_on(read).map(|parts| parts.iter().map(|part| part.to_vec()).collect());
    assert_eq!(memory.parts()[0].taken, 0, "memory is not given back");
    parts
}

/// `Content-Type`, `Content-Encoding` and `Accept`, a line each: however a list is spread over
/// fields and whatever its case, it means the same (RFC 9110, sections 5.3 and 12.5.1).
pub fn negotiation(input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING, ACCEPT] {
        insert(&mut headers, name, lines.next().unwrap_or_default());
    }
    if let Ok(negotiate::Content::Multipart(boundary)) = negotiate::content(&headers) {
        // RFC 2046, section 5.1.1.
        assert!((1..=70).contains(&boundary.len()), "a boundary of {} characters", boundary.len());
    }
    let picture = negotiate::picture(&headers);
    let Some(accept) = headers.remove(ACCEPT) else {
        assert_eq!(picture, None, "a picture that nobody asked for");
        return;
    };
    let Ok(accept) = accept.to_str() else { return };
    let asks = accept.to_ascii_lowercase();
    // Whoever likes anything better than JSON.
    let not_json = asks.contains("*/*") && asks.contains("application/");
    match picture {
        None => {}
        Some(PictureFormat::Png) => {
            assert!(asks.contains("image/png") || asks.contains("image/*") || not_json)
        }
        Some(PictureFormat::Jpeg) => assert!(asks.contains("image/jpeg") || asks.contains("image/*")),
    }
    let mut spread = HeaderMap::new();
    for range in accept.split(',') {
        insert(&mut spread, ACCEPT, range.to_ascii_uppercase().as_bytes());
    }
    assert_eq!(negotiate::picture(&spread), picture, "as several fields in capitals");
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value)
        && !value.is_empty()
    {
        headers.append(name, value);
    }
}

/// Parameters are from 0 to 1 and from 9 to 16, and mean the same when every character is
/// percent-encoded.
pub fn query(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    let encoded: String = form_urlencoded::parse(input)
        .map(|(name, value)| format!("{}={}&", percent_encoded(&name), percent_encoded(&value)))
        .collect();
    let usual: String = Serializer::new(String::new()).extend_pairs(form_urlencoded::parse(input)).finish();
    let thresholds = negotiate::thresholds(query, THRESHOLDS);
    let depth = negotiate::bit_depth(query);
    for other in [encoded, usual] {
        assert_eq!(negotiate::thresholds(&other, THRESHOLDS), thresholds, "{other}");
        assert_eq!(negotiate::bit_depth(&other), depth, "{other}");
    }
    if let Ok(thresholds) = thresholds {
        assert!([thresholds.confidence, thresholds.iou].iter().all(|value| (0.0..=1.0).contains(value)));
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Lines of `NAME=VALUE`: a valid configuration stays within its bounds, and an error names only
/// variables that are set.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let vars: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Config::from_vars(vars.clone()) {
        Ok(config) => {
            let limits = config.limits;
            assert!(limits.max_image_bytes > 0 && limits.max_image_pixels > 0 && limits.max_parts > 0);
            assert!(config.max_connections > 0 && !config.request_deadline.is_zero());
            assert!(
                [config.thresholds.confidence, config.thresholds.iou].iter().all(|v| (0.0..=1.0).contains(v))
            );
            if let Origins::These(origins) = &config.origins {
                assert!(origins.iter().all(|origin| HeaderValue::from_str(origin).is_ok()));
            }
            Memory::new(
                None,
                config.concurrency.map_or(1, Into::into),
                config.max_connections,
                limits.max_body_memory,
            );
        }
        Err(error) => {
            let text = error.to_string();
            assert!(vars.iter().any(|(name, _)| !name.is_empty() && text.contains(name)), "{text}");
        }
    }
}
