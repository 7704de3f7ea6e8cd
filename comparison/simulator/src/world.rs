//! The event loop: arrivals go through gateway or activator to pods; autoscalers look and act on
//! their own clocks.
//!
//! A request's whole way is known when it reaches its pod (first come, first served, known work),
//! so that there is one step a request and no event for its end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use scenario::Outcome;
use scenario::recording::Recording;

use crate::Autoscaler;
use crate::fleet::Fleet;
use crate::hpa::{Hpa, Observed, SYNC};
use crate::keda::Keda;
use crate::kpa::{Kpa, TICK};
use crate::plant::{Balance, Plant, PodSize};
use crate::pod::{Pod, Samples, Taken};
use crate::time::{Micros, SECOND, micros, seconds};
use crate::vpa::{INTERVAL, Vpa};

/// How one request ended: `(arrival, latency, outcome)`.
pub type Ended = (Micros, Micros, Outcome);

/// The stream of the random numbers of a world (the schedule has streams 1 and 2).
const STREAM: u128 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A pod has a node; its container runs; it is ready; it is sent requests; it is gone.
    Running(u32),
    Ready(u32),
    /// The activator's probe was answered.
    Probed(u32),
    Endpoint(u32),
    Gone(u32),
    /// Prometheus scrapes a pod.
    Scrape(u32),
    /// The second's statistics, which queue-proxies and activator report.
    Second,
    KpaTick,
    HpaSync,
    KedaPoll,
    /// Prometheus scrapes the gateway.
    ScrapeGateway,
    /// The VPA's recommender, and its updater.
    VpaRound,
    VpaUpdate,
}

enum Controller {
    Kpa(Box<Kpa>),
    Hpa(Box<Hpa>, Option<Box<Vpa>>),
    Keda(Box<Keda>, Query),
}

/// What KEDA asks Prometheus for: requests in flight in all pods, by which the HPA scales, and
/// requests a second that the gateway found no pod for, which only wake an object at zero pods.
#[derive(Default)]
struct Query {
    /// Requests without a pod, in millionths: a counter like the others.
    unserved: i64,
    gateway: Samples,
    /// Of pods that are gone: Prometheus still has what it scraped.
    departed: Vec<Samples>,
}

impl Query {
    fn in_flight(&mut self, fleet: &Fleet, now: Micros, window: Micros) -> f64 {
        self.departed.retain(|samples| samples.last().is_some_and(|last| last > now - window));
        let pods = fleet.iter().map(|(_, member)| &member.pod.samples);
        pods.chain(&self.departed).filter_map(|samples| samples.rate(now, window)).sum()
    }
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
    /// Pods that are sent requests.
    endpoints: Vec<u32>,
    /// Whose turn it is.
    turn: usize,
    /// Pods without a node, in the order they were created.
    waiting: VecDeque<u32>,
    /// Millicores requested by pods that have a node.
    placed: i64,
    /// Requests that the activator holds.
    held: VecDeque<Micros>,
    held_counted: Micros,
    held_integral: i64,
    replicas: i64,
    controller: Controller,
    recording: Recording,
}

