//! Measures the capacity of one pod on the cluster. Rates in requests a second cannot be
//! transferred to another machine; rates in units of one pod's capacity can.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use scenario::rate::RateCurve;
use scenario::recording::{Calibration, CalibrationStep};
use scenario::schedule::Schedule;
use scenario::summary::LoadSummary;
use scenario::{Counted, Outcome, Scenario};

use super::config::SETTINGS;
use super::drift::{MOST_DRIFT, drift};
use super::interrupt::pause;
use super::kube::shell;
use super::runner::{Runner, log_progress};
use super::{clock, fitness};
use crate::analysis::steps::median;
use load::images::Pictures;
use load::pace::send_schedule;

/// The workload whose pod is measured; all arms have the same container.
const VARIANT: &str = "k8s-autoscalers";
/// Its settings without any autoscaler: a folder of `components/`.
const ONE_POD: &str = "one-pod";

/// First rate tried, in requests a second: enough for some requests in one second, and far below
/// the capacity of the smallest pod.
const GREETING: f64 = 8.0;
/// Seconds per rate during the search for the order of magnitude.
const GLANCE_S: f64 = 8.0;
/// Seconds per rate of a measurement: some hundred requests of a small pod.
const STEP_S: f64 = 20.0;
/// Requests of a measurement that decides whether enough answers are good: one late answer must
/// not decide it alone.
const STEP_REQUESTS: f64 = 200.0;
/// Longest such measurement: of a pod that answers little, fewer requests have to do.
const LONGEST_STEP_S: f64 = 60.0;
/// Attempts at a calibration during which the throughput stays the same. On a shared machine one
/// pod answered 13 and, a minute later, 8 requests a second, and its capacity came out as 2.
const ATTEMPTS: usize = 3;
/// Measurements of the throughput, of which the median counts: single ones of an unchanged pod were
/// up to 24 % apart within half an hour on a shared machine, medians of three up to 14 %, and 10 %
/// voids a block.
const THROUGHPUTS: usize = 5;
/// Bisection steps of the interval that contains the capacity: to 2 % of it.
const HALVINGS: u32 = 6;
/// If a smaller share of the offered requests is answered, a pod is saturated.
const SATURATED: f64 = 0.8;
/// Least share of good answers at a rate within the capacity.
const GOOD: f64 = 0.99;
/// With a smaller share a rate is beyond the capacity without a second measurement: a disturbance
/// of a quarter of a measurement leaves as many.
const BEYOND: f64 = 0.75;
/// Upper bound of the search: no single pod answers this many.
const HIGHEST: f64 = 10_000.0;

/// Answers a second when the pod is saturated.
fn saturate(mut offer: impl FnMut(f64, f64) -> Result<CalibrationStep>) -> Result<f64> {
    let mut rate = 2.0;
    let answered = loop {
        let step = offer(rate, GLANCE_S)?;
        // Relative to the sent requests: a Poisson draw of a few seconds may have far fewer than
        // its rate.
        if step.answered < SATURATED * step.rate {
            break step.answered;
        }
        rate *= 2.0;
        ensure!(rate < HIGHEST, "one pod answers {} requests a second and more", step.answered);
    };
    ensure!(answered > 0.0, "the pod answers nothing at {rate} requests a second");
    throughput(answered, &mut offer)
}

/// The same for a pod of which it is known roughly.
fn throughput(roughly: f64, mut offer: impl FnMut(f64, f64) -> Result<CalibrationStep>) -> Result<f64> {
    let again = |_| Ok(offer(roughly * 2.0, STEP_S)?.answered);
    let throughputs = (0..THROUGHPUTS).map(again).collect::<Result<Vec<f64>>>()?;
    median(throughputs).context("no measurement of the throughput")
}

/// Throughput and capacity, if the former is the same before and after the latter was sought;
/// otherwise what the throughput was before and after.
fn attempt(
    mut offer: impl FnMut(f64, f64) -> Result<CalibrationStep>,
) -> Result<Result<(f64, f64), (f64, f64)>> {
    let before = saturate(&mut offer)?;
    let capacity = capacity(before, &mut offer)?;
    let after = throughput(before, &mut offer)?;
    let steady = drift(before, after) <= MOST_DRIFT;
    Ok(if steady { Ok(((before + after) / 2.0, capacity)) } else { Err((before, after)) })
}

