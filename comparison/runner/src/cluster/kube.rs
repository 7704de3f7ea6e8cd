//! The Kubernetes API through `kubectl proxy`, which handles authentication on every cluster.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http::{Http, encode};

/// A connection to the API server. Dropping it ends the proxy.
pub struct Kube {
    proxy: Child,
    base: String,
    /// For everything that goes through the proxy.
    pub http: Http,
}

impl Kube {
    /// Starts `kubectl proxy` on a free port.
    pub fn open(kubectl: &str) -> Result<Self> {
        let mut proxy = Command::new(kubectl)
            .args(["proxy", "--port=0"])
            // Control-C must reach the runner only, which still needs the proxy for the cleanup.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("cannot start {kubectl:?}: install kubectl or say where it is with --kubectl")
            })?;
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().context("no output of kubectl proxy")?).read_line(&mut line)?;
        // "Starting to serve on 127.0.0.1:41234"
        let Some(address) = line.trim().rsplit(' ').next().filter(|a| a.contains(':')) else {
            let mut said = String::new();
            if let Some(mut stderr) = proxy.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
            }
            let _ = proxy.kill();
            bail!("no cluster: kubectl proxy did not start: {}", said.trim());
        };
        // The output is read continuously: the proxy logs each broken watch, and would block on a
        // full pipe.
        if let Some(mut stderr) = proxy.stderr.take() {
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        let base = format!("http://{address}");
        Ok(Self { proxy, base, http: Http::default() })
    }

    /// A URL within the API.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A document of the API.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.http.json(&self.url(path)).await
    }

    /// The items of a list that a label selector picks.
    pub async fn list(&self, path: &str, selector: &str) -> Result<Vec<Value>> {
        let list = self.get(&format!("{path}?labelSelector={}", encode(selector))).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Path of the pods of a namespace.
pub fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Runs a shell command of the configuration file, with its output shown only when it fails.
pub fn shell(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", command]).output().context("cannot start a shell")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("`{command}` failed: {}", said.trim())
}
