//! The sequence of runs: configuration, rest, load, tail, collection, results file. Resumes an
//! interrupted comparison.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::blocks::{Block, Job, Plan, blocks, ensure_own};
use super::config::{ClusterConfig, VariantConfig};
use super::drift::{MOST_DRIFT, changed, drift};
use super::kube::{Kube, shell};
use super::prometheus::Prometheus;
use super::{clock, fitness, interrupt, usage};
use crate::files;
use load::client::{LoadClient, Target};
use scenario::joinable::{joinable, joins};
use scenario::recording::{Calibration, Run};
use scenario::schedule::Schedule;

/// Threads for watches, queries and waiting; the load has its own.
const RUNNER_THREADS: usize = 1;

/// What a runner works with: threads for waiting, the cluster, and its Prometheus.
fn connect(config: &ClusterConfig, kubectl: &str) -> Result<(tokio::runtime::Runtime, Kube, Prometheus)> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(RUNNER_THREADS).enable_all().build()?;
    interrupt::listen(runtime.handle())?;
    let inside = runtime.enter();
    let kube = Kube::open(kubectl)?;
    drop(inside);
    let at = if config.prometheus.starts_with('/') {
        kube.url(&config.prometheus)
    } else {
        config.prometheus.clone()
    };
    let prometheus = Prometheus::new(kube.http.clone(), &at);
    Ok((runtime, kube, prometheus))
}

/// Runs everything without a results file.
pub fn compare(plan: &Plan, config: &ClusterConfig, kubectl: &str) -> Result<()> {
    ensure_own(plan)?;
    let (runtime, kube, prometheus) = connect(config, kubectl)?;
    let _inside = runtime.enter();
    let mut runner = Runner::new(plan, config, runtime.handle().clone(), kube, prometheus);
    let blocks = blocks(plan);
    let left: Vec<Job> = blocks.iter().flat_map(|block| block.left(&plan.results)).collect();
    left.iter().try_for_each(|job| config.variant(&job.arm.variant).map(drop))?;
    let all = blocks.iter().map(|block| block.jobs.len()).sum::<usize>();
    log_progress(&format!("{} of {all} runs are recorded, {} runs to do", all - left.len(), left.len()));
    if left.is_empty() {
        return Ok(());
    }
    runtime.block_on(fitness::check(&runner.kube, &runner.prometheus, config, &plan.arms, plan.as_is))?;
    config.prepare.iter().try_for_each(|command| shell(command))?;
    let outcome = runner.begin().and_then(|()| runner.work(&blocks, left.len()));
    runner.tidy();
    outcome
}

/// Measures the capacity of one pod, prints it and stores it in the results folder.
pub fn calibrate(plan: &Plan, config: &ClusterConfig, kubectl: &str) -> Result<()> {
    anyhow::ensure!(!plan.as_is, "--as-is changes nothing, and a calibration deploys a pod of its own");
    let (runtime, kube, prometheus) = connect(config, kubectl)?;
    let _inside = runtime.enter();
    runtime.block_on(fitness::check(&kube, &prometheus, config, &[], false))?;
    let mut runner = Runner::new(plan, config, runtime.handle().clone(), kube, prometheus);
    let measured = runner.calibrate().and_then(|found| {
        files::write_calibration(&plan.results, &found)?;
        Ok(found)
    });
    runner.tidy();
    let found = measured?;
    let at_one = found.rate_at_one.map_or(String::new(), |rate| format!(", {rate:.1}/s at one in flight"));
    log_progress(&match found.unqueued_in_flight() {
        Some(in_flight) => format!(
            "without a queue it has {in_flight:.2} in flight when it is full: a target above 60 % of that \
             ({:.2}) asks for too few pods while they are hardly busy",
            in_flight * MOST_BUSY
        ),
        None => "it carries too little to say what is in flight without a queue".into(),
    });
    log_progress(&format!(
        "one pod carries {:.1}/s within {} ms, {:.1}/s at most{at_one}; kept in {}",
        found.capacity,
        found.slo_ms,
        found.saturated,
        plan.results.join(files::CALIBRATION).display()
    ));
    Ok(())
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
    /// Whether settings of the node were made: see [`super::node`].
    pub(super) node_changed: bool,
    /// Requests a second for a rate of 1.0.
    pub(super) scale: f64,
    /// The calibration to which the current block belongs.
    pub(super) calibration: Option<Calibration>,
    /// When this session began, for the results ...
    pub(super) session: String,
    /// ... and to see when its time is over.
    begun: Instant,
    /// The calibration of this session, ...
    own: Option<Calibration>,
    /// ... the facts of this session's machine ...
    here: BTreeMap<String, String>,
    /// ... and the image of the pod that was last calibrated.
    pub(super) image: Option<String>,
}

