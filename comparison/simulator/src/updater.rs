//! The updater of the vertical pod autoscaler 1.8 in the mode `InPlaceOrRecreate`: which pods are
//! resized in a round (`pkg/updater/priority`, `pkg/updater/restriction`).
//!
//! Compared with that code itself: see `oracles/vpa` and `tests/conformance.rs`. Containers that
//! ran out of memory and resizes that the kubelet defers or refuses are not simulated.

use crate::time::{Micros, SECOND};
use crate::vpa::{Recommendation, VpaSettings};

/// `--pod-update-threshold`.
const UPDATE_THRESHOLD: f64 = 0.1;
/// `--in-recommendation-bounds-eviction-lifetime-threshold`: the minimum age of a pod that is
/// updated only because of the threshold.
const SETTLED_POD: Micros = 43_200 * SECOND;

/// A pod as the updater observes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// CPU request.
    pub millicores: i64,
    /// Memory request, bytes.
    pub memory: i64,
    /// Time since the pod was started.
    pub age: Micros,
    /// The pod's container does not run yet.
    pub pending: bool,
}

/// Priority of an update (`PodPriority`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Priority {
    pub(crate) outside: bool,
    pub(crate) grows: bool,
    pub(crate) change: f64,
}

/// The pods that are resized, in the updater's order. `replicas` is the Deployment's replica count.
pub fn updated(
    pods: &[Seen],
    replicas: i64,
    settings: &VpaSettings,
    cpu: &Recommendation,
    memory: &Recommendation,
) -> Vec<usize> {
    if (pods.len() as i64) < settings.min_replicas || replicas == 0 {
        return vec![];
    }
    let mut accepted: Vec<(usize, Priority)> = pods
        .iter()
        .enumerate()
        .filter(|(_, pod)| !pod.pending)
        .map(|(i, pod)| (i, priority(pod, cpu, memory)))
        .filter(|(i, p)| p.outside || (pods[*i].age >= SETTLED_POD && p.change >= UPDATE_THRESHOLD))
        .collect();
    // Pods that need more resources come first, then those with the largest change.
    accepted.sort_by(|(_, a), (_, b)| b.grows.cmp(&a.grows).then(b.change.total_cmp(&a.change)));
    let running = pods.iter().filter(|pod| !pod.pending).count() as i64;
    accepted.truncate(disruptable(running, replicas, settings.tolerance));
    accepted.into_iter().map(|(i, _)| i).collect()
}

/// Number of pods that may be disrupted in one round (`isPodDisruptable`).
fn disruptable(running: i64, replicas: i64, tolerance: f64) -> usize {
    let tolerated = (replicas as f64 * tolerance) as i64;
    let enough = (running - (replicas - tolerated)).max(0);
    let single = tolerated == 0 && running == replicas;
    enough.max(i64::from(single)) as usize
}

pub(crate) fn priority(pod: &Seen, cpu: &Recommendation, memory: &Recommendation) -> Priority {
    // Quantities are compared in thousandths.
    let resources = [(pod.millicores, cpu, 1), (pod.memory, memory, 1000)];
    let mut priority = Priority { outside: false, grows: false, change: 0.0 };
    for (requested, range, unit) in resources {
        priority.outside |= requested < range.lower || requested > range.upper;
        priority.grows |= range.target > requested;
        let [requested, target] = [requested, range.target].map(|amount| (amount * unit) as f64);
        priority.change += (requested.max(1.0) - target).abs() / requested.max(1.0);
    }
    priority
}

#[cfg(test)]
mod tests {
    //! Expected numbers are those of the VPA's documentation (`flags.md`, "features.md") and follow
    //! from `--eviction-tolerance` 0.5.
    use super::*;
    use crate::vpa::TOLERANCE;

    const CPU: Recommendation = Recommendation { target: 100, lower: 80, upper: 200 };
    const MEMORY: Recommendation = Recommendation { target: 250, lower: 250, upper: 10_000 };

    fn pods(requests: &[i64], age: Micros) -> Vec<Seen> {
        requests.iter().map(|m| Seen { millicores: *m, memory: 250, age, pending: false }).collect()
    }

    fn settings(min_replicas: i64) -> VpaSettings {
        VpaSettings { cpu: (0, i64::MAX), memory: (0.0, f64::MAX), min_replicas, tolerance: TOLERANCE }
    }

    #[test]
    fn half_of_the_replicas_are_disturbed_in_a_round_and_a_single_one_only_where_it_is_allowed() {
        let chosen = |count: usize, min: i64| {
            updated(&pods(&vec![50; count], 0), count as i64, &settings(min), &CPU, &MEMORY).len()
        };
        assert_eq!([1, 2, 5, 10].map(|count| chosen(count, 2)), [0, 1, 2, 5]);
        assert_eq!(chosen(1, 1), 1);
    }

    #[test]
    fn pods_that_do_not_run_yet_count_as_disturbed() {
        let mut five = pods(&[50; 5], 0);
        five[0].pending = true;
        assert_eq!(updated(&five, 5, &settings(1), &CPU, &MEMORY), [1]);
        five[1].pending = true;
        assert!(updated(&five, 5, &settings(1), &CPU, &MEMORY).is_empty());
    }

    #[test]
    fn within_the_range_only_a_pod_of_twelve_hours_is_changed_and_only_by_a_tenth() {
        let age = |hours: i64| hours * 3600 * SECOND;
        let chosen = |millicores: i64, hours: i64| {
            !updated(&pods(&[millicores], age(hours)), 1, &settings(1), &CPU, &MEMORY).is_empty()
        };
        assert!(!chosen(150, 11) && chosen(150, 12) && !chosen(105, 12));
        assert!(chosen(79, 0) && chosen(201, 0), "outside the range at once");
    }

    #[test]
    fn pods_that_need_more_come_first() {
        let four = pods(&[300, 50, 250, 70], 0);
        assert_eq!(updated(&four, 4, &settings(1), &CPU, &MEMORY), [1, 3]);
    }
}
