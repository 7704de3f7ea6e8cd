//! What requests may take of memory, over a real socket.

mod support;

use std::io::Write;
use std::time::Duration;

use image::{DynamicImage, GrayImage, ImageFormat};
use support::{MULTIPART, TestServer, connect, encode, multipart, read_answer, request, sample};

const MIB: usize = 1024 * 1024;

#[test]
fn an_image_that_could_never_fit_is_refused_and_a_smaller_one_is_not() {
    let server = TestServer::start();
    // 40 MiB are less than a process takes in the budget's account: the least part is left for
    // work.
    server.app.set_memory(Some(40 * MIB));
    let large = encode(&DynamicImage::from(GrayImage::new(4000, 4000)), ImageFormat::Png);
    let answer = server.post("/", "image/png", &large);
    answer.assert_problem(413, "too-much-memory");
    assert!(answer.text().contains("scale it down"), "{}", answer.text());
    assert_eq!(server.post("/", "image/jpeg", &sample("open.jpg")).json()["state"], "open");
    // A limit that is raised counts at once.
    server.app.set_memory(Some(512 * MIB));
    assert_eq!(server.post("/", "image/png", &large).status, 200);
}

#[test]
fn the_budget_is_whole_again_after_every_kind_of_request() {
    let server = TestServer::start();
    let open = sample("open.jpg");
    server.post("/", "image/jpeg", &open);
    server.post("/", "image/jpeg", b"broken");
    server.post(
        "/",
        MULTIPART,
        &multipart(&[("file", &open), ("note", &[b'x'; 100_000]), ("file", b"broken")]),
    );
    request(server.address, "POST", "/", &[("accept", "image/png")], &open);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // The last bytes of an answer may still be on their way out.
    while server.app.memory.parts().iter().any(|part| part.taken > 0) {
        assert!(std::time::Instant::now() < deadline, "{:?}", server.app.memory.parts());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_head_of_a_part_has_an_end_and_what_other_parts_hold_does_not_count() {
    let server = TestServer::start();
    let mut stream = connect(server.address);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: {MULTIPART}\r\n\
         transfer-encoding: chunked\r\n\r\n8\r\n--cut\r\nx\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut sent = 0;
    // Half a megabyte of a head that never ends; the server answers and stops taking it.
    for _ in 0..128 {
        if stream.write_all(b"1000\r\n").and_then(|()| stream.write_all(&[b'y'; 4096])).is_err() {
            break;
        }
        let _ = stream.write_all(b"\r\n");
        sent += 4096;
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    assert!(sent > 0);
    read_answer(stream).assert_problem(400, "broken-multipart");
    let open = sample("open.jpg");
    let body = multipart(&[("note", &vec![b'x'; 2 * MIB]), ("file", &open)]);
    assert_eq!(server.post("/", MULTIPART, &body).json()["state"], "open");
}

#[test]
fn bodies_share_what_there_is_for_them() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "1000000"), ("MAX_BODY_MEMORY_BYTES", "1000000")]);
    let mut slow = connect(server.address);
    slow.write_all(b"POST / HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 900001\r\n\r\n")
        .expect("sent");
    slow.write_all(&[1; 900_000]).expect("sent");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.app.memory.parts()[0].taken < 900_000 {
        assert!(std::time::Instant::now() < deadline, "the body is not accounted for");
        std::thread::sleep(Duration::from_millis(10));
    }
    let answer = server.post("/", "image/jpeg", &vec![1; 200_000]);
    answer.assert_problem(429, "overloaded");
    slow.write_all(&[1]).expect("sent");
    read_answer(slow).assert_problem(400, "not-an-image");
    assert_eq!(server.post("/", "image/jpeg", &sample("open.jpg")).status, 200);
}
