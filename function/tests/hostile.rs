//! Requests that are legal or nearly so, and made to hurt: each gets a right answer or a clear
//! refusal. The files that do so are in `picture/tests` and in the corpora of `fuzz`.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use support::{MULTIPART, TestServer, connect, request, sample};

/// Sends bytes, closes this side, and gives the first status; none where the connection just
/// closes.
fn status_of(server: &TestServer, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(server.address);
    // Refusals may close the connection while it is still written to.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

#[test]
fn heads_that_are_malformed_or_excessive_are_refused() {
    let server = TestServer::start();
    let get = |more: &str| {
        format!("GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{more}\r\n").into_bytes()
    };
    let fields = |count: usize| get(&"a: b\r\n".repeat(count));
    let cases: [(&str, Vec<u8>, Option<u16>); 20] = [
        ("a plain request", get(""), Some(200)),
        ("100 fields", fields(98), Some(200)),
        ("101 fields", fields(99), Some(431)),
        ("2,000 fields", fields(2_000), Some(431)),
        (
            "a path of 30 kB",
            format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "a".repeat(30_000)).into(),
            Some(431),
        ),
        ("200 kB of empty lines first", [&b"\r\n".repeat(100_000)[..], &get("")].concat(), Some(431)),
        ("a folded field", get("x: a\r\n b\r\n"), Some(400)),
        ("a bare CR in a value", get("x: a\rb\r\n"), Some(400)),
        ("a NUL in a value", get("x: a\0b\r\n"), Some(400)),
        ("a space before the colon", get("x : a\r\n"), Some(400)),
        ("HTTP/0.9", b"GET /livez\r\n".into(), Some(400)),
        ("HTTP/9.9", b"GET /livez HTTP/9.9\r\nhost: t\r\n\r\n".into(), Some(400)),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".into(), None),
        ("a TLS handshake", [&b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03"[..], &[0; 159]].concat(), Some(400)),
        ("a target in absolute form", b"GET http://t/livez HTTP/1.1\r\nhost: t\r\n\r\n".into(), Some(200)),
        ("CONNECT", b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n".into(), Some(404)),
        ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n".into(), Some(404)),
        ("TRACE", b"TRACE /livez HTTP/1.1\r\nhost: t\r\n\r\n".into(), Some(405)),
        ("dots in a path", b"GET /samples/../../etc/passwd HTTP/1.1\r\nhost: t\r\n\r\n".into(), Some(404)),
        ("an upgrade", get("upgrade: h2c\r\n"), Some(200)),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(status_of(&server, &bytes), expected, "{name}");
    }
}

#[test]
fn lengths_and_chunks_that_do_not_add_up_are_refused() {
    let server = TestServer::start();
    let picture = sample("open.jpg");
    let post = |framing: &str, body: &[u8]| {
        let head = format!("POST / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{framing}\r\n");
        [head.as_bytes(), body].concat()
    };
    let chunked = |before: &[u8], trailers: &str| {
        let size = format!("{:x}\r\n", picture.len());
        let end = format!("\r\n0\r\n{trailers}\r\n");
        post("transfer-encoding: chunked\r\n", &[before, size.as_bytes(), &picture, end.as_bytes()].concat())
    };
    let length = picture.len();
    let cases = [
        ("chunks", chunked(b"", ""), 200),
        ("some trailers", chunked(b"", "x: y\r\n"), 200),
        ("a megabyte of trailers", chunked(b"", &format!("x: {}\r\n", "y".repeat(1_000_000))), 400),
        ("100,000 trailers", chunked(b"", &"x: y\r\n".repeat(100_000)), 400),
        (
            "a megabyte of extensions",
            chunked(format!("1;{}\r\na\r\n", "x".repeat(1_000_000)).as_bytes(), ""),
            400,
        ),
        ("a chunk beyond 64 bits", chunked(b"10000000000000000\r\n", ""), 400),
        ("a chunk of a negative size", chunked(b"-1\r\n", ""), 400),
        ("equal lengths", post(&format!("content-length: {length}\r\n").repeat(2), &picture), 200),
        ("two lengths", post(&format!("content-length: {length}\r\ncontent-length: 5\r\n"), &picture), 400),
        ("a length with a sign", post(&format!("content-length: +{length}\r\n"), &picture), 400),
        ("a length beyond 64 bits", post("content-length: 99999999999999999999\r\n", &picture), 400),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(status_of(&server, &bytes), Some(expected), "{name}");
    }
}

#[test]
fn documents_that_are_deep_long_or_repetitive_are_refused() {
    let server = TestServer::start();
    const INFER: &str = "/v2/models/eye-state/infer";
    const PIXELS: &str = "/v2/models/eye-state-pixels/infer";
    let batch = "application/cloudevents-batch+json";
    let samples = |shape: &str, data: &str| {
        format!(r#"{{"inputs":[{{"name":"pixels","datatype":"UINT8","shape":{shape},"data":{data}}}]}}"#)
    };
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        (INFER, "application/json", "[".repeat(3_000_000), 400),
        (INFER, "application/json", r#"{"a":"#.repeat(600_000), 400),
        (INFER, "application/json", format!(r#"{{"id":"{}","inputs":[]}}"#, "x".repeat(3_000_000)), 400),
        (PIXELS, "application/json", samples("[1,4294967296,4294967296,3]", "[1]"), 400),
        (PIXELS, "application/json", samples("[9223372036854775807,2,1,1]", "[1]"), 400),
        (PIXELS, "application/json", samples(&format!("[{}1]", "1,".repeat(500_000)), "[1]"), 400),
        (PIXELS, "application/json", samples("[1,1,1,1]", &nested), 400),
        (PIXELS, "application/json", samples("[1,1,1,1]", "[1e400]"), 400),
        ("/", batch, format!("[{}{{}}]", "{},".repeat(1_000_000)), 400),
        ("/", batch, "[".repeat(1_000_000), 400),
        ("/", MULTIPART, "--cut\r\n".repeat(500_000), 400),
        ("/", MULTIPART, "x".repeat(5_000_000), 400),
    ];
    for (path, content_type, body, expected) in cases {
        let answer = server.post(path, content_type, body.as_bytes());
        assert_eq!(answer.status, expected, "{path} {}…: {}", &body[..body.len().min(60)], answer.text());
    }
    let part = "--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n\r\n";
    let answer = server.post("/", MULTIPART, format!("{}--cut--\r\n", part.repeat(1_000)).as_bytes());
    answer.assert_problem(413, "too-many-parts");
}

#[test]
fn what_clients_send_makes_no_series_of_metrics() {
    let server = TestServer::start();
    let odd = |number: usize| {
        let path = format!("/odd-{number}?odd-{number}=1");
        request(
            server.address,
            &format!("ODD{number}"),
            &path,
            &[("user-agent", &format!("odd-{number}"))],
            b"",
        );
        server.post(&format!("/v2/models/odd-{number}/infer"), &format!("image/odd-{number}"), b"odd");
        server.get("/metrics").text()
    };
    odd(0);
    let few = odd(1);
    (2..40).for_each(|number| drop(odd(number)));
    let many = odd(40);
    assert!(!many.to_ascii_lowercase().contains("odd"), "{many}");
    assert_eq!(few.lines().count(), many.lines().count());
}
