//! Connections that are slow, half closed, refused early, or do nothing: each gets its answer or is
//! closed.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use eye_state::server::Drained;
use support::{TestServer, connect, head, hold, read_answer, request, sample};

#[test]
fn a_client_that_writes_all_before_it_reads_gets_its_early_refusal() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "1000000")]);
    let body = vec![0u8; 9_000_000];
    for (path, content_type, status) in [
        ("/", "application/json", 415),
        ("/?iou_threshold=7", "image/jpeg", 422),
        ("/nowhere", "image/jpeg", 404),
        ("/livez", "image/jpeg", 405),
        ("/", "image/jpeg", 413),
        ("/", "multipart/form-data", 400),
    ] {
        let mut stream = connect(server.address);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&body).unwrap_or_else(|error| panic!("{status}: {error} while sending"));
        let answer = read_answer(stream);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.headers["connection"], "close", "{status}");
    }
}

/// Sends a body that is refused at once, little by little.
fn send_slowly(stream: &mut TcpStream, time: Duration) -> std::io::Result<()> {
    let began = Instant::now();
    stream.write_all(&head("text/plain", 1 << 30, ""))?;
    while began.elapsed() < time {
        stream.write_all(&[0; 4096])?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn a_client_that_sends_for_seconds_gets_its_early_refusal() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    send_slowly(&mut stream, Duration::from_secs(6)).expect("no reset");
    let answer = read_answer(stream);
    answer.assert_problem(415, "unsupported-media-type");
}

#[test]
fn a_client_that_stops_sending_what_is_refused_is_disconnected() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    send_slowly(&mut stream, Duration::ZERO).expect("sent");
    let began = Instant::now();
    assert_eq!(read_answer(stream.try_clone().expect("a second handle")).status, 415);
    while stream.write_all(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "still open");
        std::thread::sleep(Duration::from_secs(4));
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_client_that_keeps_sending_what_is_refused() {
    let mut server = TestServer::with(&[("DRAIN_TIMEOUT_MS", "20000")]);
    let mut stream = connect(server.address);
    let sender = std::thread::spawn(move || send_slowly(&mut stream, Duration::from_secs(25)));
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    server.begin_stop();
    assert_eq!(server.join(), Drained::Completely);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(sender.join().expect("no panic").is_err(), "the connection is closed");
}

#[test]
fn a_small_body_that_is_refused_costs_no_connection() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    stream.write_all(&[&head("text/plain", 5, "")[..], b"hello"].concat()).expect("sent");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(text.starts_with("HTTP/1.1 415") && !text.contains("connection: close"), "{text}");
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").expect("still open");
    assert_eq!(read_answer(stream).status, 200);
}

#[test]
fn a_client_that_closes_its_side_after_the_request_gets_its_answer() {
    let server = TestServer::start();
    let body = sample("open.jpg");
    for _ in 0..7 {
        let mut stream = connect(server.address);
        stream.write_all(&[&head("image/jpeg", body.len(), "")[..], &body].concat()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let answer = read_answer(stream);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["state"], "open");
    }
}

#[test]
fn an_expected_continue_over_the_limit_is_refused_at_once() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "1000")]);
    for content_type in ["image/jpeg", "multipart/form-data; boundary=x"] {
        let mut stream = connect(server.address);
        let start = Instant::now();
        stream.write_all(&head(content_type, 100_000_000, "expect: 100-continue\r\n")).expect("sent");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 413");
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

#[test]
fn an_expected_continue_within_the_limit_is_sent() {
    let server = TestServer::start();
    let body = sample("open.jpg");
    let mut stream = connect(server.address);
    let more = "expect: 100-continue\r\nconnection: close\r\n";
    stream.write_all(&head("image/jpeg", body.len(), more)).expect("sent");
    let mut first = [0; 25];
    stream.read_exact(&mut first).expect("an interim answer");
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).expect("sent");
    assert_eq!(read_answer(stream).status, 200);
}

