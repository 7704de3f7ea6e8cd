//! `cluster.toml`: describes a cluster. The only file to change for another one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use scenario::arms::{Arm, Deciding};
use serde::Deserialize;

/// The description of a cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// The entry point of all load: the address of the gateway that both variants share.
    pub gateway: String,
    /// Prometheus: a URL, or a path of the API server's service proxy
    /// (`/api/v1/namespaces/…/proxy`).
    pub prometheus: String,
    /// Scrape interval in seconds: the wait after a run before Prometheus is read.
    pub scrape_s: f64,
    /// Shell commands that are run once, before anything is deployed (optional).
    #[serde(default)]
    pub prepare: Vec<String>,
    /// Facts for the report that no API provides (hardware, provider).
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Namespaces of the platform's pods: no other pods may run during a comparison. A `*` at the
    /// end stands for anything.
    #[serde(default = "platform")]
    pub platform: Vec<String>,
    /// Largest share of the node's CPUs that other processes may use during a run (optional): see
    /// [`super::others`].
    pub other_cpu_most: Option<f64>,
    /// Names of the node's components: processes outside of pods that belong to the cluster.
    #[serde(default = "node_programs")]
    pub node_programs: Vec<String>,
    /// Settings of the node that ablations change (optional): see [`super::node`].
    #[serde(default)]
    pub node: NodeConfig,
    /// By name: `knative`, `k8s-autoscalers`.
    pub variants: BTreeMap<String, VariantConfig>,
}

/// Default of `other_cpu_most` on the node: a fifth of a core of two, which a program that computes
/// exceeds at once and what wakes now and then does not.
const OTHER_CPU_MOST: f64 = 0.1;
/// The same from elsewhere, where kubelet, container runtime and a control plane outside of pods
/// are among the others: they stay below it on two CPUs.
const OTHER_CPU_MOST_FROM_ELSEWHERE: f64 = 0.25;

impl ClusterConfig {
    /// The limit for other processes, by whether this program runs on the node.
    pub fn other_cpu_most(&self, on_node: bool) -> f64 {
        let default = if on_node { OTHER_CPU_MOST } else { OTHER_CPU_MOST_FROM_ELSEWHERE };
        self.other_cpu_most.unwrap_or(default)
    }
}

/// The kubelet and a control plane outside of pods, the same in one (k3s, RKE2, k0s, MicroK8s),
/// container runtimes with what they start, and what observes the node.
#[rustfmt::skip]
const NODE_PROGRAMS: [&str; 24] = [
    "kubelet", "kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd",
    "k3s", "k3s-server", "k3s-agent", "rke2", "k0s", "kubelite", "k8s-dqlite",
    "containerd", "containerd-shim-runc-v2", "runc", "crun", "crio", "conmon",
    "dockerd", "docker-proxy", "cri-dockerd",
    "prometheus", "node_exporter",
];

fn node_programs() -> Vec<String> {
    NODE_PROGRAMS.map(Into::into).into()
}

/// Namespaces that this project and its requirements install (docs/deployment.md).
fn platform() -> Vec<String> {
    ["keda", "kube-*", "knative-*", "kourier-*", "local-path-storage", "monitoring", "vpa"]
        .map(Into::into)
        .into()
}

/// How settings of the node are made. Without commands whoever runs the comparison makes them, and
/// runs that need another setting than the node has are refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The kubelet's `cpuCFSQuotaPeriod`, milliseconds.
    pub cfs_period_ms: Option<NodeCommands>,
    /// The controller manager's `--horizontal-pod-autoscaler-sync-period`, seconds.
    pub hpa_sync_period_s: Option<NodeCommands>,
}

/// Commands for one setting of the node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCommands {
    /// Its value in runs without an ablation of it.
    pub value: u32,
    /// Shell commands that make it and return when the node has it; [`VALUE`] in them stands for
    /// the value.
    pub set: Vec<String>,
}

/// One variant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantConfig {
    /// The namespace of its objects.
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
    /// Shell commands that remove it, including all state of its autoscalers.
    pub remove: Vec<String>,
    /// Other components that it needs.
    #[serde(default)]
    pub components: Vec<ComponentConfig>,
}

/// Placeholder for the settings in [`VariantConfig::apply`].
pub const SETTINGS: &str = "{settings}";
/// Placeholder for the value in [`NodeCommands::set`].
pub const VALUE: &str = "{value}";

impl VariantConfig {
    /// The object whose condition says whether an arm can scale, and that condition.
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

    /// Paths of all objects that scale an arm.
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

    /// Path of the object with the pods' template.
    pub fn workload(&self, arm: &Arm) -> String {
        match arm.autoscaler {
            Deciding::Kpa => self.scaler(arm).0,
            _ => format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.name),
        }
    }

    /// Components that an arm needs besides its pods.
    pub fn components_of(&self, arm: &Arm) -> impl Iterator<Item = &ComponentConfig> {
        self.components.iter().filter(|c| c.of.is_empty() || c.of.contains(&arm.autoscaler))
    }
}

/// Pods of the platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// Name in the table.
    pub name: String,
    /// The namespace.
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

    /// Whether a namespace belongs to the platform.
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
