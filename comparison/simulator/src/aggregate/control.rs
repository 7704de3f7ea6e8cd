//! The reports to the autoscalers, their looks at them, and their decisions.

use super::{Aggregate, Controller, Load, STEP};
use crate::hpa::Observed;
use crate::time::{Micros, SECOND, seconds};

impl Aggregate<'_> {
    /// The activator reports the first request after a second without any at once, as in the event
    /// loop.
    pub(super) fn first_report(&mut self) {
        if self.reporting.is_some() {
            return;
        }
        let Controller::Kpa(kpa) = &mut self.controller else { return };
        self.reporting = Some((self.now, 1.0));
        kpa.record(self.now + self.after_second, 1.0);
        if kpa.desired() == 0 {
            self.look();
        }
    }

    /// Reports the concurrency of the last second, as queue-proxies and activator do.
    pub(super) fn report(&mut self) {
        let total = std::mem::take(&mut self.second);
        let serving = self.ready() > 0;
        if let Controller::Kpa(kpa) = &mut self.controller
            && (serving || total > 0.0 || self.reporting.is_some())
        {
            let (since, told) = self.reporting.unwrap_or((0, 0.0));
            let average = total / seconds((self.now - since).clamp(STEP, SECOND));
            kpa.record(self.now + self.after_second, (average - told).max(0.0));
            self.reporting = self.reporting.filter(|_| total > 0.0).map(|(since, _)| (since, 0.0));
        }
    }

    /// The rate over the window, as Prometheus computes it from many pods with scrapes at different
    /// times. For each pod, only the time between its first and last scrape in the window counts.
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

    /// The answers to the queries of what scales to zero, which the others do not ask.
    fn queried(&self) -> [f64; 2] {
        match self.controller {
            Controller::Keda(_) | Controller::HpaToZero(_) => {
                [self.windowed(|l| l.all), self.windowed(|l| l.unserved)]
            }
            Controller::Kpa(_) | Controller::Hpa(_) => [0.0; 2],
        }
    }

    pub(super) fn look(&mut self) {
        let (now, current) = (self.now, self.replicas);
        let observed = self.observed();
        let [in_flight, unserved] = self.queried();
        let replicas = match &mut self.controller {
            Controller::Kpa(kpa) => {
                // Some pods serve requests before they are ready.
                let ready = self.serving.iter().filter(|c| c.ready <= now).map(|c| c.pods).sum();
                let clock = now + self.after_second;
                kpa.evaluate(clock, ready);
                kpa.reconcile(clock, current, ready)
            }
            Controller::Hpa(hpa) => hpa.sync(now, current, &observed),
            Controller::Keda(keda) => keda.sync(now, current, in_flight),
            Controller::HpaToZero(hpa) => hpa.sync_object(now, current, in_flight, unserved),
        };
        self.scale_to(replicas);
    }

    pub(super) fn poll(&mut self) {
        let values = self.queried();
        let (now, current) = (self.now, self.replicas);
        if let Controller::Keda(keda) = &mut self.controller {
            let replicas = keda.poll(now, current, &values);
            self.scale_to(replicas);
        }
    }

    /// The pods as the HPA observes them. A pod has a metric from its second scrape on.
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
            let measured = (cohort.pods as f64 * self.scraped_twice(self.now - cohort.running)).round();
            observed.measured += measured as i64;
            observed.missing += cohort.pods - measured as i64;
            sum += if serving { one * measured } else { 0.0 };
        }
        observed.sum_milli = (sum * 1000.0) as i64;
        observed
    }

    /// Share of the pods of an age that have been scraped twice: the first scrape comes a uniform
    /// time within the interval after a uniform time within the period of discovery.
    fn scraped_twice(&self, age: Micros) -> f64 {
        let [age, scrape, discovery] =
            [age - self.plant.scrape, self.plant.scrape, self.plant.discovery.max(1)].map(|time| time as f64);
        let positive_squared = |x: f64| x.max(0.0) * x.max(0.0);
        let area = positive_squared(age) - positive_squared(age - scrape) - positive_squared(age - discovery)
            + positive_squared(age - scrape - discovery);
        (area / (2.0 * scrape * discovery)).clamp(0.0, 1.0)
    }
}
