//! The sequence of runs: configuration, rest, load, tail, collection, results file. Resumes an
//! interrupted comparison.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::calibrate::{MOST_DRIFT, drift};
use super::config::{ClusterConfig, VariantConfig};
use super::kube::{Kube, shell};
use super::prometheus::Prometheus;
use super::{fitness, interrupt};
use crate::files;
use load::client::{LoadClient, Target};
use scenario::Scenario;
use scenario::arms::Arm;
use scenario::recording::{Calibration, Run, joinable};
use scenario::schedule::Schedule;

/// The plan of a comparison.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenarios, in this order.
    pub scenarios: Vec<Scenario>,
    /// The arms. Each repeat begins with another one.
    pub arms: Vec<Arm>,
    /// The number of repeats; each has its own seed.
    pub repeats: u32,
    /// Requests a second for a rate of 1.0 ...
    pub scale: f64,
    /// ... or as a share of what one pod carries, which is measured first.
    pub pod_load: Option<f64>,
    /// Measure the capacity of one pod before the runs, and check it after each repeat.
    pub calibrate: bool,
    /// Factor on the scenarios' time.
    pub stretch: f64,
    /// Seed of the first repeat; the next ones count up.
    pub seed: u64,
    /// Least number of seconds watched after the schedule, where cost counts until rest ...
    pub tail_s: f64,
    /// ... and the most further seconds until the arm is at rest.
    pub longest_tail: Duration,
    /// Time-out for a variant to answer, and to get to rest.
    pub patience: Duration,
    /// Use the variants as deployed: neither remove nor apply anything.
    pub as_is: bool,
    /// Time at rest before a run.
    pub calm: Duration,
    /// Time for the controller to drop a removed HPA's state: see [`super::rest::FORGETS_AFTER_S`].
    pub forget: Duration,
    /// Seconds over which the starts of runs are spread: see [`super::rest::SLOWEST_CLOCK_S`].
    pub spread_s: f64,
    /// Pictures by kind.
    pub images: PathBuf,
    /// The folder of results.
    pub results: PathBuf,
    /// Threads of the load generator.
    pub threads: usize,
    /// Commit of this tool and the manifests, for the results.
    pub commit: String,
}

/// Threads for watches, queries and waiting; the load has its own.
const RUNNER_THREADS: usize = 1;

/// Runs everything without a results file.
pub fn compare(plan: &Plan, config: &ClusterConfig, kubectl: &str) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(RUNNER_THREADS).enable_all().build()?;
    let _inside = runtime.enter();
    interrupt::listen(runtime.handle())?;
    let kube = Kube::open(kubectl)?;
    let at = if config.prometheus.starts_with('/') {
        kube.url(&config.prometheus)
    } else {
        config.prometheus.clone()
    };
    let prometheus = Prometheus::new(kube.http.clone(), &at);
    let (runtime_handle, removed) = (runtime.handle().clone(), HashMap::new());
    let (scale, calibration) = (plan.scale, None);
    let mut runner =
        Runner { plan, config, runtime: runtime_handle, kube, prometheus, removed, scale, calibration };
    let queue = runner.queue()?;
    log_progress(&format!("{} runs to do", queue.len()));
    if queue.is_empty() {
        return Ok(());
    }
    runtime.block_on(fitness::check(&runner.kube, &runner.prometheus, config, &plan.arms, plan.as_is))?;
    config.prepare.iter().try_for_each(|command| shell(command))?;
    let outcome = runner.begin().and_then(|()| runner.work(&queue));
    runner.tidy();
    outcome
}