/// The highest rate with enough good answers, by bisection.
fn capacity(saturated: f64, mut offer: impl FnMut(f64, f64) -> Result<CalibrationStep>) -> Result<f64> {
    let (mut low, mut high) = (0.0, saturated * 1.1);
    for _ in 0..HALVINGS {
        let rate = (low + high) / 2.0;
        if within(rate, &mut offer)? { low = rate } else { high = rate }
    }
    ensure!(low > 0.0, "one pod meets the objective at no rate: give it a looser one, or a larger pod");
    Ok(low)
}

/// Whether enough answers are good at a rate: by two measurements of three if the first is just
/// short of it. One disturbance would otherwise lower the capacity for good: 9.4 requests a second
/// were found once, by one rate with 99.0 %, of a pod that answered 18.
fn within(rate: f64, offer: &mut impl FnMut(f64, f64) -> Result<CalibrationStep>) -> Result<bool> {
    let seconds = (STEP_REQUESTS / rate).clamp(STEP_S, LONGEST_STEP_S);
    let first = offer(rate, seconds)?.good;
    if !(BEYOND..GOOD).contains(&first) {
        return Ok(first >= GOOD);
    }
    Ok(offer(rate, seconds)?.good >= GOOD && offer(rate, seconds)?.good >= GOOD)
}

/// The rate at which one request is in flight, interpolated between the tried rates.
fn rate_at_one(steps: &[CalibrationStep]) -> Option<f64> {
    let mut steps: Vec<&CalibrationStep> = steps.iter().collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let pair = steps.windows(2).find(|w| w[0].in_flight <= 1.0 && w[1].in_flight > 1.0)?;
    let share = (1.0 - pair[0].in_flight) / (pair[1].in_flight - pair[0].in_flight);
    Some(pair[0].rate + share * (pair[1].rate - pair[0].rate))
}

