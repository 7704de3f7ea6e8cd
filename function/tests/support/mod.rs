//! A running server on a free port, and raw bytes to speak to it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::collections::HashMap;
use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use eye_state::app::{App, Phase};
use eye_state::classifier::Classifier;
use eye_state::config::Config;
use eye_state::server::{self, DrainPolicy, Drained};
use eye_state::telemetry::Metrics;
use eye_state::telemetry::metrics::BuildInfo;
use image::{DynamicImage, ImageFormat};
use tokio::sync::oneshot;

/// Longer than anything here takes; a test that hangs fails instead.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A server of this crate, on a free port of the loopback interface.
pub struct TestServer {
    pub address: SocketAddr,
    pub app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Drained>>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts with these variables set.
    pub fn with(vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let config = Config::from_vars(vars).expect("a valid configuration");
        let runtime = server::runtime().expect("a runtime");
        let listener = runtime.block_on(async { server::listen(Some([127, 0, 0, 1].into()), 0) });
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let build = BuildInfo { model_name: "test", model_version: "test" };
        let metrics = Metrics::new(build, &config.telemetry).expect("metrics");
        let classifier = Classifier::load();
        classifier.warm_up();
        let app = App::new(&config, classifier, metrics);
        app.set_phase(Phase::Ready);
        let policy = DrainPolicy {
            delay: config.drain_delay,
            timeout: config.drain_timeout,
            max_connections: config.max_connections,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&app);
        let thread = std::thread::spawn(move || {
            runtime.block_on(server::run(listener, serving, policy, Box::pin(async { drop(stopped.await) })))
        });
        Self { address, app, stop: Some(stop), thread: Some(thread) }
    }

    /// Asks the server to stop, as SIGTERM does.
    pub fn begin_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("the server runs");
    }

    /// Waits until the server has drained.
    pub fn join(mut self) -> Drained {
        self.thread.take().expect("joined once").join().expect("the server does not panic")
    }

    pub fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        request(self.address, "POST", path, &[("content-type", content_type)], body)
    }

    /// The value of a metric, with its labels as Prometheus writes them; 0 where it is absent.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts that this is a problem document of this status and kind.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:nv-micro:problem:{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

/// One request on its own connection.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    raw(address, &[head.as_bytes(), body].concat())
}

/// Sends bytes as they are and reads the one answer until the server closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the server takes the request");
    read_answer(stream)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(CLIENT_TIMEOUT)).expect("a timeout");
    stream
}

/// Connects so often and sends this on each.
pub fn hold(server: &TestServer, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let mut stream = connect(server.address);
        // Where many are held, the server may have closed some already.
        let _ = stream.write_all(bytes);
        held.push(stream);
    }
    held
}

pub fn head(content_type: &str, length: usize, more: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{more}\r\n"
    )
    .into_bytes()
}

pub fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    parse_answer(&bytes)
}

fn parse_answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

/// The committed samples: file name and bytes.
pub fn sample(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A picture in another format.
pub fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

/// A body of `multipart/form-data` with boundary `cut`.
pub fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        body.extend(
            format!("--cut\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n")
                .bytes(),
        );
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--cut--\r\n");
    body
}

pub const MULTIPART: &str = "multipart/form-data; boundary=cut";