/// Measures the capacity of one pod, prints it and stores it in the results folder.
pub fn calibrate(plan: &Plan, config: &ClusterConfig, kubectl: &str) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(RUNNER_THREADS).enable_all().build()?;
    let _inside = runtime.enter();
    interrupt::listen(runtime.handle())?;
    let kube = Kube::open(kubectl)?;
    let prometheus = Prometheus::new(kube.http.clone(), &config.prometheus);
    let mut runner = Runner {
        plan,
        config,
        runtime: runtime.handle().clone(),
        kube,
        prometheus,
        removed: HashMap::new(),
        scale: plan.scale,
        calibration: None,
    };
    let measured = runner.calibrate().and_then(|found| {
        files::write_calibration(&plan.results, &found)?;
        Ok(found)
    });
    runner.tidy();
    let found = measured?;
    let at_one = found.rate_at_one.map_or(String::new(), |rate| format!(", {rate:.1}/s at one in flight"));
    log_progress(&format!(
        "one pod carries {:.1}/s within {} ms, {:.1}/s at most{at_one}; kept in {}",
        found.capacity,
        found.slo_ms,
        found.saturated,
        plan.results.join(files::CALIBRATION).display()
    ));
    Ok(())
}

/// One planned run.
pub(super) struct Job {
    pub(super) scenario: Scenario,
    pub(super) arm: Arm,
    pub(super) repeat: u32,
}

impl Job {
    pub(super) fn id(&self) -> String {
        let Arm { variant, configuration, .. } = &self.arm;
        format!("{}-{variant}-{configuration}-{}", self.scenario.name, self.repeat)
    }
}

/// The state of a comparison that its steps need; the steps are in [`super::rest`] and
/// [`super::run`].
pub(super) struct Runner<'a> {
    pub(super) plan: &'a Plan,
    pub(super) config: &'a ClusterConfig,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) kube: Kube,
    pub(super) prometheus: Prometheus,
    /// When each variant was last removed.
    pub(super) removed: HashMap<String, Instant>,
    /// Requests a second for a rate of 1.0.
    pub(super) scale: f64,
    /// The calibration before the first run of the results folder.
    pub(super) calibration: Option<Calibration>,
}

/// How often a disturbed run is repeated.
const ATTEMPTS: usize = 3;

