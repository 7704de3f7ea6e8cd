//! Makes `function/openapi.json` out of the types, the routes and the errors.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::app::Analysis;
use crate::classifier::Classification;
use crate::detection::{BoundingBox, Detection, EyeState};
use crate::error::{Problem, RequestError};
use crate::http::event::{IncomingEvent, OutgoingEvent};
use crate::http::reply::{ClassificationBody, InferenceError};
use crate::http::{negotiate, route, v2};
use crate::verdict::{State, Verdict};

/// Written by `UPDATE=1`, compared otherwise.
#[test]
fn the_document_is_that_of_the_types_and_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let made = format!("{:#}\n", document());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("function/openapi.json can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("function/openapi.json");
    assert!(committed == made, "function/openapi.json is out of date: run `make openapi` and commit it");
}

#[test]
fn every_route_and_method_is_in_the_document() {
    let document = document();
    let mut described: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("an item").keys().filter(|name| *name != "parameters");
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "*" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        described.extend(methods.map(|method| format!("{} {path}", method.to_ascii_uppercase())));
    }
    let mut routed: Vec<String> = Vec::new();
    for (path, methods) in route::entries() {
        // HEAD is GET without the body everywhere (RFC 9110, section 9.3.2).
        let methods = methods.split(", ").filter(|method| *method != "HEAD");
        routed.extend(methods.map(|method| format!("{method} {path}")));
    }
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

/// A whole image in readable characters: PGM, one pixel.
const SMALL: &str = "P5 1 1 255\nr";
const SMALL_IN_BASE64: &str = "UDUgMSAxIDI1NQpy";

/// What an error is about: which operations can be answered with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// The head of any request.
    Head,
    /// What is at no path and no method.
    Route,
    /// Places, threads, deadlines.
    Load,
    /// A body that is read.
    Body,
    /// An image.
    Image,
    /// `POST /` alone: content types, multipart, query, events.
    Classify,
    /// Inference requests.
    Inference,
}

fn about(error: &RequestError) -> About {
    match error {
        RequestError::BadRequest(_) => About::Head,
        RequestError::NotFound | RequestError::MethodNotAllowed { .. } => About::Route,
        RequestError::Overloaded { .. }
        | RequestError::Draining
        | RequestError::NoThreads
        | RequestError::DeadlineExceeded(_)
        | RequestError::Internal => About::Load,
        RequestError::EmptyBody
        | RequestError::BrokenBody
        | RequestError::BodyTimeout(_)
        | RequestError::Compressed(_)
        | RequestError::TooManyBytes { .. } => About::Body,
        RequestError::NotAnImage(_)
        | RequestError::BrokenImage(_)
        | RequestError::UnsupportedImage(_)
        | RequestError::DecoderFailed
        | RequestError::TooManyPixels { .. }
        | RequestError::TooMuchMemory { .. } => About::Image,
        RequestError::UnsupportedMediaType(_)
        | RequestError::TooManyParts { .. }
        | RequestError::BrokenMultipart(_)
        | RequestError::InvalidParameter { .. }
        | RequestError::BadEvent(_) => About::Classify,
        RequestError::BadInference(_) | RequestError::UnknownModel(..) => About::Inference,
    }
}

/// One error of each kind.
fn errors() -> Vec<RequestError> {
    let second = Duration::from_secs(1);
    vec![
        RequestError::EmptyBody,
        RequestError::NotAnImage(""),
        RequestError::BrokenImage("it ends early".into()),
        RequestError::UnsupportedImage("CMYK".into()),
        RequestError::DecoderFailed,
        RequestError::UnsupportedMediaType("text/html".into()),
        RequestError::Compressed("gzip".into()),
        RequestError::TooManyBytes { limit: 10_485_760 },
        RequestError::TooManyPixels { width: 8000, height: 6000, limit: 16_777_216 },
        RequestError::TooMuchMemory { needed: 200 << 20, limit: 80 << 20 },
        RequestError::TooManyParts { limit: 16 },
        RequestError::BrokenMultipart("it has no part named \"file\"".into()),
        RequestError::InvalidParameter {
            name: "iou_threshold".into(),
            value: "7".into(),
            expected: "a number from 0 to 1",
        },
        RequestError::BrokenBody,
        RequestError::BodyTimeout(10 * second),
        RequestError::Overloaded { retry_after: second },
        RequestError::Draining,
        RequestError::DeadlineExceeded(2 * second),
        RequestError::Internal,
        RequestError::NotFound,
        RequestError::MethodNotAllowed { allowed: "POST" },
        RequestError::BadInference("the input has neither data nor binary_data_size".into()),
        RequestError::BadEvent("it has no ce-id".into()),
        RequestError::UnknownModel("\"eyes\"".into(), "the models are eye-state and eye-state-pixels"),
        RequestError::BadRequest("it has no Host header"),
        RequestError::NoThreads,
    ]
}

