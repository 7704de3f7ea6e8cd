//! The periodic evaluations of the autoscalers: their observations and their decisions.

use super::{Ended, Event, World};
use crate::fleet::Fleet;
use crate::hpa::{Hpa, Observed};
use crate::keda::Keda;
use crate::kpa::{Kpa, TICK};
use crate::plant::VpaBegin;
use crate::pod::Samples;
use crate::time::{Micros, SECOND, micros, seconds};
use crate::updater::Seen;
use crate::vpa::{INTERVAL, Vpa};

/// `--metric-resolution` of metrics-server.
pub(super) const METRICS_SERVER: Micros = 15 * SECOND;
/// The kubelet's `--housekeeping-interval`, to which it adds a random time of up to the same
/// length. Usage that metrics-server scrapes can be that old.
pub(super) const HOUSEKEEPING: Micros = 10 * SECOND;
/// Least run time of a container after which metrics-server reports its usage from one scrape
/// (`freshContainerMinMetricsResolution`). Otherwise it needs two scrapes.
const FRESH_CONTAINER: Micros = 10 * SECOND;

pub(super) enum Controller {
    Kpa(Box<Kpa>),
    Hpa(Box<Hpa>, Option<Box<Vpa>>),
    Keda(Box<Keda>, Query),
    HpaToZero(Box<Hpa>, Query),
}

/// The Prometheus queries of what scales to zero, KEDA or an HPA: the requests in flight in all
/// pods, and the requests per second for which the gateway found no pod. The latter only wake an
/// object at zero pods.
#[derive(Default)]
pub(super) struct Query {
    /// Counter of requests without a pod, in millionths like the other counters.
    pub(super) unserved: i64,
    pub(super) gateway: Samples,
    /// Samples of deleted pods, which Prometheus still has.
    pub(super) departed: Vec<Samples>,
}

impl Query {
    fn in_flight(&mut self, fleet: &Fleet, now: Micros, window: Micros) -> f64 {
        self.departed.retain(|samples| samples.last().is_some_and(|last| last > now - window));
        let pods = fleet.iter().map(|(_, member)| &member.pod.samples);
        pods.chain(&self.departed).filter_map(|samples| samples.rate(now, window)).sum()
    }

    fn unserved_rate(&self, now: Micros, window: Micros) -> f64 {
        self.gateway.rate(now, window).unwrap_or(0.0)
    }
}

