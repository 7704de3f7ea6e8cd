//! The aggregated mode simulates how many pods have how many requests in flight, not single
//! requests and pods. Its run time does not grow with the request rate. It covers rates that are
//! too high for the event loop.
//!
//! The autoscalers are the same and are given whole numbers of pods. Between two evaluations,
//! requests are a rate and pods a distribution over their number of requests. In each service time,
//! a pod with `k` requests finishes as many as it has workers, and receives a Poisson number of new
//! ones (Crommelin's chain for M/D/c, exact for Poisson arrivals). If the less loaded of two pods
//! is chosen, the rate into pods with `k` requests depends on `k` (Mitzenmacher's limit for many
//! pods). With round robin, each pod receives the same rate. The number of requests in each step is
//! drawn from the seed.
//!
//! The deviation from the event loop is tested in `tests.rs` and stated in `README.md`.

mod cluster;
mod control;
mod gateway;

use std::collections::VecDeque;

use rand_pcg::Pcg64;
use scenario::Outcome;
use scenario::rate::{RateCurve, uniform};

use crate::Autoscaler;
use crate::hpa::Hpa;
use crate::keda::Keda;
use crate::kpa::{Kpa, TICK};
use crate::plant::{Plant, PodSize};
use crate::tally::Tally;
use crate::time::{Micros, SECOND, micros, seconds};

/// Step size: pods and rates change at multiples of this.
const STEP: Micros = SECOND / 4;
/// Random number stream of this mode; the event loop has its own.
const STREAM: u128 = 5;
/// If no share changes by more than this, the rest of the step uses the same distribution.
const STEADY: f64 = 1e-9;
/// Poisson counts above this are drawn from a normal distribution.
const MANY: f64 = 50.0;

/// Features that only the event loop simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A CPU quota with periods cannot be expressed as a distribution of requests.
    #[error("pods below one core under the kernel's quota are simulated request by request only")]
    Quota,
    /// The aggregated mode has pods of one size only.
    #[error("the VPA is simulated request by request only")]
    Vpa,
    /// In the aggregated mode, pods never wait for a node.
    #[error("limited room on the nodes is simulated request by request only")]
    Room,
}

/// Result of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Desired number of pods: `(second, pods)`, each valid until the next one.
    pub desired: Vec<(f64, f64)>,
    /// Number of ready pods, in the same form.
    pub ready: Vec<(f64, f64)>,
    /// Pod-seconds from scheduled to deleted.
    pub pod_seconds: f64,
}

/// Pods that were created together.
#[derive(Debug, Clone, Copy)]
struct Cohort {
    pods: i64,
    running: Micros,
    ready: Micros,
}

enum Controller {
    Kpa(Box<Kpa>),
    Hpa(Box<Hpa>),
    Keda(Box<Keda>),
    HpaToZero(Box<Hpa>),
}

/// Load in one step: requests in flight in all pods and in one pod, and the rate of requests for
/// which there was no pod.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    all: f64,
    one: f64,
    unserved: f64,
}

struct Aggregate<'a> {
    plant: &'a Plant,
    timeout: Micros,
    tally: &'a mut Tally,
    random: Pcg64,
    now: Micros,
    controller: Controller,
    replicas: i64,
    /// Pods that do not receive requests yet.
    starting: Vec<Cohort>,
    /// Pods that receive requests, the youngest last.
    serving: Vec<Cohort>,
    /// Pods that were removed: how many, and when they are deleted.
    draining: VecDeque<(i64, Micros)>,
    /// Share of the serving pods with `k` requests, by `k`.
    shares: Vec<f64>,
    /// Scratch space of the same length.
    next: Vec<f64>,
    /// Requests that the activator holds, with their arrival times.
    held: VecDeque<(Micros, f64)>,
    workers: usize,
    service: Micros,
    /// Loads of the last steps, the latest first, over the length of the rate window.
    history: VecDeque<Load>,
    /// Request-seconds since the last one-second statistics.
    second: f64,
    /// When the one-second statistics are reported, a multiple of the step within the second.
    reports: Micros,
    /// How far the run began after a whole second of the clock, as in the event loop.
    after_second: Micros,
    /// Since when the activator has counted requests, and the part of the count that it has already
    /// reported, as in the event loop.
    reporting: Option<(Micros, f64)>,
    series: Series,
}

