//! JSON that carries images: read without a second copy of them, bounded before it is believed.
//!
//! Read on inference threads. What parsing can make grow is bounded by the length of the JSON,
//! which is reserved first.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::base64;
use crate::app::Worker;
use crate::error::{Large, RequestError};
use crate::memory::Reservation;

/// What parsing may take for each byte of JSON: texts and levels that were read, in a buffer that
/// doubles, and what the parser unescapes into.
const PARSING_FACTOR: usize = 3;

/// What parsing may take besides: a list of as many events as one request may ever have.
const PARSING_BYTES: usize = 512 * 1024;

/// What JSON takes beside an image in base64: names, shapes, attributes, white space.
const JSON_BYTES: usize = 64 * 1024;

/// The length of JSON that carries an image of `bytes` bytes in base64.
pub(super) fn with_image_of(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4 + JSON_BYTES
}

/// Memory to parse `length` bytes of JSON in. To be given back before anything else is asked for:
/// work that waits holds nothing.
pub(super) fn reserve(worker: &Worker<'_>, length: usize) -> Result<Reservation, RequestError> {
    let bytes = length.saturating_mul(PARSING_FACTOR).saturating_add(PARSING_BYTES);
    worker.reserve(bytes, Large::Body)
}

/// A text of a document, where it lies unless it had escapes in it.
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(String),
}

impl Text<'_> {
    /// Lets the document go. `json` is the document.
    pub(super) fn detach(self, json: &[u8]) -> Detached {
        match self {
            Self::Borrowed(text) => {
                let start = text.as_ptr().addr() - json.as_ptr().addr();
                Detached::At(start..start + text.len())
            }
            Self::Owned(text) => Detached::Owned(text),
        }
    }
}

/// A text that holds no borrow of its document.
#[derive(Debug)]
pub(super) enum Detached {
    /// At this place in the document.
    At(Range<usize>),
    Owned(String),
}

impl Detached {
    /// Decodes it as base64 into the document that it came from; gives where, or `None` where it is
    /// not base64.
    pub(super) fn decode(self, document: &mut [u8]) -> Option<Range<usize>> {
        let at = match self {
            Self::At(at) => at,
            // It is shorter than what it was unescaped from.
            Self::Owned(text) => {
                document[..text.len()].copy_from_slice(text.as_bytes());
                0..text.len()
            }
        };
        base64::decode_in_place(document, at)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// A list of at most `N`: one that is longer is not read to its end.
pub(super) struct Few<T, const N: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while list.len() < N {
                    match elements.next_element()? {
                        Some(element) => list.push(element),
                        None => return Ok(list),
                    }
                }
                match elements.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::invalid_length(N + 1, &self)),
                    None => Ok(list),
                }
            }
        }
        deserializer.deserialize_seq(List::<T, N>(std::marker::PhantomData)).map(Few)
    }
}

/// A list of exactly one.
pub(super) struct Only<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Few(list) = Few::<T, 1>::deserialize(deserializer)?;
        let only = list.into_iter().next();
        only.map(Only).ok_or_else(|| D::Error::custom("a list of one is expected, and it is empty"))
    }
}
