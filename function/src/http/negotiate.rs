//! Content negotiation and parameters: `Content-Type`, `Accept`, the query.

use std::ops::RangeInclusive;

use warp::http::HeaderMap;
use warp::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use picture::BitDepth;

use crate::annotate::PictureFormat;
use crate::config::Thresholds;
use crate::error::RequestError;
use crate::telemetry::metrics::Exposition;

/// Content types of a body that is one image; the bytes themselves decide which format it is. Types
/// that browsers, cameras and storage services use in place of the registered ones are listed, too.
const IMAGE_TYPES: [&str; 22] = [
    "image/jpeg",
    "image/jpg",
    "image/pjpeg",
    "image/png",
    "image/x-png",
    "image/webp",
    "image/bmp",
    "image/x-bmp",
    "image/x-ms-bmp",
    "image/x-windows-bmp",
    "image/tiff",
    "image/tif",
    "image/x-tiff",
    "image/x-portable-graymap",
    "image/x-portable-anymap",
    "image/x-portable-bitmap",
    "image/x-portable-pixmap",
    "image/x-portable-arbitrarymap",
    "application/octet-stream",
    "binary/octet-stream",
    "image/*",
    // What `curl --data-binary` says of anything unless told otherwise.
    "application/x-www-form-urlencoded",
];

/// Magic numbers of compressed files (RFC 1952, section 2.3.1; RFC 8878, section 3.1.1;
/// APPNOTE.TXT, section 4.3.7).
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip")];

/// Length of a boundary (RFC 2046, section 5.1.1). An empty one would be found in every line that
/// begins with two hyphens.
const BOUNDARY_CHARACTERS: RangeInclusive<usize> = 1..=70;

/// The form of the body.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// The body is one image.
    Image,
    /// The body is `multipart/form-data` with this boundary.
    Multipart(String),
}

/// The announced length of the body.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body with a content coding.
pub(super) fn check_coding(headers: &HeaderMap) -> Result<(), RequestError> {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut codings = codings.map(|coding| coding.trim().to_ascii_lowercase());
    match codings.find(|coding| coding != "identity") {
        Some(coding) => Err(RequestError::Compressed(format!("Content-Encoding: {coding}"))),
        None => Ok(()),
    }
}

/// Reads the content type; a missing one counts as `application/octet-stream` (RFC 9110, section
/// 8.3).
pub fn content(headers: &HeaderMap) -> Result<Content, RequestError> {
    check_coding(headers)?;
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Content::Image) };
    let value = value.to_str().map_err(|_| RequestError::UnsupportedMediaType("not ASCII".into()))?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if IMAGE_TYPES.contains(&essence.as_str()) {
        return Ok(Content::Image);
    }
    if essence == "multipart/form-data" {
        let boundary = multer::parse_boundary(value)
            .map_err(|error| RequestError::BrokenMultipart(error.to_string()))?;
        if !BOUNDARY_CHARACTERS.contains(&boundary.len()) {
            return Err(RequestError::BrokenMultipart("the boundary has not 1 to 70 characters".into()));
        }
        return Ok(Content::Multipart(boundary));
    }
    Err(RequestError::UnsupportedMediaType(essence))
}

/// Refuses a body that is not one image.
pub(super) fn image(headers: &HeaderMap) -> Result<(), RequestError> {
    match content(headers)? {
        Content::Image => Ok(()),
        Content::Multipart(_) => Err(RequestError::UnsupportedMediaType("multipart/form-data".into())),
    }
}

/// Refuses a media type that is not one of images.
pub(super) fn check_image_type(media_type: &str) -> Result<(), RequestError> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match IMAGE_TYPES.contains(&essence.as_str()) {
        true => Ok(()),
        false => Err(RequestError::UnsupportedMediaType(essence)),
    }
}

/// Refuses an image inside of a compressed file.
pub fn check_compression(bytes: &[u8]) -> Result<(), RequestError> {
    match COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => Err(RequestError::Compressed((*name).into())),
        None => Ok(()),
    }
}

/// The media types that can be answered, the default first.
const OFFERS: [(&str, &str, Option<PictureFormat>); 3] = [
    ("application", "json", None),
    ("image", "png", Some(PictureFormat::Png)),
    ("image", "jpeg", Some(PictureFormat::Jpeg)),
];

/// The picture format that the client prefers to JSON, if any (RFC 9110, section 12.5.1).
///
/// The most specific range that fits an offer gives its quality. Of equal qualities the offer that
/// a range of that quality fits first wins, then JSON before PNG before JPEG. A client that accepts
/// nothing of the three gets JSON.
pub fn picture(headers: &HeaderMap) -> Option<PictureFormat> {
    let ranges = accepted(headers);
    let mut best: Option<(f32, usize, Option<PictureFormat>)> = None;
    for (kind, subtype, format) in OFFERS {
        let names = [format!("{kind}/{subtype}"), format!("{kind}/*"), "*/*".to_owned()];
        let Some(at) = names.iter().find_map(|name| ranges.iter().position(|range| range.name == *name))
        else {
            continue;
        };
        let quality = ranges[at].quality;
        // In `*/*, application/json` the first range asks for JSON, too, and not for PNG before it.
        let fits = |range: &Range| range.quality == quality && names.contains(&range.name);
        let at = ranges.iter().position(fits).unwrap_or(at);
        let better = best.is_none_or(|(most, first, _)| quality > most || (quality == most && at < first));
        if quality > 0.0 && better {
            best = Some((quality, at, format));
        }
    }
    best.and_then(|(.., format)| format)
}

