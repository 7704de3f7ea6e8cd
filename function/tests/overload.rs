//! More than can be carried: bounded waiting, refusals, and a shutdown that loses nothing.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eye_state::server::Drained;
use image::{DynamicImage, ImageFormat};
use support::{Answer, TestServer, connect, encode, read_answer, request, sample};

/// Deadlines have a test of their own; the others are to pass on the slowest machine.
const PATIENT: (&str, &str) = ("REQUEST_DEADLINE_MS", "20000");

/// Many clients at once, each asking as soon as it was answered, for this long.
fn load(server: &TestServer, clients: usize, time: Duration) -> Vec<(Answer, Duration)> {
    let (answers, body) = (Arc::new(Mutex::new(Vec::new())), Arc::new(sample("open.jpg")));
    let end = Instant::now() + time;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (answers, body, address) = (Arc::clone(&answers), Arc::clone(&body), server.address);
            std::thread::spawn(move || {
                while Instant::now() < end {
                    let start = Instant::now();
                    let answer =
                        request(address, "POST", "/classify", &[("content-type", "image/jpeg")], &body);
                    let refused = answer.status == 429;
                    answers.lock().expect("no panic").push((answer, start.elapsed()));
                    if refused {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no client panics"));
    Arc::into_inner(answers).expect("all clients are done").into_inner().expect("no panic")
}

#[test]
fn overload_is_refused_with_retry_after_and_the_rest_is_right() {
    let server = TestServer::with(&[("MAX_CONCURRENCY", "1"), ("QUEUE_CAPACITY", "2"), PATIENT]);
    let answers = load(&server, 12, Duration::from_secs(3));
    let (mut served, mut refused) = (0, 0);
    for (answer, _) in &answers {
        match answer.status {
            200 => {
                assert_eq!(answer.json()["state"], "open");
                served += 1;
            }
            429 => {
                answer.assert_problem(429, "overloaded");
                let seconds: u64 = answer.headers["retry-after"].parse().expect("whole seconds");
                assert!((1..=60).contains(&seconds));
                refused += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"overloaded\"}"), f64::from(refused));
    assert_eq!(server.metric("eye_state_queue_depth"), 0.0);
}

#[test]
fn a_request_that_waited_past_its_deadline_is_not_computed() {
    let server = TestServer::with(&[
        ("MAX_CONCURRENCY", "1"),
        ("QUEUE_CAPACITY", "1000"),
        ("REQUEST_DEADLINE_MS", "1"),
    ]);
    let answers = load(&server, 16, Duration::from_secs(1));
    let late = answers.iter().filter(|(answer, _)| answer.status == 504).count();
    let served = answers.iter().filter(|(answer, _)| answer.status == 200).count();
    assert_eq!(late + served, answers.len());
    assert!(late > 0 && served > 0, "{late} late, {served} served");
    let (answer, _) = answers.iter().find(|(answer, _)| answer.status == 504).expect("one late");
    answer.assert_problem(504, "deadline-exceeded");
    assert_eq!(server.metric("eye_state_results_total{state=\"open\"}"), served as f64);
}

fn picture_request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: image/jpeg\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn shutting_down_under_load_answers_every_accepted_request() {
    let settings = [("DRAIN_DELAY_MS", "300"), ("QUEUE_CAPACITY", "64"), PATIENT];
    let mut server = TestServer::with(&settings);
    let (picture, address) = (picture_request(&sample("open.jpg")), server.address);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let picture = picture.clone();
            std::thread::spawn(move || {
                let mut served = 0;
                loop {
                    // Who cannot connect any more has lost nothing: it was never accepted.
                    let Ok(mut stream) = TcpStream::connect(address) else { return served };
                    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
                    stream.write_all(&picture).expect("an accepted connection takes it");
                    let answer = read_answer(stream);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served += 1;
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    server.begin_stop();
    let served: usize = clients.into_iter().map(|client| client.join().expect("no request is lost")).sum();
    assert!(served > 0);
    assert_eq!(server.join(), Drained::Completely);
}

#[test]
fn a_client_that_connected_before_the_shutdown_and_asks_after_it_is_answered() {
    let mut server = TestServer::start();
    // Before the shutdown, which waits for requests for a second only.
    let picture = picture_request(&sample("open.jpg"));
    let mut stream = connect(server.address);
    // The connection is established; that the server has it, too, a later one shows.
    assert_eq!(server.get("/livez").status, 200);
    server.begin_stop();
    while TcpStream::connect_timeout(&server.address, Duration::from_millis(20)).is_ok() {}
    stream.write_all(&picture).expect("still open");
    let answer = read_answer(stream);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.join(), Drained::Completely);
}

#[test]
fn connections_that_wait_when_the_shutdown_begins_are_answered() {
    let mut server = TestServer::with(&[("MAX_CONNECTIONS", "1")]);
    let picture = picture_request(&sample("closed.jpg"));
    let mut first = connect(server.address);
    first.write_all(&picture[..200]).expect("sent");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(server.address);
            stream.write_all(&picture).expect("the kernel takes it");
            stream
        })
        .collect();
    server.begin_stop();
    std::thread::sleep(Duration::from_millis(300));
    first.write_all(&picture[200..]).expect("still taken");
    for stream in std::iter::once(first).chain(waiting) {
        let answer = read_answer(stream);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(server.join(), Drained::Completely);
}

#[test]
fn what_still_waits_when_the_time_for_draining_is_over_is_refused_and_not_dropped() {
    const CLIENTS: usize = 16;
    let mut server = TestServer::with(&[("MAX_CONCURRENCY", "1"), ("DRAIN_TIMEOUT_MS", "1")]);
    // Large, so that the queue outlasts the shutdown by far.
    let picture = picture_request(&encode(&DynamicImage::new_luma8(4000, 3000), ImageFormat::Jpeg));
    let waiting: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(server.address);
            stream.write_all(&picture).expect("sent");
            stream
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.app.pool.queue_depth() < CLIENTS - 4 {
        assert!(Instant::now() < deadline, "the queue never filled");
    }
    server.begin_stop();
    let mut refused = 0;
    for stream in waiting {
        let answer = read_answer(stream);
        if answer.status != 200 {
            answer.assert_problem(503, "draining");
            assert_eq!(answer.headers["retry-after"], "1");
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(server.join(), Drained::TimedOut);
}

#[test]
fn readiness_falls_at_once_while_requests_are_still_taken() {
    let mut server = TestServer::with(&[("DRAIN_DELAY_MS", "3000")]);
    server.begin_stop();
    let deadline = Instant::now() + Duration::from_secs(2);
    while server.get("/readyz").status != 503 {
        assert!(Instant::now() < deadline, "still ready after the shutdown began");
    }
    assert_eq!(server.get("/livez").status, 200);
    let answer = server.post("/", "image/jpeg", &sample("open.jpg"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(server.join(), Drained::Completely);
}

#[test]
fn a_request_that_is_half_sent_when_the_shutdown_begins_is_finished() {
    let mut server = TestServer::start();
    let body = sample("closed.jpg");
    let mut stream = connect(server.address);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body[..100]].concat()).expect("sent");
    while server.metric("eye_state_requests_in_flight") < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.begin_stop();
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(&body[100..]).expect("still taken");
    let answer = read_answer(stream);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["state"], "closed");
    assert_eq!(server.join(), Drained::Completely);
}

#[test]
fn kept_alive_connections_are_closed_by_the_shutdown_and_not_reset() {
    let mut server = TestServer::start();
    let mut stream = connect(server.address);
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\n").expect("sent");
    let mut head = [0; 64];
    assert!(stream.read(&mut head).expect("an answer") > 0);
    server.begin_stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(server.join(), Drained::Completely);
}
