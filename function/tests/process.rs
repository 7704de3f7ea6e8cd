//! The binary as a process: configuration errors, signals, CPU allotment, memory.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eye_state::classifier::Classifier;
use model_runtime::kernels::Isa;
use support::{Answer, request, sample};

struct Process {
    child: Child,
    address: SocketAddr,
    log: Option<std::thread::JoinHandle<Vec<serde_json::Value>>>,
}

impl Process {
    fn start(vars: &[(&str, &str)]) -> Self {
        let mut child = command(vars).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut entries = lines.map(|line| -> serde_json::Value {
            serde_json::from_str(&line.expect("text")).expect("logs are JSON lines when piped")
        });
        let ready = entries.by_ref().find(|entry| entry["message"] == "ready");
        let ready = ready.expect("the process says that it is ready");
        let address = ready["address"].as_str().expect("text").parse().expect("an address");
        // Read to the end, which also keeps the pipe from filling up.
        let log = std::thread::spawn(move || entries.collect());
        Self { child, address, log: Some(log) }
    }

    /// Ends the process with SIGTERM, and gives what it logged after it was ready.
    fn stop(mut self) -> Vec<serde_json::Value> {
        self.signal("-TERM");
        assert!(self.child.wait().expect("ends").success());
        self.log.take().expect("stopped once").join().expect("no panic")
    }

    /// Classifies a picture as part of a trace.
    fn classify_traced(&self) -> Answer {
        let caller = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
        let headers = [("content-type", "image/jpeg"), ("traceparent", caller.as_str())];
        request(self.address, "POST", "/", &headers, &sample("open.jpg"))
    }

    fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"")
    }

    fn classify(&self) -> Answer {
        self.classify_sample("open.jpg")
    }

    fn classify_sample(&self, name: &str) -> Answer {
        request(self.address, "POST", "/", &[("content-type", "image/jpeg")], &sample(name))
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is there").success());
    }
}

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A collector of OTLP over HTTP (opentelemetry.io/docs/specs/otlp, section OTLP/HTTP) that takes
/// one request and gives it back when joined.
fn collector(answer: &'static str) -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let taken = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the exporter connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (mut bytes, mut chunk) = (Vec::<u8>::new(), [0; 65536]);
        loop {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            let length = head.map_or(0, |end| {
                let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.expect("a length").parse::<usize>().expect("a number")
            });
            if head.is_some_and(|end| bytes.len() >= end + length) {
                break;
            }
            let received = stream.read(&mut chunk).expect("the request");
            assert!(received > 0, "the exporter hung up");
            bytes.extend(&chunk[..received]);
        }
        stream.write_all(answer.as_bytes()).expect("answered");
        bytes
    });
    (endpoint, taken)
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eye-state"));
    command.env_clear().envs([("HOST", "127.0.0.1"), ("PORT", "0")]).envs(vars.iter().copied());
    command.stderr(Stdio::piped()).stdout(Stdio::null()).stdin(Stdio::null());
    command
}

#[test]
fn a_bad_configuration_names_every_error_and_exits_with_78() {
    let bad = [
        ("QUEUE_CAPACITY", "18446744073709551615"),
        ("MAX_CONNECTIONS", "many"),
        ("IOU_THRESHOLD", "7"),
        ("RUST_LOG", "verbose"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    // An address may carry credentials.
    let unseen = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
    let output = command(&[&bad[..], &[unseen]].concat()).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for (name, value) in bad {
        assert!(text.contains(&format!("{name}={value:?}")), "{name}: {text}");
    }
    assert!(text.contains(unseen.0) && !text.contains(unseen.1), "{text}");
}

#[test]
fn a_taken_port_is_said_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = command(&[("PORT", &port)]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&port));
}

#[test]
fn both_stop_signals_end_the_process_with_success() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(&[]);
        assert_eq!(process.classify().json()["state"], "open");
        process.signal(signal);
        assert!(process.child.wait().expect("ends").success(), "{signal}");
    }
}

#[test]
fn the_start_is_measured_phase_by_phase() {
    let process = Process::start(&[]);
    for phase in ["process", "weights", "warmup", "ready"] {
        let seconds = process.metric(&format!("eye_state_startup_duration_seconds{{phase=\"{phase}\"}}"));
        assert!((0.0..60.0).contains(&seconds), "{phase}: {seconds}");
    }
}