/// The shape of errors at an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Problem,
    Inference,
}

/// The answers of all errors about these, by status.
fn refusals(form: Form, subjects: &[About]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<RequestError>> = BTreeMap::new();
    for error in errors().into_iter().filter(|error| subjects.contains(&about(error))) {
        by_status.entry(error.status().as_u16()).or_default().push(error);
    }
    let answers = by_status.into_iter().map(|(status, errors)| {
        let kinds: Vec<String> = errors.iter().map(|error| error.problem().kind).collect();
        let titles: Vec<&str> = errors.iter().map(|error| error.problem().title).collect();
        let examples: Map<String, Value> = errors
            .iter()
            .map(|error| {
                let value = match form {
                    Form::Problem => json!(error.problem()),
                    Form::Inference => json!(InferenceError::from(error)),
                };
                (error.label().to_owned(), json!({ "value": value }))
            })
            .collect();
        let content = match form {
            Form::Problem => json!({ "application/problem+json": {
                "schema": { "allOf": [
                    { "$ref": "#/components/schemas/Problem" },
                    { "properties": { "type": { "enum": kinds }, "status": { "const": status } } },
                ] },
                "examples": examples,
            } }),
            Form::Inference => json!({ "application/json": {
                "schema": { "$ref": "#/components/schemas/InferenceError" },
                "examples": examples,
            } }),
        };
        let mut answer = json!({ "description": titles.join("; "), "content": content });
        if errors.iter().any(|error| error.retry_after().is_some()) {
            answer["headers"] = json!({ "Retry-After": { "$ref": "#/components/headers/Retry-After" } });
        }
        (status.to_string(), answer)
    });
    answers.collect()
}

/// Answers that succeed, and errors.
fn answers(successes: Value, form: Form, subjects: &[About]) -> Value {
    let mut all = refusals(form, subjects);
    for (status, answer) in successes.as_object().expect("answers by status") {
        all.insert(status.clone(), answer.clone());
    }
    Value::Object(all)
}

fn example() -> Value {
    let eye = |confidence, x, y, width, height| Detection {
        state: EyeState::Open,
        confidence,
        bounding_box: BoundingBox { x, y, width, height },
    };
    let analysis = Analysis {
        width: 640,
        height: 480,
        classification: Classification {
            verdict: Verdict { state: State::Open, confidence: 0.9987 },
            eyes: vec![eye(0.9987, 335.5, 188.75, 66.75, 47.0), eye(0.9985, 237.75, 202.75, 67.25, 46.0)],
            preprocess: Duration::from_micros(303),
            inference: Duration::from_micros(7021),
            postprocess: Duration::from_micros(20),
        },
        decode: Duration::from_micros(536),
        picture: None,
    };
    let mut example = json!(ClassificationBody::from(&analysis));
    // Another model may be built in.
    example["model"] = json!({ "name": "eye-state-yolov5n-416", "version": "82135eb0e71d" });
    // As the function writes them: the shortest text of a 32-bit number.
    shorten(&mut example);
    example
}

