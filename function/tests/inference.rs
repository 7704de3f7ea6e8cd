//! The Open Inference Protocol, seen from outside. `tests/foreign.py` lets other people's clients
//! at it.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{Answer, TestServer, request, sample};

const INFER: &str = "/v2/models/eye-state/infer";
const PIXELS: &str = "/v2/models/eye-state-pixels/infer";
const HEADER_LENGTH: &str = "inference-header-content-length";

fn infer(server: &TestServer, path: &str, document: &Value) -> Answer {
    server.post(path, "application/json", document.to_string().as_bytes())
}

/// JSON and bytes behind it.
fn binary(server: &TestServer, path: &str, document: &Value, behind: &[u8]) -> Answer {
    let json = document.to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), behind].concat();
    request(server.address, "POST", path, &[(HEADER_LENGTH, &length)], &body)
}

fn image(text: &str) -> Value {
    json!({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]})
}

fn pixels(shape: &Value, data: &Value) -> Value {
    json!({"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": shape, "data": data}]})
}

fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let outputs = answer["outputs"].as_array().expect("a list");
    outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("{name} in {answer}"))
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    let document = answer.json();
    assert_eq!(document.as_object().map(|members| members.len()), Some(1), "{document}");
    assert!(document["error"].as_str().is_some_and(|error| error.contains(words)), "{document}");
}

/// A sample as samples of one channel: height, width, levels.
fn levels(name: &str) -> (u32, u32, Vec<u8>) {
    let gray = image::load_from_memory(&sample(name)).expect("a sample").to_luma8();
    (gray.height(), gray.width(), gray.into_raw())
}

#[test]
fn the_server_and_the_models_say_what_they_are() {
    let server = TestServer::start();
    let about = server.get("/v2").json();
    assert_eq!(about["name"], "eye-state");
    assert_eq!(about["extensions"], json!(["binary_tensor_data", "model_configuration", "parameters"]));
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").json(), json!({"ready": true}));
    for (model, input) in [
        ("eye-state", json!({"name": "image", "datatype": "BYTES", "shape": [1]})),
        ("eye-state-pixels", json!({"name": "pixels", "datatype": "UINT8", "shape": [1, -1, -1, -1]})),
    ] {
        let metadata = server.get(&format!("/v2/models/{model}")).json();
        assert_eq!(metadata["name"], model);
        assert_eq!(metadata["inputs"], json!([input]));
        let version = metadata["versions"][0].as_str().expect("a version");
        let versioned = format!("/v2/models/{model}/versions/{version}");
        assert_eq!(server.get(&versioned).json(), metadata);
        assert_eq!(server.get(&format!("{versioned}/ready")).json(), json!({"name": model, "ready": true}));
    }
    for path in ["/v2/models/other", "/v2/models/eye-state/versions/7", "/v2/models/other/ready"] {
        assert_refused(&server.get(path), 404, "there is no model");
    }
    assert_refused(&server.get("/v2/nothing"), 404, "nothing at this path");
    assert_refused(&server.get("/v2/models/eye-state/stats"), 404, "nothing at this path");
    assert_refused(&server.get(INFER), 405, "POST");
}

/// What Triton's `perf_analyzer` reads before it sends anything.
#[test]
fn the_configuration_of_a_model_names_the_tensors_of_its_metadata() {
    let server = TestServer::start();
    for (model, input) in [
        ("eye-state", json!({"name": "image", "data_type": "TYPE_STRING", "dims": [1]})),
        ("eye-state-pixels", json!({"name": "pixels", "data_type": "TYPE_UINT8", "dims": [1, -1, -1, -1]})),
    ] {
        let metadata = server.get(&format!("/v2/models/{model}")).json();
        let configuration = server.get(&format!("/v2/models/{model}/config")).json();
        assert_eq!(configuration["name"], model);
        assert_eq!(configuration["max_batch_size"], 0);
        assert_eq!(configuration["input"], json!([input]));
        let outputs = metadata["outputs"].as_array().expect("outputs");
        let expected: Vec<_> = outputs
            .iter()
            .map(|output| {
                let data_type = match output["datatype"].as_str() {
                    Some("BYTES") => "TYPE_STRING".to_owned(),
                    Some(datatype) => format!("TYPE_{datatype}"),
                    None => panic!("{output}"),
                };
                json!({"name": output["name"], "data_type": data_type, "dims": output["shape"]})
            })
            .collect();
        assert_eq!(configuration["output"], json!(expected));
        let version = metadata["versions"][0].as_str().expect("a version");
        assert_eq!(
            server.get(&format!("/v2/models/{model}/versions/{version}/config")).json(),
            configuration
        );
    }
    assert_refused(&server.get("/v2/models/other/config"), 404, "there is no model");
}

