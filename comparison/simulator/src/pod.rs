//! One pod: its CPU quota, its queue, and its metrics.

use std::collections::VecDeque;

use crate::plant::Plant;
use crate::time::{Micros, SECOND};

/// Outcome of a request in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Answered at this time.
    Done(Micros),
    /// Refused because the queue is full.
    Refused,
    /// Dropped at this time without being computed, because it waited too long.
    Expired(Micros),
}

/// CPU time available to a pod. A pod below one core gets its quota at the start of each period and
/// uses it at full speed. It is throttled for the rest of the period (the kernel's `cpu.max`).
#[derive(Debug, Clone)]
struct Quota {
    /// Length of a period; 0: constant speed.
    period: Micros,
    phase: Micros,
    /// CPU time per period.
    quota: Micros,
    /// Number of the period to which `left` belongs.
    current: i64,
    left: Micros,
    /// Share of a core for one worker, if there are no periods.
    speed: f64,
}

impl Quota {
    fn new(plant: &Plant, millicores: i64, phase: Micros) -> Self {
        let mut quota = Self { period: 0, phase, quota: 0, current: i64::MIN, left: 0, speed: 1.0 };
        quota.resize(plant, millicores);
        quota
    }

    fn resize(&mut self, plant: &Plant, millicores: i64) {
        self.period = if millicores < 1000 { plant.quota_period } else { 0 };
        let usable = plant.usable_millicores(millicores);
        let workers = workers(millicores) as f64;
        self.speed = (usable / 1000.0 / workers).min(1.0);
        self.quota = ((usable / 1000.0 * self.period as f64) as Micros).max(1);
    }

    /// When an amount of work ends that begins at a given time.
    #[inline]
    fn finish(&mut self, mut at: Micros, mut work: Micros) -> Micros {
        if self.period == 0 {
            return at + (work as f64 / self.speed) as Micros;
        }
        let period = (at - self.phase).div_euclid(self.period);
        if period > self.current {
            (self.current, self.left) = (period, self.quota);
        }
        loop {
            let boundary = self.phase + (self.current + 1) * self.period;
            let available = self.left.min(boundary - at);
            if work <= available {
                self.left -= work;
                return at + work;
            }
            work -= available;
            at = boundary;
            self.current += 1;
            self.left = self.quota;
        }
    }
}

/// Number of inference threads: one per core, at least one.
fn workers(millicores: i64) -> usize {
    (millicores as u64).div_ceil(1000).max(1) as usize
}

/// Number of scrapes kept: enough for all rate windows.
const SAMPLES: usize = 32;

/// `(time, microseconds)` of a counter, as Prometheus scraped it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(VecDeque<(Micros, i64)>);

impl Samples {
    pub(crate) fn add(&mut self, now: Micros, value: i64) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, value));
    }

    /// Time of the last scrape.
    pub(crate) fn last(&self) -> Option<Micros> {
        self.0.back().map(|s| s.0)
    }

    /// `rate(counter[window])` per second, with Prometheus' extrapolation (`extrapolatedRate`);
    /// `None` with fewer than two samples.
    pub(crate) fn rate(&self, now: Micros, window: Micros) -> Option<f64> {
        let mut within = self.0.iter().filter(|s| s.0 > now - window);
        let first = within.next()?;
        let (count, last) = within.fold((1, first), |(count, _), sample| (count + 1, sample));
        if count < 2 {
            return None;
        }
        let increase = (last.1 - first.1) as f64 / SECOND as f64;
        let sampled = (last.0 - first.0) as f64;
        let average = sampled / (count - 1) as f64;
        let threshold = average * 1.1;
        let mut to_start = (first.0 - (now - window)) as f64;
        let mut to_end = (now - last.0) as f64;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if increase > 0.0 && first.1 >= 0 {
            // A counter cannot have been below zero.
            to_start = to_start.min(sampled * (first.1 as f64 / SECOND as f64 / increase));
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let extrapolated = (sampled + to_start + to_end) / sampled;
        Some(increase * extrapolated / (window as f64 / SECOND as f64))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) millicores: i64,
    quota: Quota,
    /// When the first worker is free, and when the others are.
    free: Micros,
    others: Vec<Micros>,
    /// When each request in the pod ends, in order.
    ends: VecDeque<Micros>,
    /// The same for requests that will be dropped.
    expiring: VecDeque<Micros>,
    /// Time up to which the integral is computed.
    counted: Micros,
    /// Requests in flight, integrated over time (the function's own counter).
    integral: i64,
    /// The integral at the last one-second statistics.
    pub(crate) integral_before: i64,
    /// CPU time used by requests.
    pub(crate) used: Micros,
    pub(crate) used_before: Micros,
    /// The integral as Prometheus scraped it.
    pub(crate) samples: Samples,
}

