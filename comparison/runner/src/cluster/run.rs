//! One run: load, tail, and collection. During the load no queries are sent; changes arrive through
//! watches, and Prometheus is read afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::blocks::Job;
use super::config::VariantConfig;
use super::interrupt::pause;
use super::marker::Marker;
use super::node_cpu::{NodeCpu, Sample};
use super::recorder::Recorder;
use super::runner::{Runner, log_progress};
use super::usage::{self, Range};
use super::{clock, cost, identity, others, quota};
use crate::analysis::measures::cost_apart;
use load::images::Pictures;
use load::pace::send_schedule;
use load::rehearsal::rehearse;
use scenario::arms::{Arm, Deciding};
use scenario::recording::{Draw, IMAGE_ID, Origin, QUOTA_PERIOD, Recording, Run, SCHEMA, cpu_limit};
use scenario::summary::LoadSummary;

const PROGRESS: Duration = Duration::from_secs(10);
/// Time at rest after which a run ends: longer than any autoscaler's decision period.
const REST: Duration = Duration::from_secs(20);

impl Runner<'_> {
    pub(super) fn run(&self, job: &Job) -> Result<Run> {
        let plan = self.plan;
        let variant = self.config.variant(&job.arm.variant)?;
        let schedule = self.schedule(job);
        let pictures = Arc::new(Pictures::read(&plan.images, &schedule)?);
        let mut environment = self.runtime.block_on(async {
            let mut facts = identity::facts(&self.kube, variant, &job.arm).await?;
            facts.extend(usage::environment(&self.kube).await?);
            anyhow::Ok(facts)
        })?;
        let node = self.runtime.block_on(usage::first_node(&self.kube))?;
        let info = |path: &str| node.pointer(path).and_then(|v| v.as_str());
        let cpus = info("/status/capacity/cpu").and_then(|c| c.parse::<f64>().ok());
        let here = info("/status/nodeInfo/bootID").is_some_and(others::on_node);
        environment.extend(self.config.environment.clone());
        environment.insert("Commit".into(), plan.commit.clone());

        let sync_s = self.runtime.block_on(quota::hpa_sync_period_s(&self.kube));
        environment.extend(sync_s.map(|s| ("HPA sync period".to_owned(), format!("{s} s"))));
        let load_runtime = load::threads::runtime(plan.threads)?;
        self.rehearse(&load_runtime, job)?;
        let recorder = self.runtime.block_on(Recorder::start(&self.kube, variant, &job.arm))?;
        // Before the load, which takes minutes; once more after it, when there are pods for sure.
        let mut found =
            quota::Found { period_ms: self.cfs_period_ms(&recorder), limit: cpu_limit(&environment), sync_s };
        quota::check(&job.arm, &self.config.node, found)?;
        let mut draw = Draw::of(&schedule, &job.scenario, self.scale, plan.stretch, self.seed(job));
        draw.pod_load = plan.pod_load;
        let mut run = Run {
            schema: SCHEMA.into(),
            origin: Origin::Measured,
            scenario: job.scenario.name.clone(),
            variant: job.arm.variant.clone(),
            configuration: job.arm.configuration.clone(),
            repeat: job.repeat,
            started: String::new(),
            draw,
            environment,
            load: LoadSummary::new(&mut [], 0, job.scenario.slo_ms, schedule.duration(), &[]),
            recording: Recording::default(),
            calibration: self.calibration.clone(),
            session: Some(self.session.clone()),
            throughput: None,
            void: None,
        };
        // Before the load, too, as far as it is known: where no pod is at rest, the image is that
        // of the pod that was calibrated.
        let image = |image| (IMAGE_ID.to_owned(), image);
        let mut known = run.clone();
        known.environment.extend(recorder.image().or_else(|| self.image.clone()).map(image));
        self.beside(&known)?;
        let draw = &run.draw;
        // Where only a part of the load counts, the tail does not.
        let until_rest = draw.counted.is_none();
        let least_s = schedule.duration() + if until_rest { plan.tail_s } else { 0.0 };
        let marker = self.mark(job, Duration::from_secs_f64(least_s), draw.counted);
        let client = self.client(variant, job.scenario.timeout_ms)?;
        let sending = (schedule.clone(), Arc::clone(&pictures), load_runtime);
        let cpu = here.then(|| NodeCpu::start(&self.config.node_programs)).flatten();
        let sender = std::thread::spawn(move || {
            let (schedule, pictures, runtime) = sending;
            let _inside = runtime.enter();
            send_schedule(runtime.handle(), &client, &schedule, &pictures)
        });
        let begun = Instant::now();
        self.watch(&recorder, least_s)?;
        if until_rest {
            self.watch_until_rest(&recorder, job)?;
        }
        let cpu = cpu.map(NodeCpu::finish);
        let observed_s = begun.elapsed().as_secs_f64();
        let Ok(mut sent) = sender.join() else { bail!("the load generator stopped unexpectedly") };
        if let Some(error) = recorder.never_opened() {
            bail!("a watch was never opened: {error}");
        }
        if let Some(marker) = marker {
            self.runtime.block_on(marker.end(sent.started, Duration::from_secs_f64(observed_s)));
        }
        let load = LoadSummary::new(
            &mut sent.records,
            sent.unsent,
            job.scenario.slo_ms,
            schedule.duration(),
            &schedule.rate.steps_up(),
        );
        if let Some(fault) = load.generator_fault() {
            bail!("the load generator is too slow here: {fault}");
        }
        let load = load.within(&sent.records, job.scenario.slo_ms, draw.counted);
        let start = clock::unix(sent.started);
        let range = Range { from: start, to: start + observed_s, scrape_s: self.config.scrape_s };
        run.environment.extend(recorder.image().map(image));
        found.period_ms = self.cfs_period_ms(&recorder);
        quota::check(&job.arm, &self.config.node, found)?;
        let shown = found.period_ms.map_or("not known".to_owned(), |ms| format!("{ms} ms"));
        run.environment.insert(QUOTA_PERIOD.into(), shown);
        let mut recording = recorder.finish(start, observed_s);
        pause(Duration::from_secs_f64(self.config.scrape_s))?;
        let counted = draw.counted.map_or(range, |[from, to]| range.part(from, to));
        let more = self.runtime.block_on(self.read(variant, &job.arm, &mut recording, range, counted))?;
        run.environment.extend(more);
        let most = self.config.other_cpu_most(cpu.is_some());
        if let Some(cpus) = cpus {
            self.runtime.block_on(self.read_others(&mut recording, cpu, cpus, range))?;
        }
        let window = draw.counted.unwrap_or([0.0, schedule.duration()]);
        run.void = others::fault(&recording.node_other, window, most);
        run.started = clock::format(sent.started);
        run.load = load;
        run.recording = recording;
        if let Some(apart) = cost_apart(&run).filter(|apart| apart.abs() > cost::MOST_APART) {
            let percent = apart * 100.0;
            log_progress(&format!(
                "  core-seconds by Prometheus are {percent:+.1} % from those that were watched"
            ));
        }
        Ok(run)
    }

    /// The period of the CPU quota: from the pod's cgroup on this node, or from the kubelet's
    /// configuration.
    fn cfs_period_ms(&self, recorder: &Recorder) -> Option<f64> {
        let own = recorder.container().and_then(|id| quota::of_container(&id));
        own.or_else(|| {
            let node = self.runtime.block_on(usage::first_node(&self.kube)).ok()?;
            let name = node["metadata"]["name"].as_str()?.to_owned();
            self.runtime.block_on(quota::of_kubelet(&self.kube, &name))
        })
    }

    /// CPU use of the node by processes that have nothing to do with the run, and by the node's
    /// components: from samples taken on it, or by Prometheus.
    async fn read_others(
        &self,
        recording: &mut Recording,
        cpu: Option<Vec<Sample>>,
        cpus: f64,
        range: Range,
    ) -> Result<()> {
        if let Some(samples) = cpu {
            let shares = others::shares(&samples, range.from, cpus);
            (recording.node_other, recording.node_components) = (shares.other, shares.components);
        } else {
            let busy = &recording.node_busy;
            recording.node_other = others::by_prometheus(&self.prometheus, busy, cpus, range).await?;
        }
        Ok(())
    }

    /// Checks repeatedly, up to the plan's patience, that this machine can send the load in time: a
    /// disturbance may end.
    fn rehearse(&self, runtime: &tokio::runtime::Runtime, job: &Job) -> Result<()> {
        let begun = Instant::now();
        loop {
            // On a thread of its own: this one must not get real-time priority.
            let handle = runtime.handle().clone();
            let rehearsal = std::thread::spawn(move || rehearse(&handle)).join();
            let Ok(rehearsal) = rehearsal else { bail!("the rehearsal stopped unexpectedly") };
            let Some(fault) = rehearsal.fault(job.scenario.slo_ms) else { return Ok(()) };
            if begun.elapsed() > self.plan.patience {
                bail!("the load generator is too slow here, before anything was sent: {fault}");
            }
            log_progress(&format!("  waiting: {fault}"));
            pause(PROGRESS)?;
        }
    }

    /// Names the run in Prometheus while it lasts. The measures do not depend on it: without it
    /// there is a warning, and still a result.
    fn mark(&self, job: &Job, length: Duration, counted: Option<[f64; 2]>) -> Option<Marker> {
        let labels = [
            ("run", job.id()),
            ("scenario", job.scenario.name.clone()),
            ("variant", job.arm.variant.clone()),
            ("configuration", job.arm.configuration.clone()),
            ("arm", job.arm.title.clone()),
        ];
        let marking = Marker::start(self.prometheus.clone(), labels.into(), length, counted);
        let started = self.runtime.block_on(marking);
        started.map_err(|error| log_progress(&format!("  {error:#}"))).ok()
    }

    /// Reports progress until the end, from the state of the watches.
    fn watch(&self, recorder: &Recorder, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            pause(left.min(PROGRESS))?;
            let (pods, ready) = recorder.counts();
            let left = left.saturating_sub(PROGRESS).as_secs_f64();
            log_progress(&format!("  {left:4.0} s left, {pods} pods, {ready} ready"));
        }
        Ok(())
    }

    /// Continues to watch until the arm has been at rest for [`REST`], or for the plan's longest
    /// tail: cost is counted until all arms are at rest, and what a pod costs at rest is known
    /// then.
    fn watch_until_rest(&self, recorder: &Recorder, job: &Job) -> Result<()> {
        let (begun, mut since) = (Instant::now(), None);
        while begun.elapsed() < self.plan.longest_tail {
            let rest = job.arm.rest_pods;
            match recorder.counts() == (rest, rest) {
                true if since.get_or_insert_with(Instant::now).elapsed() >= REST => return Ok(()),
                true => {}
                false => since = None,
            }
            pause(Duration::from_secs(1))?;
        }
        let limit = self.plan.longest_tail.as_secs();
        log_progress(&format!("  not at rest {limit} s after the tail: cost is counted until here"));
        Ok(())
    }

    /// Reads the run's data from Prometheus; returns the facts of the build.
    async fn read(
        &self,
        variant: &VariantConfig,
        arm: &Arm,
        recording: &mut Recording,
        range: Range,
        counted: Range,
    ) -> Result<BTreeMap<String, String>> {
        usage::fill(&self.prometheus, &variant.namespace, recording, range, counted).await?;
        for component in variant.components_of(arm) {
            let used = usage::component(&self.kube, &self.prometheus, component, range, counted).await?;
            recording.components.push(used);
        }
        recording.by_prometheus = cost::by_prometheus(&self.prometheus, &arm.variant, counted).await?;
        recording.node_busy = usage::node_busy(&self.prometheus, range).await?;
        if arm.autoscaler == Deciding::Kpa {
            recording.seen = usage::kpa_seen(&self.prometheus, &variant.name, recording, range).await?;
            recording.panic = usage::kpa_panic(&self.prometheus, &variant.name, recording, range).await?;
        }
        usage::build(&self.prometheus, &variant.namespace, recording, range).await
    }
}