impl<S: FnMut(Ended)> World<'_, S> {
    /// Draws one of the recorded VPA states, if possible one with the same number of pods.
    pub(super) fn vpa_begin(&mut self, pods: i64) -> Option<VpaBegin> {
        if !matches!(self.controller, Controller::Hpa(_, Some(_))) {
            return None;
        }
        let all: Vec<&VpaBegin> = self.plant.vpa_begins.iter().collect();
        let alike: Vec<&VpaBegin> =
            all.iter().copied().filter(|begin| begin.at_rest.len() as i64 == pods).collect();
        let from = if alike.is_empty() { all } else { alike };
        if from.is_empty() {
            return None;
        }
        let drawn = self.below(from.len() as i64) as usize;
        Some(from[drawn].clone())
    }

    /// Initial CPU request of a pod: a recorded size within this VPA's bounds, or the deployed
    /// size.
    pub(super) fn allowed(&self, millicores: i64) -> i64 {
        match &self.controller {
            Controller::Hpa(_, Some(vpa)) if millicores != self.size.millicores => vpa.allowed(millicores),
            _ => self.size.millicores,
        }
    }

    /// Starts the periodic tasks, each with its own phase.
    pub(super) fn clocks(&mut self, begin: Option<&VpaBegin>) {
        let second = self.below(SECOND);
        self.at(second, Event::Second);
        self.discovered = self.below(self.plant.discovery);
        if self.plant.between_seconds {
            self.after_second = self.below(SECOND);
        }
        match self.controller {
            Controller::Kpa(_) => {
                let phase = self.one_of(&self.plant.kpa_phases, TICK);
                self.at(phase, Event::KpaTick);
            }
            Controller::Hpa(_, ref vpa) => {
                let has_vpa = vpa.is_some();
                let phase = self.one_of(&self.plant.hpa_phases, self.plant.hpa_sync);
                self.at(phase, Event::HpaSync);
                if has_vpa {
                    let first = begin.map(|begin| begin.first);
                    let next = first.filter(|at| *at > 0).unwrap_or_else(|| self.below(INTERVAL));
                    if first == Some(0) {
                        self.at(0, Event::VpaRecommends);
                    }
                    self.at(next, Event::VpaRound);
                    let scrape = self.below(METRICS_SERVER);
                    self.at(scrape, Event::MetricsServer);
                    let known = begin.and_then(|begin| begin.updater);
                    let updater = known.unwrap_or_else(|| self.below(INTERVAL));
                    self.at(updater.rem_euclid(INTERVAL), Event::VpaUpdate);
                }
            }
            Controller::HpaToZero(..) => {
                let phase = self.one_of(&self.plant.hpa_phases, self.plant.hpa_sync);
                self.at(phase, Event::HpaSync);
                let phase = self.below(self.plant.scrape);
                self.at(phase, Event::ScrapeGateway);
            }
            Controller::Keda(ref keda, _) => {
                let polling = micros(keda.settings().polling_s);
                let phase = self.one_of(&self.plant.hpa_phases, self.plant.hpa_sync);
                self.at(phase, Event::HpaSync);
                let phase = self.below(polling);
                self.at(phase, Event::KedaPoll);
                let phase = self.below(self.plant.scrape);
                self.at(phase, Event::ScrapeGateway);
            }
        }
    }

    /// Takes the one-second statistics: the concurrency that queue-proxies and activator report,
    /// and the CPU use.
    pub(super) fn second(&mut self) {
        let now = self.now;
        self.count_held();
        let mut integral = std::mem::take(&mut self.held_integral);
        let mut used = 0;
        let mut serving = false;
        self.fleet.each(|member| {
            member.pod.advance(now);
            let grown = member.pod.integral() - member.pod.integral_before;
            member.pod.integral_before = member.pod.integral();
            used += member.pod.used - member.pod.used_before;
            member.pod.used_before = member.pod.used;
            // Until a pod is ready, its requests come through the activator, which reports them.
            if member.serving && !member.leaving {
                serving = true;
                integral += grown;
            }
        });
        self.recording.cores_used.push((seconds(now), seconds(used)));
        if let Controller::Kpa(kpa) = &mut self.controller
            && (serving || integral > 0 || self.reporting.is_some())
        {
            let (since, told) = self.reporting.unwrap_or((0, 0.0));
            let average = integral as f64 / (now - since).clamp(1, SECOND) as f64;
            kpa.record(now + self.after_second, (average - told).max(0.0));
            self.reporting = self.reporting.filter(|_| integral > 0).map(|(since, _)| (since, 0.0));
        }
        self.at(now + SECOND, Event::Second);
    }

    /// The activator reports the first request after a second without any at once, and subtracts it
    /// from its next report (`concurrency_reporter.go`). A revision at zero is then evaluated
    /// immediately.
    #[inline]
    pub(super) fn first_report(&mut self, at: Micros) {
        if self.reporting.is_some() {
            return;
        }
        self.reporting = Some((at, 1.0));
        let Controller::Kpa(kpa) = &mut self.controller else { return };
        kpa.record(at + self.after_second, 1.0);
        if kpa.desired() == 0 {
            self.kpa_tick();
        }
    }

    pub(super) fn kpa_tick(&mut self) {
        let ready = self.fleet.ready();
        let (now, current) = (self.now, self.replicas);
        let clock = now + self.after_second;
        let Controller::Kpa(kpa) = &mut self.controller else { return };
        kpa.evaluate(clock, ready);
        let replicas = kpa.reconcile(clock, current, ready);
        let seen = kpa.panic_average(clock) / ready.max(1) as f64 / kpa.settings().target();
        self.recording.seen.push((seconds(now), seen));
        self.scale_to(replicas);
    }

    pub(super) fn keda_poll(&mut self) {
        let (now, current) = (self.now, self.replicas);
        let Controller::Keda(keda, query) = &mut self.controller else { return };
        let window = self.plant.metric_window;
        let in_flight = query.in_flight(&self.fleet, now, window);
        let replicas = keda.poll(now, current, &[in_flight, query.unserved_rate(now, window)]);
        let polling = micros(keda.settings().polling_s);
        self.scale_to(replicas);
        self.at(now + polling, Event::KedaPoll);
    }

    pub(super) fn hpa_sync(&mut self) {
        let (now, current) = (self.now, self.replicas);
        let window = self.plant.metric_window;
        let queried = match &mut self.controller {
            Controller::Keda(keda, query) => {
                let value = query.in_flight(&self.fleet, now, window);
                Some((value, keda.settings().hpa.target_milli, keda.sync(now, current, value)))
            }
            Controller::HpaToZero(hpa, query) => {
                let value = query.in_flight(&self.fleet, now, window);
                let replicas = hpa.sync_object(now, current, value, query.unserved_rate(now, window));
                Some((value, hpa.settings().target_milli, replicas))
            }
            Controller::Kpa(_) | Controller::Hpa(..) => None,
        };
        if let Some((value, target_milli, replicas)) = queried {
            let target = target_milli as f64 / 1000.0;
            self.recording.seen.push((seconds(now), value / current.max(1) as f64 / target));
            self.scale_to(replicas);
            return;
        }
        let mut observed = Observed::default();
        for (_, member) in self.fleet.iter().filter(|(_, m)| !m.leaving) {
            if !member.running {
                observed.pending += 1;
            } else if let Some(value) = member.pod.rate_milli(now, window) {
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

    /// The kubelet reads a container's CPU counter, and schedules the next reading.
    pub(super) fn housekeeping(&mut self, id: u32) {
        let now = self.now;
        let Some(member) = self.fleet.get(id) else { return };
        member.pod.advance(now);
        member.counted = Some((now, member.pod.used));
        let next = now + HOUSEKEEPING + self.below(HOUSEKEEPING);
        self.at(next, Event::Housekeeping(id));
    }

    pub(super) fn metrics_server(&mut self) {
        self.fleet.each(|member| {
            let (Some(started), Some((at, used))) = (member.started_at, member.counted) else { return };
            let (from, before) = member.scraped.unwrap_or((started, 0));
            let long_enough = member.scraped.is_some() || at - from >= FRESH_CONTAINER;
            if at > from && long_enough {
                member.usage = Some((used - before) as f64 / (at - from) as f64);
            }
            member.scraped = Some((at, used));
        });
    }

    pub(super) fn vpa_round(&mut self) {
        let now = self.now;
        let Controller::Hpa(_, Some(vpa)) = &mut self.controller else { return };
        let background = self.plant.background_millicores;
        self.fleet.each(|member| {
            if let Some(usage) = member.usage {
                vpa.observe((usage * 1000.0 + background) as i64, now);
            }
        });
        let Some(recommendation) = vpa.recommendation() else { return };
        self.recording.vpa_target_cores.push((seconds(now), recommendation.target as f64 / 1000.0));
    }

    pub(super) fn vpa_update(&mut self) {
        let (now, replicas) = (self.now, self.replicas);
        let Controller::Hpa(_, Some(vpa)) = &mut self.controller else { return };
        let Some(recommended) = vpa.recommendation() else { return };
        let (millicores, to_memory) = (recommended.target, vpa.memory());
        let (ids, seen): (Vec<u32>, Vec<Seen>) = self
            .fleet
            .iter()
            .filter(|(_, member)| !member.leaving)
            .map(|(id, member)| {
                let memory = member.record.containers[0].requests.last().map_or(0.0, |r| r.2) as i64;
                let age = now - (member.record.created_s * SECOND as f64) as Micros;
                (id, Seen { millicores: member.pod.millicores, memory, age, pending: !member.running })
            })
            .unzip();
        for index in vpa.updates(&seen, replicas) {
            let member = self.fleet.existing(ids[index]);
            self.placed += millicores - member.pod.millicores;
            member.pod.resize(self.plant, millicores);
            let cores = millicores as f64 / 1000.0;
            member.record.containers[0].requests.push((seconds(now), cores, to_memory));
        }
        self.place();
    }
}
