//! The life cycle of pods: scheduling, start, and the choice of pods for removal.

use super::control::HOUSEKEEPING;
use super::{Backend, Controller, Ended, Event, World};
use crate::plant::Start;
use crate::pod::Pod;
use crate::time::{Micros, SECOND, seconds};

impl<S: FnMut(Ended)> World<'_, S> {
    pub(super) fn scale_to(&mut self, replicas: i64) {
        if replicas == self.replicas {
            return;
        }
        self.recording.desired.push((seconds(self.now), replicas as f64));
        self.replicas = replicas;
        let alive = self.fleet.iter().filter(|(_, m)| !m.leaving).count() as i64;
        (alive..replicas).for_each(|_| self.add_pod());
        self.place();
        (replicas..alive).for_each(|_| self.remove_pod());
    }

    /// Removes one pod. Kubernetes removes pods without a node first, then pods that are not ready,
    /// then the youngest.
    pub(super) fn remove_pod(&mut self) {
        let (now, drain) = (self.now, self.plant.drain);
        let live = self.fleet.iter().filter(|(_, m)| !m.leaving);
        let victim = live.max_by_key(|(id, m)| (m.record.scheduled_s.is_none(), !m.ready, m.ready_at, *id));
        let Some((id, _)) = victim else { return };
        let member = self.fleet.existing(id);
        member.leaving = true;
        if member.record.scheduled_s.is_none() {
            self.waiting.retain(|w| *w != id);
            self.fleet.gone(id, self.plant, self.counted, now);
            return;
        }
        if member.ready {
            member.record.ready.push((seconds(now), false));
        }
        let idle = member.pod.idle_at();
        self.endpoints.retain(|backend| backend.id != id);
        self.at((now + drain).max(idle), Event::Gone(id));
    }

    pub(super) fn gone(&mut self, id: u32) {
        let sidecar = self.sidecar();
        if let Some(member) = self.fleet.gone(id, self.plant, self.counted, self.now) {
            self.placed -= member.pod.millicores + sidecar;
            if let Controller::Keda(_, query) | Controller::HpaToZero(_, query) = &mut self.controller {
                query.departed.push(member.pod.samples);
            }
        }
        self.place();
    }

    pub(super) fn sidecar(&self) -> i64 {
        if matches!(self.controller, Controller::Kpa(_)) { self.plant.sidecar_millicores } else { 0 }
    }

    pub(super) fn add_pod(&mut self) {
        // The VPA's admission controller applies the recommendation to new pods.
        let recommended = match &self.controller {
            Controller::Hpa(_, Some(vpa)) => vpa.recommendation().map(|r| (r.target, vpa.memory())),
            _ => None,
        };
        let (millicores, memory) = recommended.unwrap_or((self.size.millicores, self.size.memory));
        let id = self.create(millicores, memory);
        self.waiting.push_back(id);
    }

    pub(super) fn create(&mut self, millicores: i64, memory: f64) -> u32 {
        // A placeholder: the start is drawn when the pod is scheduled.
        let start = self.plant.starts[0];
        let phase = self.below(self.plant.quota_period);
        let sidecar = matches!(self.controller, Controller::Kpa(_)).then_some(self.plant.sidecar_millicores);
        let pod = Pod::new(self.plant, millicores, phase, self.now);
        self.fleet.create(pod, memory, sidecar, start, self.now)
    }

    /// Schedules waiting pods while there is room.
    pub(super) fn place(&mut self) {
        let (now, sidecar) = (self.now, self.sidecar());
        let mut count = 0;
        for id in &self.waiting {
            let needed = self.fleet.existing(*id).pod.millicores + sidecar;
            if self.plant.room_millicores.is_some_and(|room| self.placed + needed > room) {
                break;
            }
            self.placed += needed;
            count += 1;
        }
        while self.started.front().is_some_and(|at| *at < now - SECOND) {
            self.started.pop_front();
        }
        let together = (count + self.started.len()) as u32;
        let recorded = (count > 0 && !self.plant.answers.is_empty()).then(|| {
            /// Least number of first answers to draw from. There is one a run only.
            const LEAST: usize = 2;
            similar(&self.plant.answers, together, LEAST, |answer| answer.1, |n| self.below(n)).0
        });
        for _ in 0..count {
            let answers = recorded.unwrap_or_else(|| self.below(self.plant.activator_probe));
            let id = self.waiting.pop_front().expect("counted above");
            let start = self.start(together);
            let member = self.fleet.existing(id);
            member.record.scheduled_s = Some(seconds(now));
            (member.start, member.answers) = (start, answers);
            self.started.push_back(now);
            self.at(now + start.running, Event::Running(id));
            self.at(now + start.ready, Event::Ready(id));
        }
    }

    /// Draws one of the recorded starts with a similar number of simultaneous starts.
    pub(super) fn start(&mut self, together: u32) -> Start {
        /// Least number of starts to draw from, so that the start of one pod is not repeated too
        /// often.
        const LEAST: usize = 8;
        similar(&self.plant.starts, together, LEAST, |start| start.together, |n| self.below(n))
    }

    /// Adds a pod that has long been ready and scraped when the run begins.
    pub(super) fn standing_pod(&mut self, millicores: i64) {
        const LONG_AGO: Micros = -600 * SECOND;
        // The VPA changes CPU and memory together.
        let memory = match &self.controller {
            Controller::Hpa(_, Some(vpa)) if millicores != self.size.millicores => vpa.memory(),
            _ => self.size.memory,
        };
        let id = self.create(millicores, memory);
        self.placed += self.fleet.existing(id).pod.millicores + self.sidecar();
        let phase = self.below(self.plant.scrape);
        let member = self.fleet.existing(id);
        (member.running, member.ready, member.serving) = (true, true, true);
        member.ready_at = LONG_AGO;
        member.started_at = Some(LONG_AGO);
        // The pod was idle before the run.
        (member.usage, member.counted, member.scraped) = (Some(0.0), Some((0, 0)), Some((0, 0)));
        let at = seconds(LONG_AGO);
        member.record.created_s = at;
        member.record.scheduled_s = Some(at);
        member.record.started_s = Some(at);
        member.record.ready.push((at, true));
        member.record.containers.iter_mut().for_each(|c| c.requests[0].0 = at);
        for i in (1..=8).rev() {
            member.pod.scrape(phase - i * self.plant.scrape);
        }
        self.endpoints.push(Backend { id, idle_at: 0 });
        self.at(phase, Event::Scrape(id));
        if matches!(self.controller, Controller::Hpa(_, Some(_))) {
            let looked = self.below(HOUSEKEEPING);
            self.at(looked, Event::Housekeeping(id));
        }
    }
}

/// Draws one of those recorded with the most similar number of simultaneous starts, from at least
/// as many as `least`.
fn similar<T: Copy>(
    all: &[T],
    together: u32,
    least: usize,
    number: impl Fn(&T) -> u32,
    below: impl FnOnce(i64) -> i64,
) -> T {
    let apart = |one: &T| number(one).abs_diff(together);
    let mut distances: Vec<u32> = all.iter().map(apart).collect();
    distances.sort_unstable();
    let furthest = distances[least.min(distances.len()) - 1];
    let near = || all.iter().filter(|one| apart(one) <= furthest);
    let draw = below(near().count() as i64) as usize;
    *near().nth(draw).expect("drawn from as many")
}
