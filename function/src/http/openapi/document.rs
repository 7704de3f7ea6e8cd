//! Makes `function/openapi.json` out of the types, the routes and the errors.

mod classify;
mod inference;
mod refusals;

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use self::refusals::{About, Form, answers};
use crate::error::Problem;
use crate::http::reply::{ClassificationBody, InferenceError};
use crate::http::route;

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
    let classify = classify::operation(classification, generator);
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
    let mut metrics = answers(
        json!({
            "200": { "description": "All of them; with exemplars as OpenMetrics", "content": {
                "text/plain": { "schema": { "type": "string" } },
                "application/openmetrics-text": { "schema": { "type": "string" } },
            } },
        }),
        Form::Problem,
        &[About::Head],
    );
    // A scrape needs neither a place nor a thread. Writing it can fail all the same.
    metrics["500"] = answers(json!({}), Form::Problem, &[About::Load])["500"].take();
    let mut paths = json!({
        "/": page,
        "/classify": { "post": classify },
        "/livez": get("process", "live", "Whether the process lives", &answers(json!({ "200": text("It does", "text/plain") }), Form::Problem, &[About::Head])),
        "/readyz": get("process", "ready", "Whether requests are taken", &answers(json!({
            "200": text("They are", "text/plain"),
            "503": text("The model has not run yet, the process stops, or no thread can be started", "text/plain"),
        }), Form::Problem, &[About::Head])),
        "/metrics": get("process", "metrics", "Metrics, as Prometheus reads them", &metrics),
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
    inference::add(&mut paths, generator);
    paths
}