/// The format of a scrape: OpenMetrics 1.0 where the client names it, in this version or in none,
/// and does not prefer the text format 0.0.4.
///
/// Of equal qualities the range that comes first wins, but a range with a `*` is last. A client
/// that accepts neither gets the text format.
pub fn exposition(headers: &HeaderMap) -> Exposition {
    let ranges = accepted(headers);
    let find = |name: &str, version: Option<&str>| {
        ranges.iter().position(|range| range.name == name && range.version.as_deref() == version)
    };
    let open_metrics = [Some("1.0.0"), None].into_iter().find_map(|version| find(OPEN_METRICS, version));
    let Some(open_metrics) = open_metrics.filter(|at| ranges[*at].quality > 0.0) else {
        return Exposition::Text;
    };
    let named = [Some("0.0.4"), None].into_iter().find_map(|version| find("text/plain", version));
    let text = named.or_else(|| ["text/*", "*/*"].into_iter().find_map(|name| find(name, None)));
    let prefers_text = text.is_some_and(|text| {
        let (quality, other) = (ranges[text].quality, ranges[open_metrics].quality);
        quality > other || (quality == other && named.is_some_and(|at| at < open_metrics))
    });
    if prefers_text { Exposition::Text } else { Exposition::OpenMetrics }
}

const OPEN_METRICS: &str = "application/openmetrics-text";

/// A media range of `Accept`, in lower case.
struct Range {
    name: String,
    /// That of a text format of metrics.
    version: Option<String>,
    quality: f32,
}

/// The media ranges that a client accepts. Malformed ones are ignored.
fn accepted(headers: &HeaderMap) -> Vec<Range> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().filter(|name| !name.is_empty())?;
    let (mut version, mut quality) = (None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("q", value)) if quality.is_none() => quality = Some(value.trim().parse::<f32>()),
            Some(("version", value)) => version = Some(value.trim().trim_matches('"').to_owned()),
            _ => {}
        }
    }
    match quality.unwrap_or(Ok(1.0)) {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Some(Range { name, version, quality }),
        _ => None,
    }
}

/// The thresholds of this request: its own where it names them, `defaults` otherwise.
pub fn thresholds(query: &str, defaults: Thresholds) -> Result<Thresholds, RequestError> {
    let mut thresholds = defaults;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let target = match name.as_ref() {
            "confidence_threshold" => &mut thresholds.confidence,
            "iou_threshold" => &mut thresholds.iou,
            // Unknown parameters may be meant for intermediaries (tracing, cache busting).
            _ => continue,
        };
        *target = value
            .trim()
            .parse()
            .ok()
            .filter(|value| (0.0..=1.0).contains(value))
            .ok_or_else(|| invalid(&name, &value, "a number from 0 to 1"))?;
    }
    Ok(thresholds)
}

/// Significant bits of 16-bit samples, if the client states them.
pub fn bit_depth(query: &str) -> Result<Option<BitDepth>, RequestError> {
    const NAME: &str = "bit_depth";
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == NAME) else { return Ok(None) };
    let depth = value.trim().parse().ok().and_then(BitDepth::new);
    depth.map(Some).ok_or_else(|| invalid(NAME, &value, "a whole number from 9 to 16"))
}

fn invalid(name: &str, value: &str, expected: &'static str) -> RequestError {
    RequestError::InvalidParameter { name: name.into(), value: value.chars().take(40).collect(), expected }
}

