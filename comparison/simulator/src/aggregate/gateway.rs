//! Requests of one step: to pods, to the activator, or to nobody.

use scenario::Outcome;

use super::{Aggregate, Controller, Load, STEADY, STEP};
use crate::plant::Balance;
use crate::time::{Micros, seconds};

impl Aggregate<'_> {
    /// Requests whose clients have gone are held no longer: they ask for no pods, and take no place
    /// in one.
    pub(super) fn give_up(&mut self) {
        while let Some((at, count)) = self.held.pop_front_if(|(at, _)| self.now - *at >= self.timeout) {
            self.tally.add(at, self.timeout, Outcome::Timeout, count);
        }
    }

    /// The activator sends all requests that it holds to the first pod that answers its probe. What
    /// does not fit into that pod's queue is refused.
    pub(super) fn release(&mut self) {
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
    pub(super) fn requests(&mut self, requests: f64) {
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
                (true, _) => Outcome::Expired,
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
}
