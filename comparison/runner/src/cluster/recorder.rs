//! Watches a variant during a run: its pods, and the decisions of its autoscaler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::clock;
use super::config::VariantConfig;
use super::http::encode;
use super::identity::{container_id, image_of};
use super::kube::{Kube, pods_path};
use super::pods::PodBook;
use scenario::arms::{Arm, Deciding};
use scenario::quantity;
use scenario::recording::Recording;

/// Delay before a broken watch is resumed.
const RETRY: Duration = Duration::from_millis(200);

/// The record so far; times in seconds since 1970.
#[derive(Default)]
struct Seen {
    pods: PodBook,
    desired: Vec<(f64, f64)>,
    metric: Vec<(f64, f64)>,
    vpa_target_cores: Vec<(f64, f64)>,
    image: Option<String>,
    /// Id of a function container that runs, without the runtime's name.
    running: Option<String>,
    /// Watches that never opened: their address and the last error.
    unopened: BTreeMap<String, String>,
}

/// Watches until it is finished or dropped.
pub struct Recorder {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Lists the pods and starts watching.
    pub async fn start(kube: &Kube, variant: &VariantConfig, arm: &Arm) -> Result<Self> {
        let mut book = PodBook::new(&variant.container);
        let path = format!("{}?labelSelector={}", pods_path(&variant.namespace), encode(&variant.selector));
        let list = kube.get(&path).await?;
        list["items"].as_array().into_iter().flatten().for_each(|pod| book.list(pod));
        let container = variant.container.clone();
        let find = |of: fn(&Value, &str) -> Option<String>| {
            list["items"].as_array().into_iter().flatten().find_map(|pod| of(pod, &container))
        };
        let (image, running) = (find(image_of), find(container_id));
        let seen = Arc::new(Mutex::new(Seen { pods: book, image, running, ..Seen::default() }));
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();

        let mut recorder = Self { seen, tasks: Vec::new() };
        let relisted: fn(&mut Seen, f64, &[Value]) = |seen, now, pods| seen.pods.relist(now, pods);
        recorder.watch(kube, kube.url(&path), Some(version), Some(relisted), move |seen, now, event, pod| {
            if seen.image.is_none() {
                seen.image = image_of(pod, &container);
            }
            let id = container_id(pod, &container).filter(|_| event != "DELETED");
            seen.running = id.or(seen.running.take());
            seen.pods.observe(now, event, pod)
        });
        let named = |group: &str, kind: &str| {
            let (namespace, field) = (&variant.namespace, encode(&format!("metadata.name={}", variant.name)));
            kube.url(&format!("/apis/{group}/namespaces/{namespace}/{kind}?fieldSelector={field}"))
        };
        match arm.autoscaler {
            Deciding::Kpa => {
                let selector = encode(&format!("serving.knative.dev/service={}", variant.name));
                let group = "autoscaling.internal.knative.dev/v1alpha1";
                let namespace = &variant.namespace;
                let url = kube.url(&format!(
                    "/apis/{group}/namespaces/{namespace}/podautoscalers?labelSelector={selector}"
                ));
                recorder.watch(kube, url, None, None, kpa_event);
            }
            Deciding::Hpa | Deciding::HpaVpa => {
                recorder.watch(
                    kube,
                    named("autoscaling/v2", "horizontalpodautoscalers"),
                    None,
                    None,
                    hpa_event,
                );
            }
            Deciding::Keda => {
                // KEDA decides between zero and one itself, its HPA above: both write here.
                recorder.watch(kube, named("apps/v1", "deployments"), None, None, deployment_event);
                recorder.watch(
                    kube,
                    named("autoscaling/v2", "horizontalpodautoscalers"),
                    None,
                    None,
                    |seen, now, _, hpa| metric_event(seen, now, hpa),
                );
            }
        }
        if arm.autoscaler == Deciding::HpaVpa {
            let container = variant.container.clone();
            let url = named("autoscaling.k8s.io/v1", "verticalpodautoscalers");
            recorder
                .watch(kube, url, None, None, move |seen, now, _, vpa| vpa_event(seen, now, vpa, &container));
        }
        Ok(recorder)
    }

