//! One run after the other: configuration, rest, load, tail, collection, results file. Resumes
//! where it was interrupted.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::config::{ClusterConfig, VariantConfig};
use super::kube::{Kube, shell};
use super::prometheus::Prometheus;
use super::{fitness, interrupt};
use crate::files;
use load::client::{LoadClient, Target};
use scenario::Scenario;
use scenario::arms::Arm;
use scenario::recording::joinable;
use scenario::schedule::Schedule;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In this order.
    pub scenarios: Vec<Scenario>,
    /// What is compared. The first one of a repeat is another each time.
    pub arms: Vec<Arm>,
    /// How often everything is repeated; each repeat has its own seed.
    pub repeats: u32,
    /// Requests a second for a rate of 1.0.
    pub scale: f64,
    /// Factor on the scenarios' time.
    pub stretch: f64,
    /// Seed of the first repeat; the next ones count up.
    pub seed: u64,
    /// Seconds watched at least after the schedule has ended, where cost counts until rest ...
    pub tail_s: f64,
    /// ... and how much longer at most until the arm is at rest.
    pub longest_tail: Duration,
    /// How long a variant may take to answer at all, and to get to rest.
    pub patience: Duration,
    /// Take the variants as they are deployed: neither remove nor apply anything.
    pub as_is: bool,
    /// At rest means: for this long.
    pub calm: Duration,
    /// How long a removed HPA is given to be forgotten: see [`super::rest::FORGETS_AFTER_S`].
    pub forget: Duration,
    /// Over how many seconds the beginnings of runs are spread: see
    /// [`super::rest::SLOWEST_CLOCK_S`].
    pub spread_s: f64,
    /// Pictures by kind.
    pub images: PathBuf,
    /// Where results go.
    pub results: PathBuf,
    /// Threads of the load generator.
    pub threads: usize,
    /// Commit of this tool and the manifests, for the results.
    pub commit: String,
}

/// Threads for watches, queries and waiting; the load has its own.
const RUNNER_THREADS: usize = 1;

/// Runs everything that has no results file yet.
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
    let (handle, removed) = (runtime.handle().clone(), HashMap::new());
    let mut runner = Runner { plan, config, runtime: handle, kube, prometheus, removed };
    let queue = runner.queue()?;
    log_progress(&format!("{} runs to do", queue.len()));
    if queue.is_empty() {
        return Ok(());
    }
    runtime.block_on(fitness::check(&runner.kube, &runner.prometheus, config, &plan.arms, plan.as_is))?;
    config.prepare.iter().try_for_each(|command| shell(command))?;
    let outcome = runner.work(&queue);
    runner.tidy();
    outcome
}

/// One run to do.
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

/// What every step of a comparison needs; the steps are in [`super::rest`] and [`super::run`].
pub(super) struct Runner<'a> {
    pub(super) plan: &'a Plan,
    pub(super) config: &'a ClusterConfig,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) kube: Kube,
    pub(super) prometheus: Prometheus,
    /// When each variant was last removed.
    pub(super) removed: HashMap<String, Instant>,
}

impl Runner<'_> {
    /// One run after the other.
    fn work(&mut self, queue: &[Job]) -> Result<()> {
        let (begun, total) = (Instant::now(), queue.len());
        for (done, job) in queue.iter().enumerate() {
            let left = begun.elapsed().as_secs_f64() / done.max(1) as f64 * (total - done) as f64;
            let left = if done == 0 { String::new() } else { format!(", about {:.0} min left", left / 60.0) };
            log_progress(&format!("[{}/{total}{left}] {}", done + 1, job.id()));
            let path = self.one(job).with_context(|| format!("{}: no result", job.id()))?;
            log_progress(&format!("  wrote {}", path.display()));
        }
        Ok(())
    }

    fn one(&mut self, job: &Job) -> Result<PathBuf> {
        if !self.plan.as_is {
            self.remove_all()?;
            self.apply(job)?;
        }
        self.await_rest(job)?;
        let run = self.run(job)?;
        let mut runs = files::read_runs(&self.plan.results).unwrap_or_default();
        runs.push(run);
        joinable(&runs).context("the results folder holds runs of something else; choose another one")?;
        files::write_run(&runs[runs.len() - 1], &self.plan.results)
    }

    /// Every run of the plan without a results file. Each repeat begins with another arm, and every
    /// second one goes backwards, so that no arm always runs after the same other one.
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
        Schedule::draw(&job.scenario, self.plan.scale, self.plan.stretch, self.seed(job))
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
