//! CloudEvents, seen from outside. `tests/foreign.py` has the official SDK read and write them.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{Answer, MULTIPART, TestServer, multipart, request, sample};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// The headers of an event in binary mode.
const EVENT: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "frame-7"),
    ("ce-source", "/cameras/3"),
    ("ce-type", "camera.frame"),
    ("content-type", "image/jpeg"),
];

fn binary(server: &TestServer, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
    request(server.address, "POST", path, &[&EVENT, more].concat(), body)
}

fn event(id: &str, image: &[u8]) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/cameras/3", "type": "camera.frame", "time": "2026-11-26T03:00:00Z",
        "datacontenttype": "image/jpeg", "data_base64": STANDARD.encode(image), "other": {"a": [1]},
    })
}

fn structured(server: &TestServer, document: &Value) -> Answer {
    server.post("/", STRUCTURED, document.to_string().as_bytes())
}

/// The verdict without what differs from run to run.
fn verdict(mut data: Value) -> Value {
    data.as_object_mut().expect("an object").remove("timing_ms").expect("timings");
    data
}

#[test]
fn an_event_in_headers_is_answered_by_one_in_headers() {
    let server = TestServer::start();
    let plain = server.post("/", "image/jpeg", &sample("open.jpg")).json();
    for path in ["/", "/classify"] {
        let more = [("ce-subject", "night%207"), ("ce-time", "2026-11-26T03:00:00Z"), ("prefer", "reply")];
        let answer = binary(&server, path, &more, &sample("open.jpg"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let header = |name: &str| answer.headers[name].as_str();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("ce-specversion"), "1.0");
        assert_eq!(header("ce-type"), "nv-micro.eye-state");
        assert_eq!(header("ce-id"), "/cameras/3|frame-7");
        assert!(header("ce-source").starts_with("urn:nv-micro:eye-state:"));
        assert_eq!(header("ce-subject"), "night%207");
        assert_eq!(header("ce-time"), "2026-11-26T03:00:00Z");
        assert_eq!(verdict(answer.json()), verdict(plain.clone()));
    }
}

#[test]
fn an_event_in_json_is_answered_by_one_in_json() {
    let server = TestServer::start();
    let plain = server.post("/", "image/jpeg", &sample("closed.jpg")).json();
    let answer = structured(&server, &event("frame-8", &sample("closed.jpg")));
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, STRUCTURED),
        "{}",
        answer.text()
    );
    assert!(!answer.headers.contains_key("ce-id"));
    let mut answer = answer.json();
    assert_eq!(verdict(answer["data"].take()), verdict(plain));
    let source = answer["source"].take();
    assert!(source.as_str().is_some_and(|source| source.starts_with("urn:nv-micro:eye-state:")));
    assert_eq!(
        answer,
        json!({
            "specversion": "1.0", "id": "/cameras/3|frame-8", "source": null, "type": "nv-micro.eye-state",
            "subject": "frame-8", "time": "2026-11-26T03:00:00Z", "datacontenttype": "application/json", "data": null,
        })
    );
}

#[test]
fn a_batch_is_answered_by_a_batch_in_order() {
    let server = TestServer::start();
    let images = ["open.jpg", "closed.jpg", "covered.jpg"].map(sample);
    let events = ["a", "b", "c"].into_iter().zip(&images).map(|(id, image)| event(id, image).to_string());
    let plain: Vec<String> = events.collect();
    // The second one's base64 has escapes and is read out of its turn.
    let base64 = STANDARD.encode(&images[1]);
    let mut escaped = plain.clone();
    escaped[1] = plain[1].replace(&base64, &base64.replace('/', "\\/"));
    assert_ne!(escaped[1], plain[1], "there is something to escape in it");
    for events in [plain, escaped] {
        let answer = server.post("/", BATCHED, format!("[{}]", events.join(",")).as_bytes());
        assert_eq!(
            (answer.status, answer.headers["content-type"].as_str()),
            (200, BATCHED),
            "{}",
            answer.text()
        );
        let answers = answer.json();
        let seen: Vec<_> = answers
            .as_array()
            .expect("a list")
            .iter()
            .map(|answer| (&answer["subject"], &answer["data"]["state"]))
            .collect();
        assert_eq!(json!(seen), json!([["a", "open"], ["b", "closed"], ["c", "no_eyes"]]));
    }
    assert_eq!(server.post("/", BATCHED, b"[]").json(), json!([]));
    let broken = json!([event("a", &sample("open.jpg")), event("b", b"no image")]);
    let answer = server.post("/", BATCHED, broken.to_string().as_bytes());
    answer.assert_problem(400, "not-an-image");
    assert_eq!(answer.json()["part"], 1);
    let answer = server.post("/", BATCHED, b"[null]");
    answer.assert_problem(400, "bad-event");
    assert!(answer.text().contains("expected an event, which is an object"), "{}", answer.text());
    let many: Vec<_> = (0..17).map(|_| event("a", b"")).collect();
    server.post("/", BATCHED, json!(many).to_string().as_bytes()).assert_problem(413, "too-many-parts");
    assert_eq!(server.app.memory.parts().map(|part| part.taken), [0, 0]);
}

