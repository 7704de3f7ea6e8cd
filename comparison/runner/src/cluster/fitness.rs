//! Checks that a cluster is fit for a run. All reasons against it are found before the load and
//! reported together.

use std::time::SystemTime;

use anyhow::{Result, bail};
use serde_json::Value;

use super::clock;
use super::config::{ClusterConfig, VariantConfig};
use super::identity::image_of;
use super::kube::{Kube, pods_path};
use super::prometheus::Prometheus;
use scenario::arms::{Arm, Deciding};

/// The first minor version with general availability of in-place pod resize, which the VPA variant
/// needs.
const LEAST_KUBERNETES: (u32, u32) = (1, 35);
/// Most unrelated pods that an error lists.
const MOST_NAMED: usize = 5;
/// Largest clock difference: more would distort decision lags, which are seconds.
const MOST_SKEW_S: f64 = 2.0;

/// Fails with a list of all problems. `deployed`: whether the variants must exist already, or only
/// their requirements.
pub async fn check(
    kube: &Kube,
    prometheus: &Prometheus,
    config: &ClusterConfig,
    arms: &[Arm],
    deployed: bool,
) -> Result<()> {
    let mut wrong = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            wrong.push(format!("{error:#}"));
        }
    };
    note(versions(kube).await);
    note(clocks(kube).await);
    note(scrapes(prometheus).await);
    note(others(kube, config).await);
    let mut autoscalers: Vec<Deciding> = vec![];
    for arm in arms {
        if deployed {
            note(objects(kube, config.variant(&arm.variant)?, arm).await);
        } else if !autoscalers.contains(&arm.autoscaler) {
            autoscalers.push(arm.autoscaler);
            note(kinds(kube, arm.autoscaler).await);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the cluster is not fit for a comparison:\n  - {}", wrong.join("\n  - "))
}

async fn versions(kube: &Kube) -> Result<()> {
    let version = kube.get("/version").await?;
    let found = parse_version(&version);
    let (major, minor) = LEAST_KUBERNETES;
    match found {
        Some(found) if found >= LEAST_KUBERNETES => Ok(()),
        _ => bail!("Kubernetes {major}.{minor} or newer is needed, this is {}", version["gitVersion"]),
    }
}

fn parse_version(version: &Value) -> Option<(u32, u32)> {
    // GKE writes "35+".
    let number = |key: &str| version[key].as_str()?.trim_end_matches('+').parse().ok();
    Some((number("major")?, number("minor")?))
}

async fn clocks(kube: &Kube) -> Result<()> {
    let date = kube.http.date(&kube.url("/version")).await?;
    let Some(theirs) = date.as_deref().and_then(http_date) else { return Ok(()) };
    // Whole seconds: half of one is added for the middle.
    let skew = (clock::unix(SystemTime::now()) - theirs - 0.5).abs();
    if skew > MOST_SKEW_S {
        bail!("this machine's clock and the API server's are {skew:.1} s apart");
    }
    Ok(())
}

/// `Sun, 22 Nov 2026 09:30:00 GMT`.
fn http_date(date: &str) -> Option<f64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, _] = parts[..] else { return None };
    let month = MONTHS.iter().position(|m| *m == month)? + 1;
    clock::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
}

async fn scrapes(prometheus: &Prometheus) -> Result<()> {
    let now = clock::unix(SystemTime::now());
    let why = "it has to scrape the kubelets' /metrics/resource or /metrics/cadvisor";
    prometheus.needed(r#"container_cpu_usage_seconds_total{container!=""}"#, now - 120.0, now, why).await?;
    Ok(())
}

/// Only the platform and the variants may run: the CPU use of other pods would not be in the
/// recording.
async fn others(kube: &Kube, config: &ClusterConfig) -> Result<()> {
    let mut own = Vec::new();
    for variant in config.variants.values() {
        own.extend(kube.list(&pods_path(&variant.namespace), &variant.selector).await?);
    }
    let all = kube.get("/api/v1/pods?fieldSelector=status.phase%3DRunning").await?;
    let all = all["items"].as_array().cloned().unwrap_or_default();
    let foreign: Vec<String> = all
        .iter()
        .map(place)
        .filter(|pod| !own.iter().any(|o| place(o) == *pod) && !config.is_platform(pod.0))
        .map(|(namespace, name)| format!("{namespace}/{name}"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let shown = &foreign[..foreign.len().min(MOST_NAMED)];
    let more = match foreign.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    bail!(
        "pods of others run here: {}{more}; stop them, or name their namespace under `platform` in cluster.toml if they \
         belong to the platform",
        shown.join(", ")
    )
}

/// Namespace and name.
fn place(pod: &Value) -> (&str, &str) {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

async fn objects(kube: &Kube, variant: &VariantConfig, arm: &Arm) -> Result<()> {
    for path in variant.scaling_objects(arm) {
        if let Err(error) = kube.get(&path).await {
            bail!("{} is not deployed: {error:#}", variant.name);
        }
    }
    Ok(())
}

/// The API groups of an arm's objects, and a metrics API for the HPA.
async fn kinds(kube: &Kube, autoscaler: Deciding) -> Result<()> {
    const VPA: (&str, &str) = ("autoscaling.k8s.io/v1", "the Vertical Pod Autoscaler");
    const ADAPTER: (&str, &str) =
        ("custom.metrics.k8s.io/v1beta2", "prometheus-adapter (make metrics-adapter)");
    let groups: &[(&str, &str)] = match autoscaler {
        Deciding::Kpa => &[("serving.knative.dev/v1", "Knative Serving")],
        Deciding::Hpa => &[ADAPTER],
        Deciding::HpaVpa => &[VPA, ADAPTER],
        Deciding::Keda => &[("keda.sh/v1alpha1", "KEDA")],
    };
    let mut missing = Vec::new();
    for (group, name) in groups {
        if kube.get(&format!("/apis/{group}")).await.is_err() {
            missing.push(format!("{name} is not installed (no API {group})"));
        }
    }
    if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("; ")) }
}

/// Pods of a variant that exist, and how many of them are ready.
pub async fn pods(kube: &Kube, variant: &VariantConfig) -> Result<(usize, usize)> {
    let pods = kube.list(&pods_path(&variant.namespace), &variant.selector).await?;
    Ok((pods.len(), pods.iter().filter(|p| super::pods::is_ready(p)).count()))
}

/// The image that a variant's pods run, once one of them does.
pub async fn image(kube: &Kube, variant: &VariantConfig) -> Result<Option<String>> {
    let pods = kube.list(&pods_path(&variant.namespace), &variant.selector).await?;
    Ok(pods.iter().find_map(|pod| image_of(pod, &variant.container)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_plus() {
        assert_eq!(parse_version(&json!({"major": "1", "minor": "35+"})), Some((1, 35)));
        assert!(parse_version(&json!({"major": "1", "minor": "34"})).is_some_and(|v| v < LEAST_KUBERNETES));
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(http_date("Sun, 22 Nov 2026 09:30:00 GMT"), clock::parse("2026-11-22T09:30:00Z"));
        assert_eq!(http_date("soon"), None);
    }
}
