//! A model of pods under a schedule: queues, cold starts, gateways; and the loop that lets an autoscaler act on it.

use std::collections::VecDeque;

use crate::hpa::{Hpa, HpaSettings, Observed, SYNC_S};
use crate::kpa::{Kpa, KpaSettings, TICK_S, Window};
use crate::vpa::{INTERVAL_S, Vpa};
use scenario::recording::{Container, Pod, Recording};
use scenario::schedule::{Arrival, Schedule};
use scenario::{Outcome, RequestRecord};

/// What a pod is like. Fill it from measurements: a simulation is as good as these.
#[derive(Debug, Clone)]
pub struct PodModel {
    /// Seconds of one core that a request takes.
    pub service_s: f64,
    /// From the decision to a ready pod, seconds.
    pub start_s: f64,
    /// Cores a pod has at first.
    pub cores: f64,
    /// Requests a pod holds besides those it works on; beyond, it answers 429.
    pub queue: usize,
    /// Memory request, bytes.
    pub memory: f64,
    /// From the first sign of a load to its being in the metric that the HPA is shown, seconds (scrape and rate window).
    pub metric_window_s: f64,
    /// When a request is given up, seconds.
    pub timeout_s: f64,
}

/// Which autoscaler acts.
#[derive(Debug, Clone)]
pub enum Autoscaler {
    /// Knative; the activator holds requests while there is no pod.
    Kpa(KpaSettings),
    /// HPA and, with its allowed range of cores, VPA; without a ready pod there is 503.
    Hpa(HpaSettings, Option<(f64, f64)>),
}

/// Time step of the model. Requests start and end at exact times within it; decisions fall on its grid.
const STEP_S: f64 = 0.1;
/// Queue-proxy's CPU request, which every Knative pod carries (cores), and its memory (none by default).
const SIDECAR_CORES: f64 = 0.025;

struct SimPod {
    record: Pod,
    cores: f64,
    ready_at: f64,
    /// Set when it was told to go; it finishes what it has.
    leaving: bool,
    /// When each of the requests it works on will be done; one a core.
    busy: Vec<f64>,
    waiting: VecDeque<usize>,
    /// Requests in flight, averaged over each of the last seconds.
    concurrency: VecDeque<f64>,
    integral: f64,
    used: f64,
    used_before: f64,
}

/// Runs a schedule and returns what a cluster run would: every request's fate, and the recording.
pub fn simulate(
    schedule: &Schedule,
    model: &PodModel,
    autoscaler: &Autoscaler,
    tail_s: f64,
) -> (Vec<RequestRecord>, Recording) {
    World::new(schedule, model, autoscaler).run(schedule.duration() + tail_s)
}

struct World<'a> {
    schedule: &'a Schedule,
    model: &'a PodModel,
    pods: Vec<SimPod>,
    requests: Vec<RequestRecord>,
    /// Requests held by the activator.
    held: VecDeque<usize>,
    held_integral: f64,
    next_arrival: usize,
    recording: Recording,
    knative: bool,
    brain: Brain,
    wanted: u32,
}

enum Brain {
    Kpa { kpa: Kpa, stable: Window, panic: Window, target: f64 },
    Hpa { hpa: Hpa, vpa: Option<Vpa>, target: f64 },
}

