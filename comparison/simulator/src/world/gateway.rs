//! The way of a request: the gateway or the activator, which holds requests while there is no pod,
//! and the choice of a pod.

use scenario::Outcome;

use super::{Backend, Controller, Ended, World};
use crate::plant::Balance;
use crate::pod::Taken;
use crate::time::{Micros, SECOND};

impl<S: FnMut(Ended)> World<'_, S> {
    /// Starts to send requests to a pod.
    pub(super) fn serve(&mut self, id: u32) {
        if let Some(member) = self.fleet.get(id).filter(|m| !m.leaving && !m.serving) {
            member.serving = true;
            self.endpoints.push(Backend { id, idle_at: member.pod.idle_at() });
            self.release();
        }
    }

    #[inline]
    pub(super) fn arrive(&mut self, at: Micros) {
        if self.endpoints.is_empty() {
            self.arrive_at_nobody(at);
            return;
        }
        if self.proxied() {
            self.first_report(at);
            self.offer(at, at + self.plant.hop + self.plant.activator_hop, self.plant.activator_balance);
        } else {
            self.offer(at, at + self.plant.hop, self.plant.balance);
        }
    }

    fn arrive_at_nobody(&mut self, at: Micros) {
        if let Controller::Keda(_, query) | Controller::HpaToZero(_, query) = &mut self.controller {
            query.unserved += SECOND;
        }
        if !matches!(self.controller, Controller::Kpa(_)) {
            (self.ended)((at, self.plant.hop, Outcome::Unavailable));
            return;
        }
        self.count_held();
        self.held.push_back(at);
        self.first_report(at);
    }

    /// Counts the requests that the activator holds up to now. A client that has waited for its
    /// time-out goes away, and its request does not count from then on.
    pub(super) fn count_held(&mut self) {
        while let Some(at) = self.held.front().copied().filter(|at| self.now - at >= self.timeout) {
            self.count_held_until(at + self.timeout);
            self.held.pop_front();
            (self.ended)((at, self.timeout, Outcome::Timeout));
        }
        self.count_held_until(self.now);
    }

    fn count_held_until(&mut self, until: Micros) {
        self.held_integral += self.held.len() as i64 * (until - self.held_counted);
        self.held_counted = until;
    }

    /// Sends the requests that the activator holds to the pods.
    fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.count_held();
        while let Some(at) = self.held.pop_front() {
            let reached = self.now + self.plant.hop + self.plant.activator_hop;
            self.offer(at, reached, self.plant.activator_balance);
        }
    }

    /// The endpoint with fewer requests in flight; the first one if they are equal.
    #[inline]
    fn less_loaded(&mut self, a: usize, b: usize, reached: Micros) -> usize {
        let [one, other] = [self.endpoints[a], self.endpoints[b]];
        // Idle endpoints are decided without access to the pods, which do not fit into the
        // processor's caches.
        if one.idle_at <= reached {
            return a;
        }
        if other.idle_at <= reached {
            return b;
        }
        let mut load = |id: u32| {
            let pod = &mut self.fleet.existing(id).pod;
            pod.advance(reached);
            pod.in_flight()
        };
        if load(other.id) < load(one.id) { b } else { a }
    }

    /// Sends a request to one of the pods. It was sent at `sent` and reaches its pod at `reached`.
    #[inline]
    fn offer(&mut self, sent: Micros, reached: Micros, balance: Balance) {
        let count = self.endpoints.len();
        let chosen = match balance {
            _ if count == 1 => 0,
            Balance::RoundRobin => {
                let workers = self.turns.len();
                let alone = workers == 1 || self.busy_until <= reached;
                let worker = if alone { 0 } else { self.below(workers as i64) as usize };
                let turn = &mut self.turns[worker];
                *turn += 1;
                if *turn >= count {
                    *turn = 0;
                }
                *turn
            }
            Balance::LeastOfTwo => {
                let (a, mut b) = (self.below(count as i64) as usize, self.below(count as i64 - 1) as usize);
                b += usize::from(b >= a);
                self.less_loaded(a, b, reached)
            }
        };
        let endpoint = &mut self.endpoints[chosen];
        let member = self.fleet.existing(endpoint.id);
        let (end, outcome) = match member.pod.take(self.plant, reached) {
            Taken::Done(end) => {
                let [from, to] = self.counted;
                if (from..=to).contains(&sent) {
                    member.worked += self.plant.work;
                }
                (end, Outcome::Ok)
            }
            Taken::Refused => (reached, Outcome::Refused),
            Taken::Expired(end) => (end, Outcome::Expired),
        };
        endpoint.idle_at = endpoint.idle_at.max(end);
        self.busy_until = self.busy_until.max(end);
        let latency = end - sent;
        if latency >= self.timeout {
            (self.ended)((sent, self.timeout, Outcome::Timeout));
        } else {
            (self.ended)((sent, latency, outcome));
        }
    }
}