/// `Value` holds 64-bit numbers.
fn shorten(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = number.as_f64().expect("a float") as f32;
            *value = text.to_string().parse::<f64>().expect("a number").into();
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn text(description: &str, content_type: &str) -> Value {
    json!({ "description": description, "content": { content_type: { "schema": { "type": "string" } } } })
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// An operation that reads.
fn get(tag: &str, id: &str, summary: &str, responses: &Value) -> Value {
    json!({ "get": { "operationId": id, "tags": [tag], "summary": summary, "responses": responses } })
}

fn path_parameter(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let classification = schema::<ClassificationBody>(&mut generator);
    schema::<Problem>(&mut generator);
    schema::<InferenceError>(&mut generator);
    let mut paths = paths(&classification, &mut generator);
    let responses = share(&mut paths);
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Eye state",
            "summary": "Tells from a near-infrared image of a face whether the eyes are open, closed, or not there.",
            "description": "Every answer may carry `traceparent` where the request is traced, and \
                `Access-Control-Allow-Origin` where CORS_ALLOWED_ORIGINS names the page. A method that a path does \
                not take gets 405 with `Allow`. HEAD is answered wherever GET is.",
            "version": "{{version}}",
            "license": { "name": "Code: Apache-2.0. Model: {{model_license}}." },
            "x-source": "{{source}}",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "classify", "description": "Images and CloudEvents" },
            { "name": "inference", "description": "Open Inference Protocol, version 2" },
            { "name": "process", "description": "Health, metrics and this document" },
            { "name": "page", "description": "The page for people" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "headers": {
                "Retry-After": {
                    "description": "Seconds after which another attempt may succeed.",
                    "required": true,
                    "schema": { "type": "integer", "minimum": 1 },
                },
            },
        },
    })
}

/// Puts answers that several operations have in one place, and references where they were.
fn share(paths: &mut Value) -> Map<String, Value> {
    let mut shared: Map<String, Value> = Map::new();
    for item in paths.as_object_mut().expect("paths").values_mut() {
        for operation in
            item.as_object_mut().expect("an item").values_mut().filter(|operation| operation.is_object())
        {
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            for (status, answer) in operation["responses"].as_object_mut().expect("answers") {
                let name = shared.iter().find(|(_, other)| *other == answer).map(|(name, _)| name.clone());
                let name = name.unwrap_or_else(|| format!("{id}{status}"));
                let reference = json!({ "$ref": format!("#/components/responses/{name}") });
                shared.insert(name, std::mem::replace(answer, reference));
            }
        }
    }
    shared
}

fn paths(classification: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut page = get(
        "page",
        "page",
        "The page for people",
        &answers(json!({ "200": text("The page", "text/html") }), Form::Problem, &[About::Head, About::Load]),
    );
    let classify = classify(classification, generator);
    let mut both = classify.clone();
    both["operationId"] = json!("classifyAtRoot");
    page["post"] = both;
    let reading = [About::Head, About::Load];
    let file = |example: &str, description: &str| {
        let mut parameter = path_parameter("file", description, &json!({ "type": "string" }));
        parameter["example"] = json!(example);
        parameter
    };
    let named = [About::Head, About::Load, About::Route];
    let not_found = |successes: Value| {
        let mut all = answers(successes, Form::Problem, &named);
        all.as_object_mut().expect("answers").remove("405");
        all
    };
    let mut paths = json!({
        "/": page,
        "/classify": { "post": classify },
        "/livez": get("process", "live", "Whether the process lives", &answers(json!({ "200": text("It does", "text/plain") }), Form::Problem, &[About::Head])),
        "/readyz": get("process", "ready", "Whether requests are taken", &answers(json!({
            "200": text("They are", "text/plain"),
            "503": text("The model has not run yet, the process stops, or no thread can be started", "text/plain"),
        }), Form::Problem, &[About::Head])),
        "/metrics": get("process", "metrics", "Metrics, as Prometheus reads them", &answers(json!({
            "200": { "description": "All of them; with exemplars as OpenMetrics", "content": {
                "text/plain": { "schema": { "type": "string" } },
                "application/openmetrics-text": { "schema": { "type": "string" } },
            } },
        }), Form::Problem, &[About::Head])),
        "/openapi.json": get("process", "openapi", "This document", &answers(json!({
            "200": answer("This document", &json!({ "type": "object" })),
        }), Form::Problem, &reading)),
        "/samples": get("page", "samples", "The sample pictures and what they show", &answers(json!({
            "200": answer("A list", &json!({ "type": "array", "items": { "type": "object", "required": ["file", "state"] } })),
        }), Form::Problem, &reading)),
        "/samples/{file}": get("page", "sample", "A sample picture", &not_found(json!({
            "200": { "description": "The picture", "content": { "image/jpeg": {} } },
        }))),
        "/page/{file}": get("page", "part", "A part of the page", &not_found(json!({
            "200": { "description": "The part", "content": {
                "text/css": { "schema": { "type": "string" } },
                "text/javascript": { "schema": { "type": "string" } },
            } },
        }))),
    });
    paths["/samples/{file}"]["parameters"] = json!([file("open.jpg", "A name that /samples lists")]);
    paths["/page/{file}"]["parameters"] = json!([file("page.css", "page.css, page.js or answer.js")]);
    inference(&mut paths, generator);
    paths
}