/// Simulates a rate until a given time and counts the requests in the tally.
#[expect(clippy::too_many_arguments, reason = "the parameters of a run, in one call")]
pub fn simulate(
    rate: &RateCurve,
    plant: &Plant,
    size: PodSize,
    autoscaler: &Autoscaler,
    timeout: Micros,
    until: Micros,
    seed: u64,
    tally: &mut Tally,
) -> Result<Series, Unsupported> {
    if size.millicores < 1000 && plant.quota_period > 0 {
        return Err(Unsupported::Quota);
    }
    if plant.room_millicores.is_some() {
        return Err(Unsupported::Room);
    }
    let (controller, replicas) = match autoscaler {
        Autoscaler::Kpa(s) => (Controller::Kpa(Box::new(Kpa::new(s.clone(), 0, s.min_scale))), s.min_scale),
        Autoscaler::Hpa(_, Some(_)) => return Err(Unsupported::Vpa),
        Autoscaler::Hpa(s, None) => (Controller::Hpa(Box::new(Hpa::new(s.clone()))), s.min),
        Autoscaler::Keda(s) => (Controller::Keda(Box::new(Keda::new(s.clone()))), s.min),
        Autoscaler::HpaToZero(s) => (Controller::HpaToZero(Box::new(Hpa::at_zero(s.clone()))), s.min),
    };
    let workers = (size.millicores as usize).div_ceil(1000).max(1);
    let usable = plant.usable_millicores(size.millicores);
    let speed = (usable / 1000.0 / workers as f64).min(1.0);
    let service = ((plant.work as f64 / speed) as Micros).max(1);
    let most = workers + plant.queue;
    let long_ago = Cohort { pods: replicas, running: -600 * SECOND, ready: -600 * SECOND };
    let mut shares = vec![0.0; most + 1];
    shares[0] = 1.0;
    let run = Aggregate {
        plant,
        timeout,
        tally,
        random: Pcg64::new(u128::from(seed), STREAM),
        now: 0,
        controller,
        replicas,
        starting: vec![],
        serving: if replicas > 0 { vec![long_ago] } else { vec![] },
        draining: VecDeque::new(),
        next: shares.clone(),
        shares,
        held: VecDeque::new(),
        workers,
        service,
        history: VecDeque::new(),
        second: 0.0,
        reports: 0,
        after_second: 0,
        reporting: None,
        series: Series { desired: vec![(0.0, replicas as f64)], ..Series::default() },
    };
    Ok(run.run(rate, until))
}

impl Aggregate<'_> {
    fn run(mut self, rate: &RateCurve, until: Micros) -> Series {
        let (period, phases) = match &self.controller {
            Controller::Kpa(_) => (TICK, &self.plant.kpa_phases),
            Controller::Hpa(_) | Controller::Keda(_) | Controller::HpaToZero(_) => {
                (self.plant.hpa_sync, &self.plant.hpa_phases)
            }
        };
        let given = phases.first().map(|phase| phase.rem_euclid(period));
        let mut look = given.unwrap_or_else(|| (uniform(&mut self.random) * period as f64) as Micros);
        let polling = match &self.controller {
            Controller::Keda(keda) => micros(keda.settings().polling_s),
            _ => Micros::MAX,
        };
        let mut poll = (uniform(&mut self.random) * polling as f64) as Micros;
        self.reports = (uniform(&mut self.random) * (SECOND / STEP) as f64) as Micros * STEP;
        if self.plant.between_seconds {
            self.after_second = (uniform(&mut self.random) * SECOND as f64) as Micros;
        }
        let mut last_ready = -1;
        while self.now < until {
            self.give_up();
            self.pods();
            let ready = self.ready();
            if ready != last_ready {
                self.series.ready.push((seconds(self.now), ready as f64));
                last_ready = ready;
            }
            if self.now % SECOND == self.reports && self.now > 0 {
                self.report();
            }
            // The nearest step: on average neither too early nor too late.
            if self.now + STEP / 2 >= look {
                self.look();
                look += period;
            }
            if self.now >= poll {
                self.poll();
                poll += polling;
            }
            let from = seconds(self.now);
            let mean = rate.expected(from, (from + seconds(STEP)).min(rate.duration()));
            let requests = self.poisson(mean);
            self.requests(requests);
            let draining: i64 = self.draining.iter().map(|d| d.0).sum();
            let starting: i64 = self.starting.iter().map(|c| c.pods).sum();
            self.series.pod_seconds += (ready + starting + draining) as f64 * seconds(STEP);
            self.now += STEP;
        }
        while let Some((at, count)) = self.held.pop_front() {
            self.tally.add(at, self.timeout, Outcome::Timeout, count);
        }
        self.series
    }

    fn ready(&self) -> i64 {
        self.serving.iter().map(|c| c.pods).sum()
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean > MANY {
            // Box–Muller transform, rounded to whole requests.
            let radius = (-2.0 * (1.0 - uniform(&mut self.random)).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * uniform(&mut self.random)).cos();
            return (mean + normal * mean.sqrt()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), uniform(&mut self.random), 0.0);
        while product > limit {
            product *= uniform(&mut self.random);
            count += 1.0;
        }
        count
    }
}
