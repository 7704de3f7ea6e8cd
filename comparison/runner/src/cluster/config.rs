//! `cluster.toml`: where things are on a cluster. The only file to change for another one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A cluster, as far as the comparison cares.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Where all load goes in: the address of the gateway that both variants share.
    pub gateway: String,
    /// Prometheus: a URL, or a path of the API server's service proxy
    /// (`/api/v1/namespaces/…/proxy`).
    pub prometheus: String,
    /// Seconds between scrapes: what is waited for after a run before it is read.
    pub scrape_s: f64,
    /// Shell commands that are run once, before anything is deployed (may be none).
    #[serde(default)]
    pub prepare: Vec<String>,
    /// Facts for the report that no API tells (hardware, provider).
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Namespaces whose pods are the platform's: nothing else may run beside a comparison. A `*` at
    /// the end stands for anything.
    #[serde(default = "platform")]
    pub platform: Vec<String>,
    /// By name: `knative`, `k8s-autoscalers`.
    pub variants: BTreeMap<String, VariantConfig>,
}

/// What this project and its requirements install (docs/deployment.md).
fn platform() -> Vec<String> {
    ["kube-*", "knative-*", "kourier-*", "local-path-storage", "monitoring", "vpa"].map(Into::into).into()
}

/// One variant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantConfig {
    /// Where its objects are.
    pub namespace: String,
    /// Labels of its pods.
    pub selector: String,
    /// The name by which the gateway routes to it.
    pub host: String,
    /// The function's container; every other container of a pod is a sidecar.
    pub container: String,
    /// What scales it.
    pub autoscaler: AutoscalerKind,
    /// Name of the Knative Service, or of the HPA and VPA.
    pub name: String,
    /// Pods at rest, by configuration.
    pub rest_pods: BTreeMap<String, usize>,
    /// Shell commands that deploy it in a configuration.
    pub apply: BTreeMap<String, Vec<String>>,
    /// Shell commands that remove it, and with it all state of its autoscalers.
    pub remove: Vec<String>,
    /// What else it needs to work.
    #[serde(default)]
    pub components: Vec<ComponentConfig>,
}

impl VariantConfig {
    /// Where the API server has what decides how many pods there are, and says whether it can.
    pub fn scaler(&self) -> String {
        let Self { namespace, name, .. } = self;
        match self.autoscaler {
            AutoscalerKind::Kpa => {
                format!("/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}")
            }
            AutoscalerKind::Hpa => {
                format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}")
            }
        }
    }

    /// Where the API server has all objects that scale it.
    pub fn scaling_objects(&self) -> Vec<String> {
        let Self { namespace, name, .. } = self;
        let mut paths = vec![self.scaler()];
        if self.autoscaler == AutoscalerKind::Hpa {
            paths.push(format!(
                "/apis/autoscaling.k8s.io/v1/namespaces/{namespace}/verticalpodautoscalers/{name}"
            ));
        }
        paths
    }
}

/// Which objects hold the decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoscalerKind {
    /// Knative's PodAutoscaler.
    Kpa,
    /// HorizontalPodAutoscaler and VerticalPodAutoscaler.
    Hpa,
}

/// Pods of the platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// For the table.
    pub name: String,
    /// Where it runs.
    pub namespace: String,
    /// Labels of its pods.
    pub selector: String,
}

impl ClusterConfig {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no cluster description", path.display()))
    }

    /// Whether pods of a namespace are the platform's.
    pub fn is_platform(&self, namespace: &str) -> bool {
        self.platform.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => namespace.starts_with(start),
            None => namespace == known,
        })
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Result<&VariantConfig> {
        let known = || self.variants.keys().cloned().collect::<Vec<_>>().join(", ");
        self.variants.get(name).with_context(|| format!("no variant {name:?}; there are {}", known()))
    }
}
