//! What the request brings and what it wants back: content type, `Accept`, query parameters.

use warp::http::HeaderMap;
use warp::http::header::{ACCEPT, CONTENT_TYPE};

use crate::annotate::PictureFormat;
use crate::config::Thresholds;
use crate::error::RequestError;

/// Content types of a body that is one image; the bytes themselves decide which format it is.
const IMAGE_TYPES: [&str; 9] = [
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/x-portable-graymap",
    "image/x-portable-anymap",
    "application/octet-stream",
    // What `curl --data-binary` says of anything unless told otherwise.
    "application/x-www-form-urlencoded",
];

/// How the body is packed.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// The body is one image.
    Image,
    /// The body is `multipart/form-data` with this boundary.
    Multipart(String),
}

/// Reads the content type; a missing one counts as `application/octet-stream` (RFC 9110, section 8.3).
pub(super) fn content(headers: &HeaderMap) -> Result<Content, RequestError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Content::Image) };
    let value = value.to_str().map_err(|_| RequestError::UnsupportedMediaType("not ASCII".into()))?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if IMAGE_TYPES.contains(&essence.as_str()) {
        return Ok(Content::Image);
    }
    if essence == "multipart/form-data" {
        let boundary = multer::parse_boundary(value);
        return boundary
            .map(Content::Multipart)
            .map_err(|error| RequestError::BrokenMultipart(error.to_string()));
    }
    Err(RequestError::UnsupportedMediaType(essence))
}

/// The picture format that the client prefers to JSON, if any.
pub(super) fn picture(headers: &HeaderMap) -> Option<PictureFormat> {
    let mut best: (f32, Option<PictureFormat>) = (0.0, None);
    let ranges =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    for range in ranges {
        let mut parameters = range.split(';').map(str::trim);
        let format = match parameters.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "image/png" => Some(PictureFormat::Png),
            "image/jpeg" => Some(PictureFormat::Jpeg),
            "application/json" | "application/*" | "*/*" => None,
            _ => continue,
        };
        let quality =
            parameters.find_map(|parameter| parameter.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        // The first of equals wins.
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

/// The thresholds of this request: its own where it names them, `defaults` otherwise.
pub(super) fn thresholds(query: &str, defaults: Thresholds) -> Result<Thresholds, RequestError> {
    let mut thresholds = defaults;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let target = match name {
            "confidence_threshold" => &mut thresholds.confidence,
            "iou_threshold" => &mut thresholds.iou,
            // Unknown parameters are for others on the way (tracing, cache busting).
            _ => continue,
        };
        *target = value.parse().ok().filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| {
            RequestError::InvalidParameter { name: name.into(), value: value.chars().take(40).collect() }
        })?;
    }
    Ok(thresholds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Thresholds = Thresholds { confidence: 0.35, iou: 0.45 };

    fn accept(value: &str) -> Option<PictureFormat> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().expect("a header value"));
        picture(&headers)
    }

    #[test]
    fn curl_and_browsers_get_json() {
        assert_eq!(accept("*/*"), None);
        assert_eq!(accept("application/json, image/png;q=0.9"), None);
    }

    #[test]
    fn the_preferred_picture_wins_by_quality_then_by_order() {
        assert_eq!(accept("image/png"), Some(PictureFormat::Png));
        assert_eq!(accept("image/jpeg, image/png"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/png;q=0.2, image/jpeg;q=0.8, */*;q=0.1"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/png;q=0"), None);
    }

    #[test]
    fn thresholds_override_one_by_one() {
        let thresholds = thresholds("confidence_threshold=0.5&cache=1", DEFAULTS).expect("valid");
        assert_eq!(thresholds, Thresholds { confidence: 0.5, iou: 0.45 });
    }

    #[test]
    fn thresholds_outside_0_to_1_are_named() {
        for query in
            ["iou_threshold=1.1", "iou_threshold=NaN", "iou_threshold=-1", "iou_threshold", "iou_threshold=x"]
        {
            let error = thresholds(query, DEFAULTS).expect_err(query);
            assert!(matches!(error, RequestError::InvalidParameter { name, .. } if name == "iou_threshold"));
        }
    }

    #[test]
    fn a_missing_content_type_is_sniffed_and_a_wrong_one_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(content(&headers), Ok(Content::Image));
        headers.insert(CONTENT_TYPE, "Image/JPEG; q=1".parse().expect("a header value"));
        assert_eq!(content(&headers), Ok(Content::Image));
        headers.insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
        assert_eq!(content(&headers), Err(RequestError::UnsupportedMediaType("application/json".into())));
    }
}