#[test]
fn a_head_over_16_kib_is_refused() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    let _ = stream
        .write_all(format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "a".repeat(40_000)).as_bytes());
    assert_eq!(read_answer(stream).status, 431);
}

#[test]
fn a_head_that_stays_incomplete_is_cut_off_and_a_silent_connection_is_kept() {
    let server = TestServer::with(&[("BODY_TIMEOUT_MS", "200")]);
    let mut silent = connect(server.address);
    let mut half = connect(server.address);
    half.write_all(b"GET / HTTP/1.1\r\nho").expect("sent");
    let start = Instant::now();
    match half.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed: {other:?}"),
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    silent.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").expect("still open");
    assert_eq!(read_answer(silent).status, 200);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    // More answers than the buffers of both kernels hold (some megabytes), none of which is read.
    const REQUESTS: usize = 2_000;
    let requests = b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\n\r\n".repeat(REQUESTS);
    let writing = stream.try_clone().expect("another handle");
    std::thread::spawn(move || (&writing).write_all(&requests));
    // Longer than the 10 s that a client has to take some of its answer.
    std::thread::sleep(Duration::from_secs(13));
    let mut rest = vec![0; 1 << 16];
    let mut taken = 0;
    // What was sent before the end is read out; then the connection ends, in order or by a reset.
    while let Ok(length @ 1..) = stream.read(&mut rest) {
        taken += length;
    }
    let whole = REQUESTS * sample("open.jpg").len();
    assert!(taken < whole / 2, "{taken} of {whole} bytes: it was never cut off");
}

/// Answers that nobody takes lie in the kernel, where they count as the container's memory.
#[test]
#[cfg(target_os = "linux")]
fn little_is_held_of_answers_that_are_not_read_and_for_few_clients() {
    let server = TestServer::start();
    let asked = b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\n\r\n".repeat(200);
    let held = hold(&server, 300, &asked);
    let unsent = || -> Vec<_> {
        let open = sockets(server.address.port()).into_iter().filter(|socket| socket.established);
        open.map(|socket| socket.unsent).collect()
    };
    // Those that are closed take a moment, longer on a busy machine.
    let latest = Instant::now() + Duration::from_secs(10);
    std::thread::sleep(Duration::from_secs(1));
    while unsent().len() > 128 && Instant::now() < latest {
        std::thread::sleep(Duration::from_millis(50));
    }
    let unsent = unsent();
    assert!((1..=128).contains(&unsent.len()), "{} of 300 are open", unsent.len());
    assert!(unsent.iter().all(|bytes| *bytes <= 16 * 1024), "{unsent:?}");
    drop(held);
}

/// The kernel lets clients that send fast send ever more ahead.
#[test]
#[cfg(target_os = "linux")]
fn little_is_held_of_requests_that_are_not_read_even_after_a_large_body() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    let body = vec![0; 9_000_000];
    for _ in 0..5 {
        stream.write_all(&[&head("image/jpeg", body.len(), "")[..], &body].concat()).expect("sent");
        let mut first = [0; 1024];
        let length = stream.read(&mut first).expect("an answer");
        assert!(first[..length].starts_with(b"HTTP/1.1 400"));
    }
    // Answers that are not read hold up everything behind them.
    stream.set_nonblocking(true).expect("set");
    let asked = b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\n\r\n".repeat(2_000);
    for _ in 0..100 {
        while stream.write(&asked).is_ok() {}
        std::thread::sleep(Duration::from_millis(5));
    }
    let open = sockets(server.address.port()).into_iter().filter(|socket| socket.established);
    let unread = open.map(|socket| socket.unread).max();
    assert!(unread.is_some_and(|bytes| (1..=128 * 1024).contains(&bytes)), "{unread:?}");
}

