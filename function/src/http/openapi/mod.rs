//! `GET /openapi.json`: the contract as OpenAPI 3.1.
//!
//! `function/openapi.json` is made by `document`, from the types that the handlers read and write
//! and from the table of routes: a test compares, `make openapi` writes. It is part of the binary
//! as text, so that nothing of that is there at run time.

#[cfg(test)]
mod document;

use bytes::Bytes;

/// `{{version}}` is the crate's; `{{model_license}}` and `{{source}}` are filled in at the start.
const DOCUMENT: &str = include_str!("../../../openapi.json");

/// Fills in the version, the model's licence, and the offer of the source (AGPL-3.0, section 13).
pub(super) fn render(model_license: &str, source_url: Option<&str>) -> Bytes {
    let source = source_url.unwrap_or("Ask whoever runs this function.");
    DOCUMENT
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{model_license}}", &escape(model_license))
        .replace("{{source}}", &escape(source))
        .into()
}

/// Text as it stands between the quotes of a JSON string.
fn escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_offers_the_source_and_states_the_licence() {
        let render = |source| -> serde_json::Value {
            serde_json::from_slice(&render("AGPL \"3.0\"", source)).expect("still JSON")
        };
        let document = render(Some("https://example.org/?a=\"b\""));
        assert_eq!(document["info"]["x-source"], "https://example.org/?a=\"b\"");
        assert_eq!(document["info"]["license"]["name"], "Code: Apache-2.0. Model: AGPL \"3.0\".");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(render(None)["info"]["x-source"], "Ask whoever runs this function.");
    }
}
