//! The Open Inference Protocol.

use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::refusals::{About, Form, answers};
use super::{SMALL_IN_BASE64, answer, get, path_parameter, schema};
use crate::http::v2;

/// Adds its paths.
pub(super) fn add(paths: &mut Value, generator: &mut SchemaGenerator) {
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