/// `POST /` and `POST /classify`.
fn classify(classification: &Value, generator: &mut SchemaGenerator) -> Value {
    let (incoming, outgoing) = (schema::<IncomingEvent<'_>>(generator), schema::<OutgoingEvent>(generator));
    let fraction = |description: &str| json!({ "description": description, "schema": { "type": "number", "minimum": 0, "maximum": 1 } });
    let parameter = |name: &str, place: &str, rest: Value| {
        let mut parameter = json!({ "name": name, "in": place });
        parameter.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        parameter
    };
    let attribute = |name: &str, description: &str| {
        parameter(name, "header", json!({ "description": description, "schema": { "type": "string" } }))
    };
    let mut content: Map<String, Value> = negotiate::registered_image_types()
        .map(|name| (name.to_owned(), json!({ "schema": { "type": "string", "format": "binary" } })))
        .collect();
    content["application/octet-stream"]["examples"] = json!({ "gray": { "value": SMALL } });
    content.insert(
        "multipart/form-data".into(),
        json!({ "schema": {
        "type": "object",
        "required": ["file"],
        "properties": { "file": {
            "description": "One or more; several are answered with a list, in order.",
            "oneOf": [
                { "type": "string", "format": "binary" },
                { "type": "array", "minItems": 1, "items": { "type": "string", "format": "binary" } },
            ],
        } },
    } }),
    );
    let event = json!({
        "specversion": "1.0",
        "id": "1",
        "source": "/cameras/1",
        "type": "nv-micro.frame",
        "datacontenttype": "image/x-portable-graymap",
        "data_base64": SMALL_IN_BASE64,
    });
    content.insert(
        "application/cloudevents+json".into(),
        json!({ "schema": incoming, "examples": { "gray": { "value": event } } }),
    );
    content.insert(
        "application/cloudevents-batch+json".into(),
        json!({ "schema": { "type": "array", "items": incoming } }),
    );
    let attributes = [
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-subject",
        "ce-time",
        "ce-traceparent",
        "ce-tracestate",
    ];
    let headers: Map<String, Value> = attributes.iter().map(|name| {
        ((*name).to_owned(), json!({ "description": "Where the request is an event in binary mode.", "schema": { "type": "string" } }))
    }).collect();
    json!({
        "operationId": "classify",
        "tags": ["classify"],
        "summary": "Classify an image, several, or the image of an event",
        "description": "The bytes decide about the format of an image, not its type. A request with `ce-` headers, or \
            of a type of CloudEvents, is an event, and is answered with one in the same mode.",
        "parameters": [
            parameter("confidence_threshold", "query", fraction("Detections at or below it do not count.")),
            parameter("iou_threshold", "query", fraction("Boxes of one class that overlap more are one.")),
            parameter("bit_depth", "query", json!({
                "description": "How many bits of 16-bit samples count.",
                "schema": { "type": "integer", "minimum": 9, "maximum": 16 },
            })),
            attribute("ce-specversion", "1.0, where the request is an event in binary mode."),
            attribute("ce-id", "With its source, what tells an event from others."),
            attribute("ce-source", "Where the event comes from."),
            attribute("ce-type", "Any."),
            attribute("ce-subject", "Passed on; the answer's is the id where there is none."),
            attribute("ce-time", "Passed on."),
            attribute("ce-traceparent", "Passed on; also the parent of the request's span where there is no other."),
            attribute("ce-tracestate", "Passed on."),
            attribute("traceparent", "W3C Trace Context."),
        ],
        "requestBody": { "required": true, "content": content },
        "responses": answers(json!({ "200": {
            "description": "The result, a list of them, the picture with boxes, or events",
            "headers": headers,
            "content": {
                "application/json": {
                    "schema": { "oneOf": [classification, { "type": "array", "items": classification }] },
                    "examples": { "open": { "value": example() } },
                },
                "image/png": {},
                "image/jpeg": {},
                "application/cloudevents+json": { "schema": outgoing },
                "application/cloudevents-batch+json": { "schema": { "type": "array", "items": outgoing } },
            },
        } }), Form::Problem, &[About::Head, About::Load, About::Body, About::Image, About::Classify]),
    })
}

/// The Open Inference Protocol.
fn inference(paths: &mut Value, generator: &mut SchemaGenerator) {
    let reading = [About::Head, About::Load];
    let about_model = [About::Head, About::Load, About::Inference];
    let at = |successes: Value, subjects: &[About]| answers(successes, Form::Inference, subjects);
    // Reading metadata parses no body.
    let metadata = |successes: Value| {
        let mut all = at(successes, &about_model);
        let kinds = &mut all["400"]["content"]["application/json"]["examples"];
        kinds.as_object_mut().expect("examples").remove("bad-inference-request");
        all["400"]["description"] = json!("Bad request");
        all
    };
    let ready = schema::<v2::Ready>(generator);
    paths["/v2"] = get(
        "inference",
        "server",
        "What the server is",
        &at(
            json!({
                "200": answer("Name, version, extensions", &schema::<v2::ServerMetadata>(generator)),
            }),
            &reading,
        ),
    );
    paths["/v2/health/live"] = get(
        "inference",
        "serverLive",
        "Whether the process lives",
        &at(
            json!({
                "200": answer("It does", &schema::<v2::Live>(generator)),
            }),
            &[About::Head],
        ),
    );
    paths["/v2/health/ready"] = get(
        "inference",
        "serverReady",
        "Whether requests are taken",
        &at(
            json!({
                "200": answer("They are", &ready), "503": answer("They are not", &ready),
            }),
            &[About::Head],
        ),
    );
    let model_ready = schema::<v2::ModelReady>(generator);
    let model = path_parameter(
        "model",
        "What it takes is in its name.",
        &json!({ "enum": [v2::ENCODED, v2::PIXELS] }),
    );
    let version = path_parameter("version", "The one that the metadata name.", &json!({ "type": "string" }));
    for (suffix, id, parameters) in
        [("", "", json!([model])), ("/versions/{version}", "Version", json!([model, version]))]
    {
        let path = format!("/v2/models/{{model}}{suffix}");
        paths[&path] = get(
            "inference",
            &format!("model{id}"),
            "What the model takes and gives",
            &metadata(json!({
                "200": answer("Its tensors", &schema::<v2::ModelMetadata>(generator)),
            })),
        );
        paths[format!("{path}/config")] = get(
            "inference",
            &format!("modelConfiguration{id}"),
            "The same in the words of Triton's model configuration",
            &metadata(json!({
                "200": answer("Its tensors", &schema::<v2::ModelConfiguration>(generator)),
            })),
        );
        let load = json!({ "oneOf": [model_ready, { "$ref": "#/components/schemas/InferenceError" }] });
        paths[format!("{path}/ready")] = get(
            "inference",
            &format!("modelReady{id}"),
            "Whether the model is ready",
            &metadata(json!({
                "200": answer("It is", &model_ready),
                "503": answer("It is not, or the process stops", &load),
            })),
        );
        paths[format!("{path}/infer")] = json!({ "post": {
            "operationId": format!("infer{id}"),
            "tags": ["inference"],
            "summary": "Classify an image",
            "parameters": [{
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "How many bytes of the body are JSON, where binary data follow; 0 where the body is an \
                    image file and nothing else.",
                "schema": { "type": "integer", "minimum": 0 },
            }],
            "requestBody": { "required": true, "content": {
                "application/json": { "schema": schema::<v2::Document<'_>>(generator), "examples": { "file": { "value": {
                    "id": "7",
                    "inputs": [{ "name": "image", "datatype": "BYTES", "shape": [1], "data": [SMALL_IN_BASE64] }],
                    "outputs": [{ "name": "state" }],
                } } } },
                "application/octet-stream": {},
            } },
            "responses": at(json!({ "200": {
                "description": "The tensors that were asked for, or all",
                "headers": { "Inference-Header-Content-Length": {
                    "description": "How many bytes are JSON, where binary data follow.",
                    "schema": { "type": "integer", "minimum": 2 },
                } },
                "content": {
                    "application/json": { "schema": schema::<v2::InferenceResponse<'_>>(generator) },
                    "application/octet-stream": {},
                },
            } }), &[About::Head, About::Load, About::Body, About::Image, About::Inference]),
        } });
        for action in ["", "/config", "/ready", "/infer"] {
            paths[format!("{path}{action}")]["parameters"] = parameters.clone();
        }
    }
}
