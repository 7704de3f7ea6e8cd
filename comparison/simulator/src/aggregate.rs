//! The aggregated mode: no single requests and pods, but how many pods have how many requests in
//! them. Its time does not grow with the rate, so that it carries what no event loop can.
//!
//! The autoscalers are the same and see whole numbers of pods. Between two looks, requests are a
//! rate and pods a distribution: in each service time a pod with `k` requests finishes as many as
//! it has workers and is sent a Poisson number of new ones (Crommelin's chain for M/D/c, exact for
//! Poisson arrivals). Behind the less loaded of two pods, the rate into pods with `k` requests
//! depends on `k` (Mitzenmacher's limit for many pods); round robin sends each pod the same. The
//! number of requests in each step is drawn from the seed.
//!
//! How far this is from the event loop is tested below and stated in `README.md`.

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

/// Pods and rates change at multiples of this.
const STEP: Micros = SECOND / 4;
/// The stream of the random numbers; the event loop has its own.
const STREAM: u128 = 5;
/// A change of every share below this is none: the rest of the step is the same.
const STEADY: f64 = 1e-9;
/// Poisson counts above this are drawn from a normal distribution.
const MANY: f64 = 50.0;

/// Why something can only be simulated request by request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The quota's periods are no distribution of requests.
    #[error("pods below one core under the kernel's quota are simulated request by request only")]
    Quota,
    /// All pods are of one size.
    #[error("the VPA is simulated request by request only")]
    Vpa,
    /// Pods never wait for a node.
    #[error("limited room on the nodes is simulated request by request only")]
    Room,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// What the autoscaler wanted: `(second, pods)`, each valid until the next.
    pub desired: Vec<(f64, f64)>,
    /// Ready pods, the same.
    pub ready: Vec<(f64, f64)>,
    /// Pod-seconds from having a node to being gone.
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
}

/// Requests in flight in one step: in all pods, in one pod, and requests that found nobody.
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
    /// Pods that are not sent requests yet.
    starting: Vec<Cohort>,
    /// Pods that are, the youngest last.
    serving: Vec<Cohort>,
    /// Pods that were taken away: how many, and when they are gone.
    draining: VecDeque<(i64, Micros)>,
    /// Share of the serving pods with so many requests.
    shares: Vec<f64>,
    /// Scratch space of the same length.
    next: Vec<f64>,
    /// Requests that the activator holds, by when they came.
    held: VecDeque<(Micros, f64)>,
    workers: usize,
    service: Micros,
    /// The last steps, the latest first, as long as the rate window looks back.
    history: VecDeque<Load>,
    /// Request-seconds since the last second's statistics.
    second: f64,
    series: Series,
}

/// Runs a rate until a moment, counting requests in the tally.
#[expect(clippy::too_many_arguments, reason = "a run is all of these, once")]
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
        series: Series { desired: vec![(0.0, replicas as f64)], ..Series::default() },
    };
    Ok(run.run(rate, until))
}

