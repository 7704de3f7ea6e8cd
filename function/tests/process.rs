//! The binary as a process: configuration errors, signals, CPU allotment, memory.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Answer, request, sample};

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(vars: &[(&str, &str)]) -> Self {
        let mut child = command(vars).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut address = None;
        let mut lines = lines.map(|line| line.expect("text"));
        for line in lines.by_ref() {
            let entry: serde_json::Value =
                serde_json::from_str(&line).expect("logs are JSON lines when piped");
            if entry["message"] == "ready" {
                address = entry["address"].as_str().map(|text| text.parse().expect("an address"));
                break;
            }
        }
        // Keeps the pipe from filling up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("the process says that it is ready") }
    }

    fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"")
    }

    fn classify(&self) -> Answer {
        request(self.address, "POST", "/", &[("content-type", "image/jpeg")], &sample("open.jpg"))
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
    let output = command(&[("QUEUE_CAPACITY", "many"), ("IOU_THRESHOLD", "7")]).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("QUEUE_CAPACITY=\"many\"") && text.contains("IOU_THRESHOLD=\"7\""), "{text}");
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

#[test]
fn a_request_becomes_a_trace_with_a_span_for_each_stage() {
    // A collector of OTLP over HTTP (opentelemetry.io/docs/specs/otlp, section OTLP/HTTP) that keeps what it gets.
    let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", collector.local_addr().expect("bound"));
    let collected = std::thread::spawn(move || {
        let (mut stream, _) = collector.accept().expect("the exporter connects");
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let (mut bytes, mut chunk) = (Vec::<u8>::new(), [0; 65536]);
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            bytes.extend(&chunk[..length]);
            if bytes.windows(11).any(|window| window == b"postprocess") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
                break;
            }
        }
        bytes
    });
    let mut process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("content-type", "image/jpeg"), ("traceparent", caller)];
    let answer = request(process.address, "POST", "/", &headers, &sample("open.jpg"));
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    assert!(answer.headers["traceparent"].contains(trace_id), "the answer names the trace");
    // What is still to be sent goes out with the stop.
    process.signal("-TERM");
    assert!(process.child.wait().expect("ends").success());
    let bytes = collected.join().expect("no panic");
    let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    assert!(holds(b"POST /v1/traces"));
    for span in ["POST /classify", "queue", "decode", "preprocess", "inference", "postprocess"] {
        assert!(holds(span.as_bytes()), "no span {span}");
    }
    let id: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&trace_id[2 * at..][..2], 16).expect("hex")).collect();
    assert!(holds(&id), "the spans are not of the caller's trace");
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
