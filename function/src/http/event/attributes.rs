//! Context attributes of events, in headers and in JSON.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use crate::classifier::Classifier;
use crate::error::RequestError;

/// The version of CloudEvents that is spoken.
pub(super) const SPECVERSION: &str = "1.0";

/// The type of the events that are answered with.
pub(super) const TYPE: &str = "nv-micro.eye-state";

/// Longest attribute: those of the answer are made of them, and headers have 16 KiB in most
/// servers.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// What is percent-encoded in headers, beside what is not ASCII (HTTP binding, section 3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What is used of an event that comes in.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(expecting = "an event, which is an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Incoming {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    tracestate: Option<String>,
    #[serde(default)]
    /// A type of images, where it is there.
    pub(super) datacontenttype: Option<String>,
}

impl Incoming {
    /// Whether headers are those of an event in binary mode: one of the required attributes is
    /// there.
    pub(super) fn is_in(headers: &HeaderMap) -> bool {
        ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|name| headers.contains_key(*name))
    }

    /// From the headers of binary mode, where `Content-Type` is `datacontenttype`.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, RequestError> {
        let optional = |name: &'static str| {
            let value = headers.get(format!("ce-{name}"));
            value
                .map(|value| {
                    decode(value).ok_or_else(|| bad(format!("ce-{name} is not percent-encoded UTF-8")))
                })
                .transpose()
        };
        let required = |name| optional(name)?.ok_or_else(|| bad(format!("it has no ce-{name}")));
        let event = Self {
            specversion: required("specversion")?,
            id: required("id")?,
            source: required("source")?,
            kind: required("type")?,
            subject: optional("subject")?,
            time: optional("time")?,
            traceparent: optional("traceparent")?,
            tracestate: optional("tracestate")?,
            datacontenttype: None,
        };
        event.check()?;
        Ok(event)
    }

    /// What holds of every event (specification, section 3.1).
    pub(super) fn check(&self) -> Result<(), RequestError> {
        if self.specversion != SPECVERSION {
            let version: String = self.specversion.chars().take(20).collect();
            return Err(bad(format!("its specversion is {version:?}, and {SPECVERSION} is spoken")));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if value.is_empty() {
                return Err(bad(format!("its {name} is empty")));
            }
        }
        let optional = [&self.subject, &self.time, &self.traceparent, &self.tracestate];
        let attributes = [&self.id, &self.source].into_iter().chain(optional.into_iter().flatten());
        if attributes.into_iter().any(|value| value.len() > MAX_ATTRIBUTE_BYTES) {
            return Err(bad(format!("one of its attributes has more than {MAX_ATTRIBUTE_BYTES} bytes")));
        }
        Ok(())
    }

    /// The attributes of the event that answers this one. They follow from this one's alone, so
    /// that a redelivery is answered with an event of the same `source` and `id`, which is how
    /// duplicates are told (specification, section 3.1.1).
    pub(super) fn outcome(self) -> Outgoing {
        Outgoing {
            specversion: SPECVERSION,
            // A source is a URI reference, in which there is no bar.
            id: format!("{}|{}", self.source, self.id),
            source: format!("urn:nv-micro:eye-state:{}", Classifier::metadata().version),
            kind: TYPE,
            subject: self.subject.unwrap_or(self.id),
            time: self.time,
            datacontenttype: "application/json",
            traceparent: self.traceparent,
            tracestate: self.tracestate,
        }
    }
}

/// Attributes of an event that is answered with.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Outgoing {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

impl Outgoing {
    /// Writes them as headers. `datacontenttype` is `Content-Type`.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let always = [
            ("ce-specversion", self.specversion),
            ("ce-id", &self.id),
            ("ce-source", &self.source),
            ("ce-type", self.kind),
            ("ce-subject", &self.subject),
        ];
        let optional = [
            ("ce-time", &self.time),
            ("ce-traceparent", &self.traceparent),
            ("ce-tracestate", &self.tracestate),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        for (name, value) in always.into_iter().chain(optional) {
            let value: Cow<'_, str> = utf8_percent_encode(value, ENCODED).into();
            let value = HeaderValue::try_from(value.as_ref()).expect("printable ASCII");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The value of a header: quoted strings unquoted (RFC 9110, section 5.6.4), then decoded.
fn decode(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    let mut unquoted = String::with_capacity(text.len());
    let mut characters = text.chars();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => unquoted.extend(characters.next()),
            _ => unquoted.push(character),
        }
    }
    percent_decode_str(&unquoted).decode_utf8().ok().map(Cow::into_owned)
}

pub(super) fn bad(reason: impl Into<String>) -> RequestError {
    RequestError::BadEvent(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"))
        };
        list.iter().map(pair).collect()
    }

    const REQUIRED: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/cameras/3"), ("ce-type", "frame")];

    #[test]
    fn header_values_are_decoded_as_the_binding_says() {
        // The binding's own example, and older senders' quoted strings.
        for (value, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("%e2%82%ac", Some("€")),
            ("%41", Some("A")),
            (r#""a \"b\" \\c""#, Some(r#"a "b" \c"#)),
            ("%C0%A0", None),
        ] {
            assert_eq!(decode(&HeaderValue::from_static(value)).as_deref(), text, "{value}");
        }
    }

    #[test]
    fn every_character_comes_back_from_headers() {
        let mut sent = headers(&REQUIRED);
        sent.insert("ce-subject", HeaderValue::from_static("Euro%20%E2%82%AC%20%22100%25%22"));
        let mut answered = HeaderMap::new();
        Incoming::from_headers(&sent).expect("an event").outcome().write(&mut answered);
        assert_eq!(answered["ce-subject"], "Euro%20%E2%82%AC%20%22100%25%22");
        assert_eq!(answered["ce-id"], "/cameras/3|7");
    }

    #[test]
    fn a_redelivery_has_the_same_id_and_another_event_another() {
        let outcome = |id: &'static str, source: &'static str| {
            let mut sent = headers(&REQUIRED);
            sent.insert("ce-id", HeaderValue::from_static(id));
            sent.insert("ce-source", HeaderValue::from_static(source));
            Incoming::from_headers(&sent).expect("an event").outcome()
        };
        assert_eq!(outcome("7", "/a"), outcome("7", "/a"));
        assert_ne!(outcome("7", "/a").id, outcome("8", "/a").id);
        assert_ne!(outcome("7", "/a").id, outcome("7", "/b").id);
    }

    #[test]
    fn an_event_has_its_required_attributes() {
        assert!(Incoming::is_in(&headers(&REQUIRED[1..2])) && !Incoming::is_in(&headers(&[("ce-x", "1")])));
        for (missing, (name, _)) in REQUIRED.iter().enumerate() {
            let rest: Vec<_> =
                REQUIRED.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, pair)| *pair).collect();
            let error = Incoming::from_headers(&headers(&rest)).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
        for (name, value) in [("ce-specversion", "0.3"), ("ce-id", ""), ("ce-source", "")] {
            let mut sent = headers(&REQUIRED);
            sent.insert(name, HeaderValue::from_static(value));
            assert!(Incoming::from_headers(&sent).is_err(), "{name}");
        }
    }
}
