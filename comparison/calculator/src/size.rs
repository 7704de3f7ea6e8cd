//! The expected size of a simulation, which is refused before it begins if it is too large.

use crate::request::{Offered, Pod};
use crate::settings::{Kind, Values};

/// Most requests of a simulation: about 10 s for each autoscaler.
pub const MOST_REQUESTS: f64 = 100e6;
/// Most seconds of all pods: about 20 s for each autoscaler. Each pod is looked at in each step of
/// an autoscaler, whether it has requests or not.
pub const MOST_POD_SECONDS: f64 = 500e6;
/// Times a single simulation's size that a search may have: about a minute.
const SEARCH: f64 = 3.0;

/// What a simulation is expected to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Requests.
    pub requests: f64,
    /// Seconds of all pods, from the load's mean.
    pub pod_seconds: f64,
}

impl Size {
    /// The size of one simulation. `values` are complete.
    pub fn of(offered: &Offered, pod: &Pod, kind: Kind, values: &Values) -> Self {
        let (least, most, target) = match kind {
            Kind::Kpa => {
                let share = values["target-utilization-percentage"] / 100.0;
                (values["min-scale"], values["max-scale"], values["target"] * share)
            }
            Kind::Hpa | Kind::HpaVpa | Kind::HpaZero => {
                (values["minReplicas"], values["maxReplicas"], values["averageValue"])
            }
            Kind::Keda => (values["minReplicaCount"], values["maxReplicaCount"], values["threshold"]),
        };
        // Knative's 0 is no limit.
        let most = if most == 0.0 { f64::INFINITY } else { most };
        let requests = offered.expected();
        let seconds = offered.duration() + pod.tail_s;
        // A request is in flight for its CPU time at least.
        let in_flight = requests * pod.service_ms / pod.millicores;
        // Not `clamp`: without a limit and without any time, the upper one is not a number.
        let pod_seconds = (in_flight / target).min(most * seconds).max(least * seconds);
        Self { requests, pod_seconds }
    }

    /// An error if it is too large for a page.
    pub fn check(self) -> Result<(), String> {
        self.within(1.0, "a page")
    }

    /// An error if a search of so many settings is too large for a page.
    pub fn check_search(self, settings: f64) -> Result<(), String> {
        let all = Self { requests: self.requests * settings, pod_seconds: self.pod_seconds * settings };
        all.within(SEARCH, "a search in a page")
    }

    fn within(self, times: f64, what: &str) -> Result<(), String> {
        let limits = [
            ("requests", self.requests, MOST_REQUESTS, "lower the rate, or shorten the load"),
            (
                "pod-seconds",
                self.pod_seconds,
                MOST_POD_SECONDS,
                "lower the least number of pods or the rate, or shorten the load",
            ),
        ];
        for (name, found, most, remedy) in limits {
            let most = most * times;
            if found > most {
                return Err(format!(
                    "about {:.0} million {name} are too many for {what}: at most {:.0} million; {remedy}",
                    found / 1e6,
                    most / 1e6
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::answer_text;

    fn ask(ask: &str, points: &serde_json::Value, minimum: f64) -> String {
        answer_text(
            &json!({
                "ask": ask, "kind": "kpa", "values": { "min-scale": minimum, "max-scale": 0 }, "seed": 1,
                "load": { "points": points },
                "pod": {
                    "service_ms": 8, "millicores": 1000, "memory_mib": 256, "start_s": 2, "drain_s": 6,
                    "hop_ms": 1, "queue": 16, "objective_ms": 500, "timeout_ms": 15000, "tail_s": 0,
                    "core_hour": 0.04, "gib_hour": 0.005,
                },
            })
            .to_string(),
        )
    }

    #[test]
    fn a_simulation_that_would_not_end_soon_is_refused_with_its_limit() {
        let day = |rate: f64| json!([[0, rate], [86_400, rate]]);
        let many = ask("simulate", &day(2000.0), 0.0);
        assert!(many.contains("173 million requests") && many.contains("at most 100 million"), "{many}");
        let pods = ask("simulate", &day(1.0), 10_000.0);
        assert!(pods.contains("864 million pod-seconds") && pods.contains("at most 500 million"), "{pods}");
        let slow = ask("frontier", &day(500.0), 0.0);
        assert!(slow.contains("a search in a page: at most 300 million"), "{slow}");
        assert!(!ask("simulate", &json!([[0, 1], [60, 1]]), 0.0).contains("error"));
    }

    #[test]
    fn nothing_can_be_searched_without_requests() {
        assert!(ask("frontier", &json!([[0, 0], [60, 0]]), 0.0).contains("no requests"));
    }
}