/// Content types of images that are registered with IANA or are what netpbm uses, for the document
/// of the contract.
#[cfg(test)]
pub(super) fn registered_image_types() -> impl Iterator<Item = &'static str> {
    const REGISTERED: [&str; 7] = [
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/bmp",
        "image/tiff",
        "image/x-portable-graymap",
        "application/octet-stream",
    ];
    REGISTERED.into_iter().inspect(|name| assert!(IMAGE_TYPES.contains(name), "{name}"))
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
        assert_eq!(accept("image/jpeg;Q=0.1, application/json"), None);
        assert_eq!(accept("application/json;q=0.2 , IMAGE/JPEG; Q=0.8"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/jpeg;q=2, image/png;q=0.1"), Some(PictureFormat::Png));
    }

    #[test]
    fn any_picture_is_png_unless_that_is_ruled_out() {
        assert_eq!(accept("image/*"), Some(PictureFormat::Png));
        assert_eq!(accept("image/*, image/png;q=0"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/avif,image/webp,image/*,*/*;q=0.8"), Some(PictureFormat::Png));
        assert_eq!(accept("image/*;q=0.5, application/json"), None);
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("image/jpeg;q=0.8, */*, application/json"), None, "JSON is named");
        assert_eq!(accept("*/*;q=0.1, image/png, application/json"), Some(PictureFormat::Png));
        assert_eq!(accept("application/json;q=0.5, */*"), Some(PictureFormat::Png), "rather anything else");
    }

    fn scraped(accept: &[&str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for accept in accept {
            headers.append(ACCEPT, accept.parse().expect("a header value"));
        }
        exposition(&headers)
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let with_native_histograms = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [three, with_native_histograms, two] {
            assert_eq!(scraped(&[accept]), Exposition::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn openmetrics_is_for_clients_that_name_it() {
        let named = [
            &["application/openmetrics-text; version=1.0.0"][..],
            &["Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"],
            &["application/openmetrics-text"],
            &["text/plain;q=0.5", "application/openmetrics-text"],
            &["*/*, application/openmetrics-text;version=1.0.0"],
            &["application/openmetrics-text;version=0.0.1, application/openmetrics-text;version=1.0.0;q=0.1"],
            &["text/plain;version=0.0.4;q=0, application/openmetrics-text;q=0.001"],
        ];
        for accept in named {
            assert_eq!(scraped(accept), Exposition::OpenMetrics, "{accept:?}");
        }
    }

    #[test]
    fn everyone_else_gets_the_text_format() {
        let others = [
            &[][..],
            &["*/*"],
            &[""],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["text/plain; version=0.0.4"],
            &["application/*"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;version=2.0.0"],
            &["application/openmetrics-text;version=1.0.0;q=0"],
            &["application/openmetrics-text;version=1.0.0;q=2"],
            &["application/openmetrics-text;q=NaN"],
            &["application/openmetrics-text;version=1.0.0;q=0.2, */*"],
            &["text/plain, application/openmetrics-text"],
            &["application/openmetrics-text;q=0.4, text/*;q=0.5"],
            &["application/json", ";;,=,q=1;version", "application/openmetrics-text2"],
        ];
        for accept in others {
            assert_eq!(scraped(accept), Exposition::Text, "{accept:?}");
        }
    }

    #[test]
    fn thresholds_override_one_by_one() {
        let thresholds = thresholds("confidence_threshold=0.5&cache=1", DEFAULTS).expect("valid");
        assert_eq!(thresholds, Thresholds { confidence: 0.5, iou: 0.45 });
    }

    #[test]
    fn keys_and_values_may_be_percent_encoded() {
        let thresholds = thresholds("confidence%5Fthreshold=0%2E5", DEFAULTS).expect("valid");
        assert_eq!(thresholds.confidence, 0.5);
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
    fn a_bit_depth_is_from_9_to_16() {
        assert_eq!(bit_depth("iou_threshold=0.5"), Ok(None));
        assert_eq!(bit_depth("iou_threshold=0.5&bit_depth=12"), Ok(BitDepth::new(12)));
        for query in ["bit_depth=8", "bit_depth=17", "bit_depth=", "bit_depth=12.0", "bit_depth"] {
            let error = bit_depth(query).expect_err(query);
            assert!(error.to_string().contains("from 9 to 16"), "{error}");
        }
    }

    #[test]
    fn a_missing_content_type_is_sniffed_and_a_wrong_one_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(content(&headers), Ok(Content::Image));
        headers.insert(CONTENT_TYPE, "Image/JPEG; q=1".parse().expect("a header value"));
        assert_eq!(content(&headers), Ok(Content::Image));
        for alias in ["image/jpg", "image/pjpeg", "image/x-ms-bmp", "binary/octet-stream"] {
            headers.insert(CONTENT_TYPE, alias.parse().expect("a header value"));
            assert_eq!(content(&headers), Ok(Content::Image), "{alias}");
        }
        headers.insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
        assert_eq!(content(&headers), Err(RequestError::UnsupportedMediaType("application/json".into())));
    }

    #[test]
    fn a_boundary_has_1_to_70_characters() {
        let boundary = |boundary: &str| {
            let mut headers = HeaderMap::new();
            let value = format!("multipart/form-data; boundary={boundary}");
            headers.insert(CONTENT_TYPE, value.parse().expect("a header value"));
            content(&headers)
        };
        assert_eq!(boundary(&"x".repeat(70)), Ok(Content::Multipart("x".repeat(70))));
        for wrong in ["", "\"\"", &"x".repeat(71)] {
            assert!(matches!(boundary(wrong), Err(RequestError::BrokenMultipart(_))), "{wrong}");
        }
    }

    #[test]
    fn a_compressed_body_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "identity".parse().expect("a header value"));
        assert_eq!(content(&headers), Ok(Content::Image));
        headers.insert(CONTENT_ENCODING, "GZIP".parse().expect("a header value"));
        assert_eq!(content(&headers), Err(RequestError::Compressed("Content-Encoding: gzip".into())));
        assert_eq!(check_compression(b"\x1f\x8b\x08rest"), Err(RequestError::Compressed("gzip".into())));
        assert_eq!(check_compression(b"\xff\xd8\xff"), Ok(()));
    }
}
