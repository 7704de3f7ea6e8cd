//! `POST /` and `POST /classify`.

use std::time::Duration;

use schemars::generate::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::refusals::{About, Form, answers};
use super::{SMALL, SMALL_IN_BASE64, schema};
use crate::app::Analysis;
use crate::classifier::Classification;
use crate::detection::{BoundingBox, Detection, EyeState};
use crate::http::event::{IncomingEvent, OutgoingEvent};
use crate::http::negotiate;
use crate::http::reply::ClassificationBody;
use crate::verdict::{State, Verdict};

/// The operation.
pub(super) fn operation(classification: &Value, generator: &mut SchemaGenerator) -> Value {
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
            verdict: Verdict { state: State::Open, confidence: 0.997 },
            eyes: vec![eye(0.997, 237.55, 202.77, 66.79, 45.95), eye(0.9931, 333.44, 189.94, 67.8, 46.73)],
            preprocess: Duration::from_micros(67),
            inference: Duration::from_micros(2326),
            postprocess: Duration::from_micros(39),
        },
        decode: Duration::from_micros(389),
        picture: None,
    };
    let mut example = json!(ClassificationBody::from(&analysis));
    // Another model may be built in.
    example["model"] = json!({ "name": "eye-state-yolov5n-416", "version": "79e0209365b8" });
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