/// A closed socket whose answer nobody takes stays for minutes, and counts as the container's
/// memory.
#[test]
#[cfg(target_os = "linux")]
fn a_connection_is_not_closed_before_its_answer_is_taken() {
    let server = TestServer::with(&[("MAX_CONNECTIONS", "1")]);
    let small = |_| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(2048).expect("set");
        socket.connect(&server.address.into()).expect("the server listens");
        TcpStream::from(socket)
    };
    let held: Vec<_> = (0..100)
        .map(small)
        .inspect(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            let asked = b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
            stream.write_all(asked).expect("sent");
            // So much that the server has written all.
            let mut taken = 0;
            while let Ok(length @ 1..) = stream.read(&mut [0; 2048]) {
                taken += length;
                if taken > 20_000 {
                    break;
                }
            }
        })
        .collect();
    // One place, 32 spare ones, and 32 that are leaving.
    let deadline = Instant::now() + Duration::from_secs(20);
    let unsent = || sockets(server.address.port()).into_iter().filter(|socket| socket.unsent > 0).count();
    while unsent() > 65 {
        assert!(Instant::now() < deadline, "{} sockets have unsent bytes", unsent());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.get("/livez").status, 200);
    drop(held);
}

/// A client that takes all, if slowly, loses nothing.
#[test]
fn a_slow_reader_gets_its_last_answer_whole() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    stream
        .write_all(b"GET /samples/open.jpg HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .expect("sent");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(read_answer(stream).body, sample("open.jpg"));
}

/// A socket of the server, as the kernel lists it (proc(5)), with the bytes that wait in it.
#[cfg(target_os = "linux")]
struct Queued {
    established: bool,
    unsent: usize,
    unread: usize,
}

#[cfg(target_os = "linux")]
fn sockets(port: u16) -> Vec<Queued> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
    let local = format!(":{port:04X}");
    let queued = |line: &str| {
        let [_, address, _, state, queues, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        let (unsent, unread) = queues.split_once(':').filter(|_| address.ends_with(&local))?;
        let number = |digits| usize::from_str_radix(digits, 16).ok();
        Some(Queued { established: state == ESTABLISHED, unsent: number(unsent)?, unread: number(unread)? })
    };
    table.lines().filter_map(queued).collect()
}

#[test]
fn a_body_whose_codings_a_gateway_may_read_in_another_way_is_refused() {
    let server = TestServer::start();
    for coding in ["gzip, chunked", "chunked, chunked"] {
        let mut stream = connect(server.address);
        let head =
            format!("POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: {coding}\r\nconnection: close\r\n\r\n");
        stream.write_all(&[head.as_bytes(), b"0\r\n\r\n"].concat()).expect("sent");
        assert_eq!(read_answer(stream).status, 400, "{coding}");
    }
    // With a length besides, the chunks count, and nothing after them.
    let mut stream = connect(server.address);
    let both =
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(&[both, "GET /livez HTTP/1.1\r\nhost: t\r\n\r\n"].concat().into_bytes()).expect("sent");
    let answer = read_answer(stream);
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("HTTP/1.1"), "{}", answer.text());
}

#[test]
fn requests_are_served_again_when_idle_connections_have_filled_every_place() {
    let server = TestServer::with(&[("MAX_CONNECTIONS", "32")]);
    let held = hold(&server, 200, b"GET / HTTP/1.1\r\n");
    let headers = [("content-type", "image/jpeg")];
    let answer = request(server.address, "POST", "/", &headers, &sample("closed.jpg"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["state"], "closed");
    drop(held);
}

/// It is not in the kernel's backlog any more, which a shutdown empties.
#[test]
fn a_connection_that_waits_for_its_place_when_the_shutdown_begins_is_answered() {
    let mut server = TestServer::with(&[("MAX_CONNECTIONS", "1")]);
    // One place and 32 spare ones, of which none is given away in the first 50 ms.
    let held = hold(&server, 33, b"");
    let mut last = connect(server.address);
    last.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").expect("sent");
    std::thread::sleep(Duration::from_millis(10));
    server.begin_stop();
    assert_eq!(read_answer(last).status, 200);
    drop(held);
    assert_eq!(server.join(), Drained::Completely);
}