#[test]
fn fewer_cpus_mean_fewer_inferences_at_once_without_a_restart() {
    if std::thread::available_parallelism().expect("known").get() < 2 {
        // With a single CPU there is nothing to take away; adding one needs a second one.
        eprintln!("this machine has one CPU: the change cannot be seen here");
        return;
    }
    let process = Process::start(&[]);
    let before = process.metric("eye_state_inference_limit");
    assert!(before >= 2.0);
    // Affinity and cgroup quotas come in through the same call; this one needs no privileges.
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", "0", &process.child.id().to_string()]).output();
    assert!(pinned.expect("util-linux is there").status.success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while process.metric("eye_state_inference_limit") != 1.0 {
        assert!(Instant::now() < deadline, "the limit did not follow the CPUs");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(process.classify().json()["state"], "open");
}

/// Sums of integers are exact, whatever instructions add them up; those of floats are not.
#[test]
fn every_instruction_set_of_this_machine_gives_the_same_answers() {
    if !Classifier::metadata().quantized {
        return;
    }
    let answers = |setting: &[(&str, &str)]| {
        let process = Process::start(setting);
        ["open.jpg", "closed-far.jpg", "one-open.jpg", "glasses-closed.jpg", "covered.jpg"].map(|name| {
            let mut answer = process.classify_sample(name).json();
            answer.as_object_mut().expect("an object").remove("timing_ms").expect("times");
            answer
        })
    };
    let portable = answers(&[("MODEL_RUNTIME_ISA", "portable")]);
    assert_eq!(portable[0]["state"], "open");
    for isa in Isa::available() {
        assert_eq!(answers(&[("MODEL_RUNTIME_ISA", isa.name())]), portable, "{}", isa.name());
    }
    // The best of all, with AMX where it is there: no name forces it there only.
    assert_eq!(answers(&[]), portable);
}

#[test]
fn a_request_becomes_a_trace_with_a_span_for_each_stage() {
    let (endpoint, collected) = collector("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let answer = process.classify_traced();
    let own = &answer.headers["traceparent"];
    assert!(own.contains(TRACE_ID), "the answer names the trace");
    let open_metrics = [("accept", "application/openmetrics-text; version=1.0.0")];
    let scrape = request(process.address, "GET", "/metrics", &open_metrics, b"").text();
    let exemplar = format!("# {{trace_id=\"{TRACE_ID}\",span_id=\"{}\"}}", &own[36..52]);
    assert!(scrape.contains(&exemplar), "no exemplar names the request's span: {exemplar}");
    // The last spans go out when the process ends.
    let log = process.stop();
    assert!(!log.iter().any(|entry| entry["level"] == "WARN"), "{log:?}");
    let bytes = collected.join().expect("no panic");
    assert!(holds(&bytes, b"POST /v1/traces"));
    for span in ["POST /classify", "queue", "decode", "preprocess", "inference", "postprocess"] {
        assert!(holds(&bytes, span.as_bytes()), "no span {span}");
    }
    let id: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&TRACE_ID[2 * at..][..2], 16).expect("hex")).collect();
    assert!(holds(&bytes, &id), "the spans are not of the caller's trace");
}

#[test]
fn headers_and_compression_of_the_exporter_are_honoured() {
    let (endpoint, collected) = collector("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let process = Process::start(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{endpoint}/spans")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]);
    process.classify_traced();
    process.stop();
    let bytes = collected.join().expect("no panic");
    assert!(holds(&bytes, b"POST /spans HTTP/1.1\r\n"));
    assert!(holds(&bytes, b"x-key: a b\r\n") && holds(&bytes, b"content-encoding: gzip\r\n"));
    assert!(holds(&bytes, b"\r\n\r\n\x1f\x8b") && !holds(&bytes, b"postprocess"));
}

#[test]
fn spans_that_no_collector_takes_are_warned_of_with_the_cause() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (busy, collected) =
        collector("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    for (endpoint, cause) in [(format!("http://{unused}"), "refused"), (busy, "400 Bad Request")] {
        let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
        assert_eq!(process.classify_traced().status, 200);
        let log = process.stop();
        let lost: Vec<_> = log.iter().filter(|entry| entry["spans"].is_number()).collect();
        assert_eq!(lost.len(), 1, "{log:?}");
        assert_eq!(lost[0]["level"], "WARN");
        assert!(lost[0]["cause"].as_str().is_some_and(|text| text.contains(cause)), "{}", lost[0]);
    }
    collected.join().expect("no panic");
}

#[test]
fn no_exporter_means_no_export() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let process = Process::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("RUST_LOG", "hyper=debug"),
    ]);
    assert_eq!(process.classify_traced().status, 200);
    process.stop();
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn without_a_host_both_address_families_are_served() {
    let process = Process::start(&[("HOST", "")]);
    let port = process.address.port();
    let status = |address: SocketAddr| request(address, "GET", "/livez", &[], b"").status;
    assert_eq!(status(SocketAddr::from(([127, 0, 0, 1], port))), 200);
    let loopback = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(loopback).is_ok() {
        assert_eq!(status(SocketAddr::new(loopback.ip(), port)), 200);
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_requests() {
    let process = Process::start(&[("MAX_CONCURRENCY", "1")]);
    (0..20).for_each(|_| drop(process.classify()));
    let before = process.metric("process_memory_usage_bytes");
    (0..60).for_each(|_| drop(process.classify()));
    let after = process.metric("process_memory_usage_bytes");
    // An image with its tensors takes megabytes: a leak of one in ten would show.
    assert!(after < before + 8e6, "{before} bytes grew to {after}");
}
