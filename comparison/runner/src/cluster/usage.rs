//! Resource use during a run: CPU time and memory of containers from cAdvisor through Prometheus,
//! and the start phases that the function reports.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::config::ComponentConfig;
use super::kube::{Kube, pods_path};
use super::prometheus::{Prometheus, Series, area, increase};
use crate::analysis::measures::GIB;
use scenario::quantity;
use scenario::recording::{Component, Pod, Recording};

const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";
const KUBELETS: &str = "it has to scrape the kubelets' /metrics/resource or /metrics/cadvisor";
/// Gauge of the function's start phases.
const STARTUP: &str = "eye_state_startup_duration_seconds";
/// Gauge with the facts of the build.
const BUILD: &str = "eye_state_build_info";
/// Most scrapes for which a memory sample is valid: a deleted pod uses nothing.
const HOLD_SCRAPES: f64 = 2.0;

/// Seconds that are read before a range: without a sample before it, a counter would count from
/// zero. cAdvisor's samples may be older than a scrape.
pub(super) const LOOK_BACK_S: f64 = 60.0;

/// A time range and its scrape interval.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Seconds since 1970.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// Seconds between scrapes.
    pub scrape_s: f64,
}

impl Range {
    /// The part between two seconds of the run.
    pub fn part(self, from: f64, to: f64) -> Self {
        Self { from: self.from + from, to: self.from + to, ..self }
    }
}

/// The samples within a range, and the last one before it: a counter grows from there.
fn cut(series: &[Series], range: Range) -> Vec<Series> {
    let of = |s: &Series| {
        let begin = s.samples.partition_point(|p| p.0 <= range.from).saturating_sub(1);
        let end = s.samples.partition_point(|p| p.0 <= range.to);
        Series { labels: s.labels.clone(), samples: s.samples[begin.min(end)..end].to_vec() }
    };
    series.iter().map(of).collect()
}

