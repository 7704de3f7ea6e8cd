//! The HTTP contract, seen from outside.

mod support;

use image::{DynamicImage, ImageFormat};
use support::{MULTIPART, TestServer, encode, multipart, request, sample};

fn picture(name: &str) -> DynamicImage {
    image::load_from_memory(&sample(name)).expect("a sample is an image")
}

#[test]
fn an_image_gets_state_confidence_eyes_and_timings() {
    let server = TestServer::start();
    let answer = server.post("/classify", "image/jpeg", &sample("open.jpg"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = answer.json();
    assert_eq!(body["state"], "open");
    assert!(body["confidence"].as_f64().is_some_and(|confidence| (0.35..=1.0).contains(&confidence)));
    let picture = picture("open.jpg");
    assert_eq!(body["image"], serde_json::json!({"width": picture.width(), "height": picture.height()}));
    let eyes = body["eyes"].as_array().expect("a list");
    assert!(!eyes.is_empty());
    for eye in eyes {
        let side = |name: &str| eye["box"][name].as_f64().expect("a number");
        assert!(side("x") >= 0.0 && side("x") + side("width") <= f64::from(picture.width()));
        assert!(side("y") >= 0.0 && side("y") + side("height") <= f64::from(picture.height()));
    }
    for stage in ["decode", "preprocess", "inference", "postprocess"] {
        assert!(body["timing_ms"][stage].as_f64().is_some_and(|time| time >= 0.0), "{stage}");
    }
    assert!(body["model"]["name"].is_string() && body["model"]["version"].is_string());
}

#[test]
fn every_accepted_format_gives_the_same_verdict() {
    let server = TestServer::start();
    let gray = picture("closed.jpg").to_luma8();
    let sixteen = DynamicImage::from(gray.clone()).to_luma16();
    let colour = DynamicImage::from(gray.clone()).to_rgb8();
    let bodies = [
        ("image/png", encode(&gray.clone().into(), ImageFormat::Png)),
        ("image/png", encode(&sixteen.clone().into(), ImageFormat::Png)),
        ("image/png", encode(&colour.clone().into(), ImageFormat::Png)),
        ("image/webp", encode(&colour.clone().into(), ImageFormat::WebP)),
        ("image/bmp", encode(&colour.into(), ImageFormat::Bmp)),
        ("image/tiff", encode(&gray.clone().into(), ImageFormat::Tiff)),
        ("image/tiff", encode(&sixteen.clone().into(), ImageFormat::Tiff)),
        ("image/x-portable-graymap", encode(&gray.clone().into(), ImageFormat::Pnm)),
        ("application/octet-stream", encode(&gray.into(), ImageFormat::Bmp)),
        ("image/jpeg", sample("closed.jpg")),
    ];
    for (content_type, body) in bodies {
        let answer = server.post("/", content_type, &body);
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.text());
        assert_eq!(answer.json()["state"], "closed", "{content_type}");
    }
}

#[test]
fn a_sixteen_bit_graymap_is_scaled_by_its_own_maximum() {
    // Sensors of 10 bits write PGM with a maximum of 1023 (netpbm, pgm(5)).
    let server = TestServer::start();
    let gray = picture("open.jpg").to_luma8();
    let mut ten_bits = format!("P5 {} {} 1023\n", gray.width(), gray.height()).into_bytes();
    ten_bits.extend(gray.pixels().flat_map(|pixel| (u16::from(pixel.0[0]) * 1023 / 255).to_be_bytes()));
    let answer = server.post("/", "image/x-portable-graymap", &ten_bits);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["state"], "open");
}

#[test]
fn samples_of_fewer_bits_than_they_are_stored_in_need_a_bit_depth() {
    // Y16 infrared cameras write 10 bits into 16, and nothing in the file says so.
    let server = TestServer::start();
    let gray = picture("open.jpg").to_luma8();
    let levels = gray.pixels().map(|pixel| u16::from(pixel.0[0]) << 2).collect();
    let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(gray.width(), gray.height(), levels);
    let png = encode(&DynamicImage::ImageLuma16(image.expect("as many pixels")), ImageFormat::Png);
    let answer = server.post("/", "image/png", &png);
    answer.assert_problem(422, "unsupported-image");
    assert!(answer.text().contains("bit_depth=10"), "{}", answer.text());
    let answer = server.post("/?bit_depth=10", "image/png", &png);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["state"], "open");
    server.post("/?bit_depth=8", "image/png", &png).assert_problem(422, "invalid-parameter");
}

#[test]
fn exif_orientation_is_honoured() {
    let server = TestServer::start();
    let upright = server.post("/", "image/jpeg", &sample("open.jpg")).json();
    // The picture stored on its side, with orientation 6: turn by 90° clockwise to show (EXIF 2.32,
    // tag 0x0112).
    let stored = encode(&picture("open.jpg").rotate270(), ImageFormat::Jpeg);
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut turned = stored[..2].to_vec();
    turned.extend([0xFF, 0xE1]);
    turned.extend(u16::try_from(exif.len() + 2).expect("short").to_be_bytes());
    turned.extend(exif);
    turned.extend(&stored[2..]);
    let answer = server.post("/", "image/jpeg", &turned).json();
    assert_eq!(answer["image"], upright["image"]);
    assert_eq!(answer["state"], upright["state"]);
    let x = |body: &serde_json::Value| body["eyes"][0]["box"]["x"].as_f64().expect("an eye");
    assert!((x(&answer) - x(&upright)).abs() < 3.0);
}