/// What a session finds to do in a block.
enum Found {
    /// The runs that are left.
    Runs(Vec<Job>),
    /// So many runs are left, and cannot be done on this session's machine or at its speed.
    Elsewhere(usize),
}

/// How far a session is.
struct Progress {
    begun: Instant,
    /// Runs that were left at its beginning, ...
    total: usize,
    /// ... those that it did, ...
    done: usize,
    /// ... and those that it cannot do.
    passed: usize,
}

impl Progress {
    /// The number of the next run, and how long all will take at the pace of those before.
    fn next_run(&self) -> String {
        let Self { total, done, passed, .. } = *self;
        let each_s = self.begun.elapsed().as_secs_f64() / done.max(1) as f64;
        let minutes = each_s * total.saturating_sub(done + passed) as f64 / 60.0;
        let left = if done == 0 { String::new() } else { format!(", about {minutes:.0} min left") };
        format!("[{}/{total}{left}]", done + 1)
    }
}

/// How busy a pod may be on average, of 1: above it, requests at random moments wait long.
const MOST_BUSY: f64 = 0.6;

/// How often a disturbed run is repeated, and a block in which the machine's speed changed.
const ATTEMPTS: usize = 3;

impl<'a> Runner<'a> {
    fn new(
        plan: &'a Plan,
        config: &'a ClusterConfig,
        runtime: tokio::runtime::Handle,
        kube: Kube,
        prometheus: Prometheus,
    ) -> Self {
        Self {
            plan,
            config,
            runtime,
            kube,
            prometheus,
            removed: HashMap::new(),
            node_changed: false,
            scale: plan.scale,
            calibration: None,
            session: clock::format(SystemTime::now()),
            begun: Instant::now(),
            own: None,
            here: BTreeMap::new(),
            image: None,
        }
    }

    /// Calibrates this session. It may run on another machine than the one before.
    fn begin(&mut self) -> Result<()> {
        self.here = self.runtime.block_on(usage::environment(&self.kube))?;
        self.here.extend(self.config.environment.clone());
        if self.plan.calibrate {
            let found = self.calibrate()?;
            files::write_calibration(&self.plan.results, &found)?;
            self.own = Some(found);
        } else {
            self.own = files::read_calibration(&self.plan.results)?;
        }
        Ok(())
    }

    /// Takes the load of a block: as it was begun, or, for a new one, by the calibration of this
    /// session.
    fn enter(&mut self, block: &Block) -> Result<Found> {
        let results = &self.plan.results;
        let left = block.left(results);
        if left.is_empty() {
            return Ok(Found::Runs(left));
        }
        let recorded = block.recorded(results)?;
        if let Some(reason) = changed(&recorded, &self.here, self.own.as_ref()) {
            if !self.plan.begin_again {
                log_progress(&format!("passed over, {}: {reason}", left[0].id()));
                return Ok(Found::Elsewhere(left.len()));
            }
            for run in &recorded {
                files::make_void(&results.join(format!("{}.json", run.id())), &reason)?;
            }
            log_progress(&format!("{reason}: {} runs are void", recorded.len()));
        } else if let Some(first) = recorded.first() {
            self.scale = first.draw.scale;
            self.calibration.clone_from(&first.calibration);
            return Ok(Found::Runs(left));
        }
        self.calibration.clone_from(&self.own);
        self.scale = self.plan.scale;
        if let Some(load) = self.plan.pod_load {
            let found = self.own.as_ref();
            let found =
                found.context("a load in units of one pod needs a calibration: comparison calibrate")?;
            self.scale = load * found.capacity;
            Schedule::ensure_bounded(&left[0].scenario, self.scale, self.plan.stretch)
                .context("give less with --pod-load or --stretch")?;
            log_progress(&format!(
                "a rate of 1 is {:.2}/s, {load} of the {:.1}/s that one pod carries",
                self.scale, found.capacity
            ));
        }
        Ok(Found::Runs(block.left(results)))
    }

