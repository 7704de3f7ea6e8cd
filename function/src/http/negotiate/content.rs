//! The form of the body: `Content-Type`, `Content-Encoding`, `Content-Length`, and what its first
//! bytes say.

use std::ops::RangeInclusive;

use warp::http::HeaderMap;
use warp::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use crate::error::{RequestError, excerpt};

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
pub(in crate::http) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body with a content coding.
pub(in crate::http) fn check_coding(headers: &HeaderMap) -> Result<(), RequestError> {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut codings = codings.map(|coding| coding.trim().to_ascii_lowercase());
    match codings.find(|coding| coding != "identity") {
        Some(coding) => Err(RequestError::Compressed(format!("Content-Encoding: {}", excerpt(&coding)))),
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
    Err(RequestError::UnsupportedMediaType(excerpt(&essence)))
}

/// Refuses a body that is not one image.
pub(in crate::http) fn image(headers: &HeaderMap) -> Result<(), RequestError> {
    match content(headers)? {
        Content::Image => Ok(()),
        Content::Multipart(_) => Err(RequestError::UnsupportedMediaType("multipart/form-data".into())),
    }
}

/// Refuses a media type that is not one of images.
pub(in crate::http) fn check_image_type(media_type: &str) -> Result<(), RequestError> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match IMAGE_TYPES.contains(&essence.as_str()) {
        true => Ok(()),
        false => Err(RequestError::UnsupportedMediaType(excerpt(&essence))),
    }
}

/// Refuses an image inside of a compressed file.
pub fn check_compression(bytes: &[u8]) -> Result<(), RequestError> {
    match COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => Err(RequestError::Compressed((*name).into())),
        None => Ok(()),
    }
}

/// Content types of images that are registered with IANA or are what netpbm uses, for the document
/// of the contract.
#[cfg(test)]
pub(in crate::http) fn registered_image_types() -> impl Iterator<Item = &'static str> {
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
