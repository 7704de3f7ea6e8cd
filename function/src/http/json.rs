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

/// Longest text of a document that is no image: names, ids and attributes that are used are up to
/// 1 KiB, and tokens in an extension that is not are a few.
///
/// The parser's error quotes a text where it expected something else, with up to six bytes for each
/// of its own, and what answers with the error as many again. Longer ones are refused unquoted.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The members whose texts are images.
const IMAGES: [&[u8]; 2] = [b"data_base64", b"data"];

/// Most characters of a parser's error that an answer repeats.
const SHOWN: usize = 200;

/// Parses a document whose texts were checked ([`check_texts`]). The error is for the client.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| {
        let text = error.to_string();
        match text.char_indices().nth(SHOWN) {
            None => text,
            Some((end, _)) => {
                format!("{}… at line {} column {}", &text[..end], error.line(), error.column())
            }
        }
    })
}

/// Refuses texts that are longer than any that is taken, but for those of images. To be called
/// before anything is parsed; what is no JSON is left to the parser, which reads texts as this does
/// up to its first error.
pub(super) fn check_texts(json: &[u8]) -> Result<(), String> {
    // The member that the next text is a value of, or an element of.
    let (mut member, mut at): (&[u8], usize) = (b"", 0);
    while let Some(found) = memchr::memchr3(b'"', b'{', b'}', &json[at..]) {
        at += found + 1;
        if json[at - 1] != b'"' {
            member = b"";
            continue;
        }
        let Some(length) = text_length(&json[at..]) else { return Ok(()) };
        let text = &json[at..at + length];
        at += length + 1;
        let is_name = json[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if length > MAX_TEXT_BYTES && (is_name || !IMAGES.contains(&member)) {
            return Err(format!(
                "a text has more than {MAX_TEXT_BYTES} bytes and is no image: one goes into data_base64 of an event, or \
                 data of an inference request"
            ));
        }
        if is_name {
            member = text;
        }
    }
    Ok(())
}

/// The length of a text from behind its first quote, or `None` where it has no end.
fn text_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> String {
        "x".repeat(MAX_TEXT_BYTES + 1)
    }

    #[test]
    fn long_texts_are_taken_as_the_data_of_an_image_alone() {
        let long = long();
        for taken in [
            format!(r#"{{"id":"a","data_base64":"{long}"}}"#),
            format!(r#"[{{"data_base64" : "{long}"}},{{"data_base64":"{long}","id":"b"}}]"#),
            format!(r#"{{"inputs":[{{"name":"image","data":["{long}"]}}]}}"#),
            format!(r#"{{"data": [[["{long}"]]]}}"#),
            // As long as may be, and with a quote in it.
            format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES)),
            r#"{"id":"\"\\","data":"\\"}"#.into(),
            // No JSON, which the parser says.
            r#"{"id":"a"#.into(),
            r#"{"id":"\"#.into(),
            String::new(),
        ] {
            assert_eq!(check_texts(taken.as_bytes()), Ok(()), "{}", &taken[..taken.len().min(80)]);
        }
    }

    #[test]
    fn other_long_texts_are_refused_unquoted() {
        let long = long();
        for refused in [
            format!(r#""{long}""#),
            format!(r#"["{long}"]"#),
            format!(r#"{{"id":"{long}"}}"#),
            format!(r#"{{"{long}":1}}"#),
            format!(r#"{{"inputs":"{long}"}}"#),
            // The member before it has ended.
            format!(r#"[{{"data_base64":"a"}},"{long}"]"#),
            format!(r#"{{"inputs":[{{"data":["a"]}},"{long}"]}}"#),
            format!(r#"{{"data":{{"shape":"{long}"}}}}"#),
            // An element is no name.
            format!(r#"["data","{long}"]"#),
            format!(r#"{{"data":1,"id":"{long}"}}"#),
            format!(r#"{{"id":"\"{long}"}}"#),
        ] {
            let error = check_texts(refused.as_bytes()).expect_err("too long");
            assert!(error.contains("more than 16384 bytes") && error.len() < 200, "{error}");
        }
    }

    #[test]
    fn an_error_repeats_the_beginning_of_what_was_not_expected() {
        let document = format!(r#"["{}"]"#, "\u{7f}".repeat(MAX_TEXT_BYTES));
        let error = parse::<Vec<u8>>(document.as_bytes()).expect_err("no number");
        assert!(error.starts_with("invalid type: string") && error.contains("… at line 1 column"), "{error}");
        assert!(error.chars().count() < SHOWN + 60, "{error}");
    }
}