    /// Watches one list, from a version or from the current list, and resumes it when it breaks. If
    /// the version is too old by then, `relisted` gets the whole list.
    fn watch(
        &mut self,
        kube: &Kube,
        url: String,
        version: Option<String>,
        relisted: Option<fn(&mut Seen, f64, &[Value])>,
        each: impl Fn(&mut Seen, f64, &str, &Value) + Send + Sync + 'static,
    ) {
        let (seen, http) = (Arc::clone(&self.seen), kube.http.clone());
        self.tasks.push(tokio::spawn(async move {
            let (mut version, mut opened) = (version, false);
            loop {
                if let (None, Some(relisted)) = (&version, relisted) {
                    // Deletions in the gap cause no events.
                    if let Ok(list) = http.json(&url).await {
                        let items = list["items"].as_array().cloned().unwrap_or_default();
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        relisted(&mut seen, clock::unix(SystemTime::now()), &items);
                        version = list["metadata"]["resourceVersion"].as_str().map(str::to_owned);
                    }
                }
                let from = version.as_ref().map(|v| format!("&resourceVersion={v}")).unwrap_or_default();
                let address = format!("{url}&watch=true{from}");
                let stream = http.lines(&address, |event| {
                    opened = true;
                    let object = &event["object"];
                    if let Some(newer) = object["metadata"]["resourceVersion"].as_str() {
                        version = Some(newer.to_owned());
                    }
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match event["type"].as_str().unwrap_or_default() {
                        // The version is too old: list again.
                        "ERROR" => version = None,
                        kind => each(&mut seen, clock::unix(SystemTime::now()), kind, object),
                    }
                });
                let ended = stream.await;
                {
                    // A stream that ends in order was open, whether it said something or not.
                    opened |= ended.is_ok();
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Err(error) if !opened => seen.unopened.insert(url.clone(), format!("{error:#}")),
                        _ => seen.unopened.remove(&url),
                    };
                }
                tokio::time::sleep(RETRY).await;
            }
        }));
    }

    /// The number of pods, and how many of them are ready.
    pub fn counts(&self) -> (usize, usize) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).pods.counts()
    }

    /// The image that the pods run, once one of them does.
    pub fn image(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).image.clone()
    }

    /// Id of the last function container that was seen running.
    pub fn container(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).running.clone()
    }

    /// The error of a watch that could not be opened yet, if there is one.
    pub fn never_opened(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).unopened.values().next().cloned()
    }

    /// Ends the watch; times are relative to `start` (seconds since 1970).
    pub fn finish(self, start: f64, observed_s: f64) -> Recording {
        self.tasks.iter().for_each(JoinHandle::abort);
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let shift =
            |series: Vec<(f64, f64)>| -> Vec<_> { series.into_iter().map(|(t, v)| (t - start, v)).collect() };
        Recording {
            observed_s,
            pods: seen.pods.into_pods(start),
            desired: shift(seen.desired),
            seen: shift(seen.metric),
            vpa_target_cores: shift(seen.vpa_target_cores),
            ..Recording::default()
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn push_change(series: &mut Vec<(f64, f64)>, now: f64, value: f64) {
    if series.last().is_none_or(|last| last.1 != value) {
        series.push((now, value));
    }
}

fn kpa_event(seen: &mut Seen, now: f64, _: &str, autoscaler: &Value) {
    // -1 means unknown. Older revisions are at zero; only one serves at a time here.
    let desired = autoscaler["status"]["desiredScale"].as_f64().filter(|d| *d >= 0.0);
    let serving = autoscaler["spec"]["reachability"] != "Unreachable";
    if let (Some(desired), true) = (desired, serving) {
        push_change(&mut seen.desired, now, desired);
    }
}

fn hpa_event(seen: &mut Seen, now: f64, _: &str, hpa: &Value) {
    if let Some(desired) = hpa["status"]["desiredReplicas"].as_f64() {
        push_change(&mut seen.desired, now, desired);
    }
    metric_event(seen, now, hpa);
}

/// The first metric of an HPA, of its pods, of an object or from outside, over its target. The
/// controller divides an object's by the number of pods, so that there is none at zero pods.
fn metric_event(seen: &mut Seen, now: f64, hpa: &Value) {
    let (spec, status) = (&hpa["spec"]["metrics"][0], &hpa["status"]["currentMetrics"][0]);
    let of = |kind: &str| {
        let target = spec[kind]["target"]["averageValue"].as_str().and_then(quantity::parse)?;
        let current = status[kind]["current"]["averageValue"].as_str().and_then(quantity::parse)?;
        Some(current / target)
    };
    let over_target = of("pods").or_else(|| of("object")).or_else(|| of("external"));
    if let Some(over_target) = over_target.filter(|value| *value >= 0.0) {
        push_change(&mut seen.metric, now, over_target);
    }
}

fn deployment_event(seen: &mut Seen, now: f64, _: &str, deployment: &Value) {
    if let Some(replicas) = deployment["spec"]["replicas"].as_f64() {
        push_change(&mut seen.desired, now, replicas);
    }
}

fn vpa_event(seen: &mut Seen, now: f64, vpa: &Value, container: &str) {
    let recommendations =
        vpa["status"]["recommendation"]["containerRecommendations"].as_array().into_iter().flatten();
    let ours = recommendations.into_iter().find(|r| r["containerName"] == container);
    if let Some(cores) = ours.and_then(|r| r["target"]["cpu"].as_str()).and_then(quantity::parse) {
        push_change(&mut seen.vpa_target_cores, now, cores);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kpas_wish_is_kept_when_it_changes_and_when_it_knows_one() {
        let mut seen = Seen::default();
        for (now, desired) in [(1.0, -1), (2.0, 1), (3.0, 1), (4.0, 3)] {
            kpa_event(
                &mut seen,
                now,
                "MODIFIED",
                &json!({"spec": {"reachability": "Reachable"}, "status": {"desiredScale": desired}}),
            );
        }
        kpa_event(
            &mut seen,
            5.0,
            "MODIFIED",
            &json!({"spec": {"reachability": "Unreachable"}, "status": {"desiredScale": 0}}),
        );
        assert_eq!(seen.desired, [(2.0, 1.0), (4.0, 3.0)]);
    }

    #[test]
    fn the_hpas_metric_is_taken_relative_to_its_target() {
        let mut seen = Seen::default();
        let hpa = json!({
            "spec": {"metrics": [{"pods": {"target": {"averageValue": "2"}}}]},
            "status": {"desiredReplicas": 4, "currentMetrics": [{"pods": {"current": {"averageValue": "3500m"}}}]},
        });
        hpa_event(&mut seen, 1.0, "MODIFIED", &hpa);
        assert_eq!((seen.desired, seen.metric), (vec![(1.0, 4.0)], vec![(1.0, 1.75)]));
    }

    #[test]
    fn kedas_wish_is_the_deployments_and_its_metric_that_of_its_hpa() {
        let mut seen = Seen::default();
        deployment_event(&mut seen, 1.0, "ADDED", &json!({"spec": {"replicas": 0}}));
        deployment_event(&mut seen, 2.0, "MODIFIED", &json!({"spec": {"replicas": 1}}));
        let hpa = json!({
            "spec": {"metrics": [{"external": {"target": {"averageValue": "1"}}}]},
            "status": {"desiredReplicas": 3, "currentMetrics": [{"external": {"current": {"averageValue": "2500m"}}}]},
        });
        metric_event(&mut seen, 3.0, &hpa);
        assert_eq!((seen.desired, seen.metric), (vec![(1.0, 0.0), (2.0, 1.0)], vec![(3.0, 2.5)]));
    }

    #[test]
    fn an_objects_metric_is_none_at_zero_pods() {
        let mut seen = Seen::default();
        let hpa = |desired: i64, value: &str| {
            json!({
                "spec": {"metrics": [{"object": {"target": {"averageValue": "1"}}}]},
                "status": {
                    "desiredReplicas": desired,
                    "currentMetrics": [{"object": {"current": {"averageValue": value}}}]
                },
            })
        };
        // What the controller writes for a division by zero pods.
        hpa_event(&mut seen, 1.0, "MODIFIED", &hpa(0, "-9223372036854775808m"));
        hpa_event(&mut seen, 2.0, "MODIFIED", &hpa(3, "1500m"));
        assert_eq!((seen.desired, seen.metric), (vec![(1.0, 0.0), (2.0, 3.0)], vec![(2.0, 1.5)]));
    }

    #[test]
    fn the_vpas_target_is_that_of_the_functions_container() {
        let mut seen = Seen::default();
        let vpa = json!({"status": {"recommendation": {"containerRecommendations": [
            {"containerName": "sidecar", "target": {"cpu": "9"}},
            {"containerName": "eye-state", "target": {"cpu": "1200m"}},
        ]}}});
        vpa_event(&mut seen, 1.0, &vpa, "eye-state");
        assert_eq!(seen.vpa_target_cores, [(1.0, 1.2)]);
    }
}
