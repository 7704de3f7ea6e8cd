//! Every error of the contract, provoked over a real socket. After each the server still answers
//! right.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use support::{MULTIPART, TestServer, connect, encode, multipart, raw, read_answer, request, sample};

const OCTETS: &str = "application/octet-stream";

/// The server lost nothing by what was sent to it.
#[track_caller]
fn assert_still_right(server: &TestServer) {
    let answer = server.post("/classify", "image/jpeg", &sample("open.jpg"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["state"], "open");
    assert_eq!(server.metric("eye_state_requests_in_flight"), 0.0);
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"internal\"}"), 0.0);
}

#[test]
fn an_empty_body_is_a_bad_request() {
    let server = TestServer::start();
    server.post("/", OCTETS, b"").assert_problem(400, "empty-body");
    assert_still_right(&server);
}

#[test]
fn bytes_that_are_no_image_are_a_bad_request() {
    let server = TestServer::start();
    server.post("/", OCTETS, b"hello").assert_problem(400, "not-an-image");
    server.post("/", "image/jpeg", &[0; 4096]).assert_problem(400, "not-an-image");
    // A format that is not accepted, with a type that is.
    server.post("/", "image/png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;").assert_problem(400, "not-an-image");
    assert_still_right(&server);
}

#[test]
fn every_format_cut_off_anywhere_is_a_bad_request() {
    let server = TestServer::start();
    let picture = image::load_from_memory(&sample("open.jpg")).expect("a sample");
    let formats = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
    ];
    for format in formats {
        let whole = encode(&picture.to_luma8().into(), format);
        for percent in [3, 20, 50, 90, 99] {
            let cut = &whole[..whole.len() * percent / 100];
            let answer = server.post("/", OCTETS, cut);
            assert_eq!(answer.status, 400, "{format:?} cut to {percent} %: {}", answer.text());
        }
        let answer = server.post("/", OCTETS, &whole);
        assert_eq!(answer.status, 200, "{format:?} whole: {}", answer.text());
    }
    assert_still_right(&server);
}

#[test]
fn a_jpeg_cut_after_its_thumbnail_is_still_seen_to_be_cut() {
    // An APP1 segment that holds an end-of-image marker, as EXIF thumbnails do.
    let whole = sample("open.jpg");
    let mut with_thumbnail = whole[..2].to_vec();
    with_thumbnail.extend([0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9]);
    with_thumbnail.extend(&whole[2..]);
    let server = TestServer::start();
    assert_eq!(server.post("/", "image/jpeg", &with_thumbnail).status, 200);
    server.post("/", "image/jpeg", &with_thumbnail[..whole.len() / 2]).assert_problem(400, "broken-image");
}

#[test]
fn a_png_that_claims_huge_dimensions_is_refused_before_it_is_decoded() {
    let server = TestServer::start();
    let mut png = encode(&GrayImage::new(8, 8).into(), ImageFormat::Png);
    // Width and height are the first fields of IHDR, followed by its CRC-32 (PNG, section 11.2.2).
    png[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&100_000u32.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    server.post("/", "image/png", &png).assert_problem(413, "too-many-pixels");
    assert_still_right(&server);
}

#[test]
fn a_decompression_bomb_is_refused_before_it_is_decoded() {
    let server = TestServer::start();
    // 30,000 × 30,000 black pixels are 1 MB as PNG and 900 MB decoded; 6,000 × 6,000 show the same
    // in less time.
    let bomb = encode(&GrayImage::new(6_000, 6_000).into(), ImageFormat::Png);
    assert!(bomb.len() < 200_000, "a bomb is small: {}", bomb.len());
    server.post("/", "image/png", &bomb).assert_problem(413, "too-many-pixels");
    assert_still_right(&server);
}

#[test]
fn images_with_lying_or_zero_dimensions_are_refused() {
    let server = TestServer::start();
    let bmp = |width: i32, height: i32| {
        let mut bytes = encode(&RgbImage::new(4, 4).into(), ImageFormat::Bmp);
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        bytes
    };
    // More pixels than there are bytes for, none at all, and less than none.
    for (width, height) in [(4, 400), (0, 4), (4, 0), (-4, 4), (i32::MAX, i32::MAX), (i32::MIN, i32::MIN)] {
        let answer = server.post("/", "image/bmp", &bmp(width, height));
        assert!((400..500).contains(&answer.status), "{width}×{height}: {}", answer.text());
    }
    for text in ["P5 0 0 255\n", "P5 99999999 99999999 255\n", "P5 4 4 0\n", "P5 -1 4 255\n", "P5"] {
        let answer = server.post("/", "image/x-portable-graymap", text.as_bytes());
        assert!((400..500).contains(&answer.status), "{text:?}: {}", answer.text());
    }
    assert_still_right(&server);
}

#[test]
fn random_damage_never_costs_more_than_a_client_error() {
    let server = TestServer::start();
    let picture: DynamicImage =
        image::load_from_memory(&sample("open.jpg")).expect("a sample").thumbnail(96, 96);
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        // xorshift64*: any sequence will do, the same each time.
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        seed.wrapping_mul(0x2545_F491_4F6C_DD1D) as usize
    };
    for format in
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff]
    {
        let whole = encode(&picture.to_luma8().into(), format);
        for _ in 0..25 {
            let mut damaged = whole.clone();
            for _ in 0..3 {
                let at = random() % damaged.len();
                damaged[at] = random() as u8;
            }
            let answer = server.post("/", OCTETS, &damaged);
            assert!(
                answer.status == 200 || (400..500).contains(&answer.status),
                "{format:?}: {}",
                answer.text()
            );
        }
    }
    assert_still_right(&server);
}