    /// Whether one pod still has the same capacity; if not, the runs since the last check are void.
    fn held(&mut self, since: &[PathBuf]) -> Result<bool> {
        let Some(before) = self.own.clone().filter(|_| self.plan.calibrate && !since.is_empty()) else {
            return Ok(true);
        };
        let now = self.recalibrate()?;
        let changed = drift(before.saturated, now);
        log_progress(&format!("  {now:.1}/s, {:.1} % from the session's calibration", changed * 100.0));
        if changed <= MOST_DRIFT {
            since.iter().try_for_each(|path| files::add_throughput(path, [before.saturated, now]))?;
            return Ok(true);
        }
        let reason = format!("one pod answered {:.1}/s before and {now:.1}/s after it", before.saturated);
        for path in since {
            files::make_void(path, &reason)?;
        }
        log_progress(&format!(
            "{reason}: {} runs are void and lie in {}",
            since.len(),
            self.plan.results.join(files::VOID).display()
        ));
        Ok(false)
    }

    /// One block after the other, while the time lasts.
    fn work(&mut self, blocks: &[Block], total: usize) -> Result<()> {
        let mut progress = Progress { begun: Instant::now(), total, done: 0, passed: 0 };
        for block in blocks {
            if !self.block(block, &mut progress)? {
                log_progress(&format!(
                    "the time of this session is over; {} runs are left, the same command goes on with them",
                    total.saturating_sub(progress.done)
                ));
                return Ok(());
            }
        }
        if progress.passed > 0 {
            let left = format!(
                "{} runs are left, in blocks that were begun on another machine or where one pod carried \
                 something else: the same command does them there, and --begin-again voids what is recorded \
                 of these blocks and begins them again",
                progress.passed
            );
            anyhow::ensure!(progress.done > 0, left);
            log_progress(&left);
        }
        Ok(())
    }

    /// What is left of a block, and once more where the machine's speed changed meanwhile. Whether
    /// there was time for it.
    fn block(&mut self, block: &Block, progress: &mut Progress) -> Result<bool> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.begin()?;
            }
            let jobs = match self.enter(block)? {
                Found::Runs(jobs) => jobs,
                Found::Elsewhere(runs) => {
                    progress.passed += runs;
                    return Ok(true);
                }
            };
            let before = progress.done;
            let (written, ended) = self.runs(&jobs, progress);
            // What was recorded before an error, too, counts only where the pod is what it was.
            let held = if interrupt::received() { Ok(true) } else { self.held(&written) };
            let in_time = ended?;
            if held? {
                return Ok(in_time);
            }
            progress.done = before;
            if !in_time {
                return Ok(false);
            }
        }
        anyhow::bail!("one pod's speed changed within a block {ATTEMPTS} times: find out what changes it")
    }

    /// One run after the other while the time lasts: their files, and whether it lasted.
    fn runs(&mut self, jobs: &[Job], progress: &mut Progress) -> (Vec<PathBuf>, Result<bool>) {
        let mut written = vec![];
        for job in jobs {
            if !self.plan.fits(self.begun.elapsed().as_secs_f64(), &job.scenario) {
                return (written, Ok(false));
            }
            log_progress(&format!("{} {}", progress.next_run(), job.id()));
            match self.one(job).with_context(|| format!("{}: no result", job.id())) {
                Ok(path) => {
                    log_progress(&format!("  wrote {}", path.display()));
                    written.push(path);
                    progress.done += 1;
                }
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(true))
    }

    /// A run, repeated if something else disturbed it.
    fn one(&mut self, job: &Job) -> Result<PathBuf> {
        for _ in 0..ATTEMPTS {
            let run = self.attempt(job)?;
            let Some(reason) = run.void.clone() else {
                self.beside(&run)?;
                return files::write_run(&run, &self.plan.results);
            };
            let path = files::write_void(&run, &self.plan.results)?;
            log_progress(&format!("  void, kept as {}: {reason}", path.display()));
        }
        anyhow::bail!("it was disturbed {ATTEMPTS} times: stop what else runs on the node")
    }

    /// Fails unless a run can stand in one table with those of the results folder.
    pub(super) fn beside(&self, run: &Run) -> Result<()> {
        let runs = files::read_runs_if_any(&self.plan.results)?;
        joinable(&runs)
            .and_then(|()| joins(&runs, run))
            .context("the results folder holds runs of something else; choose another one")
    }

    fn attempt(&mut self, job: &Job) -> Result<Run> {
        if !self.plan.as_is {
            self.remove_all()?;
            self.set_node(Some(&job.arm))?;
            self.apply(job)?;
        }
        self.await_rest(job)?;
        self.run(job)
    }

    pub(super) fn seed(&self, job: &Job) -> u64 {
        self.plan.seed_of(job.repeat)
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
