//! Builds [`Pod`]s from the API server's events. Does no I/O.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clock;
use scenario::quantity;
use scenario::recording::{Container, Pod};

/// Pods seen so far; times in seconds since 1970.
#[derive(Debug, Default)]
pub struct PodBook {
    pods: BTreeMap<String, Pod>,
    /// The container whose start counts.
    function: String,
}

impl PodBook {
    /// An empty record; `function` is the name of the function's container.
    pub fn new(function: &str) -> Self {
        Self { pods: BTreeMap::new(), function: function.to_owned() }
    }

    /// A pod that existed when the watch began: its times are the API server's, in whole seconds.
    pub fn list(&mut self, pod: &Value) {
        let condition = |kind: &str| {
            let found = conditions(pod).find(|c| c["type"] == kind && c["status"] == "True")?;
            found["lastTransitionTime"].as_str().and_then(clock::parse)
        };
        let created = pod["metadata"]["creationTimestamp"].as_str().and_then(clock::parse).unwrap_or(0.0);
        let running = statuses(pod).find(|s| s["name"] == self.function.as_str());
        let started =
            running.and_then(|s| s["state"]["running"]["startedAt"].as_str()).and_then(clock::parse);
        let record = Pod {
            name: name(pod).to_owned(),
            created_s: created,
            scheduled_s: condition("PodScheduled"),
            started_s: started,
            ready: if is_ready(pod) { vec![(condition("Ready").unwrap_or(created), true)] } else { vec![] },
            gone_s: None,
            containers: requests(pod)
                .map(|(name, cores, bytes)| container(name, created, cores, bytes))
                .collect(),
            startup: BTreeMap::new(),
        };
        self.pods.insert(record.name.clone(), record);
    }

    /// An event of a watch, with its arrival time, which is finer than the API server's seconds.
    pub fn observe(&mut self, now: f64, event: &str, pod: &Value) {
        let record = self.pods.entry(name(pod).to_owned()).or_insert_with(|| Pod {
            name: name(pod).to_owned(),
            created_s: now,
            ..Pod::default()
        });
        if event == "DELETED" {
            record.gone_s.get_or_insert(now);
            return;
        }
        if !pod["spec"]["nodeName"].is_null() {
            record.scheduled_s.get_or_insert(now);
        }
        let running =
            statuses(pod).any(|s| s["name"] == self.function.as_str() && !s["state"]["running"].is_null());
        if running {
            record.started_s.get_or_insert(now);
        }
        let ready = is_ready(pod);
        if record.ready.last().map_or(ready, |last| last.1 != ready) {
            record.ready.push((now, ready));
        }
        for (name, cores, bytes) in requests(pod) {
            let created = record.created_s;
            match record.containers.iter_mut().find(|c| c.name == name) {
                None => record.containers.push(container(name, created, cores, bytes)),
                Some(known) => {
                    let last = known.requests.last().expect("begins with one");
                    if (last.1, last.2) != (cores, bytes) {
                        known.requests.push((now, cores, bytes));
                    }
                }
            }
        }
    }

    /// All existing pods, after a gap in the watch: other pods were deleted in the gap and end now.
    pub fn relist(&mut self, now: f64, pods: &[Value]) {
        pods.iter().for_each(|pod| self.observe(now, "MODIFIED", pod));
        for (name, record) in &mut self.pods {
            if !pods.iter().any(|pod| self::name(pod) == name) {
                record.gone_s.get_or_insert(now);
            }
        }
    }

    /// The number of pods that are not being deleted, and how many of them are ready.
    pub fn counts(&self) -> (usize, usize) {
        let here = || self.pods.values().filter(|p| p.gone_s.is_none());
        (here().count(), here().filter(|p| p.ready.last().is_some_and(|r| r.1)).count())
    }

    /// All pods, with times relative to `start`.
    pub fn into_pods(self, start: f64) -> Vec<Pod> {
        let shift = |mut pod: Pod| {
            pod.created_s -= start;
            pod.scheduled_s = pod.scheduled_s.map(|t| t - start);
            pod.started_s = pod.started_s.map(|t| t - start);
            pod.gone_s = pod.gone_s.map(|t| t - start);
            pod.ready.iter_mut().for_each(|r| r.0 -= start);
            pod.containers.iter_mut().flat_map(|c| &mut c.requests).for_each(|r| r.0 -= start);
            pod
        };
        self.pods.into_values().map(shift).collect()
    }
}

