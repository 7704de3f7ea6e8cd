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
//! The deviation from the event loop is tested below and stated in `README.md`.

use std::collections::VecDeque;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use scenario::Outcome;
use scenario::rate::{RateCurve, uniform};

use crate::Autoscaler;
use crate::hpa::{Hpa, Observed, SYNC};
use crate::keda::Keda;
use crate::kpa::{Kpa, TICK};
use crate::plant::{Balance, Plant, PodSize};
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
        Autoscaler::HpaToZero(s) => (Controller::HpaToZero(Box::new(Hpa::at_zero(s.clone()))), 0),
    };
    let workers = (size.millicores as usize).div_ceil(1000).max(1);
    let usable = (size.millicores as f64 - plant.background_millicores).max(1.0);
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
        let period = match &self.controller {
            Controller::Kpa(_) => TICK,
            Controller::Hpa(_) | Controller::Keda(_) | Controller::HpaToZero(_) => SYNC,
        };
        let phases = if period == TICK { &self.plant.kpa_phases } else { &self.plant.hpa_phases };
        let given = phases.first().copied();
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

    /// Starts to send requests to pods that have become ready, and deletes drained pods.
    fn pods(&mut self) {
        let now = self.now;
        while self.draining.front().is_some_and(|d| d.1 <= now) {
            self.draining.pop_front();
        }
        let before = self.ready();
        let endpoint = self.plant.endpoint;
        // If the activator is in the path, it sends requests as soon as a pod answers a probe.
        let probe = matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied())
            .then_some(self.plant.activator_probe / 2);
        let serves = |c: &Cohort| {
            let ready = c.ready + endpoint;
            probe.map_or(ready, |probe| ready.min(c.running + probe))
        };
        let due = |c: &Cohort| serves(c) <= now + STEP / 2;
        let mut new: Vec<Cohort> = self.starting.iter().copied().filter(due).collect();
        if new.is_empty() {
            return;
        }
        self.starting.retain(|c| serves(c) > now + STEP / 2);
        new.sort_by_key(|c| c.ready);
        self.serving.extend(&new);
        let kept = before as f64 / self.ready() as f64;
        self.shares.iter_mut().for_each(|share| *share *= kept);
        self.shares[0] += 1.0 - kept;
        self.release();
    }

    /// The activator sends all requests that it holds to the first pod that answers its probe. What
    /// does not fit into that pod's queue is refused.
    fn release(&mut self) {
        let pods = self.ready() as f64;
        let hop = self.plant.hop + self.plant.activator_hop;
        let room = (self.shares.len() - 1) as f64;
        let mut place: f64 = 0.0;
        while let Some((at, count)) = self.held.pop_front() {
            let waited = self.now - at;
            let served = (place + count).min(room) - place;
            let ahead = (place + served / 2.0) / self.workers as f64;
            let latency = waited + hop + (ahead * self.service as f64) as Micros + self.service;
            let outcome = if latency >= self.timeout { Outcome::Timeout } else { Outcome::Ok };
            self.tally.add(at, latency.min(self.timeout), outcome, served);
            self.tally.add(at, waited, Outcome::Refused, count - served);
            place += served;
        }
        if place > 0.0 {
            // The distribution has whole numbers of requests per pod.
            let (low, part) = (place.floor() as usize, place.fract());
            let one = 1.0 / pods;
            self.shares[0] -= one;
            self.shares[low] += (1.0 - part) * one;
            if part > 0.0 {
                self.shares[low + 1] += part * one;
            }
        }
    }

    /// Simulates the requests of one step.
    fn requests(&mut self, requests: f64) {
        let mut load = Load::default();
        let pods = self.ready();
        let proxied = matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied());
        if requests > 0.0 && (pods == 0 || proxied) {
            self.first_report();
        }
        // Requests arrive throughout the step.
        let held = self.held.iter().map(|h| h.1).sum::<f64>() + if pods == 0 { requests / 2.0 } else { 0.0 };
        if pods == 0 {
            self.nobody(requests);
            load.unserved = requests / seconds(STEP);
        } else {
            let mut seen = vec![0.0; self.shares.len()];
            let steps = (STEP as f64 / self.service as f64).max(1.0);
            let arriving = requests / pods as f64 / steps;
            let balance = if proxied { Balance::LeastOfTwo } else { self.plant.balance };
            let mut left = steps;
            let mut moved = f64::INFINITY;
            while left > 0.0 {
                // The distribution is stationary: simulate the rest of the step at once.
                let steps = if moved < STEADY { left } else { left.min(1.0) };
                moved = self.service_time(arriving, balance, &mut seen, steps);
                left -= steps;
            }
            self.count(&seen, pods as f64, proxied);
            load.one = self.shares.iter().enumerate().map(|(k, share)| k as f64 * share).sum();
            load.all = load.one * pods as f64;
        }
        self.second += (load.all + held) * seconds(STEP);
        self.history.push_front(load);
        self.history.truncate((self.plant.metric_window / STEP) as usize);
    }

    /// Simulates one service time: each pod finishes the requests of its workers and receives new
    /// ones. `seen[k]` counts the requests that found `k` others in their pod; its last element
    /// counts refused requests. Returns the largest change of a share.
    fn service_time(&mut self, arriving: f64, balance: Balance, seen: &mut [f64], steps: f64) -> f64 {
        let most = self.shares.len() - 1;
        self.next.fill(0.0);
        let mut at_least = 1.0;
        for k in 0..=most {
            let share = self.shares[k];
            let more = f64::max(at_least - share, 0.0);
            if share > 0.0 {
                let left = k.saturating_sub(self.workers);
                let room = (most - left) as f64;
                let (mean, refused) = match balance {
                    Balance::RoundRobin => {
                        let (low, over) = (arriving.floor(), arriving.fract());
                        for (count, part) in [(low, 1.0 - over), (low + 1.0, over)] {
                            self.next[left + count.min(room) as usize] += share * part;
                        }
                        let refused =
                            (low - room).max(0.0) * (1.0 - over) + (low + 1.0 - room).max(0.0) * over;
                        (arriving, refused)
                    }
                    Balance::LeastOfTwo => {
                        // (at_least² − more²) / share
                        let mean = arriving * (at_least + more);
                        let (mut weight, mut rest, mut spare) = ((-mean).exp(), 1.0, 0.0);
                        for (count, to) in (left..most).enumerate() {
                            self.next[to] += share * weight;
                            rest -= weight;
                            spare += (room - count as f64) * weight;
                            weight *= mean / (count + 1) as f64;
                        }
                        self.next[most] += share * f64::max(rest, 0.0);
                        (mean, f64::max(mean - room + spare, 0.0))
                    }
                };
                seen[k.min(most - 1)] += share * (mean - refused) * steps;
                seen[most] += share * refused * steps;
            }
            at_least = more;
        }
        let moved = self.shares.iter().zip(&self.next).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        std::mem::swap(&mut self.shares, &mut self.next);
        moved
    }

    /// Counts requests by the number of others that they found in their pod.
    fn count(&mut self, seen: &[f64], pods: f64, proxied: bool) {
        let hop = self.plant.hop + if proxied { self.plant.activator_hop } else { 0 };
        let most = seen.len() - 1;
        for (k, count) in seen.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let count = count * pods;
            if k == most {
                self.tally.add(self.now, hop, Outcome::Refused, count);
                continue;
            }
            let ahead = (k + 1).saturating_sub(self.workers) as f64 / self.workers as f64;
            // On average, half of the request in service is already done.
            let wait = ((ahead - 0.5 / self.workers as f64).max(0.0) * self.service as f64) as Micros;
            let latency = hop + wait.min(self.plant.deadline) + self.service;
            let outcome = match (wait > self.plant.deadline, latency >= self.timeout) {
                (true, _) => Outcome::ServerError,
                (_, true) => Outcome::Timeout,
                _ => Outcome::Ok,
            };
            self.tally.add(self.now, latency, outcome, count);
        }
    }

    /// Handles requests for which there is no pod.
    fn nobody(&mut self, requests: f64) {
        if requests == 0.0 {
            return;
        }
        let now = self.now;
        if !matches!(self.controller, Controller::Kpa(_)) {
            self.tally.add(now, self.plant.hop, Outcome::Unavailable, requests);
            return;
        }
        self.held.push_back((now + STEP / 2, requests));
    }

    /// The activator reports the first request after a second without any at once, as in the event
    /// loop.
    fn first_report(&mut self) {
        if self.reporting.is_some() {
            return;
        }
        let Controller::Kpa(kpa) = &mut self.controller else { return };
        self.reporting = Some((self.now, 1.0));
        kpa.record(self.now + self.after_second, 1.0);
        if kpa.desired() == 0 {
            self.look();
        }
    }

    /// Reports the concurrency of the last second, as queue-proxies and activator do.
    fn report(&mut self) {
        let total = std::mem::take(&mut self.second);
        let serving = self.ready() > 0;
        if let Controller::Kpa(kpa) = &mut self.controller
            && (serving || total > 0.0 || self.reporting.is_some())
        {
            let (since, told) = self.reporting.unwrap_or((0, 0.0));
            let average = total / seconds((self.now - since).clamp(STEP, SECOND));
            kpa.record(self.now + self.after_second, (average - told).max(0.0));
            self.reporting = self.reporting.filter(|_| total > 0.0).map(|(since, _)| (since, 0.0));
        }
    }

    /// The rate over the window, as Prometheus computes it from many pods with scrapes at different
    /// times. For each pod, only the time between its first and last scrape in the window counts.
    fn windowed(&self, of: impl Fn(&Load) -> f64) -> f64 {
        let window = self.plant.metric_window as f64;
        let scrape = self.plant.scrape as f64;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (i, load) in self.history.iter().enumerate() {
            let age = (i as f64 + 0.5) * STEP as f64;
            let weight = (age / scrape).min((window - age) / scrape).clamp(0.0, 1.0);
            sum += weight * of(load);
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    fn look(&mut self) {
        let (now, current) = (self.now, self.replicas);
        let observed = self.observed();
        let value = self.windowed(|l| l.all);
        let unserved = self.windowed(|l| l.unserved);
        let replicas = match &mut self.controller {
            Controller::Kpa(kpa) => {
                // Some pods serve requests before they are ready.
                let ready = self.serving.iter().filter(|c| c.ready <= now).map(|c| c.pods).sum();
                let clock = now + self.after_second;
                kpa.evaluate(clock, ready);
                kpa.reconcile(clock, current, ready)
            }
            Controller::Hpa(hpa) => hpa.sync(now, current, &observed),
            Controller::Keda(keda) => keda.sync(now, current, value),
            Controller::HpaToZero(hpa) => {
                hpa.sync_to_zero(now, current, (value * 1000.0) as i64, unserved >= 0.001)
            }
        };
        self.scale_to(replicas);
    }

    fn poll(&mut self) {
        let values = [self.windowed(|l| l.all), self.windowed(|l| l.unserved)];
        let (now, current) = (self.now, self.replicas);
        if let Controller::Keda(keda) = &mut self.controller {
            let replicas = keda.poll(now, current, &values);
            self.scale_to(replicas);
        }
    }

    /// The pods as the HPA observes them. A pod has a metric from its second scrape on.
    fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        let one = self.windowed(|l| l.one);
        let mut sum = 0.0;
        for (cohort, serving) in
            self.starting.iter().map(|c| (c, false)).chain(self.serving.iter().map(|c| (c, true)))
        {
            if cohort.running > self.now {
                observed.pending += cohort.pods;
                continue;
            }
            let measured = (cohort.pods as f64 * self.scraped_twice(self.now - cohort.running)).round();
            observed.measured += measured as i64;
            observed.missing += cohort.pods - measured as i64;
            sum += if serving { one * measured } else { 0.0 };
        }
        observed.sum_milli = (sum * 1000.0) as i64;
        observed
    }

    /// Share of the pods of an age that have been scraped twice: the first scrape comes a uniform
    /// time within the interval after a uniform time within the period of discovery.
    fn scraped_twice(&self, age: Micros) -> f64 {
        let [age, scrape, discovery] =
            [age - self.plant.scrape, self.plant.scrape, self.plant.discovery.max(1)].map(|time| time as f64);
        let positive_squared = |x: f64| x.max(0.0) * x.max(0.0);
        let area = positive_squared(age) - positive_squared(age - scrape) - positive_squared(age - discovery)
            + positive_squared(age - scrape - discovery);
        (area / (2.0 * scrape * discovery)).clamp(0.0, 1.0)
    }

    fn scale_to(&mut self, replicas: i64) {
        if replicas == self.replicas {
            return;
        }
        self.series.desired.push((seconds(self.now), replicas as f64));
        let change = replicas - self.replicas;
        self.replicas = replicas;
        if change > 0 {
            self.start(change);
        } else {
            self.take(-change);
        }
    }

    /// Adds new pods. Each recorded start is used equally often, and the remainder is drawn at
    /// random.
    fn start(&mut self, pods: i64) {
        let starts = &self.plant.starts;
        let each = pods / starts.len() as i64;
        let mut counts = vec![each; starts.len()];
        for _ in 0..pods % starts.len() as i64 {
            let draw = (self.random.next_u64() % starts.len() as u64) as usize;
            counts[draw] += 1;
        }
        let new = starts.iter().zip(counts).filter(|(_, count)| *count > 0);
        self.starting.extend(new.map(|(start, pods)| Cohort {
            pods,
            running: self.now + start.running,
            ready: self.now + start.ready,
        }));
    }

    /// Removes pods: first those that are not ready, then the youngest.
    fn take(&mut self, mut pods: i64) {
        let gone = self.now + self.plant.drain;
        self.draining.push_back((pods, gone));
        self.starting.sort_by_key(|c| c.ready);
        for cohorts in [&mut self.starting, &mut self.serving] {
            while let Some(youngest) = cohorts.last_mut().filter(|_| pods > 0) {
                let taken = youngest.pods.min(pods);
                youngest.pods -= taken;
                pods -= taken;
                if youngest.pods == 0 {
                    cohorts.pop();
                }
            }
        }
    }
}
