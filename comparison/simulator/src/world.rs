//! The event loop. Arrivals pass gateway or activator to the pods, and each autoscaler evaluates
//! and acts with its own period.
//!
//! The end of a request is computed when it reaches its pod, because the pod serves in order of
//! arrival and the work is known. A request is one step, and its end needs no event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use scenario::Outcome;
use scenario::recording::Recording;

use crate::Autoscaler;
use crate::fleet::Fleet;
use crate::hpa::Hpa;
use crate::keda::Keda;
use crate::kpa::{Kpa, TICK};
use crate::plant::{Plant, PodSize};
use crate::time::{Micros, seconds};
use crate::vpa::{INTERVAL, Vpa};
use control::{Controller, METRICS_SERVER, Query};

mod cluster;
mod control;
mod gateway;

/// How one request ended: `(arrival, latency, outcome)`.
pub type Ended = (Micros, Micros, Outcome);

/// Random number stream of a world (the schedule has streams 1 and 2).
const STREAM: u128 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Events of a pod: its container runs, it is ready, it receives requests, it is deleted.
    Running(u32),
    Ready(u32),
    /// The activator's probe was answered.
    Probed(u32),
    Endpoint(u32),
    Gone(u32),
    /// Prometheus scrapes a pod.
    Scrape(u32),
    /// The one-second statistics that queue-proxies and activator report.
    Second,
    KpaTick,
    HpaSync,
    KedaPoll,
    /// Prometheus scrapes the gateway.
    ScrapeGateway,
    /// The kubelet reads the CPU use of a container; metrics-server scrapes the kubelet.
    Housekeeping(u32),
    MetricsServer,
    /// A round of the VPA's recommender before the load, a later one, and a round of its updater.
    VpaRecommends,
    VpaRound,
    VpaUpdate,
}

/// A pod that receives requests.
#[derive(Debug, Clone, Copy)]
struct Backend {
    id: u32,
    /// When it will have finished all its requests.
    idle_at: Micros,
}

/// A run in progress.
struct World<'a, S: FnMut(Ended)> {
    plant: &'a Plant,
    size: PodSize,
    timeout: Micros,
    ended: S,
    random: Pcg64,
    now: Micros,
    events: BinaryHeap<Reverse<(Micros, Event)>>,
    fleet: Fleet,
    /// The part that counts.
    counted: [Micros; 2],
    /// Pods that receive requests.
    endpoints: Vec<Backend>,
    /// For each thread of the gateway, the index of its next endpoint for round robin.
    turns: Vec<usize>,
    /// When the gateway's last request will have been answered.
    busy_until: Micros,
    /// Pods without a node, in the order of their creation.
    waiting: VecDeque<u32>,
    /// Millicores requested by scheduled pods.
    placed: i64,
    /// When the pods of the last second were scheduled.
    started: VecDeque<Micros>,
    /// Requests that the activator holds.
    held: VecDeque<Micros>,
    held_counted: Micros,
    held_integral: i64,
    /// Since when the activator has counted requests, and the part of the count that it has already
    /// reported.
    reporting: Option<(Micros, f64)>,
    /// Phase of Prometheus' discovery.
    discovered: Micros,
    /// How far the run began after a whole second of the clock. Knative's autoscaler sums its
    /// statistics by these.
    after_second: Micros,
    replicas: i64,
    controller: Controller,
    recording: Recording,
}

/// Simulates arrivals (in order of time) until a given time. Calls `ended` for each request that
/// ends, in no particular order, and returns what a cluster run would have recorded: the CPU time
/// of containers is that of the part that counts, if not all of it does.
#[expect(clippy::too_many_arguments, reason = "the parameters of a run, in one call")]
pub fn simulate(
    arrivals: impl Iterator<Item = Micros>,
    plant: &Plant,
    size: PodSize,
    autoscaler: &Autoscaler,
    timeout: Micros,
    until: Micros,
    counted: Option<[Micros; 2]>,
    seed: u64,
    ended: impl FnMut(Ended),
) -> Recording {
    let mut world = World::new(plant, size, autoscaler, timeout, seed, ended);
    world.counted = counted.unwrap_or([0, until]);
    world.run(arrivals, until)
}

impl<'a, S: FnMut(Ended)> World<'a, S> {
    fn new(
        plant: &'a Plant,
        size: PodSize,
        autoscaler: &Autoscaler,
        timeout: Micros,
        seed: u64,
        ended: S,
    ) -> Self {
        let replicas = match autoscaler {
            Autoscaler::Kpa(s) => s.min_scale,
            Autoscaler::Hpa(s, _) => s.min,
            Autoscaler::Keda(s) => s.min,
            Autoscaler::HpaToZero(s) => s.min,
        };
        let controller = match autoscaler {
            Autoscaler::Kpa(s) => Controller::Kpa(Box::new(Kpa::new(s.clone(), 0, replicas))),
            Autoscaler::Hpa(s, vpa) => {
                let vpa = vpa.map(|settings| Box::new(Vpa::new(settings)));
                Controller::Hpa(Box::new(Hpa::new(s.clone())), vpa)
            }
            Autoscaler::Keda(s) => Controller::Keda(Box::new(Keda::new(s.clone())), Query::default()),
            Autoscaler::HpaToZero(s) => {
                Controller::HpaToZero(Box::new(Hpa::at_zero(s.clone())), Query::default())
            }
        };
        let mut world = Self {
            plant,
            size,
            timeout,
            ended,
            random: Pcg64::new(u128::from(seed), STREAM),
            now: 0,
            events: BinaryHeap::new(),
            fleet: Fleet::default(),
            counted: [0, Micros::MAX],
            endpoints: Vec::new(),
            turns: vec![0; plant.gateway_workers.max(1)],
            busy_until: 0,
            waiting: VecDeque::new(),
            placed: 0,
            started: VecDeque::new(),
            held: VecDeque::new(),
            held_counted: 0,
            held_integral: 0,
            reporting: None,
            discovered: 0,
            after_second: 0,
            replicas,
            controller,
            recording: Recording { desired: vec![(0.0, replicas as f64)], ..Recording::default() },
        };
        let begin = world.vpa_begin(replicas);
        world.clocks(begin.as_ref());
        for i in 0..replicas as usize {
            let resized = begin.as_ref().and_then(|begin| begin.at_rest.get(i).copied());
            world.standing_pod(resized.map_or(size.millicores, |own| world.allowed(own)));
        }
        world
    }