impl Runner<'_> {
    /// Measures one pod in full.
    pub(super) fn calibrate(&mut self) -> Result<Calibration> {
        log_progress("calibrating: what one pod carries");
        let slo_ms = self.calibrated_scenario()?.slo_ms;
        let mut seed = 0;
        self.with_one_pod(|runner| {
            let mut offer = |steps: &mut Vec<CalibrationStep>, rate: f64, seconds: f64| {
                seed += 1;
                let step = runner.offer(rate, seconds, seed)?;
                log_progress(&format!(
                    "  {:.1}/s offered, {:.1}/s answered, {:.1} % good, {:.2} in flight",
                    step.rate,
                    step.answered,
                    step.good * 100.0,
                    step.in_flight
                ));
                steps.push(step);
                Ok(step)
            };
            for _ in 0..ATTEMPTS {
                let mut steps = vec![];
                match attempt(|rate, seconds| offer(&mut steps, rate, seconds))? {
                    Ok((saturated, capacity)) => {
                        let rate_at_one = rate_at_one(&steps);
                        let at = clock::format(SystemTime::now());
                        return Ok(Calibration { at, slo_ms, capacity, saturated, rate_at_one, steps });
                    }
                    Err((before, after)) => log_progress(&format!(
                        "  one pod answered {before:.1}/s before these rates and {after:.1}/s after them"
                    )),
                }
            }
            bail!(
                "one pod's throughput moved by more than {:.0} % during each of {ATTEMPTS} calibrations: \
                 stop what else uses this machine, or measure when its host is quiet",
                MOST_DRIFT * 100.0
            )
        })
    }

    /// Measures the throughput only, to check that it has not changed.
    pub(super) fn recalibrate(&mut self) -> Result<f64> {
        log_progress("calibrating: does one pod still carry the same?");
        let mut seed = 1000;
        self.with_one_pod(|runner| {
            saturate(|rate, seconds| {
                seed += 1;
                runner.offer(rate, seconds, seed)
            })
        })
    }

    fn with_one_pod<T>(&mut self, measure: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.remove_all()?;
        self.set_node(None)?;
        let variant = self.config.variant(VARIANT)?;
        self.removed.remove(VARIANT);
        variant.apply.iter().try_for_each(|command| shell(&command.replace(SETTINGS, ONE_POD)))?;
        let begun = Instant::now();
        while self.runtime.block_on(fitness::pods(&self.kube, variant))? != (1, 1)
            || self.offer(GREETING, 1.0, 0)?.good == 0.0
        {
            ensure!(begun.elapsed() < self.plan.patience, "the pod to be calibrated never got ready");
            pause(Duration::from_secs(1))?;
        }
        self.image = self.runtime.block_on(fitness::image(&self.kube, variant))?;
        let measured = measure(self);
        self.remove_all()?;
        measured
    }

    /// Images, objective and time-out are those of the first scenario of the plan.
    fn calibrated_scenario(&self) -> Result<&Scenario> {
        self.plan.scenarios.first().context("no scenario: nothing to calibrate for")
    }

    fn offer(&self, rate: f64, seconds: f64, seed: u64) -> Result<CalibrationStep> {
        let scenario = Scenario {
            rate: RateCurve::new(vec![(0.0, 1.0), (seconds, 1.0)])?,
            trace: None,
            counted: Counted::UntilRest,
            ..self.calibrated_scenario()?.clone()
        };
        let schedule = Schedule::draw(&scenario, rate, 1.0, seed);
        let pictures = Arc::new(Pictures::read(&self.plan.images, &schedule)?);
        let variant = self.config.variant(VARIANT)?;
        let client = self.client(variant, scenario.timeout_ms)?;
        let runtime = load::threads::runtime(self.plan.threads)?;
        let sender = std::thread::spawn(move || {
            let _inside = runtime.enter();
            let sent = send_schedule(runtime.handle(), &client, &schedule, &pictures);
            (sent, schedule)
        });
        let Ok((mut sent, schedule)) = sender.join() else {
            bail!("the load generator stopped unexpectedly")
        };
        pause(Duration::ZERO)?;
        let load =
            LoadSummary::new(&mut sent.records, sent.unsent, scenario.slo_ms, schedule.duration(), &[]);
        if let Some(fault) = load.generator_fault() {
            bail!("the load generator is too slow here: {fault}");
        }
        Ok(CalibrationStep {
            rate: load.planned as f64 / seconds,
            answered: load.count(Outcome::Ok) as f64 / seconds,
            good: load.within_slo as f64 / load.planned.max(1) as f64,
            in_flight: load.latency_sum_us as f64 / 1e6 / seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod that answers 19 requests a second at most and meets its objective up to 14.
    fn pod(rate: f64) -> CalibrationStep {
        let good = if rate <= 14.0 { 1.0 } else { 0.5 };
        CalibrationStep { rate, answered: rate.min(19.0), good, in_flight: rate * 0.1 }
    }

    #[test]
    fn capacity_and_throughput_of_a_known_pod_are_found() {
        let mut tried = 0.0;
        let offer = |rate: f64, seconds: f64| {
            tried += seconds;
            Ok(pod(rate))
        };
        let saturated = saturate(offer).expect("it saturates");
        assert_eq!(saturated, 19.0);
        let capacity = capacity(saturated, |rate, seconds| {
            tried += seconds;
            Ok(pod(rate))
        });
        let capacity = capacity.expect("it meets its objective");
        assert!((13.6..=14.0).contains(&capacity), "{capacity}");
        assert!(tried < 280.0, "{tried} s of load");
    }

    #[test]
    fn a_draw_with_few_requests_is_no_saturated_pod() {
        let thin = |rate: f64, _| Ok(pod(if rate < 10.0 { rate * 0.6 } else { rate }));
        assert_eq!(saturate(thin).expect("it saturates"), 19.0);
    }

    #[test]
    fn one_disturbed_measurement_does_not_change_the_throughput() {
        let mut measured = 0;
        let disturbed_once = |rate: f64, seconds: f64| {
            measured += usize::from(seconds == STEP_S);
            let slow = measured == 2;
            Ok(CalibrationStep { answered: if slow { 12.0 } else { rate.min(19.0) }, ..pod(rate) })
        };
        assert_eq!(saturate(disturbed_once).expect("it saturates"), 19.0);
        assert_eq!(measured, THROUGHPUTS);
    }

    #[test]
    fn a_calibration_counts_only_if_the_pod_is_as_fast_at_its_end() {
        let mut measured = 0;
        let slower = attempt(|rate, seconds| {
            measured += 1;
            let share = if measured > 10 { 0.6 } else { 1.0 };
            assert!(seconds <= LONGEST_STEP_S);
            Ok(CalibrationStep { answered: rate.min(19.0 * share), ..pod(rate) })
        });
        assert_eq!(slower.expect("measured"), Err((19.0, 11.4)));
        let steady = attempt(|rate, _| Ok(pod(rate))).expect("measured").expect("steady");
        assert!(steady.0 == 19.0 && (13.6..=14.0).contains(&steady.1), "{steady:?}");
    }

    #[test]
    fn one_late_answer_does_not_halve_the_capacity() {
        let one_late = |rate: f64, seconds: f64| {
            let asked = rate * seconds;
            Ok(CalibrationStep { good: if rate <= 6.0 { 1.0 - 1.0 / asked } else { 0.0 }, ..pod(rate) })
        };
        let capacity = capacity(19.0, one_late).expect("it meets its objective");
        assert!((5.5..=6.0).contains(&capacity), "{capacity}");
    }

    #[test]
    fn one_disturbed_rate_does_not_halve_the_capacity() {
        for disturbed in 1..=HALVINGS as usize {
            let mut tried = 0;
            let disturbed_once = |rate: f64, _| {
                tried += 1;
                let good = if tried == disturbed || rate > 14.0 { 0.9 } else { 1.0 };
                Ok(CalibrationStep { good, ..pod(rate) })
            };
            let capacity = capacity(19.0, disturbed_once).expect("it meets its objective");
            assert!((13.6..=14.0).contains(&capacity), "disturbed at try {disturbed}: {capacity}");
        }
    }

    #[test]
    fn the_rate_of_one_request_in_flight_lies_between_the_tried_ones() {
        assert_eq!(rate_at_one(&[pod(16.0), pod(4.0), pod(8.0)]), Some(10.0));
        assert_eq!(rate_at_one(&[pod(4.0)]), None);
    }

    #[test]
    fn the_requests_in_flight_without_a_queue_are_those_of_a_pod_that_is_hardly_busy() {
        let queueing = CalibrationStep { in_flight: 9.0, ..pod(16.0) };
        let slower = CalibrationStep { in_flight: 0.8, ..pod(4.0) };
        let with = |steps: Vec<CalibrationStep>| Calibration {
            at: String::new(),
            slo_ms: 500,
            capacity: 14.0,
            saturated: 19.0,
            rate_at_one: None,
            steps,
        };
        let found = |steps| with(steps).unqueued_in_flight().expect("there are such rates");
        let even = found(vec![pod(2.0), pod(4.0), queueing]);
        assert!((even - 1.9).abs() < 1e-9, "0.1 s a request, 19 requests a second: {even}");
        let weighted = found(vec![pod(2.0), slower]);
        assert!((weighted - 19.0 / 6.0).abs() < 1e-9, "1 s of six requests: {weighted}");
        assert_eq!(with(vec![queueing]).unqueued_in_flight(), None);
    }

    #[test]
    fn a_pod_that_never_saturates_or_never_meets_its_objective_is_an_error() {
        let tireless = |rate: f64, _| Ok(CalibrationStep { rate, answered: rate, good: 1.0, in_flight: 0.1 });
        assert!(saturate(tireless).is_err());
        let slow = |rate: f64, _| Ok(CalibrationStep { rate, answered: rate, good: 0.0, in_flight: 9.0 });
        assert!(capacity(10.0, slow).expect_err("never good").to_string().contains("a looser one"));
    }
}