impl Aggregate<'_> {
    fn run(mut self, rate: &RateCurve, until: Micros) -> Series {
        let period = match &self.controller {
            Controller::Kpa(_) => TICK,
            Controller::Hpa(_) | Controller::Keda(_) => SYNC,
        };
        let phases = if period == TICK { &self.plant.kpa_phases } else { &self.plant.hpa_phases };
        let given = phases.first().copied();
        let mut look = given.unwrap_or_else(|| (uniform(&mut self.random) * period as f64) as Micros);
        let polling = match &self.controller {
            Controller::Keda(keda) => micros(keda.settings().polling_s),
            _ => Micros::MAX,
        };
        let mut poll = (uniform(&mut self.random) * polling as f64) as Micros;
        let mut last_ready = -1;
        while self.now < until {
            self.pods();
            let ready = self.ready();
            if ready != last_ready {
                self.series.ready.push((seconds(self.now), ready as f64));
                last_ready = ready;
            }
            if self.now % SECOND == 0 && self.now > 0 {
                self.report();
            }
            if self.now >= look {
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
            // Box and Muller; whole, as requests are.
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

    /// Pods that have become ready are sent requests; drained ones are gone.
    fn pods(&mut self) {
        let now = self.now;
        while self.draining.front().is_some_and(|d| d.1 <= now) {
            self.draining.pop_front();
        }
        let before = self.ready();
        let endpoint = self.plant.endpoint;
        // In the path, the activator sends requests as soon as a probe is answered.
        let probe = matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied())
            .then_some(self.plant.activator_probe / 2);
        let serves = |c: &Cohort| {
            let ready = c.ready + endpoint;
            probe.map_or(ready, |probe| ready.min(c.running + probe))
        };
        let due = |c: &Cohort| serves(c) <= now;
        let mut new: Vec<Cohort> = self.starting.iter().copied().filter(due).collect();
        if new.is_empty() {
            return;
        }
        self.starting.retain(|c| serves(c) > now);
        new.sort_by_key(|c| c.ready);
        self.serving.extend(&new);
        let kept = before as f64 / self.ready() as f64;
        self.shares.iter_mut().for_each(|share| *share *= kept);
        self.shares[0] += 1.0 - kept;
        self.release();
    }

    /// What the activator holds goes to the pods, each the same.
    fn release(&mut self) {
        let pods = self.ready() as f64;
        let hop = self.plant.hop + self.plant.activator_hop;
        let room = (self.shares.len() - 1) as f64;
        let mut place = 0.0;
        while let Some((at, count)) = self.held.pop_front() {
            let each = count / pods;
            let waited = self.now - at;
            let served = (place + each).min(room) - f64::min(place, room);
            let ahead = (place + served / 2.0) / self.workers as f64;
            let latency = waited + hop + (ahead * self.service as f64) as Micros + self.service;
            let outcome = if latency >= self.timeout { Outcome::Timeout } else { Outcome::Ok };
            self.tally.add(at, latency.min(self.timeout), outcome, served * pods);
            self.tally.add(at, waited, Outcome::Refused, (each - served) * pods);
            place += each;
        }
        let place = place.min(room);
        if place > 0.0 {
            // Whole requests in whole pods.
            let (low, part) = (place.floor() as usize, place.fract());
            self.shares.fill(0.0);
            self.shares[low] = 1.0 - part;
            if part > 0.0 {
                self.shares[low + 1] = part;
            }
        }
    }

    /// One step's requests.
    fn requests(&mut self, requests: f64) {
        let mut load = Load::default();
        let pods = self.ready();
        if pods == 0 {
            self.nobody(requests);
            load.unserved = requests / seconds(STEP);
        } else {
            let mut seen = vec![0.0; self.shares.len()];
            let steps = (STEP as f64 / self.service as f64).max(1.0);
            let arriving = requests / pods as f64 / steps;
            let proxied = matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied());
            let balance = if proxied { Balance::LeastOfTwo } else { self.plant.balance };
            let mut left = steps;
            let mut moved = f64::INFINITY;
            while left > 0.0 {
                // Nothing changes any more: the rest of the step at once.
                let steps = if moved < STEADY { left } else { left.min(1.0) };
                moved = self.service_time(arriving, balance, &mut seen, steps);
                left -= steps;
            }
            self.count(&seen, pods as f64, proxied);
            load.one = self.shares.iter().enumerate().map(|(k, share)| k as f64 * share).sum();
            load.all = load.one * pods as f64;
        }
        let held: f64 = self.held.iter().map(|h| h.1).sum();
        self.second += (load.all + held) * seconds(STEP);
        self.history.push_front(load);
        self.history.truncate((self.plant.metric_window / STEP) as usize);
    }

    /// One service time: each pod finishes what its workers had, and is sent new requests. Counts
    /// in `seen` how many requests found how many others in their pod, and at its end those for
    /// which there was no room. Returns how much the shares have changed.
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

    /// Counts requests by how many they found in their pod.
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
            // Half of the first one ahead is done already.
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

    /// Requests that find no pod.
    fn nobody(&mut self, requests: f64) {
        if requests == 0.0 {
            return;
        }
        let now = self.now;
        let Controller::Kpa(kpa) = &mut self.controller else {
            self.tally.add(now, self.plant.hop, Outcome::Unavailable, requests);
            return;
        };
        let first = self.held.is_empty();
        self.held.push_back((now, requests));
        if first && kpa.desired() == 0 {
            kpa.record(now, 1.0);
            self.look();
        }
    }

    /// What queue-proxies and activator report each second.
    fn report(&mut self) {
        let concurrency = std::mem::take(&mut self.second);
        let serving = self.ready() > 0;
        if let Controller::Kpa(kpa) = &mut self.controller
            && (serving || concurrency > 0.0)
        {
            kpa.record(self.now, concurrency);
        }
    }

    /// The rate over the window, as scrapes of many pods at moments of their own see it: each
    /// counts what lies between its first and last scrape in the window.
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
        let replicas = match &mut self.controller {
            Controller::Kpa(kpa) => {
                // Some serve before they are ready.
                let ready = self.serving.iter().filter(|c| c.ready <= now).map(|c| c.pods).sum();
                kpa.evaluate(now, ready);
                kpa.reconcile(now, current, ready)
            }
            Controller::Hpa(hpa) => hpa.sync(now, current, &observed),
            Controller::Keda(keda) => keda.sync(now, current, value),
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

    /// What the HPA sees: a pod has a metric from its second scrape on.
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
            let scraped = (self.now - cohort.running) as f64 / self.plant.scrape as f64 - 1.0;
            let measured = (cohort.pods as f64 * scraped.clamp(0.0, 1.0)).round();
            observed.measured += measured as i64;
            observed.missing += cohort.pods - measured as i64;
            sum += if serving { one * measured } else { 0.0 };
        }
        observed.sum_milli = (sum * 1000.0) as i64;
        observed
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

    /// New pods: as many of each recorded start as there are, and the rest drawn.
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

    /// Pods that are not ready go first, then the youngest.
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