#[test]
fn an_event_that_is_refused_in_a_batch_has_its_index() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "60000")]);
    let good = event("a", &sample("open.jpg"));
    let change = |name: &str, value: Value| {
        let mut changed = event("b", &sample("open.jpg"));
        changed[name] = value;
        changed
    };
    for (bad, status, kind) in [
        (change("id", json!("")), 400, "bad-event"),
        (change("datacontenttype", json!("text/plain")), 415, "unsupported-media-type"),
        (change("data", json!({})), 400, "bad-event"),
        (change("data_base64", Value::Null), 400, "bad-event"),
        (change("data_base64", json!("@@@@")), 400, "bad-event"),
        (event("b", b"\x1f\x8b\x08"), 415, "compressed-body"),
        (event("b", &[0xFF; 60_001]), 413, "too-many-bytes"),
        (event("b", b""), 400, "empty-body"),
    ] {
        let answer = server.post("/", BATCHED, json!([good, bad, good]).to_string().as_bytes());
        answer.assert_problem(status, kind);
        assert_eq!(answer.json()["part"], 1, "{}", answer.text());
    }
    // It is no list of events, so that there is none to name.
    let answer = server.post("/", BATCHED, json!([good, 7]).to_string().as_bytes());
    answer.assert_problem(400, "bad-event");
    assert_eq!(answer.json().get("part"), None);
    assert_eq!(server.app.memory.parts().map(|part| part.taken), [0, 0]);
}