#[test]
fn thresholds_of_one_request_override_the_defaults() {
    let server = TestServer::start();
    let strict = server.post("/classify?confidence_threshold=1", "image/jpeg", &sample("open.jpg")).json();
    assert_eq!(strict["state"], "no_eyes");
    assert_eq!(strict["eyes"], serde_json::json!([]));
    let usual = server.post("/classify", "image/jpeg", &sample("open.jpg")).json();
    assert_eq!(usual["state"], "open");
}

#[test]
fn several_parts_give_an_array_in_order_and_one_part_an_object() {
    let server = TestServer::start();
    let (open, closed) = (sample("open.jpg"), sample("closed.jpg"));
    let two =
        server.post("/", MULTIPART, &multipart(&[("file", &closed), ("note", b"ignored"), ("file", &open)]));
    assert_eq!(two.status, 200, "{}", two.text());
    assert_eq!(two.json()[0]["state"], "closed");
    assert_eq!(two.json()[1]["state"], "open");
    let one = server.post("/", MULTIPART, &multipart(&[("file", &open)]));
    assert_eq!(one.json()["state"], "open");
}

#[test]
fn a_picture_is_answered_with_the_boxes_drawn() {
    let server = TestServer::start();
    let original = sample("open.jpg");
    for (accept, format) in [("image/png", ImageFormat::Png), ("image/jpeg", ImageFormat::Jpeg)] {
        let headers = [("content-type", "image/jpeg"), ("accept", accept)];
        let answer = request(server.address, "POST", "/classify", &headers, &original);
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, accept));
        let drawn = image::load_from_memory_with_format(&answer.body, format).expect("a picture").to_rgb8();
        assert_eq!(drawn.dimensions(), (picture("open.jpg").width(), picture("open.jpg").height()));
        // Boxes are in colour, night vision is not.
        let coloured = drawn.pixels().filter(|pixel| pixel.0[0].abs_diff(pixel.0[2]) > 60).count();
        assert!(coloured > 50, "{coloured} coloured pixels");
    }
}

#[test]
fn probes_say_whether_the_process_lives_and_is_ready() {
    let server = TestServer::start();
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(request(server.address, "HEAD", "/readyz", &[], b"").status, 200);
}

#[test]
fn the_page_and_the_samples_come_from_the_binary() {
    let server = TestServer::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.headers["content-type"].starts_with("text/html"));
    assert!(page.headers["content-security-policy"].contains("default-src 'self'"));
    assert!(!page.headers["content-security-policy"].contains("unsafe"));
    for (part, content_type) in
        [("page.css", "text/css"), ("page.js", "text/javascript"), ("answer.js", "text/javascript")]
    {
        let answer = server.get(&format!("/page/{part}"));
        assert_eq!(answer.status, 200, "{part}");
        assert!(answer.headers["content-type"].starts_with(content_type), "{part}");
    }
    assert_eq!(server.get("/page/nothing.js").status, 404);
    let samples = server.get("/samples").json();
    for sample in samples.as_array().expect("a list") {
        let file = sample["file"].as_str().expect("a name");
        let answer = server.get(&format!("/samples/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.headers["content-type"].starts_with("image/"));
    }
}

#[test]
fn the_page_states_the_licences_and_offers_the_source() {
    let server = TestServer::with(&[("SOURCE_URL", "https://example.org/nv?a=1&b=2")]);
    let page = server.get("/").text();
    let license = eye_state::classifier::Classifier::metadata().license;
    assert!(page.contains(&format!("Code: Apache-2.0. Model: {license}.")), "{page}");
    assert!(page.contains(r#"href="https://example.org/nv?a=1&amp;b=2""#), "{page}");
    let page = TestServer::start().get("/").text();
    assert!(page.contains("ask whoever runs this function") && !page.contains("{{"), "{page}");
}

#[test]
fn every_sample_gets_its_right_verdict() {
    let server = TestServer::start();
    for sample_entry in server.get("/samples").json().as_array().expect("a list") {
        let file = sample_entry["file"].as_str().expect("a name");
        let answer = server.post("/", "application/octet-stream", &sample(file)).json();
        assert_eq!(answer["state"], sample_entry["state"], "{file}: {answer}");
    }
}

#[test]
fn metrics_count_what_happened() {
    let server = TestServer::start();
    server.post("/classify", "image/jpeg", &sample("open.jpg"));
    server.post("/classify", "application/json", b"{}");
    assert_eq!(server.metric("eye_state_results_total{state=\"open\"}"), 1.0);
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"unsupported-media-type\"}"), 1.0);
    assert!(server.metric("eye_state_concurrency_seconds_total") > 0.0);
    assert_eq!(server.metric("eye_state_stage_duration_seconds_count{stage=\"inference\"}"), 1.0);
    assert!(server.metric("process_memory_usage_bytes") > 1e6);
    let ok = "http_server_request_duration_seconds_count{http_request_method=\"POST\",\
        http_response_status_code=\"200\",http_route=\"/classify\"}";
    assert_eq!(server.metric(ok), 1.0);
}

#[test]
fn the_trace_of_the_caller_is_answered_with() {
    let server = TestServer::start();
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("content-type", "image/jpeg"), ("traceparent", caller)];
    let answer = request(server.address, "POST", "/classify", &headers, &sample("open.jpg"));
    assert_eq!(answer.status, 200);
    // Without a collector nothing is recorded, and nothing is made up.
    if let Some(traceparent) = answer.headers.get("traceparent") {
        assert!(traceparent.contains("0af7651916cd43dd8448eb211c80319c"));
    }
}