#[test]
fn an_unsupported_content_type_is_named() {
    let server = TestServer::start();
    let answer = server.post("/classify", "application/json", b"{}");
    answer.assert_problem(415, "unsupported-media-type");
    assert!(answer.text().contains("application/json"));
}

#[test]
fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "1000")]);
    server.post("/", OCTETS, &[1; 1001]).assert_problem(413, "too-many-bytes");
    let mut chunked =
        b"POST / HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        chunked.extend(b"190\r\n");
        chunked.extend([1; 400]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    raw(server.address, &chunked).assert_problem(413, "too-many-bytes");
}

#[test]
fn bad_thresholds_are_unprocessable() {
    let server = TestServer::start();
    for query in ["confidence_threshold=2", "iou_threshold=NaN", "iou_threshold=", "confidence_threshold=0,5"]
    {
        let answer = server.post(&format!("/classify?{query}"), "image/jpeg", &sample("open.jpg"));
        answer.assert_problem(422, "invalid-parameter");
    }
}

#[test]
fn a_kind_of_image_that_cannot_be_used_is_unprocessable() {
    let server = TestServer::start();
    let float = image::Rgb32FImage::new(4, 4);
    let tiff = encode(&float.into(), ImageFormat::Tiff);
    server.post("/", "image/tiff", &tiff).assert_problem(422, "unsupported-image");
    // The frame header of an arithmetic-coded JPEG (T.81, table B.1: SOF9).
    let mut jpeg = sample("open.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame");
    jpeg[frame + 1] = 0xC9;
    let answer = server.post("/", "image/jpeg", &jpeg);
    answer.assert_problem(422, "unsupported-image");
    assert!(answer.text().contains("arithmetic"), "{}", answer.text());
    assert_still_right(&server);
}

#[test]
fn an_image_that_is_too_long_is_judged_and_not_drawn() {
    let server = TestServer::start();
    let long = |height: usize| [format!("P5 1 {height} 255 ").as_bytes(), &vec![0; height]].concat();
    for accept in ["image/png", "image/jpeg"] {
        let headers = [("content-type", "image/x-portable-graymap"), ("accept", accept)];
        let answer = request(server.address, "POST", "/", &headers, &long(65_536));
        answer.assert_problem(413, "too-long-to-draw");
        assert!(answer.text().contains("65536"), "{}", answer.text());
        assert_eq!(request(server.address, "POST", "/", &headers, &long(65_535)).status, 200, "{accept}");
    }
    let answer = server.post("/", "image/x-portable-graymap", &long(65_536));
    assert_eq!(answer.json()["state"], "no_eyes", "{}", answer.text());
}

#[test]
fn a_jpeg_that_lacks_blocks_is_broken_however_it_ends() {
    let server = TestServer::start();
    let whole = sample("open.jpg");
    for percent in [40, 60, 80, 99] {
        let mut cut = whole[..whole.len() * percent / 100].to_vec();
        cut.extend([0xFF, 0xD9]);
        server.post("/", "image/jpeg", &cut).assert_problem(400, "broken-image");
        let then_whole = [&cut[..cut.len() - 2], &whole].concat();
        server.post("/", "image/jpeg", &then_whole).assert_problem(400, "broken-image");
    }
    assert_still_right(&server);
}

#[test]
fn multipart_errors_name_what_is_wrong() {
    let server = TestServer::with(&[("MAX_PARTS", "2")]);
    let open = sample("open.jpg");
    server.post("/", MULTIPART, b"no parts at all").assert_problem(400, "broken-multipart");
    server.post("/", "multipart/form-data", b"--x--").assert_problem(400, "broken-multipart");
    server.post("/", MULTIPART, &multipart(&[("picture", &open)])).assert_problem(400, "broken-multipart");
    let three = multipart(&[("file", &open), ("file", &open), ("file", &open)]);
    server.post("/", MULTIPART, &three).assert_problem(413, "too-many-parts");
    let answer = server.post("/", MULTIPART, &multipart(&[("file", &open), ("file", b"broken")]));
    answer.assert_problem(400, "not-an-image");
    assert_eq!(answer.json()["part"], 1);
    assert_still_right(&server);
}