impl<'a> World<'a> {
    fn new(schedule: &'a Schedule, model: &'a PodModel, autoscaler: &Autoscaler) -> Self {
        let (brain, wanted) = match autoscaler {
            Autoscaler::Kpa(s) => {
                let panic_s = s.stable_window_s * s.panic_window_percentage / 100.0;
                let (stable, panic) = (Window::new(s.stable_window_s), Window::new(panic_s));
                (Brain::Kpa { kpa: Kpa::new(s.clone()), stable, panic, target: s.target }, s.min_scale)
            }
            Autoscaler::Hpa(s, vpa) => {
                let vpa = vpa.map(|(least, most)| Vpa::new(least, most));
                (Brain::Hpa { hpa: Hpa::new(s.clone()), vpa, target: s.target }, s.min)
            }
        };
        let blank = |a: &Arrival| RequestRecord {
            at_us: a.at.as_micros() as u64,
            late_us: 0,
            latency_us: (model.timeout_s * 1e6) as u64,
            outcome: Outcome::Timeout,
        };
        let mut world = World {
            schedule,
            model,
            pods: Vec::new(),
            requests: schedule.arrivals.iter().map(blank).collect(),
            held: VecDeque::new(),
            held_integral: 0.0,
            next_arrival: 0,
            recording: Recording { desired: vec![(0.0, f64::from(wanted))], ..Recording::default() },
            knative: matches!(brain, Brain::Kpa { .. }),
            brain,
            wanted,
        };
        // At rest: the pods that stand there anyway have long been ready.
        (0..wanted).for_each(|_| world.add_pod(-2.0 * model.start_s - 600.0));
        world
    }

    fn run(mut self, until: f64) -> (Vec<RequestRecord>, Recording) {
        let steps = (until / STEP_S).round() as u64;
        let every = |seconds: f64, step: u64| step.is_multiple_of((seconds / STEP_S).round() as u64);
        for step in 1..=steps {
            let now = step as f64 * STEP_S;
            self.serve(now);
            if every(1.0, step) {
                self.measure(now);
            }
            match self.brain {
                Brain::Kpa { .. } if every(TICK_S, step) => self.kpa_tick(now),
                Brain::Hpa { .. } if every(SYNC_S, step) => self.hpa_sync(now),
                _ => {}
            }
            if every(INTERVAL_S, step) {
                self.vpa_round(now);
            }
        }
        self.recording.observed_s = until;
        self.recording.pods = self.pods.into_iter().map(SimPod::into_record).collect();
        (self.requests, self.recording)
    }

    /// Lets arrivals in and work be done up to a moment.
    fn serve(&mut self, now: f64) {
        while let Some(arrival) =
            self.schedule.arrivals.get(self.next_arrival).filter(|a| a.at.as_secs_f64() < now)
        {
            let (request, at) = (self.next_arrival, arrival.at.as_secs_f64());
            self.next_arrival += 1;
            self.advance(at);
            self.arrive(request, at);
        }
        self.advance(now);
        while let Some(request) = self.held.pop_front() {
            let Some(pod) = self.least_loaded(now) else {
                self.held.push_front(request);
                break;
            };
            self.offer(pod, request, now);
        }
        self.held_integral += self.held.len() as f64 * STEP_S;
        for pod in &mut self.pods {
            pod.integral += (pod.busy.len() + pod.waiting.len()) as f64 * STEP_S;
            if pod.leaving && pod.busy.is_empty() && pod.waiting.is_empty() {
                pod.record.gone_s.get_or_insert(now);
            }
        }
    }

    fn arrive(&mut self, request: usize, at: f64) {
        match self.least_loaded(at) {
            Some(pod) => self.offer(pod, request, at),
            None if self.knative => {
                self.held.push_back(request);
                if self.wanted == 0 {
                    // The activator tells the autoscaler at once.
                    if let Brain::Kpa { kpa, .. } = &mut self.brain {
                        kpa.activate(at);
                    }
                    self.scale_to(1, at);
                }
            }
            None => self.finish(request, at, Outcome::Unavailable),
        }
    }

    fn least_loaded(&self, now: f64) -> Option<usize> {
        let ready = self.pods.iter().enumerate().filter(|(_, p)| !p.leaving && p.ready_at <= now);
        ready.min_by_key(|(_, p)| p.busy.len() + p.waiting.len()).map(|(i, _)| i)
    }