impl Pod {
    pub(crate) fn new(plant: &Plant, millicores: i64, phase: Micros, now: Micros) -> Self {
        Self {
            millicores,
            quota: Quota::new(plant, millicores, phase),
            free: 0,
            others: vec![0; workers(millicores) - 1],
            ends: VecDeque::new(),
            expiring: VecDeque::new(),
            counted: now,
            integral: 0,
            integral_before: 0,
            used: 0,
            used_before: 0,
            samples: Samples::default(),
        }
    }

    pub(crate) fn resize(&mut self, plant: &Plant, millicores: i64) {
        self.millicores = millicores;
        self.quota.resize(plant, millicores);
        let last = self.others.iter().copied().fold(self.free, Micros::max);
        self.others.resize(workers(millicores) - 1, last);
    }

    /// Requests in the pod, as of the last [`Pod::advance`].
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.ends.len() + self.expiring.len()
    }

    /// Advances the pod's state to a given time.
    #[inline]
    pub(crate) fn advance(&mut self, now: Micros) {
        while let Some(end) = self.next_end().filter(|end| *end <= now) {
            self.count(end);
            if self.ends.front() == Some(&end) {
                self.ends.pop_front();
            } else {
                self.expiring.pop_front();
            }
        }
        self.count(now);
    }

    #[inline]
    fn next_end(&self) -> Option<Micros> {
        match (self.ends.front(), self.expiring.front()) {
            (Some(a), Some(b)) => Some(*a.min(b)),
            (a, b) => a.or(b).copied(),
        }
    }

    #[inline]
    fn count(&mut self, to: Micros) {
        if to > self.counted {
            self.integral += self.in_flight() as i64 * (to - self.counted);
            self.counted = to;
        }
    }

    /// Accepts or refuses a request that arrives at a given time.
    #[inline]
    pub(crate) fn take(&mut self, plant: &Plant, at: Micros) -> Taken {
        self.advance(at);
        if self.in_flight() > self.others.len() + plant.queue {
            return Taken::Refused;
        }
        let worker = self.others.iter_mut().fold(
            &mut self.free,
            |first, other| {
                if *other < *first { other } else { first }
            },
        );
        let start = (*worker).max(at);
        if start - at > plant.deadline {
            let end = at + plant.deadline;
            self.expiring.push_back(end);
            return Taken::Expired(end);
        }
        let end = self.quota.finish(start, plant.work);
        *worker = end;
        self.used += plant.work;
        self.ends.push_back(end);
        Taken::Done(end)
    }

    /// When the pod will have finished all its requests.
    pub(crate) fn idle_at(&self) -> Micros {
        self.ends.back().copied().unwrap_or(0).max(self.expiring.back().copied().unwrap_or(0))
    }

    /// The integral of requests in flight up to the last [`Pod::advance`].
    pub(crate) fn integral(&self) -> i64 {
        self.integral
    }

    /// Takes a Prometheus scrape.
    pub(crate) fn scrape(&mut self, now: Micros) {
        self.advance(now);
        self.samples.add(now, self.integral);
    }

    /// `rate(counter[window])` at a given time, in thousandths of a request in flight, truncated to
    /// whole thousandths as prometheus-adapter does.
    pub(crate) fn rate_milli(&self, now: Micros, window: Micros) -> Option<i64> {
        self.samples.rate(now, window).map(|rate| (rate * 1000.0) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant() -> Plant {
        Plant { work: 8_000, background_millicores: 0.0, ..Plant::default() }
    }

    #[test]
    fn a_quota_of_15_ms_runs_for_15_ms_of_each_100_and_then_waits() {
        let mut pod = Pod::new(&plant(), 150, 0, 0);
        let ends: Vec<Taken> = (0..4).map(|_| pod.take(&plant(), 10_000)).collect();
        // 8 ms, then 7 ms of the second request, whose last millisecond waits for the next period,
        // and so on.
        assert_eq!(ends, [18_000, 101_000, 109_000, 202_000].map(Taken::Done));
    }

    #[test]
    fn what_a_pod_does_not_get_of_its_quota_is_lost_in_each_period() {
        let plant = Plant { quota_share: 0.8, ..plant() };
        let mut pod = Pod::new(&plant, 150, 0, 0);
        // 12 ms of each 100: 8 ms, then 4 ms of the second request.
        let ends: Vec<Taken> = (0..2).map(|_| pod.take(&plant, 10_000)).collect();
        assert_eq!(ends, [18_000, 104_000].map(Taken::Done));
        let mut whole = Pod::new(&plant, 1000, 0, 0);
        assert_eq!(whole.take(&plant, 10_000), Taken::Done(18_000), "a whole core has no quota");
    }

    #[test]
    fn a_pod_gets_a_millisecond_of_each_period_even_if_its_limit_is_less() {
        let plant = Plant { quota_period: 5_000, ..plant() };
        let mut pod = Pod::new(&plant, 150, 0, 0);
        // 8 ms in eight periods, and not in the eleven that 0.75 ms of each would take.
        assert_eq!(pod.take(&plant, 0), Taken::Done(36_000));
    }

    #[test]
    fn quota_is_not_saved_up_and_is_whole_again_at_each_boundary() {
        let mut pod = Pod::new(&plant(), 150, 0, 0);
        assert_eq!(pod.take(&plant(), 990_000), Taken::Done(998_000));
        assert_eq!(
            pod.take(&plant(), 995_000),
            Taken::Done(1_006_000),
            "2 ms before and 6 ms after the boundary"
        );
    }

    #[test]
    fn over_a_second_a_pod_gets_its_share() {
        let mut pod = Pod::new(&plant(), 150, 7_000, 0);
        let done = (0..200).filter(|i| match pod.take(&plant(), i * 5_000) {
            Taken::Done(end) => end <= SECOND,
            _ => false,
        });
        assert!((17..=19).contains(&done.count()), "150 ms a second of 8 ms each");
    }

    #[test]
    fn a_full_queue_refuses_and_a_wait_beyond_the_deadline_expires() {
        let small = Plant { queue: 2, ..plant() };
        let mut pod = Pod::new(&small, 150, 0, 0);
        let taken: Vec<Taken> = (0..4).map(|_| pod.take(&small, 0)).collect();
        assert_eq!(taken[..3], [8_000, 101_000, 109_000].map(Taken::Done));
        assert_eq!(taken[3], Taken::Refused);
        let plant = Plant { deadline: 50_000, ..plant() };
        let mut slow = Pod::new(&plant, 10, 0, 0);
        slow.take(&plant, 0);
        assert_eq!(slow.take(&plant, 0), Taken::Expired(50_000), "8 ms at 10m take 700 ms");
    }

    #[test]
    fn the_counter_is_the_integral_of_requests_in_flight() {
        let mut pod = Pod::new(&plant(), 150, 0, 0);
        pod.take(&plant(), 0);
        pod.take(&plant(), 0);
        pod.advance(50_000);
        assert_eq!(pod.integral(), 8_000 + 50_000);
        pod.advance(SECOND);
        assert_eq!((pod.integral(), pod.in_flight()), (8_000 + 101_000, 0));
    }

    #[test]
    fn rates_are_extrapolated_as_prometheus_does() {
        // promql/functions.go: samples at 5, 10, 15 and 20 s of a counter that grows by one a
        // second.
        let mut pod = Pod::new(&plant(), 150, 0, 0);
        pod.samples.0 = (1..=4).map(|i| (i * 5 * SECOND, i * 5 * SECOND)).collect();
        let near = |rate: Option<i64>, expected: i64| rate.is_some_and(|r| (r - expected).abs() <= 1);
        assert!(near(pod.rate_milli(22 * SECOND, 20 * SECOND), 1000));
        // Two samples in a window of 20 s: half an interval before the first, none before the
        // counter began.
        pod.samples.0 = [(17 * SECOND, 2 * SECOND), (22 * SECOND, 7 * SECOND)].into();
        // 5 in 5 s, extrapolated to 7 s, over 20 s.
        assert!(near(pod.rate_milli(22 * SECOND, 20 * SECOND), 350));
        pod.samples.0.pop_back();
        assert_eq!(pod.rate_milli(22 * SECOND, 20 * SECOND), None);
    }
}
