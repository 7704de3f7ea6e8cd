//! The requests that a page can send.

use scenario::Scenario;
use scenario::rate::RateCurve;
use serde::Deserialize;
use simulator::plant::Start;
use simulator::time::micros;
use simulator::{Plant, PodSize};

use crate::settings::{Kind, Values};

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The shipped scenarios and their curves.
    Scenarios,
    /// The settings of each autoscaler.
    Fields,
    /// Simulates one autoscaler under a load.
    Simulate {
        /// The load.
        load: Load,
        /// Pod parameters and the latency objective.
        pod: Pod,
        /// The autoscaler.
        kind: Kind,
        /// Its settings.
        values: Values,
        /// Seed of the arrivals and of all other random numbers.
        seed: u64,
    },
    /// Tries random settings of one autoscaler under a load: good answers against cost.
    Frontier {
        /// The load.
        load: Load,
        /// Pod parameters and the latency objective.
        pod: Pod,
        /// The autoscaler.
        kind: Kind,
        /// Settings from which the search starts.
        values: Values,
        /// Seed of the arrivals and of all other random numbers.
        seed: u64,
    },
    /// Exports settings as a kustomize component.
    Export {
        /// The autoscaler.
        kind: Kind,
        /// Its settings.
        values: Values,
    },
    /// Imports settings from manifests.
    Import {
        /// YAML: one or more objects, or a kustomization with inline patches.
        text: String,
    },
}

/// A load.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Load {
    /// A shipped scenario: its name, the requests per second at a rate of 1.0, and a factor on its
    /// time.
    Scenario(String, f64, f64),
    /// `[second, requests per second]`, with linear interpolation between the points.
    Points(Vec<(f64, f64)>),
    /// Arrival times in seconds, in any order and with any origin.
    Arrivals(Vec<f64>),
}

/// Longest load that a page accepts: somewhat more than a week.
const LONGEST_S: f64 = 8.0 * 86_400.0;

/// A checked load.
pub enum Offered {
    /// A rate curve from which arrivals are drawn.
    Curve(RateCurve),
    /// Sorted arrival times; the first one is 0.
    Recorded(Vec<f64>),
}

impl Load {
    /// Checks the load and converts it.
    pub fn offered(&self) -> Result<Offered, String> {
        let offered = match self {
            Self::Scenario(name, scale, stretch) => {
                let scenario =
                    Scenario::shipped_named(name).ok_or(format!("there is no scenario {name:?}"))?;
                if !(*scale >= 0.0 && *stretch > 0.0 && stretch.is_finite()) {
                    return Err("the scale must not be negative, the stretch must be above zero".into());
                }
                Offered::Curve(scenario.rate.scaled(*stretch, *scale))
            }
            Self::Points(points) => {
                Offered::Curve(RateCurve::new(points.clone()).map_err(|error| error.to_string())?)
            }
            Self::Arrivals(moments) => {
                if moments.len() < 2 || moments.iter().any(|m| !m.is_finite()) {
                    return Err("at least two times in seconds are needed, one on each line".into());
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
        Ok(offered)
    }
}

impl Offered {
    /// Length of the load, seconds.
    pub fn duration(&self) -> f64 {
        match self {
            Self::Curve(curve) => curve.duration(),
            Self::Recorded(moments) => moments.last().copied().unwrap_or(0.0),
        }
    }

    /// Expected number of requests.
    pub fn expected(&self) -> f64 {
        match self {
            Self::Curve(curve) => curve.expected(0.0, curve.duration()),
            Self::Recorded(moments) => moments.len() as f64,
        }
    }
}

/// Pod parameters, the latency objective and prices.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// CPU time of one request, ms.
    pub service_ms: f64,
    /// CPU request and limit, millicores.
    pub millicores: f64,
    /// Memory request and limit, MiB.
    pub memory_mib: f64,
    /// Time from scheduled to ready, seconds.
    pub start_s: f64,
    /// Time from losing readiness to deletion, seconds.
    pub drain_s: f64,
    /// Network and gateway, ms.
    pub hop_ms: f64,
    /// Length of a pod's queue, requests.
    pub queue: f64,
    /// Latency objective, ms. A slower answer is not good.
    pub objective_ms: f64,
    /// Client timeout, ms.
    pub timeout_ms: f64,
    /// Time that is simulated after the end of the load, seconds.
    pub tail_s: f64,
    /// Price of a core per hour.
    pub core_hour: f64,
    /// Price of a GiB per hour.
    pub gib_hour: f64,
}

/// Share of the start time until the container runs. The scrape interval and the request deadline
/// are those of [`Plant::default`].
const RUNNING_SHARE: f64 = 0.5;

impl Pod {
    /// Converts the parameters to the simulator's types.
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