#[test]
fn an_instance_that_stops_is_live_and_not_ready() {
    let mut server = TestServer::with(&[("DRAIN_DELAY_MS", "1000")]);
    server.begin_stop();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(server.get("/v2/health/live").status, 200);
    let ready = server.get("/v2/health/ready");
    assert_eq!((ready.status, ready.json()), (503, json!({"ready": false})));
    assert_eq!(server.get("/v2/models/eye-state/ready").status, 503);
}

#[test]
fn an_image_in_base64_gets_the_same_numbers_as_from_classify() {
    let server = TestServer::start();
    let expected = server.post("/classify", "image/jpeg", &sample("open.jpg")).json();
    let mut document = image(&STANDARD.encode(sample("open.jpg")));
    document["id"] = json!("night-7");
    let answer = infer(&server, INFER, &document);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["id"], "night-7");
    assert_eq!(
        (&answer["model_name"], &answer["model_version"]),
        (&json!("eye-state"), &expected["model"]["version"])
    );
    assert_eq!(answer["parameters"], json!({"image_width": 640, "image_height": 480}));
    assert_eq!(
        output(&answer, "state"),
        &json!({"name": "state", "shape": [1], "datatype": "BYTES", "data": ["open"]})
    );
    assert_eq!(output(&answer, "confidence")["data"], json!([expected["confidence"]]));
    let eyes = expected["eyes"].as_array().expect("a list");
    assert_eq!(output(&answer, "boxes")["shape"], json!([eyes.len(), 4]));
    let boxes =
        eyes.iter().flat_map(|eye| ["x", "y", "width", "height"].map(|side| eye["box"][side].clone()));
    assert_eq!(output(&answer, "boxes")["data"], json!(boxes.collect::<Vec<_>>()));
    let scores: Vec<_> = eyes.iter().map(|eye| eye["confidence"].clone()).collect();
    assert_eq!(
        output(&answer, "scores"),
        &json!({"name": "scores", "shape": [eyes.len()], "datatype": "FP32", "data": scores})
    );
    assert_eq!(output(&answer, "class_ids")["data"], json!(vec![0; eyes.len()]));
    // Some JSON writers escape slashes, which base64 has.
    let escaped = document.to_string().replace('/', "\\/");
    assert!(escaped.contains("\\/"));
    let again = server.post(INFER, "application/json", escaped.as_bytes()).json();
    assert_eq!(again["outputs"], answer["outputs"]);
}

#[test]
fn samples_get_the_same_numbers_as_their_file() {
    let server = TestServer::start();
    let (height, width, gray) = levels("closed.jpg");
    let pgm = [format!("P5 {width} {height} 255\n").as_bytes(), &gray].concat();
    let expected = infer(&server, INFER, &image(&STANDARD.encode(&pgm))).json()["outputs"].clone();
    let colour: Vec<u8> = gray.iter().flat_map(|level| [*level; 3]).collect();
    for (channels, samples) in [(1, &gray), (3, &colour)] {
        let document = json!({"inputs": [{
            "name": "pixels", "datatype": "UINT8", "shape": [1, height, width, channels],
            "parameters": {"binary_data_size": samples.len()},
        }]});
        let answer = binary(&server, PIXELS, &document, samples);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["outputs"], expected, "{channels} channels");
    }
    let flat = infer(&server, PIXELS, &pixels(&json!([1, height, width, 1]), &json!(gray)));
    assert_eq!(flat.json()["outputs"], expected);
    let rows: Vec<Vec<[u8; 1]>> =
        gray.chunks(width as usize).map(|row| row.iter().map(|level| [*level]).collect()).collect();
    for nested in [json!([rows]), json!(rows), json!([gray])] {
        let nested = infer(&server, PIXELS, &pixels(&json!([1, height, width, 1]), &nested));
        assert_eq!(nested.json()["outputs"], expected);
    }
}

#[test]
fn samples_in_lists_that_are_not_of_their_shape_are_refused() {
    let server = TestServer::start();
    for (shape, data) in [
        // Colours before rows and columns.
        (json!([1, 4, 4, 3]), json!([vec![vec![vec![9; 4]; 4]; 3]])),
        // Columns before rows.
        (json!([1, 2, 3, 1]), json!([vec![vec![[9]; 2]; 3]])),
        (json!([1, 2, 2, 1]), json!([[[1], [2], [3]], [[4]], []])),
        (json!([1, 1, 2, 1]), json!([1, [2]])),
        (json!([1, 1, 2, 1]), json!([[[1], [2]], []])),
    ] {
        let answer = infer(&server, PIXELS, &pixels(&shape, &data));
        assert_eq!(answer.status, 400, "{shape} {data}: {}", answer.text());
        assert!(answer.text().contains("list"), "{}", answer.text());
    }
}