/// Runs arrivals (in the order of time) until a moment. Each request's end is told to `ended`, in
/// no particular order; what a cluster run would have recorded is returned.
#[expect(clippy::too_many_arguments, reason = "a run is all of these, once")]
pub fn simulate(
    arrivals: impl Iterator<Item = Micros>,
    plant: &Plant,
    size: PodSize,
    autoscaler: &Autoscaler,
    timeout: Micros,
    until: Micros,
    seed: u64,
    ended: impl FnMut(Ended),
) -> Recording {
    World::new(plant, size, autoscaler, timeout, seed, ended).run(arrivals, until)
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
        };
        let controller = match autoscaler {
            Autoscaler::Kpa(s) => Controller::Kpa(Box::new(Kpa::new(s.clone(), 0, replicas))),
            Autoscaler::Hpa(s, vpa) => {
                let vpa = vpa.map(|settings| Box::new(Vpa::new(settings)));
                Controller::Hpa(Box::new(Hpa::new(s.clone())), vpa)
            }
            Autoscaler::Keda(s) => Controller::Keda(Box::new(Keda::new(s.clone())), Query::default()),
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
            endpoints: Vec::new(),
            turn: 0,
            waiting: VecDeque::new(),
            placed: 0,
            held: VecDeque::new(),
            held_counted: 0,
            held_integral: 0,
            replicas,
            controller,
            recording: Recording { desired: vec![(0.0, replicas as f64)], ..Recording::default() },
        };
        world.clocks();
        (0..replicas).for_each(|_| world.standing_pod());
        world
    }

    /// Each component looks at moments of its own.
    fn clocks(&mut self) {
        let second = self.below(SECOND);
        self.at(second, Event::Second);
        match self.controller {
            Controller::Kpa(_) => {
                let phase = self.plant.kpa_phase.unwrap_or_else(|| self.below(TICK));
                self.at(phase, Event::KpaTick);
            }
            Controller::Hpa(_, ref vpa) => {
                let has_vpa = vpa.is_some();
                let phase = self.plant.hpa_phase.unwrap_or_else(|| self.below(SYNC));
                self.at(phase, Event::HpaSync);
                let phase = self.plant.vpa_phase.unwrap_or_else(|| self.below(INTERVAL));
                if has_vpa {
                    self.at(phase, Event::VpaRound);
                    let updater = self.below(INTERVAL);
                    self.at(updater, Event::VpaUpdate);
                }
            }
            Controller::Keda(ref keda, _) => {
                let polling = micros(keda.settings().polling_s);
                let phase = self.plant.hpa_phase.unwrap_or_else(|| self.below(SYNC));
                self.at(phase, Event::HpaSync);
                let phase = self.below(polling);
                self.at(phase, Event::KedaPoll);
                let phase = self.below(self.plant.scrape);
                self.at(phase, Event::ScrapeGateway);
            }
        }
    }

    fn at(&mut self, when: Micros, event: Event) {
        self.events.push(Reverse((when, event)));
    }

    /// A number in `0..n`.
    fn below(&mut self, n: i64) -> i64 {
        // The upper half of the product: as even as 64 bits allow.
        ((u128::from(self.random.next_u64()) * n.max(1) as u128) >> 64) as i64
    }

    fn run(mut self, arrivals: impl Iterator<Item = Micros>, until: Micros) -> Recording {
        let mut arrivals = arrivals.peekable();
        while let Some(Reverse((when, event))) = self.events.pop() {
            let to = when.min(until);
            while let Some(at) = arrivals.next_if(|at| *at <= to) {
                self.now = at;
                self.arrive(at);
            }
            if when > until {
                break;
            }
            self.now = when;
            self.handle(event);
        }
        // What is still held when nobody looks any more got no answer.
        while let Some(at) = self.held.pop_front() {
            (self.ended)((at, self.timeout, Outcome::Timeout));
        }
        let mut recording = self.recording;
        recording.observed_s = seconds(until);
        recording.pods = self.fleet.into_records(self.plant, until);
        recording
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Running(id) => {
                if let Some(member) = self.fleet.get(id) {
                    member.running = true;
                    member.record.started_s = Some(seconds(self.now));
                    let first = self.now + self.below(self.plant.scrape);
                    self.at(first, Event::Scrape(id));
                    if matches!(self.controller, Controller::Kpa(_)) {
                        let probed = self.now + self.below(self.plant.activator_probe);
                        self.at(probed, Event::Probed(id));
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
                // Out of the path, the activator probes nobody.
                if matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied()) {
                    self.serve(id);
                }
            }
            Event::Endpoint(id) => self.serve(id),
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
                self.at(self.now + SYNC, Event::HpaSync);
            }
            Event::KedaPoll => self.keda_poll(),
            Event::ScrapeGateway => {
                if let Controller::Keda(_, query) = &mut self.controller {
                    query.gateway.add(self.now, query.unserved);
                }
                self.at(self.now + self.plant.scrape, Event::ScrapeGateway);
            }
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

    /// A pod is sent requests from now on.
    fn serve(&mut self, id: u32) {
        if let Some(member) = self.fleet.get(id).filter(|m| !m.leaving && !m.serving) {
            member.serving = true;
            self.endpoints.push(id);
            self.release();
        }
    }

    #[inline]
    fn arrive(&mut self, at: Micros) {
        if self.endpoints.is_empty() {
            self.arrive_at_nobody(at);
            return;
        }
        let proxied = matches!(&self.controller, Controller::Kpa(kpa) if kpa.proxied());
        if proxied {
            self.offer(at, at + self.plant.hop + self.plant.activator_hop, Balance::LeastOfTwo);
        } else {
            self.offer(at, at + self.plant.hop, self.plant.balance);
        }
    }

    fn arrive_at_nobody(&mut self, at: Micros) {
        if let Controller::Keda(_, query) = &mut self.controller {
            query.unserved += SECOND;
        }
        let Controller::Kpa(kpa) = &mut self.controller else {
            (self.ended)((at, self.plant.hop, Outcome::Unavailable));
            return;
        };
        self.held_integral += self.held.len() as i64 * (at - self.held_counted);
        self.held_counted = at;
        self.held.push_back(at);
        // The activator tells at once of a first request, and a revision that is at zero is
        // evaluated at once.
        if self.held.len() == 1 && kpa.desired() == 0 {
            kpa.record(at, 1.0);
            self.kpa_tick();
        }
    }

    /// Lets what the activator holds go to the pods.
    fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.held_integral += self.held.len() as i64 * (self.now - self.held_counted);
        self.held_counted = self.now;
        while let Some(at) = self.held.pop_front() {
            if self.now - at >= self.timeout {
                (self.ended)((at, self.timeout, Outcome::Timeout));
                continue;
            }
            self.offer(at, self.now + self.plant.hop + self.plant.activator_hop, Balance::LeastOfTwo);
        }
    }

    /// Gives a request that was sent at `sent` and reaches its pod at `reached` to one of the pods.
    #[inline]
    fn offer(&mut self, sent: Micros, reached: Micros, balance: Balance) {
        let count = self.endpoints.len();
        let id = match balance {
            _ if count == 1 => self.endpoints[0],
            Balance::RoundRobin => {
                self.turn += 1;
                if self.turn >= count {
                    self.turn = 0;
                }
                self.endpoints[self.turn]
            }
            Balance::LeastOfTwo => {
                let (a, mut b) = (self.below(count as i64) as usize, self.below(count as i64 - 1) as usize);
                b += usize::from(b >= a);
                let [a, b] = [self.endpoints[a], self.endpoints[b]];
                let load = |fleet: &mut Fleet, id: u32| {
                    let pod = &mut fleet.existing(id).pod;
                    pod.advance(reached);
                    pod.in_flight()
                };
                if load(&mut self.fleet, b) < load(&mut self.fleet, a) { b } else { a }
            }
        };
        let (end, outcome) = match self.fleet.existing(id).pod.take(self.plant, reached) {
            Taken::Done(end) => (end, Outcome::Ok),
            Taken::Refused => (reached, Outcome::Refused),
            Taken::Expired(end) => (end, Outcome::ServerError),
        };
        let latency = end - sent;
        if latency >= self.timeout {
            (self.ended)((sent, self.timeout, Outcome::Timeout));
        } else {
            (self.ended)((sent, latency, outcome));
        }
    }

    /// What queue-proxies and activator report each second, and what is used.
    fn second(&mut self) {
        let now = self.now;
        self.held_integral += self.held.len() as i64 * (now - self.held_counted);
        self.held_counted = now;
        let mut integral = std::mem::take(&mut self.held_integral);
        let mut used = 0;
        let mut serving = false;
        self.fleet.each(|member| {
            member.pod.advance(now);
            let grown = member.pod.integral() - member.pod.integral_before;
            member.pod.integral_before = member.pod.integral();
            used += member.pod.used - member.pod.used_before;
            member.pod.used_before = member.pod.used;
            // What a pod does before it is ready comes through the activator, which tells of it.
            if member.serving && !member.leaving {
                serving = true;
                integral += grown;
            }
        });
        self.recording.cores_used.push((seconds(now), seconds(used)));
        if let Controller::Kpa(kpa) = &mut self.controller
            && (serving || integral > 0)
        {
            kpa.record(now, integral as f64 / SECOND as f64);
        }
        self.at(now + SECOND, Event::Second);
    }

    fn kpa_tick(&mut self) {
        let ready = self.fleet.ready();
        let (now, current) = (self.now, self.replicas);
        let Controller::Kpa(kpa) = &mut self.controller else { return };
        kpa.evaluate(now, ready);
        let replicas = kpa.reconcile(now, current, ready);
        let seen = kpa.panic_average(now) / ready.max(1) as f64 / kpa.settings().target();
        self.recording.seen.push((seconds(now), seen));
        self.scale_to(replicas);
    }

    fn keda_poll(&mut self) {
        let (now, current) = (self.now, self.replicas);
        let Controller::Keda(keda, query) = &mut self.controller else { return };
        let window = self.plant.metric_window;
        let in_flight = query.in_flight(&self.fleet, now, window);
        let unserved = query.gateway.rate(now, window).unwrap_or(0.0);
        let replicas = keda.poll(now, current, &[in_flight, unserved]);
        let polling = micros(keda.settings().polling_s);
        self.scale_to(replicas);
        self.at(now + polling, Event::KedaPoll);
    }

    fn hpa_sync(&mut self) {
        let (now, current) = (self.now, self.replicas);
        if let Controller::Keda(keda, query) = &mut self.controller {
            let value = query.in_flight(&self.fleet, now, self.plant.metric_window);
            let target = keda.settings().hpa.target_milli as f64 / 1000.0;
            self.recording.seen.push((seconds(now), value / current.max(1) as f64 / target));
            let replicas = keda.sync(now, current, value);
            self.scale_to(replicas);
            return;
        }
        let mut observed = Observed::default();
        for (_, member) in self.fleet.iter().filter(|(_, m)| !m.leaving) {
            if !member.running {
                observed.pending += 1;
            } else if let Some(value) = member.pod.rate_milli(self.now, self.plant.metric_window) {
                observed.measured += 1;
                observed.sum_milli += value;
            } else {
                observed.missing += 1;
            }
        }
        let Controller::Hpa(hpa, _) = &mut self.controller else { return };
        if observed.measured > 0 {
            let average = observed.sum_milli / observed.measured;
            let seen = average as f64 / hpa.settings().target_milli as f64;
            self.recording.seen.push((seconds(now), seen));
        }
        let replicas = hpa.sync(now, current, &observed);
        self.scale_to(replicas);
    }

    fn vpa_round(&mut self) {
        let now = self.now;
        let Controller::Hpa(_, Some(vpa)) = &mut self.controller else { return };
        // metrics-server's view: each pod's usage since the last round.
        let since = now - INTERVAL;
        let background = self.plant.background_millicores;
        self.fleet.each(|member| {
            if !member.ready {
                return;
            }
            let from = since.max(member.ready_at);
            // A pod that is younger than a few samples of metrics-server (15 s) has no usage yet.
            if member.ready_at < 0 || now - from >= INTERVAL / 4 {
                member.pod.advance(now);
                let used = member.pod.used - std::mem::replace(&mut member.used_at_round, member.pod.used);
                let millicores = used as f64 / (now - from).max(SECOND) as f64 * 1000.0 + background;
                vpa.observe(millicores as i64, now);
            }
        });
        let Some(recommendation) = vpa.recommendation() else { return };
        self.recording.vpa_target_cores.push((seconds(now), recommendation.target as f64 / 1000.0));
    }

    fn vpa_update(&mut self) {
        let now = self.now;
        let Controller::Hpa(_, Some(vpa)) = &mut self.controller else { return };
        let to_memory = vpa.memory();
        let (plant, placed) = (self.plant, &mut self.placed);
        self.fleet.each(|member| {
            if !member.ready || member.leaving {
                return;
            }
            let age = now - (member.record.created_s * SECOND as f64) as Micros;
            let memory = member.record.containers[0].requests.last().map_or(0.0, |r| r.2);
            if let Some(millicores) = vpa.updates(member.pod.millicores, memory, age) {
                *placed += millicores - member.pod.millicores;
                member.pod.resize(plant, millicores);
                let cores = millicores as f64 / 1000.0;
                member.record.containers[0].requests.push((seconds(now), cores, to_memory));
            }
        });
        self.place();
    }

    fn scale_to(&mut self, replicas: i64) {
        if replicas == self.replicas {
            return;
        }
        self.recording.desired.push((seconds(self.now), replicas as f64));
        self.replicas = replicas;
        let alive = self.fleet.iter().filter(|(_, m)| !m.leaving).count() as i64;
        (alive..replicas).for_each(|_| self.add_pod());
        (replicas..alive).for_each(|_| self.remove_pod());
    }

    /// Kubernetes takes pods without a node first, then pods that are not ready, then the youngest.
    fn remove_pod(&mut self) {
        let (now, drain) = (self.now, self.plant.drain);
        let live = self.fleet.iter().filter(|(_, m)| !m.leaving);
        let victim = live.max_by_key(|(id, m)| (m.record.scheduled_s.is_none(), !m.ready, m.ready_at, *id));
        let Some((id, _)) = victim else { return };
        let member = self.fleet.existing(id);
        member.leaving = true;
        if member.record.scheduled_s.is_none() {
            self.waiting.retain(|w| *w != id);
            self.fleet.gone(id, self.plant, now);
            return;
        }
        if member.ready {
            member.record.ready.push((seconds(now), false));
        }
        let idle = member.pod.idle_at();
        self.endpoints.retain(|e| *e != id);
        self.at((now + drain).max(idle), Event::Gone(id));
    }

    fn gone(&mut self, id: u32) {
        let sidecar = self.sidecar();
        if let Some(member) = self.fleet.gone(id, self.plant, self.now) {
            self.placed -= member.pod.millicores + sidecar;
            if let Controller::Keda(_, query) = &mut self.controller {
                query.departed.push(member.pod.samples);
            }
        }
        self.place();
    }

    fn sidecar(&self) -> i64 {
        if matches!(self.controller, Controller::Kpa(_)) { self.plant.sidecar_millicores } else { 0 }
    }

    fn add_pod(&mut self) {
        // The VPA's admission controller gives new pods what is recommended.
        let recommended = match &self.controller {
            Controller::Hpa(_, Some(vpa)) => vpa.recommendation().map(|r| (r.target, vpa.memory())),
            _ => None,
        };
        let (millicores, memory) = recommended.unwrap_or((self.size.millicores, self.size.memory));
        let id = self.create(millicores, memory);
        self.waiting.push_back(id);
        self.place();
    }

    fn create(&mut self, millicores: i64, memory: f64) -> u32 {
        let start = self.plant.starts[self.below(self.plant.starts.len() as i64) as usize];
        let phase = self.below(self.plant.quota_period);
        let sidecar = matches!(self.controller, Controller::Kpa(_)).then_some(self.plant.sidecar_millicores);
        let pod = Pod::new(self.plant, millicores, phase, self.now);
        self.fleet.create(pod, memory, sidecar, start, self.now)
    }

    /// Gives pods that wait a node, as far as there is room.
    fn place(&mut self) {
        while let Some(&id) = self.waiting.front() {
            let needed = self.fleet.existing(id).pod.millicores + self.sidecar();
            if self.plant.room_millicores.is_some_and(|room| self.placed + needed > room) {
                return;
            }
            self.waiting.pop_front();
            self.placed += needed;
            let now = seconds(self.now);
            let member = self.fleet.existing(id);
            member.record.scheduled_s = Some(now);
            let start = member.start;
            self.at(self.now + start.running, Event::Running(id));
            self.at(self.now + start.ready, Event::Ready(id));
        }
    }

    /// At rest: a pod that has long been ready and scraped.
    fn standing_pod(&mut self) {
        const LONG_AGO: Micros = -600 * SECOND;
        let id = self.create(self.size.millicores, self.size.memory);
        self.placed += self.fleet.existing(id).pod.millicores + self.sidecar();
        let phase = self.below(self.plant.scrape);
        let member = self.fleet.existing(id);
        (member.running, member.ready, member.serving) = (true, true, true);
        member.ready_at = LONG_AGO;
        let at = seconds(LONG_AGO);
        member.record.created_s = at;
        member.record.scheduled_s = Some(at);
        member.record.started_s = Some(at);
        member.record.ready.push((at, true));
        member.record.containers.iter_mut().for_each(|c| c.requests[0].0 = at);
        for i in (1..=8).rev() {
            member.pod.scrape(phase - i * self.plant.scrape);
        }
        self.endpoints.push(id);
        self.at(phase, Event::Scrape(id));
    }
}
