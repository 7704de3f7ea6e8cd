//! One run after the other: configuration, rest, load, tail, collection, results file. Resumes where it was interrupted.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use super::config::{AutoscalerKind, ClusterConfig, VariantConfig};
use super::kube::{Kube, shell};
use super::prometheus::Prometheus;
use super::recorder::Recorder;
use super::usage::{self, Range};
use super::{clock, fitness};
use crate::load::Outcome;
use crate::load::client::{LoadClient, Target};
use crate::load::images::Pictures;
use crate::load::pace::send_schedule;
use crate::load::summary::LoadSummary;
use crate::recording::{Draw, Origin, Run, SCHEMA};
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In this order.
    pub scenarios: Vec<Scenario>,
    /// Variants; swapped in every second repeat.
    pub variants: Vec<String>,
    /// `defaults`, `tuned`.
    pub configurations: Vec<String>,
    /// How often everything is repeated; each repeat has its own seed.
    pub repeats: u32,
    /// Requests a second for a rate of 1.0.
    pub scale: f64,
    /// Factor on the scenarios' time.
    pub stretch: f64,
    /// Seed of the first repeat; the next ones count up.
    pub seed: u64,
    /// Seconds watched after the schedule has ended.
    pub tail_s: f64,
    /// How long a variant may take to answer at all, and to get to rest.
    pub patience: Duration,
    /// Take the variants as they are deployed: neither apply nor reset anything.
    pub as_is: bool,
    /// At rest means: for this long.
    pub calm: Duration,
    /// Pictures by kind.
    pub images: PathBuf,
    /// Where results go.
    pub results: PathBuf,
    /// Threads of the load generator.
    pub threads: usize,
    /// Commit of this tool and the manifests, for the results.
    pub commit: String,
}

const POLL: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs everything that has no results file yet.
pub fn compare(plan: &Plan, config: &ClusterConfig, kubectl: &str) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(plan.threads).enable_all().build()?;
    let _inside = runtime.enter();
    let kube = Kube::open(kubectl)?;
    let at = if config.prometheus.starts_with('/') {
        kube.url(&config.prometheus)
    } else {
        config.prometheus.clone()
    };
    let prometheus = Prometheus::new(kube.http.clone(), &at);
    runtime.block_on(fitness::check(&kube, &prometheus, config))?;
    let runner = Runner { plan, config, runtime: runtime.handle().clone(), kube, prometheus };
    let mut queue = runner.queue()?;
    say(&format!("{} runs to do", queue.len()));
    let total = queue.len();
    let begun = Instant::now();
    let mut applied = HashMap::new();
    for (done, job) in queue.drain(..).enumerate() {
        let left = begun.elapsed().as_secs_f64() / done.max(1) as f64 * (total - done) as f64;
        let left = if done == 0 { String::new() } else { format!(", about {:.0} min left", left / 60.0) };
        say(&format!("[{}/{total}{left}] {}", done + 1, job.id()));
        if !plan.as_is && applied.get(&job.variant) != Some(&job.configuration) {
            runner.apply(&job)?;
            applied.insert(job.variant.clone(), job.configuration.clone());
        }
        let run = runner.run(&job).with_context(|| format!("{}: no result", job.id()))?;
        say(&format!("  wrote {}", run.write(&plan.results)?.display()));
    }
    Ok(())
}

/// One run to do.
struct Job {
    scenario: Scenario,
    variant: String,
    configuration: String,
    repeat: u32,
}

impl Job {
    fn id(&self) -> String {
        format!("{}-{}-{}-{}", self.scenario.name, self.variant, self.configuration, self.repeat)
    }
}

struct Runner<'a> {
    plan: &'a Plan,
    config: &'a ClusterConfig,
    runtime: tokio::runtime::Handle,
    kube: Kube,
    prometheus: Prometheus,
}