#[test]
fn colours_are_red_green_blue() {
    let server = TestServer::start();
    let rgb = image::load_from_memory(&sample("open.jpg")).expect("a sample").to_rgb8();
    let mut tinted = rgb.clone();
    tinted.pixels_mut().for_each(|pixel| pixel.0[2] /= 2);
    let png = support::encode(&tinted.clone().into(), image::ImageFormat::Png);
    let expected = infer(&server, INFER, &image(&STANDARD.encode(&png))).json()["outputs"].clone();
    let document = json!({"inputs": [{
        "name": "pixels", "datatype": "UINT8", "shape": [1, rgb.height(), rgb.width(), 3],
        "parameters": {"binary_data_size": tinted.as_raw().len()},
    }]});
    assert_eq!(binary(&server, PIXELS, &document, tinted.as_raw()).json()["outputs"], expected);
}

#[test]
fn tensors_come_as_bytes_behind_the_json_where_that_is_asked_for() {
    let server = TestServer::start();
    let mut document = image(&STANDARD.encode(sample("open.jpg")));
    let plain = infer(&server, INFER, &document).json();
    document["outputs"] = json!([
        {"name": "boxes", "parameters": {"binary_data": true}},
        {"name": "state", "parameters": {"binary_data": true}},
        {"name": "scores"},
    ]);
    let answer = infer(&server, INFER, &document);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let length: usize = answer.headers[HEADER_LENGTH].parse().expect("a number");
    let (json, bytes) = answer.body.split_at(length);
    let json: Value = serde_json::from_slice(json).expect("JSON");
    let names: Vec<_> =
        json["outputs"].as_array().expect("a list").iter().map(|output| &output["name"]).collect();
    assert_eq!(names, ["boxes", "state", "scores"]);
    assert_eq!(output(&json, "scores"), output(&plain, "scores"));
    assert!(output(&json, "boxes").get("data").is_none());
    let size = output(&json, "boxes")["parameters"]["binary_data_size"].as_u64().expect("a size") as usize;
    let (boxes, state) = bytes.split_at(size);
    let sides: Vec<f32> = boxes.as_chunks::<4>().0.iter().map(|side| f32::from_le_bytes(*side)).collect();
    let expected = output(&plain, "boxes")["data"].as_array().expect("a list");
    let expected: Vec<f32> = expected.iter().map(|side| side.as_f64().expect("a number") as f32).collect();
    assert_eq!(sides, expected);
    assert_eq!(state, b"\x04\0\0\0open");

    document["outputs"] = json!([]);
    document["parameters"] = json!({"binary_data_output": true});
    let answer = infer(&server, INFER, &document);
    assert!(answer.headers.contains_key(HEADER_LENGTH));
}