    fn offer(&mut self, pod: usize, request: usize, now: f64) {
        if self.pods[pod].busy.len() < self.pods[pod].workers() {
            let service = self.service_time(pod);
            self.start(pod, request, now, service);
        } else if self.pods[pod].waiting.len() < self.model.queue {
            self.pods[pod].waiting.push_back(request);
        } else {
            self.finish(request, now, Outcome::Refused);
        }
    }

    fn service_time(&self, pod: usize) -> f64 {
        self.model.service_s / self.pods[pod].cores.min(1.0)
    }

    fn start(&mut self, pod: usize, request: usize, now: f64, service: f64) {
        let done = now + service;
        self.pods[pod].busy.push(done);
        self.pods[pod].used += self.model.service_s;
        self.finish(request, done, Outcome::Ok);
    }

    fn finish(&mut self, request: usize, when: f64, outcome: Outcome) {
        let record = &mut self.requests[request];
        let latency = when - record.at_us as f64 / 1e6;
        if latency < self.model.timeout_s {
            record.latency_us = (latency.max(0.0) * 1e6) as u64;
            record.outcome = outcome;
        }
    }

    /// Ends work that is done by a moment and begins what waits for it, in the order of time.
    fn advance(&mut self, now: f64) {
        for pod in 0..self.pods.len() {
            while let Some(worker) = self.pods[pod].earliest().filter(|w| self.pods[pod].busy[*w] <= now) {
                let free_at = self.pods[pod].busy.swap_remove(worker);
                if let Some(request) = self.pods[pod].waiting.pop_front() {
                    let service = self.service_time(pod);
                    self.start(pod, request, free_at, service);
                }
            }
        }
    }

    /// Once a second: what queue-proxies, activator, Prometheus and metrics-server would see.
    fn measure(&mut self, now: f64) {
        let held = std::mem::take(&mut self.held_integral);
        let keep = self.model.metric_window_s.ceil().max(1.0) as usize;
        let mut total = held;
        for pod in &mut self.pods {
            let concurrency = std::mem::take(&mut pod.integral);
            total += concurrency;
            pod.concurrency.push_back(concurrency);
            pod.concurrency.drain(..pod.concurrency.len().saturating_sub(keep));
        }
        let grown = |p: &mut SimPod| p.used - std::mem::replace(&mut p.used_before, p.used);
        let used = self.pods.iter_mut().map(grown).sum();
        self.recording.cores_used.push((now, used));
        if let Brain::Kpa { stable, panic, .. } = &mut self.brain {
            if self.wanted == 0 && total == 0.0 {
                stable.clear();
                panic.clear();
            } else {
                stable.record(total);
                panic.record(total);
            }
        }
    }

    fn kpa_tick(&mut self, now: f64) {
        let ready = self.ready(now);
        let current = self.wanted;
        let Brain::Kpa { kpa, stable, panic, target } = &mut self.brain else { return };
        let desired = kpa.desired(now, stable.average(), panic.average(), ready);
        let applied = kpa.applied(now, desired, current, ready, panic.average());
        let seen = panic.average() / f64::from(ready.max(1)) / *target;
        self.recording.seen.push((now, seen));
        self.scale_to(applied, now);
    }

    fn hpa_sync(&mut self, now: f64) {
        let mut observed = Observed::default();
        for pod in self.pods.iter().filter(|p| !p.leaving) {
            match (pod.ready_at <= now, pod.concurrency.is_empty()) {
                (true, false) => {
                    observed.ready.push(pod.concurrency.iter().sum::<f64>() / pod.concurrency.len() as f64)
                }
                (true, true) => observed.missing += 1,
                (false, _) => observed.unready += 1,
            }
        }
        let current = self.wanted;
        let Brain::Hpa { hpa, target, .. } = &mut self.brain else { return };
        let mean = observed.ready.iter().sum::<f64>() / observed.ready.len().max(1) as f64;
        self.recording.seen.push((now, mean / *target));
        let replicas = hpa.sync(now, current, &observed);
        self.scale_to(replicas, now);
    }

