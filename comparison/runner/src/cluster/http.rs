//! A small HTTP client: whole JSON documents, and watches as a stream of lines.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Time-out of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest quotation of an error's text.
const ERROR_TEXT: usize = 300;

/// An HTTP client without TLS.
#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

impl Http {
    /// A JSON document.
    pub async fn json(&self, url: &str) -> Result<Value> {
        let text = tokio::time::timeout(TIMEOUT, self.text(url))
            .await
            .with_context(|| format!("{url}: no answer"))??;
        serde_json::from_str(&text).with_context(|| format!("{url} did not answer with JSON"))
    }

    async fn text(&self, url: &str) -> Result<String> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let response = self.0.get(uri).await.with_context(|| format!("cannot reach {url}"))?;
        read(url, response).await
    }

    /// Posts a JSON document; the answer's body is read only for an error.
    pub async fn post(&self, url: &str, document: &Value) -> Result<()> {
        let request = Request::post(url)
            .header("content-type", "application/json")
            .body(Full::from(document.to_string()))
            .with_context(|| format!("{url:?} is not a URL"))?;
        let sent = async {
            let response = self.0.request(request).await.with_context(|| format!("cannot reach {url}"))?;
            read(url, response).await
        };
        tokio::time::timeout(TIMEOUT, sent).await.with_context(|| format!("{url}: no answer"))??;
        Ok(())
    }

    /// The `Date` header of an answer.
    pub async fn date(&self, url: &str) -> Result<Option<String>> {
        let response = self.opened(url).await?;
        Ok(response.headers().get("date").and_then(|d| d.to_str().ok()).map(ToOwned::to_owned))
    }

    /// An answer's head. Its body may take any time.
    async fn opened(&self, url: &str) -> Result<Response<Incoming>> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        tokio::time::timeout(TIMEOUT, self.0.get(uri))
            .await
            .with_context(|| format!("{url}: no answer"))?
            .with_context(|| format!("cannot reach {url}"))
    }

    /// Calls `each` with every line that is a JSON document until the stream ends.
    pub async fn lines(&self, url: &str, mut each: impl FnMut(Value)) -> Result<()> {
        let response = self.opened(url).await?;
        if !response.status().is_success() {
            bail!("{url} answered {}", response.status());
        }
        let mut body = response.into_body();
        let mut pending = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.with_context(|| format!("{url}: broken stream"))?.into_data() else {
                continue;
            };
            pending.extend_from_slice(&data);
            while let Some(end) = pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if let Ok(value) = serde_json::from_slice(&line) {
                    each(value);
                }
            }
        }
        Ok(())
    }
}

/// The whole body as text; anything but 2xx is an error that quotes it.
async fn read(url: &str, response: Response<Incoming>) -> Result<String> {
    let status = response.status();
    let body =
        response.into_body().collect().await.with_context(|| format!("{url}: broken answer"))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        let shown: String = text.chars().take(ERROR_TEXT).collect();
        bail!("{url} answered {status}: {shown}");
    }
    Ok(text)
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_encoded() {
        assert_eq!(super::encode("a=b,c in (d)"), "a%3Db%2Cc%20in%20%28d%29");
    }
}