#[test]
fn a_body_that_is_only_an_image_is_a_raw_binary_request() {
    let server = TestServer::start();
    let answer = request(server.address, "POST", INFER, &[(HEADER_LENGTH, "0")], &sample("closed.jpg"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body.windows(6).any(|window| window == b"closed"));
    let refused = request(server.address, "POST", PIXELS, &[(HEADER_LENGTH, "0")], &[0; 64]);
    assert_refused(&refused, 400, "size of the image");
}

#[test]
fn thresholds_are_parameters() {
    let server = TestServer::start();
    let mut document = image(&STANDARD.encode(sample("open.jpg")));
    document["parameters"] =
        json!({"confidence_threshold": 1, "iou_threshold": 0.3, "priority": 2, "other": "x"});
    let answer = infer(&server, INFER, &document).json();
    assert_eq!(output(&answer, "state")["data"], json!(["no_eyes"]));
    assert_eq!(
        output(&answer, "boxes"),
        &json!({"name": "boxes", "shape": [0, 4], "datatype": "FP32", "data": []})
    );
    for (name, value) in [
        ("confidence_threshold", json!(1.5)),
        ("iou_threshold", json!(-0.1)),
        ("iou_threshold", json!("0.3")),
        ("bit_depth", json!(8)),
        ("binary_data_output", json!(1)),
    ] {
        document["parameters"] = json!({name: value});
        assert_refused(&infer(&server, INFER, &document), 400, "");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let server = TestServer::start();
    let jpeg = STANDARD.encode(sample("open.jpg"));
    let input = |change: Value| {
        let mut document = image(&jpeg);
        for (name, value) in change.as_object().expect("members") {
            document["inputs"][0][name] = value.clone();
        }
        document
    };
    for (document, words) in [
        (json!({}), "missing field `inputs`"),
        (json!([]), "no JSON object"),
        (json!({"inputs": []}), "list of one"),
        (json!({"inputs": [image(&jpeg)["inputs"][0], image(&jpeg)["inputs"][0]]}), "at most 1"),
        (input(json!({"name": "eyes"})), "takes the input \"image\""),
        (input(json!({"datatype": "UINT8"})), "takes the input \"image\""),
        (input(json!({"shape": [2]})), "[1]"),
        (input(json!({"shape": [-1]})), "invalid value"),
        (input(json!({"shape": [1, 1, 1, 1, 1, 1, 1, 1, 1]})), "at most 8"),
        (input(json!({"shape": [1.5]})), "invalid type"),
        (input(json!({"data": []})), "one text"),
        (input(json!({"data": [jpeg, jpeg]})), "more than one"),
        (input(json!({"data": [1, jpeg]})), "mixed"),
        (input(json!({"data": [1, 2]})), "one text"),
        (input(json!({"data": "text"})), "invalid type"),
        (input(json!({"data": [null]})), "invalid type"),
        (input(json!({"data": null})), "neither data"),
        (input(json!({"data": ["@@@@"]})), "not base64"),
        (input(json!({"data": ["AAA"]})), "not an image"),
        (input(json!({"parameters": {"binary_data_size": 5}})), "0 bytes follow"),
        (input(json!({"parameters": {"shared_memory_region": "r"}})), "shared memory"),
        (input(json!({"parameters": {"binary_data_size": -1}})), "invalid value"),
    ] {
        assert_refused(&infer(&server, INFER, &document), 400, words);
    }
    let mut asked = image(&jpeg);
    for (outputs, words) in [
        (json!([{"name": "heads"}]), "there is no output"),
        (json!([{"name": "state"}, {"name": "state"}]), "named twice"),
        (json!([{"name": "state", "parameters": {"classification": 1}}]), "classification"),
        (json!([{"name": "state", "parameters": {"shared_memory_region": "r"}}]), "shared memory"),
        (json!([{}, {}, {}, {}, {}, {}]), ""),
    ] {
        asked["outputs"] = outputs;
        assert_refused(&infer(&server, INFER, &asked), 400, words);
    }
    let mut named = image(&jpeg);
    named["id"] = json!("x".repeat(2000));
    assert_refused(&infer(&server, INFER, &named), 400, "id");
}

#[test]
fn a_text_where_something_else_is_expected_does_not_come_back() {
    let server = TestServer::start();
    let long = "\u{7f}".repeat(90_000);
    for document in [
        format!(r#"{{"inputs":"{long}"}}"#),
        format!(r#"{{"inputs":["{long}"]}}"#),
        format!(r#"{{"inputs":[{{"name":"image","datatype":"BYTES","shape":"{long}","data":["AAAA"]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"image","datatype":"BYTES","shape":[1],"data":"{long}"}}]}}"#),
        format!(r#"{{"parameters":"{long}","inputs":[]}}"#),
        format!(r#"{{"outputs":"{long}","inputs":[]}}"#),
    ] {
        let answer = server.post("/v2/models/eye-state/infer", "application/json", document.as_bytes());
        assert_eq!(answer.status, 400, "{}", &document[..40]);
        assert!(answer.text().len() < 1_000, "{} bytes", answer.text().len());
    }
}

#[test]
fn shapes_that_do_not_fit_their_data_are_refused() {
    let server = TestServer::start();
    let four = json!([1, 2, 3, 4]);
    for (shape, data, status, words) in [
        (json!([1, 2, 2, 1]), json!([1, 2, 3]), 400, "asks for 4 bytes, and there are 3"),
        (json!([1, 2, 2, 1]), json!([1, 2, 3, 256]), 400, "256"),
        (json!([1, 2, 2, 1]), json!([1, 2, 3, -4]), 400, "-4"),
        (json!([1, 2, 2, 1]), json!([1, 2, 3, 4.5]), 400, "4.5"),
        (json!([1, 2, 2, 1]), json!(["AQIDBA=="]), 400, "whole numbers"),
        (json!([1, 2, 2, 2]), four.clone(), 400, "1 or 3"),
        (json!([2, 2, 1, 1]), four.clone(), 400, "[1, height"),
        (json!([1, 2, 2]), four.clone(), 400, "[1, height"),
        (json!([1, 0, 2, 1]), json!([]), 400, "[1, height"),
        (json!([1, 4294967295u64, 4294967295u64, 3]), four.clone(), 400, "asks for"),
        (json!([1, u64::MAX, u64::MAX, 3]), four.clone(), 400, "[1, height"),
    ] {
        assert_refused(&infer(&server, PIXELS, &pixels(&shape, &data)), status, words);
    }
    let document = json!({"inputs": [{
        "name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 1], "parameters": {"binary_data_size": 4},
    }]});
    assert_refused(&binary(&server, PIXELS, &document, &[0; 5]), 400, "5 bytes follow");
    assert_refused(&binary(&server, PIXELS, &document, &[0; 3]), 400, "3 bytes follow");
    assert_eq!(binary(&server, PIXELS, &document, &[0; 4]).status, 200);
}

#[test]
fn lengths_that_lie_are_refused() {
    let server = TestServer::start();
    let document = json!({"inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 8},
    }]});
    for (behind, words) in [
        (&b"\xff\xff\xff\xffabcd"[..], "one element"),
        (b"\x03\0\0\0abcd", "one element"),
        (b"\x04\0\0\0abcd", "not an image"),
    ] {
        assert_refused(&binary(&server, INFER, &document, behind), 400, words);
    }
    let short = json!({"inputs": [{
        "name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 3},
    }]});
    assert_refused(&binary(&server, INFER, &short, b"abc"), 400, "one element");
    for length in ["-1", "1e3", "99999999999999999999999", "+5", "", "10000"] {
        let answer = request(server.address, "POST", INFER, &[(HEADER_LENGTH, length)], b"{}");
        assert_refused(&answer, 400, "Inference-Header-Content-Length");
    }
}

#[test]
fn deep_and_endless_json_is_refused() {
    let server = TestServer::start();
    let deep = |open: &str, count: usize| format!("{{\"inputs\":[{{\"data\":{}", open.repeat(count));
    for body in [
        deep("[", 1_000_000),
        deep("{\"a\":", 300_000),
        deep("[1,", 300_000),
        "[".repeat(1_000_000),
        "{".into(),
    ] {
        assert_refused(&server.post(INFER, "application/json", body.as_bytes()), 400, "");
    }
    let unknown = format!("{{\"x\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_refused(&server.post(INFER, "application/json", unknown.as_bytes()), 400, "");
    let huge = image("").to_string().replace("\"shape\":[1]", "\"shape\":[1e999]");
    assert_refused(&server.post(INFER, "application/json", huge.as_bytes()), 400, "");
    assert_refused(&server.post(INFER, "application/json", b""), 400, "empty");
    assert_refused(&server.post(INFER, "application/json", b"\xff\xfe\0\0"), 400, "");
    assert_eq!(infer(&server, INFER, &image(&STANDARD.encode(sample("open.jpg")))).status, 200);
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"internal\"}"), 0.0);
}

#[test]
fn limits_are_those_of_classify() {
    let server = TestServer::with(&[("MAX_IMAGE_BYTES", "60000"), ("MAX_IMAGE_PIXELS", "10000")]);
    let much = infer(&server, INFER, &image(&STANDARD.encode([0xFF; 60_001])));
    assert_refused(&much, 413, "60000 bytes");
    assert_refused(&server.post(INFER, "application/json", &vec![b' '; 200_000]), 413, "");
    assert_refused(&infer(&server, INFER, &image(&STANDARD.encode(sample("open.jpg")))), 413, "pixels");
    let document = json!({"inputs": [{
        "name": "pixels", "datatype": "UINT8", "shape": [1, 101, 100, 1], "parameters": {"binary_data_size": 10_100},
    }]});
    assert_refused(&binary(&server, PIXELS, &document, &[0; 10_100]), 413, "pixels");
    let gzip = [("content-encoding", "gzip")];
    assert_refused(&request(server.address, "POST", INFER, &gzip, b"\x1f\x8b"), 415, "compressed");
    assert_eq!(server.metric("eye_state_rejected_total{reason=\"too-many-pixels\"}"), 2.0);
    assert_eq!(server.app.memory.parts().map(|part| part.taken), [0, 0]);
}

#[test]
fn inferences_count_as_classifications() {
    let server = TestServer::start();
    infer(&server, INFER, &image(&STANDARD.encode(sample("open.jpg"))));
    assert_eq!(server.metric("eye_state_results_total{state=\"open\"}"), 1.0);
    let ok = "http_server_request_duration_seconds_count{http_request_method=\"POST\",\
        http_response_status_code=\"200\",http_route=\"/classify\"}";
    assert_eq!(server.metric(ok), 1.0);
}
