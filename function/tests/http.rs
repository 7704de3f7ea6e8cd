//! The head of a request: methods, hosts, content types, what is accepted, cross-origin requests.

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;

use support::{Answer, MULTIPART, TestServer, multipart, raw, request, sample};

const JPEG: (&str, &str) = ("content-type", "image/jpeg");

fn is_png(answer: &Answer) -> bool {
    answer.status == 200
        && answer.headers["content-type"] == "image/png"
        && answer.body.starts_with(b"\x89PNG")
}

#[test]
fn a_method_that_a_path_does_not_take_is_told_which_it_takes() {
    let server = TestServer::start();
    for (method, path, allowed) in [
        ("DELETE", "/classify", "POST"),
        ("GET", "/classify", "POST"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD, POST"),
        ("POST", "/samples/open.jpg", "GET, HEAD"),
    ] {
        let answer = request(server.address, method, path, &[], b"");
        answer.assert_problem(405, "method-not-allowed");
        assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
        assert!(answer.text().contains(allowed));
    }
}

#[test]
fn every_path_of_the_table_is_answered_and_no_other() {
    let server = TestServer::start();
    for path in ["/", "/livez", "/readyz", "/metrics", "/samples", "/samples/open.jpg", "/page/page.js"] {
        assert_eq!(server.get(path).status, 200, "{path}");
        let head = request(server.address, "HEAD", path, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    for path in ["/nowhere", "/samplesXYZ", "/livez/x", "/classify/x", "//", "/samples/open.jpg/x"] {
        server.get(path).assert_problem(404, "not-found");
    }
}

#[test]
fn a_path_is_counted_under_its_own_name() {
    let server = TestServer::start();
    assert_eq!(server.post("/classify/", "image/jpeg", &sample("open.jpg")).status, 200);
    server.get("/samplesXYZ");
    let count = |method: &str, status: u16, route: &str| {
        server.metric(&format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
        ))
    };
    assert_eq!(count("POST", 200, "/classify"), 1.0);
    assert_eq!(count("GET", 404, "_OTHER"), 1.0);
    assert_eq!(count("GET", 404, "/samples"), 0.0);
}

#[test]
fn a_request_without_a_host_or_with_two_is_malformed() {
    let server = TestServer::start();
    for head in [
        "GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: u:p@h\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a:b\r\nconnection: close\r\n\r\n",
    ] {
        raw(server.address, head.as_bytes()).assert_problem(400, "bad-request");
    }
    assert_eq!(raw(server.address, b"GET /livez HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn thresholds_are_read_from_percent_encoded_queries() {
    let server = TestServer::start();
    let answer =
        server.post("/classify?confidence%5Fthreshold=%31", "image/jpeg", &sample("open.jpg")).json();
    assert_eq!(answer["state"], "no_eyes", "no confidence is above 1");
}

#[test]
fn other_names_of_the_accepted_types_are_accepted() {
    let server = TestServer::start();
    for name in ["image/jpg", "image/pjpeg", "image/x-ms-bmp", "binary/octet-stream", "IMAGE/JPEG"] {
        let answer = server.post("/", name, &sample("closed.jpg"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[test]
fn any_kind_of_picture_may_be_asked_for() {
    let server = TestServer::start();
    let post =
        |accept| request(server.address, "POST", "/", &[JPEG, ("accept", accept)], &sample("open.jpg"));
    assert!(is_png(&post("image/*")));
    assert!(is_png(&post("application/json;Q=0.1, image/png")));
    assert_eq!(post("image/png;Q=0.1, application/json").headers["content-type"], "application/json");
}

#[test]
fn a_single_part_may_be_answered_with_a_picture_and_several_are_not() {
    let server = TestServer::start();
    let open = sample("open.jpg");
    let post = |parts: &[(&str, &[u8])]| {
        let headers = [("content-type", MULTIPART), ("accept", "image/png")];
        request(server.address, "POST", "/", &headers, &multipart(parts))
    };
    assert!(is_png(&post(&[("file", &open)])));
    assert_eq!(post(&[("file", &open), ("file", &open)]).json()[1]["state"], "open");
}

/// A body that arrives whole with its end, and one that arrives byte by byte.
#[test]
fn small_multipart_bodies_are_read_however_they_arrive() {
    let server = TestServer::start();
    let body = multipart(&[("note", b"x"), ("file", b"neither a picture nor compressed")]);
    server.post("/", MULTIPART, &body).assert_problem(400, "not-an-image");
    let mut stream = support::connect(server.address);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: {MULTIPART}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("taken");
    for byte in &body {
        stream.write_all(&[*byte]).expect("taken");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    support::read_answer(stream).assert_problem(400, "not-an-image");
}

#[test]
fn a_compressed_body_is_called_so() {
    let server = TestServer::start();
    // A gzip member (RFC 1952): all that is looked at is its beginning.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
    let answer = server.post("/", "image/jpeg", gzip);
    answer.assert_problem(415, "compressed-body");
    assert!(answer.text().contains("gzip"));
    let headers = [JPEG, ("content-encoding", "br")];
    let answer = request(server.address, "POST", "/", &headers, &sample("open.jpg"));
    answer.assert_problem(415, "compressed-body");
    assert_eq!(answer.headers["accept-encoding"], "identity");
    let answer = server.post("/", MULTIPART, &multipart(&[("file", gzip)]));
    answer.assert_problem(415, "compressed-body");
}

fn preflight(server: &TestServer, origin: &str) -> Answer {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    request(server.address, "OPTIONS", "/classify", &headers, b"")
}

#[test]
fn pages_of_other_origins_are_not_let_in_unless_that_is_configured() {
    let server = TestServer::start();
    preflight(&server, "https://a.example").assert_problem(405, "method-not-allowed");
    let headers = [JPEG, ("origin", "https://a.example")];
    let answer = request(server.address, "POST", "/", &headers, &sample("open.jpg"));
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")), "{:?}", answer.headers);
}

#[test]
fn pages_of_configured_origins_may_ask_and_read_errors_too() {
    let server = TestServer::with(&[("CORS_ALLOWED_ORIGINS", "https://a.example,https://b.example")]);
    let answer = preflight(&server, "https://b.example");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://b.example");
    assert_eq!(answer.headers["access-control-allow-methods"], "POST");
    assert_eq!(answer.headers["access-control-allow-headers"], "*");
    assert_eq!(answer.headers["vary"], "origin");
    let answer = preflight(&server, "https://c.example");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));

    let headers = [("content-type", "text/plain"), ("origin", "https://a.example")];
    let answer = request(server.address, "POST", "/", &headers, b"x");
    assert_eq!(answer.status, 415);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example");
    assert!(answer.headers["access-control-expose-headers"].contains("retry-after"));
}

#[test]
fn any_origin_may_be_let_in() {
    let server = TestServer::with(&[("CORS_ALLOWED_ORIGINS", "*")]);
    assert_eq!(preflight(&server, "null").headers["access-control-allow-origin"], "*");
}

const OPEN_METRICS: (&str, &str) = ("accept", "application/openmetrics-text; version=1.0.0");

/// Names and labels of the samples, with numbers for the bounds of buckets, which the formats write
/// in different ways.
fn series(exposition: &str) -> BTreeSet<String> {
    let samples = exposition.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|line| line.split(" # ").next().and_then(|sample| sample.rsplit_once(' ')));
    let series = series.map(|sample| sample.expect("a name and a value").0);
    series
        .map(|series| match series.split_once("le=\"") {
            Some((before, bound)) => {
                let bound: f64 = bound.trim_end_matches("\"}").parse().expect("a number");
                format!("{before}{bound:?}")
            }
            None => series.to_owned(),
        })
        .collect()
}

#[test]
fn a_scrape_has_the_same_series_in_either_format() {
    let server = TestServer::start();
    server.post("/classify", "image/jpeg", &sample("open.jpg"));
    server.post("/classify", "application/json", b"{}");
    server.get("/metrics");
    let text = server.get("/metrics");
    let open = request(server.address, "GET", "/metrics", &[OPEN_METRICS], b"");
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().ends_with("\n# EOF\n") && !text.text().contains("# EOF"));
    assert_eq!(series(&text.text()), series(&open.text()));
    assert!(series(&text.text()).len() > 100);
    for answer in [&text, &open] {
        assert_eq!(answer.headers["vary"], "accept");
        assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    }
}

#[test]
fn a_scrape_without_its_body_has_the_type_of_one_with_it() {
    let server = TestServer::start();
    for (accept, wanted) in
        [(OPEN_METRICS, "application/openmetrics-text"), (("accept", "*/*"), "text/plain")]
    {
        let head = request(server.address, "HEAD", "/metrics", &[accept], b"");
        assert!(head.headers["content-type"].starts_with(wanted), "{accept:?}");
        assert!(head.body.is_empty());
    }
}

/// Exemplars in an OpenMetrics scrape: the series of each, and what it says.
fn exemplars(server: &TestServer) -> Vec<(String, String)> {
    let scrape = request(server.address, "GET", "/metrics", &[OPEN_METRICS], b"").text();
    let lines = scrape.lines().filter_map(|line| line.split_once(" # "));
    lines.map(|(series, exemplar)| (series.to_owned(), exemplar.to_owned())).collect()
}

#[test]
fn requests_of_sampled_traces_are_exemplars_of_their_duration() {
    let server = TestServer::start();
    let post = |traceparent: &str| {
        let headers = [JPEG, ("traceparent", traceparent)];
        request(server.address, "POST", "/classify", &headers, &sample("open.jpg")).status
    };
    let unsampled = [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c\"} 1-b7ad6b7169203331-01",
        "yes",
    ];
    for traceparent in unsampled {
        assert_eq!(post(traceparent), 200);
    }
    assert_eq!(exemplars(&server), []);

    // However many there are, each bucket has at most one.
    for _ in 0..5 {
        assert_eq!(post("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), 200);
    }
    let found = exemplars(&server);
    let names: BTreeSet<_> =
        found.iter().map(|(series, _)| series.rsplit_once(' ').expect("a count").0).collect();
    assert!((1..=5).contains(&found.len()) && names.len() == found.len(), "{found:?}");
    for (series, exemplar) in &found {
        assert!(series.starts_with("http_server_request_duration_seconds_bucket{"), "{series}");
        assert!(
            series.contains("http_response_status_code=\"200\",http_route=\"/classify\",le="),
            "{series}"
        );
        let ids = "{trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\",span_id=\"00f067aa0ba902b7\"} ";
        let (seconds, at) = exemplar.strip_prefix(ids).and_then(|rest| rest.split_once(' ')).expect(exemplar);
        let bound = series.split_once("le=\"").expect("a bound").1.split_once('"').expect("its end").0;
        let bound: f64 = bound.parse().expect("a number");
        assert!(seconds.parse::<f64>().expect("a number") <= bound, "{series} {exemplar}");
        assert!(at.parse::<f64>().expect("a number") > 1.7e9);
    }
}