/// Ready, and not terminating: a draining pod still answers but gets no new requests.
pub fn is_ready(pod: &Value) -> bool {
    let ready = conditions(pod).any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

fn conditions(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["conditions"].as_array().into_iter().flatten()
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["containerStatuses"].as_array().into_iter().flatten()
}

fn container(name: &str, from: f64, cores: f64, bytes: f64) -> Container {
    Container { name: name.to_owned(), requests: vec![(from, cores, bytes)], ..Container::default() }
}

/// `(name, cores, bytes)` of each container: as allocated by the kubelet, or as requested until it
/// reports.
fn requests(pod: &Value) -> impl Iterator<Item = (&str, f64, f64)> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.filter_map(move |c| {
        let name = c["name"].as_str()?;
        let actual = statuses(pod).find(|s| s["name"] == name).map(|s| &s["resources"]["requests"]);
        let requests = actual.filter(|r| r.is_object()).unwrap_or(&c["resources"]["requests"]);
        let amount = |resource: &str| requests[resource].as_str().and_then(quantity::parse).unwrap_or(0.0);
        Some((name, amount("cpu"), amount("memory")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str, cpu: &str) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": "2026-11-22T09:30:00Z"},
            "spec": {"nodeName": "node", "containers": [
                {"name": "eye-state", "resources": {"requests": {"cpu": "1", "memory": "256Mi"}}},
                {"name": "queue-proxy", "resources": {"requests": {"cpu": "25m"}}},
            ]},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-22T09:30:04Z"},
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T09:30:01Z"},
                ],
                "containerStatuses": [{
                    "name": "eye-state",
                    "state": {"running": {"startedAt": "2026-11-22T09:30:02Z"}},
                    "resources": {"requests": {"cpu": cpu, "memory": "256Mi"}},
                }],
            },
        })
    }

    #[test]
    fn a_pod_that_was_there_before_has_the_api_servers_times() {
        let mut book = PodBook::new("eye-state");
        book.list(&pod("old", "True", "1"));
        let pods = book.into_pods(1_795_339_800.0);
        let old = &pods[0];
        assert_eq!((old.created_s, old.scheduled_s, old.started_s), (0.0, Some(1.0), Some(2.0)));
        assert_eq!(old.ready, [(4.0, true)]);
        assert_eq!(old.containers[1].requests, [(0.0, 0.025, 0.0)]);
    }

    #[test]
    fn a_pod_that_was_deleted_in_a_gap_of_the_watch_is_gone() {
        let mut book = PodBook::new("eye-state");
        book.observe(100.0, "ADDED", &pod("gone", "True", "1"));
        book.observe(100.0, "ADDED", &pod("stays", "True", "1"));
        book.relist(130.0, &[pod("stays", "True", "1"), pod("new", "False", "1")]);
        assert_eq!(book.counts(), (2, 1));
        let ends: Vec<_> = book.into_pods(100.0).into_iter().map(|p| (p.name, p.gone_s)).collect();
        assert_eq!(ends, [("gone".into(), Some(30.0)), ("new".into(), None), ("stays".into(), None)]);
    }

    #[test]
    fn a_pods_life_is_timed_by_its_events() {
        let mut book = PodBook::new("eye-state");
        let bare = json!({"metadata": {"name": "new"}, "spec": {"containers": []}, "status": {}});
        book.observe(100.0, "ADDED", &bare);
        book.observe(103.5, "MODIFIED", &pod("new", "False", "1"));
        book.observe(104.0, "MODIFIED", &pod("new", "True", "1"));
        book.observe(105.0, "MODIFIED", &pod("new", "True", "1"));
        book.observe(160.0, "MODIFIED", &pod("new", "True", "1500m"));
        assert_eq!(book.counts(), (1, 1));
        let mut leaving = pod("new", "True", "1500m");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:40:00Z");
        book.observe(170.0, "MODIFIED", &leaving);
        assert_eq!(book.counts(), (1, 0), "it drains: it is there, but not ready");
        book.observe(175.0, "DELETED", &leaving);
        let new = &book.into_pods(100.0)[0];
        assert_eq!(
            (new.created_s, new.scheduled_s, new.started_s, new.gone_s),
            (0.0, Some(3.5), Some(3.5), Some(75.0))
        );
        assert_eq!(new.ready, [(4.0, true), (70.0, false)]);
        let requests: Vec<_> = new.containers[0].requests.iter().map(|r| (r.0, r.1)).collect();
        assert_eq!(requests, [(0.0, 1.0), (60.0, 1.5)], "resized in place at 60");
    }
}
