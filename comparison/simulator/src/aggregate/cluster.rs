//! Pods: asked for, started, ready and drained.

use rand_pcg::rand_core::Rng as _;

use super::{Aggregate, Cohort, Controller, STEP};
use crate::time::seconds;

impl Aggregate<'_> {
    /// Starts to send requests to pods that have become ready, and deletes drained pods.
    pub(super) fn pods(&mut self) {
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

    pub(super) fn scale_to(&mut self, replicas: i64) {
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