    /// One of the recorded offsets, or without any a uniform one within the period.
    fn one_of(&mut self, moments: &[Micros], period: Micros) -> Micros {
        match moments {
            [] => self.below(period),
            // Recorded ones may be of another period.
            _ => moments[self.below(moments.len() as i64) as usize].rem_euclid(period),
        }
    }

    fn at(&mut self, when: Micros, event: Event) {
        self.events.push(Reverse((when, event)));
    }

    /// A uniform random number in `0..n`.
    fn below(&mut self, n: i64) -> i64 {
        // The upper half of the product is as uniform as 64 bits allow.
        ((u128::from(self.random.next_u64()) * n.max(1) as u128) >> 64) as i64
    }

    fn run(mut self, arrivals: impl Iterator<Item = Micros>, until: Micros) -> Recording {
        let mut arrivals = arrivals.peekable();
        while let Some(Reverse((when, _))) = self.events.peek() {
            let (when, waiting) = (*when, self.events.len());
            let to = when.min(until);
            // A request that activates a revision adds events, which may be due before the next
            // arrival.
            while self.events.len() == waiting {
                let Some(at) = arrivals.next_if(|at| *at <= to) else { break };
                self.now = at;
                self.arrive(at);
            }
            if self.events.len() != waiting {
                continue;
            }
            if when > until {
                break;
            }
            let Some(Reverse((_, event))) = self.events.pop() else { break };
            self.now = when;
            self.handle(event);
        }
        // Requests that are still held at the end were not answered.
        while let Some(at) = self.held.pop_front() {
            (self.ended)((at, self.timeout, Outcome::Timeout));
        }
        let mut recording = self.recording;
        recording.observed_s = seconds(until);
        recording.pods = self.fleet.into_records(self.plant, self.counted, until);
        recording
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Running(id) => {
                if let Some(member) = self.fleet.get(id) {
                    member.running = true;
                    member.started_at = Some(self.now);
                    let answers = self.now + member.answers;
                    member.record.started_s = Some(seconds(self.now));
                    let waits = (self.discovered - self.now).rem_euclid(self.plant.discovery.max(1));
                    let first = self.now + waits + self.below(self.plant.scrape);
                    self.at(first, Event::Scrape(id));
                    if matches!(self.controller, Controller::Hpa(_, Some(_))) {
                        self.housekeeping(id);
                    }
                    if matches!(self.controller, Controller::Kpa(_)) {
                        self.at(answers, Event::Probed(id));
                    }
                }
            }
            Event::Ready(id) => {
                let now = self.now;
                if let Some(member) = self.fleet.get(id).filter(|m| !m.leaving) {
                    member.ready = true;
                    member.ready_at = now;
                    member.record.ready.push((seconds(now), true));
                    self.at(self.now + self.plant.endpoint, Event::Endpoint(id));
                }
            }
            Event::Probed(id) => {
                // The activator probes pods only while it is in the path.
                if self.proxied() {
                    self.serve(id);
                }
            }
            Event::Endpoint(id) => {
                let recorded = !self.plant.answers.is_empty() && self.proxied();
                let answers = self.fleet.get(id).map(|m| m.started_at.unwrap_or(0) + m.answers);
                match answers.filter(|at| recorded && *at > self.now) {
                    Some(later) => self.at(later, Event::Endpoint(id)),
                    None => self.serve(id),
                }
            }
            Event::Gone(id) => self.gone(id),
            Event::Scrape(id) => {
                let now = self.now;
                if let Some(member) = self.fleet.get(id) {
                    member.pod.scrape(now);
                    self.at(self.now + self.plant.scrape, Event::Scrape(id));
                }
            }
            Event::Second => self.second(),
            Event::KpaTick => {
                self.kpa_tick();
                self.at(self.now + TICK, Event::KpaTick);
            }
            Event::HpaSync => {
                self.hpa_sync();
                self.at(self.now + self.plant.hpa_sync, Event::HpaSync);
            }
            Event::KedaPoll => self.keda_poll(),
            Event::ScrapeGateway => {
                if let Controller::Keda(_, query) | Controller::HpaToZero(_, query) = &mut self.controller {
                    query.gateway.add(self.now, query.unserved);
                }
                self.at(self.now + self.plant.scrape, Event::ScrapeGateway);
            }
            Event::Housekeeping(id) => self.housekeeping(id),
            Event::MetricsServer => {
                self.metrics_server();
                self.at(self.now + METRICS_SERVER, Event::MetricsServer);
            }
            Event::VpaRecommends => self.vpa_round(),
            Event::VpaRound => {
                self.vpa_round();
                self.at(self.now + INTERVAL, Event::VpaRound);
            }
            Event::VpaUpdate => {
                self.vpa_update();
                self.at(self.now + INTERVAL, Event::VpaUpdate);
            }
        }
    }

    /// Whether requests pass the activator.
    fn proxied(&self) -> bool {
        matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied())
    }
}