#[test]
fn a_multipart_body_that_breaks_off_is_told_where() {
    let server = TestServer::start();
    let content_type = "multipart/form-data; boundary=x";
    let head = "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n";
    let long = "é".repeat(4000);
    for (body, words) in [
        ("--y\r\n\r\nP5\r\n--y--\r\n".to_owned(), "names another boundary"),
        ("--x\r\nP5 1 1 255 0\r\n--x--\r\n".to_owned(), "no empty line behind its head"),
        (head.to_owned(), "before its last boundary"),
        (format!("{head}\r\nP5"), "in the content of a part"),
        ("--x\r\nno header\r\n\r\nP5\r\n--x--\r\n".to_owned(), "a line that is no header"),
        (format!("--x\r\n{long}: a\r\n\r\nP5\r\n--x--\r\n"), "a line that is no header"),
    ] {
        let answer = server.post("/", content_type, body.as_bytes());
        answer.assert_problem(400, "broken-multipart");
        assert!(answer.text().contains(words) && answer.text().len() < 500, "{body}: {}", answer.text());
    }
}

#[test]
fn memory_that_no_multipart_body_can_be_read_in_is_named() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "100000"), ("MAX_BODY_MEMORY_BYTES", "200000")]);
    let answer = server.post("/", MULTIPART, &multipart(&[("file", b"P5 1 1 255 0")]));
    answer.assert_problem(413, "too-much-memory");
    assert_eq!(server.post("/", "image/x-portable-graymap", b"P5 1 1 255 0").status, 200);
}

#[test]
fn an_error_of_a_part_has_its_index_also_where_the_part_is_only_read() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "60000")]);
    let open = sample("open.jpg");
    for (bad, status, kind) in [
        (vec![0xFF; 60_001], 413, "too-many-bytes"),
        // A gzip member (RFC 1952): all that is looked at is its beginning.
        (b"\x1f\x8b\x08".to_vec(), 415, "compressed-body"),
    ] {
        let parts = multipart(&[("file", &open), ("note", b"x"), ("file", &bad)]);
        let answer = server.post("/", MULTIPART, &parts);
        answer.assert_problem(status, kind);
        assert_eq!(answer.json()["part"], 1, "{}", answer.text());
    }
    assert_still_right(&server);
}

#[test]
fn what_is_too_large_is_named() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "1000"), ("MAX_BODY_MEMORY_BYTES", "300000")]);
    const INFER: &str = "/v2/models/eye-state/infer";
    let one_part = multipart(&[("file", &[1; 1001])]);
    for (path, content_type, body, words) in [
        ("/", OCTETS, vec![1; 1001], "the image has more than 1000 bytes"),
        ("/", MULTIPART, one_part, "the image has more than 1000 bytes"),
        ("/", MULTIPART, vec![1; 300_001], "the body has more than 300000 bytes"),
        ("/", "application/cloudevents-batch+json", vec![b' '; 300_001], "the body has more than 300000"),
        // 1,000 bytes in base64, and 64 KiB.
        ("/", "application/cloudevents+json", vec![b' '; 66_873], "the body has more than 66872 bytes"),
        (INFER, "application/json", vec![b' '; 66_873], "the body has more than 66872 bytes"),
    ] {
        let answer = server.post(path, content_type, &body);
        assert_eq!(answer.status, 413, "{path} {content_type}: {}", answer.text());
        assert!(answer.text().contains(words), "{path} {content_type}: {}", answer.text());
    }

    let open = sample("open.jpg");
    let limit = open.len().to_string();
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", &limit), ("MAX_BODY_MEMORY_BYTES", &limit)]);
    // Without loss, and in colour: larger than what it is drawn on.
    let headers = [("content-type", "image/jpeg"), ("accept", "image/png")];
    let answer = request(server.address, "POST", "/", &headers, &open);
    answer.assert_problem(413, "too-many-bytes");
    assert!(answer.text().contains("the picture with boxes has more than"), "{}", answer.text());
    assert_still_right(&server);
}

#[test]
fn a_body_that_does_not_come_is_timed_out() {
    let server = TestServer::with(&[("BODY_TIMEOUT_MS", "200")]);
    let mut stream = connect(server.address);
    let start = Instant::now();
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 1000\r\n\r\nP5")
        .expect("sent");
    read_answer(stream).assert_problem(408, "body-timeout");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_still_right(&server);
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let server = TestServer::start();
    for _ in 0..20 {
        let mut stream = connect(server.address);
        stream.write_all(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 100000\r\n\r\nP5").expect("sent");
        drop(stream);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.metric("eye_state_requests_in_flight") > 0.0 {
        assert!(Instant::now() < deadline, "requests of clients long gone are still in flight");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_still_right(&server);
}

#[test]
fn wrong_paths_and_methods_are_problems_too() {
    let server = TestServer::start();
    server.get("/nowhere").assert_problem(404, "not-found");
    request(server.address, "DELETE", "/classify", &[], b"").assert_problem(405, "method-not-allowed");
    request(server.address, "GET", "/samples/nobody.jpg", &[], b"").assert_problem(404, "not-found");
}

/// CRC-32 of PNG chunks (PNG specification, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 },
        )
    })
}
