//! `cluster.toml`: where things are on a cluster. The only file to change for another one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use scenario::arms::{Arm, Deciding};
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
    /// Share of the node's CPUs that may go to anything but pods and the load while a run counts:
    /// see [`super::others`].
    #[serde(default = "other_cpu_most")]
    pub other_cpu_most: f64,
    /// By name: `knative`, `k8s-autoscalers`.
    pub variants: BTreeMap<String, VariantConfig>,
}

/// A kubelet, a container runtime and a control plane outside of pods stay below it on two CPUs.
fn other_cpu_most() -> f64 {
    0.25
}

/// What this project and its requirements install (docs/deployment.md).
fn platform() -> Vec<String> {
    ["keda", "kube-*", "knative-*", "kourier-*", "local-path-storage", "monitoring", "vpa"]
        .map(Into::into)
        .into()
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
    /// Name of the Knative Service, or of the Deployment, HPA, VPA and ScaledObject.
    pub name: String,
    /// Shell commands that deploy it; [`SETTINGS`] in them stands for the arm's configuration.
    pub apply: Vec<String>,
    /// Shell commands that remove it, and with it all state of its autoscalers.
    pub remove: Vec<String>,
    /// What else it needs to work.
    #[serde(default)]
    pub components: Vec<ComponentConfig>,
}

/// Stands in [`VariantConfig::apply`] for the settings.
pub const SETTINGS: &str = "{settings}";

impl VariantConfig {
    /// Where the API server has what says whether an arm can scale, and the condition that says it.
    pub fn scaler(&self, arm: &Arm) -> (String, &'static str) {
        let Self { namespace, name, .. } = self;
        match arm.autoscaler {
            Deciding::Kpa => {
                (format!("/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}"), "Ready")
            }
            Deciding::Hpa | Deciding::HpaVpa => (
                format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}"),
                "ScalingActive",
            ),
            Deciding::Keda => {
                (format!("/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}"), "Ready")
            }
        }
    }

    /// Where the API server has all objects that scale an arm.
    pub fn scaling_objects(&self, arm: &Arm) -> Vec<String> {
        let Self { namespace, name, .. } = self;
        let mut paths = vec![self.scaler(arm).0];
        if arm.autoscaler == Deciding::HpaVpa {
            paths.push(format!(
                "/apis/autoscaling.k8s.io/v1/namespaces/{namespace}/verticalpodautoscalers/{name}"
            ));
        }
        paths
    }

    /// Where the API server has the object with the pods' template.
    pub fn workload(&self, arm: &Arm) -> String {
        match arm.autoscaler {
            Deciding::Kpa => self.scaler(arm).0,
            _ => format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.name),
        }
    }

    /// What an arm needs to work besides its pods.
    pub fn components_of(&self, arm: &Arm) -> impl Iterator<Item = &ComponentConfig> {
        self.components.iter().filter(|c| c.of.is_empty() || c.of.contains(&arm.autoscaler))
    }
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
    /// The autoscalers that need it; all of the variant's when not given.
    #[serde(default)]
    pub of: Vec<Deciding>,
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
