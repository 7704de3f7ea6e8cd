//! The load generator against a server with known behaviour, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use load::client::{LoadClient, Target};
use load::images::{Picture, Pictures};
use load::pace::send_schedule;
use scenario::rate::RateCurve;
use scenario::schedule::Schedule;
use scenario::summary::LoadSummary;
use scenario::{Counted, Outcome, Scenario};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BODY: &[u8] = b"0123456789";

fn constant(rate: f64, seconds: f64) -> Schedule {
    let scenario = Scenario {
        name: "constant".into(),
        title: String::new(),
        about: String::new(),
        slo_ms: 500,
        timeout_ms: 1000,
        images: vec![("any".into(), 1.0)],
        rate: RateCurve::new(vec![(0.0, 1.0), (seconds, 1.0)]).expect("a valid curve"),
        trace: None,
        counted: Counted::UntilRest,
    };
    Schedule::draw(&scenario, rate, 1.0, 1)
}

/// Answers each request on a connection in turn with `answer`, after `delay`.
async fn serve(mut socket: TcpStream, answer: &'static [u8], delay: Duration) {
    let mut seen = Vec::new();
    let mut buffer = [0_u8; 4096];
    while let Ok(n) = socket.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        seen.extend_from_slice(&buffer[..n]);
        // A request is its head and the ten bytes of BODY.
        while let Some(end) =
            seen.windows(4).position(|w| w == b"\r\n\r\n").filter(|end| seen.len() >= end + 4 + BODY.len())
        {
            seen.drain(..end + 4 + BODY.len());
            tokio::time::sleep(delay).await;
            if socket.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

fn run(schedule: &Schedule, answer: &'static [u8], delay: Duration, timeout: Duration) -> LoadSummary {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            tokio::spawn(serve(socket, answer, delay));
        }
    });
    let client = LoadClient::new(Target::new(&url, Some("function.example")).expect("a URL"), timeout);
    let picture = Picture { bytes: Bytes::from_static(BODY), content_type: "application/octet-stream" };
    let pictures = Arc::new(Pictures::single(picture, schedule));
    let _inside = runtime.enter();
    let mut sent = send_schedule(runtime.handle(), &client, schedule, &pictures);
    LoadSummary::new(&mut sent.records, sent.unsent, 500, schedule.duration(), &[])
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[test]
fn a_known_service_time_is_what_it_measures() {
    let summary = run(&constant(100.0, 2.0), OK, Duration::from_millis(20), Duration::from_secs(5));
    assert_eq!(summary.count(Outcome::Ok), summary.planned);
    let median = summary.latency_ms(0.5).expect("answers");
    // The server's timer counts in milliseconds and rounds up.
    assert!((20.0..28.0).contains(&median), "{median} ms for 20 ms");
}

#[test]
fn a_stalled_server_is_charged_from_the_intended_time() {
    // One request at a time would take 40 s for these; open loop, all are in flight together and
    // time out separately.
    let summary = run(&constant(200.0, 0.5), OK, Duration::from_secs(60), Duration::from_millis(300));
    assert_eq!(summary.count(Outcome::Timeout), summary.planned);
    assert_eq!(summary.within_slo, 0);
}

#[test]
fn answers_are_classed_by_status() {
    let refused = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let summary = run(&constant(50.0, 0.5), refused, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(summary.count(Outcome::Refused), summary.planned);
    assert_eq!(summary.latency_ms(0.5), None);
}

#[test]
fn a_504_of_the_function_is_told_from_one_of_a_gateway() {
    let ours = b"HTTP/1.1 504 Gateway Timeout\r\ncontent-type: application/problem+json\r\ncontent-length: 52\r\n\r\n\
        {\"type\":\"urn:nv-micro:problem:deadline-exceeded\"   }";
    let summary = run(&constant(50.0, 0.5), ours, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(summary.count(Outcome::Expired), summary.planned);
    let envoys = b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 24\r\n\r\nupstream request timeout";
    let summary = run(&constant(50.0, 0.5), envoys, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(summary.count(Outcome::ServerError), summary.planned);
}

#[test]
fn nobody_listening_is_a_connect_error() {
    let schedule = constant(50.0, 0.3);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    // Port 9 (discard) is not served on a test machine.
    let client =
        LoadClient::new(Target::new("http://127.0.0.1:9/", None).expect("a URL"), Duration::from_secs(1));
    let picture = Picture { bytes: Bytes::from_static(BODY), content_type: "image/png" };
    let pictures = Arc::new(Pictures::single(picture, &schedule));
    let mut sent = send_schedule(runtime.handle(), &client, &schedule, &pictures);
    let summary = LoadSummary::new(&mut sent.records, sent.unsent, 500, 0.3, &[]);
    assert_eq!(summary.count(Outcome::Connect), summary.planned);
}