#[test]
fn a_text_where_something_else_is_expected_does_not_come_back() {
    let server = TestServer::start();
    let image = STANDARD.encode(sample("open.jpg"));
    // As many bytes as a body may have, each of which an error would quote with six.
    let long = "\u{7f}".repeat(150_000);
    for (kind, body) in [
        (BATCHED, format!(r#"["{long}"]"#)),
        (BATCHED, format!(r#"[{{"data_base64":"AAAA"}},"{long}"]"#)),
        (STRUCTURED, format!(r#""{}""#, "\u{7f}".repeat(80_000))),
        (STRUCTURED, format!(r#"{{"specversion":"{}"}}"#, "\u{7f}".repeat(80_000))),
        // A slip that is easily made: the image without its list.
        (BATCHED, format!(r#""{image}""#)),
    ] {
        let answer = server.post("/", kind, body.as_bytes());
        answer.assert_problem(400, "bad-event");
        assert!(answer.text().len() < 1_000, "{} bytes", answer.text().len());
    }
}

#[test]
fn images_that_never_fit_together_are_not_asked_for_again() {
    // Room for one image in transit beside the document, and not for two.
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "100000"), ("MAX_BODY_MEMORY_BYTES", "600000")]);
    let frame = event("7", &[0xFF; 90_000]);
    let answer = server.post("/", BATCHED, json!([frame, frame, frame, frame]).to_string().as_bytes());
    answer.assert_problem(413, "too-much-memory");
    assert!(answer.text().contains("reading the body takes 1 MiB"), "{}", answer.text());
}

#[test]
fn a_redelivery_gets_the_same_event() {
    let server = TestServer::start();
    let ids = [(); 2].map(|()| {
        let answer = binary(&server, "/", &[], &sample("open.jpg"));
        (answer.headers["ce-id"].clone(), answer.headers["ce-source"].clone())
    });
    assert_eq!(ids[0], ids[1]);
    let document = structured(&server, &event("frame-7", &sample("open.jpg"))).json();
    assert_eq!((&document["id"], &document["source"]), (&json!(ids[0].0), &json!(ids[0].1)));
}

#[test]
fn the_trace_that_an_event_began_in_is_passed_on() {
    let server = TestServer::start();
    let began = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer =
        binary(&server, "/", &[("ce-traceparent", began), ("ce-tracestate", "a=1,b=2")], &sample("open.jpg"));
    assert_eq!(
        (answer.headers["ce-traceparent"].as_str(), answer.headers["ce-tracestate"].as_str()),
        (began, "a=1,b=2")
    );
    let mut document = event("7", &sample("open.jpg"));
    document["traceparent"] = json!(began);
    assert_eq!(structured(&server, &document).json()["traceparent"], began);
}

#[test]
fn thresholds_come_in_the_query_as_for_any_image() {
    let server = TestServer::start();
    let answer = binary(&server, "/?confidence_threshold=1", &[], &sample("open.jpg"));
    assert_eq!(answer.json()["state"], "no_eyes");
    binary(&server, "/?confidence_threshold=2", &[], &sample("open.jpg"))
        .assert_problem(422, "invalid-parameter");
}

/// Knative Eventing sends again what got 404, 408, 409, 429 or 5xx (`SelectiveRetry` of its
/// `pkg/kncloudevents`), so that what would fail again must get another status.
#[test]
fn what_would_fail_again_is_not_sent_again() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "60000"), ("MAX_BODY_MEMORY_BYTES", "200000")]);
    let refused = |answer: Answer, status: u16, kind: &str| {
        assert!(!matches!(answer.status, 404 | 408 | 409 | 429 | 500..), "{}", answer.text());
        answer.assert_problem(status, kind);
    };
    refused(binary(&server, "/", &[], b"no image"), 400, "not-an-image");
    refused(binary(&server, "/", &[], b""), 400, "empty-body");
    refused(binary(&server, "/", &[], &[0xFF; 60_001]), 413, "too-many-bytes");
    refused(binary(&server, "/", &[("ce-subject", "%C0%A0")], &sample("open.jpg")), 400, "bad-event");
    let missing = [("ce-id", "7"), ("content-type", "image/jpeg")];
    refused(request(server.address, "POST", "/", &missing, &sample("open.jpg")), 400, "bad-event");
    let json = [EVENT[0], EVENT[1], EVENT[2], EVENT[3], ("content-type", "application/json")];
    refused(request(server.address, "POST", "/", &json, b"{}"), 415, "unsupported-media-type");
    let parts = [EVENT[0], EVENT[1], EVENT[2], EVENT[3], ("content-type", MULTIPART)];
    let body = multipart(&[("file", b"x")]);
    refused(request(server.address, "POST", "/", &parts, &body), 415, "unsupported-media-type");
    refused(server.post("/", "application/cloudevents+avro", b"x"), 415, "unsupported-media-type");
    refused(server.post("/", STRUCTURED, b""), 400, "bad-event");
    refused(server.post("/", STRUCTURED, b"{}"), 400, "bad-event");
    refused(server.post("/", STRUCTURED, b"[]"), 400, "bad-event");
    let both = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{},"data_base64":"AAAA"}"#;
    refused(server.post("/", STRUCTURED, both), 400, "bad-event");
    refused(server.post("/", STRUCTURED, &[b'['; 50_000]), 400, "bad-event");
    refused(server.post("/", BATCHED, b"{}"), 400, "bad-event");
    refused(server.post("/", BATCHED, b"[1]"), 400, "bad-event");
    refused(server.post("/", STRUCTURED, &[b' '; 199_999]), 413, "too-many-bytes");
    refused(server.post("/", BATCHED, &[b' '; 200_001]), 413, "too-many-bytes");
    refused(structured(&server, &event("7", &[0xFF; 60_001])), 413, "too-many-bytes");
    let change = |name: &str, value: Value| {
        let mut document = event("7", &sample("open.jpg"));
        document[name] = value;
        structured(&server, &document)
    };
    refused(change("specversion", json!("0.3")), 400, "bad-event");
    refused(change("id", json!("")), 400, "bad-event");
    refused(change("id", json!(7)), 400, "bad-event");
    refused(change("subject", json!("x".repeat(2000))), 400, "bad-event");
    refused(change("data_base64", json!("@@@@")), 400, "bad-event");
    refused(change("data_base64", Value::Null), 400, "bad-event");
    refused(change("data_base64", json!("")), 400, "empty-body");
    refused(change("datacontenttype", json!("application/json")), 415, "unsupported-media-type");
    assert_eq!(structured(&server, &event("7", &sample("open.jpg"))).status, 200);
    assert_eq!(server.app.memory.parts().map(|part| part.taken), [0, 0]);
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"internal\"}"), 0.0);
}
