//! What a page can ask.

use scenario::Scenario;
use scenario::rate::RateCurve;
use serde::Deserialize;
use simulator::plant::Start;
use simulator::time::micros;
use simulator::{Plant, PodSize};

use crate::settings::{Kind, Values};

/// A question.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The shipped scenarios and their curves.
    Scenarios,
    /// The settings of each autoscaler.
    Fields,
    /// One autoscaler under a load.
    Simulate {
        /// What is offered.
        load: Load,
        /// What pods are like, and when an answer is good.
        pod: Pod,
        /// Which autoscaler.
        kind: Kind,
        /// With what settings.
        values: Values,
        /// Of the arrivals and of all chances.
        seed: u64,
    },
    /// Random settings of one autoscaler under a load: good answers against cost.
    Frontier {
        /// What is offered.
        load: Load,
        /// What pods are like, and when an answer is good.
        pod: Pod,
        /// Which autoscaler.
        kind: Kind,
        /// Where the search begins.
        values: Values,
        /// Of the arrivals and of all chances.
        seed: u64,
    },
    /// Settings as a kustomize component.
    Export {
        /// Which autoscaler.
        kind: Kind,
        /// With what settings.
        values: Values,
    },
    /// Settings from manifests.
    Import {
        /// YAML: one or more objects, or a kustomization with patches in place.
        text: String,
    },
}

/// What is offered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Load {
    /// A shipped scenario: its name, requests a second for a rate of 1.0, a factor on its time.
    Scenario(String, f64, f64),
    /// `[second, requests a second]`, straight lines between them.
    Points(Vec<(f64, f64)>),
    /// Moments of requests in seconds, in any order and from any beginning.
    Arrivals(Vec<f64>),
}

/// Longer than a week is no page's work.
const LONGEST_S: f64 = 8.0 * 86_400.0;
/// More than this many requests an autoscaler take a page minutes.
const MOST_REQUESTS: f64 = 100e6;

/// A load, ready to be sent.
pub enum Offered {
    /// Drawn from a curve.
    Curve(RateCurve),
    /// As recorded, from second 0, in order.
    Recorded(Vec<f64>),
}

impl Load {
    /// Checks it.
    pub fn offered(&self) -> Result<Offered, String> {
        let offered = match self {
            Self::Scenario(name, scale, stretch) => {
                let scenario =
                    Scenario::shipped_named(name).ok_or(format!("there is no scenario {name:?}"))?;
                if !(*scale >= 0.0 && *stretch > 0.0 && stretch.is_finite()) {
                    return Err("scale and stretch are numbers above zero".into());
                }
                Offered::Curve(scenario.rate.scaled(*stretch, *scale))
            }
            Self::Points(points) => {
                Offered::Curve(RateCurve::new(points.clone()).map_err(|error| error.to_string())?)
            }
            Self::Arrivals(moments) => {
                if moments.len() < 2 || moments.iter().any(|m| !m.is_finite()) {
                    return Err("at least two moments, in seconds, one a line".into());
                }
                let mut moments = moments.clone();
                moments.sort_by(f64::total_cmp);
                let first = moments[0];
                moments.iter_mut().for_each(|m| *m -= first);
                Offered::Recorded(moments)
            }
        };
        if offered.duration() > LONGEST_S {
            return Err(format!(
                "{:.1} days are too long for a page: at most 8",
                offered.duration() / 86_400.0
            ));
        }
        if offered.expected() > MOST_REQUESTS {
            return Err(format!(
                "{:.0} million requests are too many for a page: at most 100 million",
                offered.expected() / 1e6
            ));
        }
        Ok(offered)
    }
}

impl Offered {
    /// Seconds.
    pub fn duration(&self) -> f64 {
        match self {
            Self::Curve(curve) => curve.duration(),
            Self::Recorded(moments) => moments.last().copied().unwrap_or(0.0),
        }
    }

    /// How many requests, about.
    pub fn expected(&self) -> f64 {
        match self {
            Self::Curve(curve) => curve.expected(0.0, curve.duration()),
            Self::Recorded(moments) => moments.len() as f64,
        }
    }
}

/// What pods are like, and what counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// CPU time of one request, ms.
    pub service_ms: f64,
    /// CPU request and limit.
    pub millicores: f64,
    /// Memory request and limit.
    pub memory_mib: f64,
    /// From having a node to ready.
    pub start_s: f64,
    /// From not ready to gone.
    pub drain_s: f64,
    /// Network and gateway, ms.
    pub hop_ms: f64,
    /// Requests that may wait in a pod.
    pub queue: f64,
    /// A slower answer is not good.
    pub objective_ms: f64,
    /// When a request is given up.
    pub timeout_ms: f64,
    /// Watched after the load.
    pub tail_s: f64,
    /// Price of a core for an hour.
    pub core_hour: f64,
    /// Price of a GiB for an hour.
    pub gib_hour: f64,
}

/// The scrape and the longest wait in a pod are the function's and Prometheus' own, as in
/// [`Plant::default`].
const RUNNING_SHARE: f64 = 0.5;

impl Pod {
    /// What the simulator is told.
    pub fn plant(&self) -> Result<(Plant, PodSize), String> {
        let bounds = [
            ("service time", self.service_ms, 0.01, 60_000.0),
            ("CPU", self.millicores, 10.0, 64_000.0),
            ("memory", self.memory_mib, 1.0, 1e6),
            ("start", self.start_s, 0.0, 3600.0),
            ("drain", self.drain_s, 0.0, 3600.0),
            ("network", self.hop_ms, 0.0, 10_000.0),
            ("queue", self.queue, 0.0, 10_000.0),
            ("objective", self.objective_ms, 0.1, 600_000.0),
            ("time-out", self.timeout_ms, 0.1, 3_600_000.0),
            ("tail", self.tail_s, 0.0, 86_400.0),
            ("price of a core", self.core_hour, 0.0, 1e6),
            ("price of a GiB", self.gib_hour, 0.0, 1e6),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{name}: {value} is not between {least} and {most}"));
            }
        }
        let start = micros(self.start_s);
        let plant = Plant {
            work: micros(self.service_ms / 1000.0).max(1),
            hop: micros(self.hop_ms / 1000.0),
            starts: vec![Start { running: (start as f64 * RUNNING_SHARE) as i64, ready: start, together: 1 }],
            drain: micros(self.drain_s),
            queue: self.queue as usize,
            ..Plant::default()
        };
        let size = PodSize { millicores: self.millicores as i64, memory: self.memory_mib * 1024.0 * 1024.0 };
        Ok((plant, size))
    }
}