/// Fills in what the variant's pods used: over time in `range`, in sum in `counted`.
pub async fn fill(
    prometheus: &Prometheus,
    namespace: &str,
    recording: &mut Recording,
    range: Range,
    counted: Range,
) -> Result<()> {
    let pattern = recording.pods.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("|");
    if pattern.is_empty() {
        return Ok(());
    }
    // cAdvisor also has a row for the whole pod (no container) and for the sandbox.
    let selector = |metric: &str| {
        format!(r#"{metric}{{namespace="{namespace}",pod=~"{pattern}",container!="",container!="POD"}}"#)
    };
    let cpu = prometheus.needed(&selector(CPU), range.from - LOOK_BACK_S, range.to, KUBELETS).await?;
    let memory = prometheus.needed(&selector(MEMORY), range.from, range.to, KUBELETS).await?;
    let (cpu, memory) = (one_each(cpu), one_each(memory));
    recording.cores_used = cores(&cpu, range);
    recording.gib_used = gib(&memory, range);
    for series in &cut(&cpu, counted) {
        if let Some((created, container)) = find(&mut recording.pods, series) {
            let born = created >= counted.from - range.from;
            container.core_seconds += increase(&series.samples, born);
        }
    }
    for series in &cut(&memory, counted) {
        if let Some((_, container)) = find(&mut recording.pods, series) {
            container.gib_seconds += area(&series.samples, counted.to, HOLD_SCRAPES * range.scrape_s) / GIB;
        }
    }
    let startup = format!(r#"{STARTUP}{{namespace="{namespace}",pod=~"{pattern}"}}"#);
    for series in prometheus.samples(&startup, range.from, range.to).await? {
        let pod = recording.pods.iter_mut().find(|p| p.name == series.label("pod"));
        if let (Some(pod), Some(last)) = (pod, series.samples.last()) {
            pod.startup.insert(series.label("phase").to_owned(), last.1);
        }
    }
    Ok(())
}

/// One series a container: kubelets offer the same counters on two pages (`/metrics/cadvisor`,
/// `/metrics/resource`), and a Prometheus that scrapes both has each value twice.
pub(super) fn one_each(series: Vec<Series>) -> Vec<Series> {
    let mut seen = std::collections::BTreeSet::new();
    let key = |s: &Series| ["namespace", "pod", "container"].map(|name| s.label(name).to_owned());
    series.into_iter().filter(|s| seen.insert(key(s))).collect()
}

/// The container of a series, and when its pod was created.
fn find<'a>(pods: &'a mut [Pod], series: &Series) -> Option<(f64, &'a mut scenario::recording::Container)> {
    let pod = pods.iter_mut().find(|p| p.name == series.label("pod"))?;
    let created = pod.created_s;
    pod.containers.iter_mut().find(|c| c.name == series.label("container")).map(|c| (created, c))
}

/// Cores in use by all series together, at each scrape.
pub(super) fn cores(cpu: &[Series], range: Range) -> Vec<(f64, f64)> {
    let points = ((range.to - range.from) / range.scrape_s).floor() as usize;
    let at = |samples: &[(f64, f64)], t: f64| samples.iter().rev().find(|s| s.0 <= t).map(|s| s.1);
    (0..points)
        .map(|i| {
            let (from, to) = (i as f64 * range.scrape_s, (i + 1) as f64 * range.scrape_s);
            let grown = cpu.iter().map(|s| {
                let after = at(&s.samples, range.from + to).unwrap_or(0.0);
                let before = at(&s.samples, range.from + from).unwrap_or(0.0);
                (after - before).max(0.0)
            });
            (to, grown.sum::<f64>() / range.scrape_s)
        })
        .collect()
}

/// GiB in use by all series together, at each scrape.
fn gib(memory: &[Series], range: Range) -> Vec<(f64, f64)> {
    let points = ((range.to - range.from) / range.scrape_s).floor() as usize;
    let hold = HOLD_SCRAPES * range.scrape_s;
    let at = |samples: &[(f64, f64)], t: f64| {
        samples.iter().rev().find(|s| s.0 <= t).filter(|s| s.0 > t - hold).map_or(0.0, |s| s.1)
    };
    (0..=points)
        .map(|i| i as f64 * range.scrape_s)
        .map(|t| (t, memory.iter().map(|s| at(&s.samples, range.from + t)).sum::<f64>() / GIB))
        .collect()
}

/// Resources that a part of the platform requested and used.
pub async fn component(
    kube: &Kube,
    prometheus: &Prometheus,
    config: &ComponentConfig,
    range: Range,
    counted: Range,
) -> Result<Component> {
    let pods = kube.list(&pods_path(&config.namespace), &config.selector).await?;
    anyhow::ensure!(
        !pods.is_empty(),
        "{}: no pods with {} in namespace {} (see `components` in the cluster file)",
        config.name,
        config.selector,
        config.namespace
    );
    let mut component = Component { name: config.name.clone(), ..Component::default() };
    for request in pods.iter().flat_map(|p| p["spec"]["containers"].as_array().into_iter().flatten()) {
        let amount =
            |resource: &str| request["resources"]["requests"][resource].as_str().and_then(quantity::parse);
        component.requested_cores += amount("cpu").unwrap_or(0.0);
        component.requested_gib += amount("memory").unwrap_or(0.0) / GIB;
    }
    let names = pods.iter().filter_map(|p| p["metadata"]["name"].as_str()).collect::<Vec<_>>().join("|");
    let namespace = &config.namespace;
    let selector = |metric: &str| {
        format!(r#"{metric}{{namespace="{namespace}",pod=~"{names}",container!="",container!="POD"}}"#)
    };
    let cpu = prometheus.needed(&selector(CPU), range.from - LOOK_BACK_S, range.to, KUBELETS).await?;
    let memory = prometheus.needed(&selector(MEMORY), range.from, range.to, KUBELETS).await?;
    let (cpu, memory) = (one_each(cpu), one_each(memory));
    component.cores_used = cores(&cpu, range);
    component.gib_used = gib(&memory, range);
    component.core_seconds = cut(&cpu, counted).iter().map(|s| increase(&s.samples, false)).sum();
    let hold = HOLD_SCRAPES * range.scrape_s;
    let memory = cut(&memory, counted);
    component.gib_seconds = memory.iter().map(|s| area(&s.samples, counted.to, hold)).sum::<f64>() / GIB;
    Ok(component)
}

/// The KPA's input: the panic window's concurrency per pod over its target, from Knative's own
/// metrics.
pub async fn kpa_seen(
    prometheus: &Prometheus,
    service: &str,
    recording: &Recording,
    range: Range,
) -> Result<Vec<(f64, f64)>> {
    let why = "switch Knative's metrics on (metrics-protocol: prometheus in config-observability) and scrape the autoscaler";
    let selector = |metric: &str| format!(r#"{metric}{{kn_service_name="{service}"}}"#);
    let panic =
        prometheus.needed(&selector("kn_revision_concurrency_panic"), range.from, range.to, why).await?;
    let target =
        prometheus.needed(&selector("kn_revision_concurrency_target"), range.from, range.to, why).await?;
    let (Some(panic), Some(target)) = (serving(panic, recording), serving(target, recording)) else {
        return Ok(vec![]);
    };
    let target = target.samples.last().map_or(1.0, |s| s.1);
    let ready = crate::analysis::measures::ready_pods(recording);
    let seen = panic.samples.iter().map(|&(at, concurrency)| {
        let second = at - range.from;
        let pods = crate::analysis::steps::at(&ready, second).unwrap_or(0.0).max(1.0);
        (second, concurrency / pods / target)
    });
    Ok(seen.collect())
}

/// The series of the revision that the pods are of, the newest if there are two: the autoscaler
/// keeps exporting deleted revisions.
fn serving(series: Vec<Series>, recording: &Recording) -> Option<Series> {
    let serves = |s: &Series| {
        let prefix = format!("{}-", s.label("kn_revision_name"));
        recording.pods.iter().any(|p| p.name.starts_with(&prefix))
    };
    series.into_iter().filter(serves).max_by_key(|s| s.label("kn_revision_name").to_owned())
}

/// When the KPA was in panic mode; empty if it does not report that.
pub async fn kpa_panic(
    prometheus: &Prometheus,
    service: &str,
    recording: &Recording,
    range: Range,
) -> Result<Vec<(f64, f64)>> {
    let selector = format!(r#"kn_revision_panic_mode{{kn_service_name="{service}"}}"#);
    let series = prometheus.samples(&selector, range.from - range.scrape_s, range.to).await?;
    Ok(serving(series, recording).map(|s| changes(&s.samples, range.from)).unwrap_or_default())
}

/// The samples at which the value changes, by the second.
fn changes(samples: &[(f64, f64)], from: f64) -> Vec<(f64, f64)> {
    let mut changes: Vec<(f64, f64)> = vec![];
    for &(at, value) in samples {
        if changes.last().is_none_or(|last| last.1 != value) {
            changes.push((at - from, value));
        }
    }
    changes
}

/// Share of the node's CPUs that was busy with anything at all; empty without a node-exporter.
pub async fn node_busy(prometheus: &Prometheus, range: Range) -> Result<Vec<(f64, f64)>> {
    let idle = r#"node_cpu_seconds_total{mode="idle"}"#;
    let idle = prometheus.samples(idle, range.from - 2.0 * range.scrape_s, range.to).await?;
    Ok(busy(&idle, range.from))
}

/// From idle counters, one a CPU, to `(second, share busy since the sample before)`.
fn busy(idle: &[Series], from: f64) -> Vec<(f64, f64)> {
    let cpus = idle.len() as f64;
    let total = |i: usize| idle.iter().map(|s| s.samples.get(i).map(|p| p.1)).sum::<Option<f64>>();
    let Some(first) = idle.first() else { return vec![] };
    let pairs = first.samples.windows(2).enumerate();
    let shares = pairs.filter_map(|(i, pair)| {
        let share = 1.0 - (total(i + 1)? - total(i)?) / cpus / (pair[1].0 - pair[0].0);
        Some((pair[1].0 - from, share.clamp(0.0, 1.0)))
    });
    shares.collect()
}

/// The facts of the function's build.
pub async fn build(
    prometheus: &Prometheus,
    namespace: &str,
    recording: &Recording,
    range: Range,
) -> Result<BTreeMap<String, String>> {
    let names = recording.pods.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("|");
    let selector = format!(r#"{BUILD}{{namespace="{namespace}",pod=~"{names}"}}"#);
    let series = prometheus.samples(&selector, range.from, range.to).await?;
    let said = |s: &Series| format!("{} {}", s.label("model_name"), s.label("model_version"));
    Ok(series.first().map(|s| ("Model".to_owned(), said(s))).into_iter().collect())
}

/// The node of a cluster with one; `None` for several, whose busy time cannot be attributed.
pub async fn first_node(kube: &Kube) -> Result<Value> {
    let nodes = kube.get("/api/v1/nodes").await?;
    match nodes["items"].as_array().map(Vec::as_slice) {
        Some([only]) => Ok(only.clone()),
        _ => Ok(Value::Null),
    }
}

/// Versions and hardware, from the API server.
pub async fn environment(kube: &Kube) -> Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    let version = kube.get("/version").await?;
    facts.insert("Kubernetes".into(), version["gitVersion"].as_str().unwrap_or("?").to_owned());
    let nodes = kube.get("/api/v1/nodes").await?;
    let nodes: Vec<&Value> = nodes["items"].as_array().into_iter().flatten().collect();
    facts.insert("Nodes".into(), nodes.len().to_string());
    if let Some(status) = nodes.first().map(|n| &n["status"]) {
        let (capacity, info) = (&status["capacity"], &status["nodeInfo"]);
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        facts.insert(
            "Node".into(),
            format!("{} CPUs, {} memory", text(&capacity["cpu"]), text(&capacity["memory"])),
        );
        facts.insert("Container runtime".into(), text(&info["containerRuntimeVersion"]));
        facts.insert("Kernel".into(), text(&info["kernelVersion"]));
    }
    for (name, namespace, selector) in [
        ("Knative Serving", "knative-serving", "app=autoscaler"),
        ("VPA", "kube-system", "app=vpa-recommender"),
    ] {
        let pods = kube.list(&pods_path(namespace), selector).await?;
        let Some(pod) = pods.first() else { continue };
        let label = pod["metadata"]["labels"]["app.kubernetes.io/version"].as_str();
        let image = pod["spec"]["containers"][0]["image"].as_str();
        if let Some(found) = label.or(image) {
            facts.insert(name.to_owned(), found.to_owned());
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_that_is_scraped_twice_counts_once() {
        let series = |job: &str, container: &str| Series {
            labels: json!({"pod": "a", "container": container, "job": job}),
            samples: vec![(0.0, 1.0)],
        };
        let kept = one_each(vec![series("cadvisor", "x"), series("resource", "x"), series("cadvisor", "y")]);
        assert_eq!(kept.iter().map(|s| s.label("job")).collect::<Vec<_>>(), ["cadvisor", "cadvisor"]);
    }

    #[test]
    fn sums_are_of_the_part_that_counts() {
        let series = |samples: &[(f64, f64)]| Series { labels: json!({}), samples: samples.to_vec() };
        let range = Range { from: 100.0, to: 140.0, scrape_s: 10.0 };
        let counter = [series(&[(95.0, 1.0), (105.0, 2.0), (115.0, 4.0), (125.0, 8.0), (135.0, 16.0)])];
        let grown = |from: f64, to: f64| increase(&cut(&counter, range.part(from, to))[0].samples, false);
        assert_eq!(grown(0.0, 40.0), 15.0);
        assert_eq!(grown(10.0, 30.0), 6.0, "from the last sample before it");
        assert!(cut(&[series(&[(150.0, 1.0)])], range)[0].samples.is_empty());
    }

    #[test]
    fn a_node_is_busy_when_none_of_its_cpus_idles() {
        let series = |samples: &[(f64, f64)]| Series { labels: json!({}), samples: samples.to_vec() };
        // Ten seconds of two CPUs: one idles all the time, the other half of it; then neither.
        let idle = [
            series(&[(95.0, 50.0), (105.0, 60.0), (115.0, 60.0)]),
            series(&[(95.0, 7.0), (105.0, 12.0), (115.0, 12.0)]),
        ];
        assert_eq!(busy(&idle, 100.0), [(5.0, 0.25), (15.0, 1.0)]);
        assert!(busy(&[], 100.0).is_empty());
    }

    #[test]
    fn memory_of_a_container_that_is_gone_is_not_in_use() {
        let series = |samples: &[(f64, f64)]| Series { labels: json!({}), samples: samples.to_vec() };
        let memory =
            [series(&[(100.0, GIB), (110.0, GIB)]), series(&[(109.0, 2.0 * GIB), (119.0, 2.0 * GIB)])];
        let used = gib(&memory, Range { from: 100.0, to: 140.0, scrape_s: 10.0 });
        assert_eq!(used, [(0.0, 1.0), (10.0, 3.0), (20.0, 3.0), (30.0, 2.0), (40.0, 0.0)]);
    }

    #[test]
    fn only_the_beginnings_and_ends_of_a_panic_are_kept() {
        let samples = [(95.0, 0.0), (100.0, 0.0), (105.0, 1.0), (110.0, 1.0), (115.0, 0.0)];
        assert_eq!(changes(&samples, 100.0), [(-5.0, 0.0), (5.0, 1.0), (15.0, 0.0)]);
    }

    #[test]
    fn cores_in_use_are_summed_over_containers() {
        let series = |pod: &str, samples: &[(f64, f64)]| Series {
            labels: json!({"pod": pod}),
            samples: samples.to_vec(),
        };
        let cpu = [series("a", &[(100.0, 5.0), (110.0, 10.0), (120.0, 15.0)]), series("b", &[(120.0, 2.0)])];
        let used = cores(&cpu, Range { from: 100.0, to: 120.0, scrape_s: 10.0 });
        assert_eq!(used, [(10.0, 0.5), (20.0, 0.7)]);
    }
}