    fn vpa_round(&mut self, now: f64) {
        let Brain::Hpa { vpa: Some(vpa), .. } = &mut self.brain else { return };
        let live = || self.pods.iter().filter(|p| !p.leaving && p.ready_at <= now);
        let pods = live().count().max(1) as f64;
        // metrics-server's view: usage of the last minute, per pod.
        let recent =
            self.recording.cores_used.iter().rev().take(INTERVAL_S as usize).map(|s| s.1).sum::<f64>()
                / INTERVAL_S;
        live().for_each(|_| vpa.observe(recent / pods, now));
        if let Some(recommendation) = vpa.recommendation() {
            self.recording.vpa_target_cores.push((now, recommendation.target));
        }
        let memory = self.model.memory;
        for pod in self.pods.iter_mut().filter(|p| !p.leaving && p.ready_at <= now) {
            if let Some(cores) = vpa.updates(pod.cores, now - pod.record.created_s) {
                pod.cores = cores;
                pod.record.containers[0].requests.push((now, cores, memory));
            }
        }
    }

    fn ready(&self, now: f64) -> u32 {
        self.pods.iter().filter(|p| !p.leaving && p.ready_at <= now).count() as u32
    }

    fn scale_to(&mut self, wanted: u32, now: f64) {
        if wanted == self.wanted {
            return;
        }
        self.recording.desired.push((now, f64::from(wanted)));
        let alive = self.pods.iter().filter(|p| !p.leaving).count() as u32;
        (alive..wanted).for_each(|_| self.add_pod(now));
        // Kubernetes takes pods that are not ready first, then the youngest.
        for _ in wanted..alive {
            let live = self.pods.iter_mut().filter(|p| !p.leaving);
            let victim =
                live.max_by(|a, b| a.ready_at.total_cmp(&b.ready_at)).expect("more pods than wanted");
            victim.leaving = true;
            victim.record.ready.push((now.max(victim.record.created_s), false));
            if victim.busy.is_empty() && victim.waiting.is_empty() {
                victim.record.gone_s = Some(now);
            }
        }
        self.wanted = wanted;
    }

    fn add_pod(&mut self, now: f64) {
        let ready_at = now + self.model.start_s;
        let container = |name: &str, cores: f64, memory: f64| Container {
            name: name.to_owned(),
            requests: vec![(now, cores, memory)],
            ..Container::default()
        };
        let mut containers = vec![container("eye-state", self.model.cores, self.model.memory)];
        if self.knative {
            containers.push(container("queue-proxy", SIDECAR_CORES, 0.0));
        }
        let record = Pod {
            name: format!("pod-{}", self.pods.len() + 1),
            created_s: now,
            scheduled_s: Some(now),
            started_s: None,
            ready: vec![(ready_at, true)],
            gone_s: None,
            containers,
            startup: std::collections::BTreeMap::new(),
        };
        self.pods.push(SimPod {
            record,
            cores: self.model.cores,
            ready_at,
            leaving: false,
            busy: Vec::new(),
            waiting: VecDeque::new(),
            concurrency: VecDeque::new(),
            integral: 0.0,
            used: 0.0,
            used_before: 0.0,
        });
    }
}

impl SimPod {
    /// The worker that is done first.
    fn earliest(&self) -> Option<usize> {
        (0..self.busy.len()).min_by(|a, b| self.busy[*a].total_cmp(&self.busy[*b]))
    }

    /// Requests it works on at once: one a core.
    fn workers(&self) -> usize {
        self.cores.ceil().max(1.0) as usize
    }

    fn into_record(mut self) -> Pod {
        self.record.containers[0].core_seconds = self.used;
        // Taken away before it ever became ready: that moment never came.
        if self.record.gone_s.is_some_and(|gone| gone <= self.ready_at) {
            self.record.ready.clear();
        }
        self.record
    }
}