impl Runner<'_> {
    /// Calibrates before the first run of the folder, and checks before the next ones that nothing
    /// changed.
    fn begin(&mut self) -> Result<()> {
        let plan = self.plan;
        self.calibration = files::read_calibration(&plan.results)?;
        match &self.calibration {
            _ if !plan.calibrate => {}
            None => {
                let found = self.calibrate()?;
                files::write_calibration(&plan.results, &found)?;
                self.calibration = Some(found);
            }
            Some(before) => {
                let before = before.clone();
                let now = self.recalibrate()?;
                anyhow::ensure!(
                    drift(&before, now) <= MOST_DRIFT,
                    "one pod answered {:.1}/s at most when the first runs of {} were made, and answers {now:.1} now: \
                     choose another results folder",
                    before.saturated,
                    plan.results.display()
                );
            }
        }
        if let Some(load) = plan.pod_load {
            let found = self.calibration.as_ref();
            let found =
                found.context("a load in units of one pod needs a calibration: comparison calibrate")?;
            self.scale = load * found.capacity;
            log_progress(&format!(
                "a rate of 1 is {:.2}/s, {load} of the {:.1}/s that one pod carries",
                self.scale, found.capacity
            ));
        }
        Ok(())
    }

    /// Checks that one pod still has the same capacity; if not, the runs since the last check are
    /// void.
    fn check_drift(&mut self, since: &mut Vec<PathBuf>) -> Result<()> {
        let Some(before) = self.calibration.clone().filter(|_| self.plan.calibrate) else { return Ok(()) };
        let now = self.recalibrate()?;
        let changed = drift(&before, now);
        log_progress(&format!("  {now:.1}/s, {:.1} % from the first calibration", changed * 100.0));
        if changed <= MOST_DRIFT {
            since.clear();
            return Ok(());
        }
        let reason = format!("one pod answered {:.1}/s before and {now:.1}/s after it", before.saturated);
        for path in since.iter() {
            files::make_void(path, &reason)?;
        }
        anyhow::bail!(
            "{reason}: {} runs are void and lie in {}; the same command does them again",
            since.len(),
            self.plan.results.join(files::VOID).display()
        )
    }

    /// One run after the other.
    fn work(&mut self, queue: &[Job]) -> Result<()> {
        let (begun, total) = (Instant::now(), queue.len());
        let mut since = vec![];
        for (done, job) in queue.iter().enumerate() {
            if done > 0 && queue[done - 1].repeat != job.repeat {
                self.check_drift(&mut since)?;
            }
            let left = begun.elapsed().as_secs_f64() / done.max(1) as f64 * (total - done) as f64;
            let left = if done == 0 { String::new() } else { format!(", about {:.0} min left", left / 60.0) };
            log_progress(&format!("[{}/{total}{left}] {}", done + 1, job.id()));
            let path = self.one(job).with_context(|| format!("{}: no result", job.id()))?;
            log_progress(&format!("  wrote {}", path.display()));
            since.push(path);
        }
        self.check_drift(&mut since)
    }

    /// A run, repeated if something else disturbed it.
    fn one(&mut self, job: &Job) -> Result<PathBuf> {
        for _ in 0..ATTEMPTS {
            let run = self.attempt(job)?;
            let Some(reason) = run.void.clone() else {
                let mut runs = files::read_runs_if_any(&self.plan.results)?;
                runs.push(run);
                joinable(&runs)
                    .context("the results folder holds runs of something else; choose another one")?;
                return files::write_run(&runs[runs.len() - 1], &self.plan.results);
            };
            let path = files::write_run(&run, &self.plan.results.join(files::VOID))?;
            log_progress(&format!("  void, kept as {}: {reason}", path.display()));
        }
        anyhow::bail!("it was disturbed {ATTEMPTS} times: stop what else runs on the node")
    }

    fn attempt(&mut self, job: &Job) -> Result<Run> {
        if !self.plan.as_is {
            self.remove_all()?;
            self.apply(job)?;
        }
        self.await_rest(job)?;
        self.run(job)
    }

    /// Every run of the plan without a results file. Each repeat begins with another arm, and every
    /// second one is in reverse order, so that no arm always follows the same other one.
    fn queue(&self) -> Result<Vec<Job>> {
        let plan = self.plan;
        let mut jobs = Vec::new();
        for repeat in 1..=plan.repeats {
            let mut arms = plan.arms.clone();
            if !arms.is_empty() {
                let first = (repeat as usize - 1) / 2 % arms.len();
                arms.rotate_left(first);
            }
            if repeat % 2 == 0 {
                arms.reverse();
            }
            for scenario in &plan.scenarios {
                for arm in &arms {
                    self.config.variant(&arm.variant)?;
                    jobs.push(Job { scenario: scenario.clone(), arm: arm.clone(), repeat });
                }
            }
        }
        jobs.retain(|job| {
            let path = plan.results.join(format!("{}.json", job.id()));
            let done = path.exists();
            if done {
                log_progress(&format!("{} is there already", path.display()));
            }
            !done
        });
        Ok(jobs)
    }

    /// Every repeat has its own, the same for both variants.
    pub(super) fn seed(&self, job: &Job) -> u64 {
        self.plan.seed + u64::from(job.repeat) - 1
    }

    pub(super) fn schedule(&self, job: &Job) -> Schedule {
        Schedule::draw(&job.scenario, self.scale, self.plan.stretch, self.seed(job))
    }

    pub(super) fn client(&self, variant: &VariantConfig, timeout_ms: u64) -> Result<LoadClient> {
        let target = Target::new(&self.config.gateway, Some(&variant.host))?;
        Ok(LoadClient::new(target, Duration::from_millis(timeout_ms)))
    }
}

/// A line of progress on standard error; standard output is for results.
pub(super) fn log_progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