impl Runner<'_> {
    /// Every run of the plan without a results file, the variants' order swapped from repeat to repeat.
    fn queue(&self) -> Result<Vec<Job>> {
        let plan = self.plan;
        let mut jobs = Vec::new();
        for repeat in 1..=plan.repeats {
            for configuration in &plan.configurations {
                for scenario in &plan.scenarios {
                    let mut variants = plan.variants.clone();
                    if repeat % 2 == 0 {
                        variants.reverse();
                    }
                    for variant in variants {
                        self.config.variant(&variant)?;
                        let (scenario, configuration) = (scenario.clone(), configuration.clone());
                        jobs.push(Job { scenario, variant, configuration, repeat });
                    }
                }
            }
        }
        jobs.retain(|job| {
            let path = plan.results.join(format!("{}.json", job.id()));
            let done = path.exists();
            if done {
                say(&format!("{} is there already", path.display()));
            }
            !done
        });
        Ok(jobs)
    }

    /// Switches a variant to a configuration and waits until it answers.
    fn apply(&self, job: &Job) -> Result<()> {
        let variant = self.config.variant(&job.variant)?;
        let commands = variant.apply.get(&job.configuration);
        let commands = commands
            .with_context(|| format!("{} has no configuration {:?}", job.variant, job.configuration))?;
        commands.iter().try_for_each(|command| shell(command))?;
        self.await_answer(job, variant)
    }

    fn seed(&self, job: &Job) -> u64 {
        self.plan.seed + u64::from(job.repeat) - 1
    }

    fn schedule(&self, job: &Job) -> Schedule {
        Schedule::draw(&job.scenario, self.plan.scale, self.plan.stretch, self.seed(job))
    }

    fn client(&self, variant: &VariantConfig, timeout_ms: u64) -> Result<LoadClient> {
        let target = Target::new(&self.config.gateway, Some(&variant.host))?;
        Ok(LoadClient::new(target, Duration::from_millis(timeout_ms)))
    }

    /// Waits until the variant answers a picture: it is deployed and reachable, and the image is on the node.
    fn await_answer(&self, job: &Job, variant: &VariantConfig) -> Result<()> {
        let schedule = self.schedule(job);
        let pictures = Pictures::read(&self.plan.images, &schedule)?;
        let client = self.client(variant, job.scenario.timeout_ms)?;
        let Some(first) = schedule.arrivals.first() else { bail!("the schedule is empty: raise --scale") };
        let begun = Instant::now();
        loop {
            let outcome = self.runtime.block_on(client.send(pictures.of(first)));
            if outcome == Outcome::Ok {
                return Ok(());
            }
            if begun.elapsed() > self.plan.patience {
                bail!(
                    "{} never got ready: after {:.0?} it still says {outcome:?}",
                    job.variant,
                    begun.elapsed()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until every variant has as many pods as at rest, all of them ready.
    fn await_rest(&self, job: &Job) -> Result<()> {
        for variant in self.config.variants.values().filter(|_| !self.plan.as_is) {
            variant.reset.iter().try_for_each(|command| shell(command))?;
        }
        let begun = Instant::now();
        let mut calm_since = None;
        loop {
            let mut restless = None;
            for (name, variant) in &self.config.variants {
                let allowed = variant.rest_pods.get(&job.configuration).copied().unwrap_or(0);
                let (pods, ready) = self.runtime.block_on(fitness::pods(&self.kube, variant))?;
                // The variant of this run must be exactly at rest; the other one must only not be in the way.
                let at_rest = if *name == job.variant {
                    pods == allowed && ready == allowed
                } else {
                    pods <= most_rest(variant)
                };
                if !at_rest {
                    restless =
                        Some(format!("{name} has {pods} pods, {ready} of them ready, and {allowed} at rest"));
                }
            }
            match restless {
                None if calm_since.get_or_insert_with(Instant::now).elapsed() >= self.plan.calm => {
                    return Ok(());
                }
                None => {}
                Some(reason) if begun.elapsed() > self.plan.patience => {
                    bail!("not at rest after {:.0?}: {reason}", begun.elapsed())
                }
                Some(_) => calm_since = None,
            }
            std::thread::sleep(POLL);
        }
    }

    fn run(&self, job: &Job) -> Result<Run> {
        let plan = self.plan;
        let variant = self.config.variant(&job.variant)?;
        let schedule = self.schedule(job);
        let pictures = Arc::new(Pictures::read(&plan.images, &schedule)?);
        self.await_rest(job)?;

        let recorder = self.runtime.block_on(Recorder::start(&self.kube, variant))?;
        let client = self.client(variant, job.scenario.timeout_ms)?;
        let started = SystemTime::now();
        let (runtime, sending) = (self.runtime.clone(), (schedule.clone(), Arc::clone(&pictures)));
        let sender = std::thread::spawn(move || send_schedule(&runtime, &client, &sending.0, &sending.1));
        let observed_s = schedule.duration() + plan.tail_s;
        let end = Instant::now() + Duration::from_secs_f64(observed_s);
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::sleep(left.min(PROGRESS));
            let (pods, ready) = recorder.counts();
            say(&format!(
                "  {:4.0} s left, {pods} pods, {ready} ready",
                left.saturating_sub(PROGRESS).as_secs_f64()
            ));
        }
        let Ok(mut sent) = sender.join() else { bail!("the load generator stopped unexpectedly") };
        let steps_up = schedule.rate.steps_up();
        let load = LoadSummary::new(
            &mut sent.records,
            sent.unsent,
            job.scenario.slo_ms,
            schedule.duration(),
            &steps_up,
        );
        if let Some(fault) = load.generator_fault() {
            bail!("the load generator is too slow here: {fault}");
        }
        // Second 0 is when the sender began, a thread start after `started`.
        let start = clock::unix(sent.started.max(started));
        let mut recording = recorder.finish(start, observed_s);
        let range = Range { from: start, to: start + observed_s, scrape_s: self.config.scrape_s };
        std::thread::sleep(Duration::from_secs_f64(self.config.scrape_s));
        let environment = self.runtime.block_on(async {
            usage::fill(&self.prometheus, &variant.namespace, &mut recording, range).await?;
            for component in &variant.components {
                recording
                    .components
                    .push(usage::component(&self.kube, &self.prometheus, component, range).await?);
            }
            if variant.autoscaler == AutoscalerKind::Kpa {
                recording.seen = usage::kpa_seen(&self.prometheus, &variant.name, &recording, range).await?;
            }
            usage::environment(&self.kube).await
        });
        let mut environment = environment?;
        environment.extend(self.config.environment.clone());
        environment.insert("Commit".into(), plan.commit.clone());
        Ok(Run {
            schema: SCHEMA.into(),
            origin: Origin::Measured,
            scenario: job.scenario.name.clone(),
            variant: job.variant.clone(),
            configuration: job.configuration.clone(),
            repeat: job.repeat,
            started: clock::format(sent.started),
            draw: Draw::of(&schedule, &job.scenario, plan.scale, plan.stretch, self.seed(job)),
            environment,
            load,
            recording,
        })
    }
}

/// The most pods a variant has at rest in any configuration.
fn most_rest(variant: &VariantConfig) -> usize {
    variant.rest_pods.values().copied().max().unwrap_or(0)
}

/// A line of progress on standard error; standard output is for results.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
