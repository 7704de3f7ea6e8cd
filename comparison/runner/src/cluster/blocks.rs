//! Blocks: one repeat of one scenario under every arm. Arms are compared within a block only, so
//! that whatever differs between blocks (the day, the machine's speed) cancels.
//!
//! A comparison takes many hours and is done in sessions. A session ends between two runs; the next
//! one continues with the first run that has no results file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rand_pcg::Pcg64;
use scenario::arms::Arm;
use scenario::rate::uniform;
use scenario::recording::{Draw, Origin, Run};
use scenario::{Counted, Scenario};

use crate::files;

/// Time between two runs, as measured on a node with two cores: removal, the expiry of the HPA's
/// state, rest, the spread of starts, and reading Prometheus.
pub const BETWEEN_S: f64 = 75.0;
/// Time from the end of a load until an arm is at rest: the HPA's and KEDA's 300 s, and a drain.
const TO_REST_S: f64 = 340.0;
/// A calibration of one pod, and a check that it has not changed.
pub const CALIBRATION_S: f64 = 360.0;
/// See [`CALIBRATION_S`].
pub const RECALIBRATION_S: f64 = 200.0;

/// One run to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is sent.
    pub scenario: Scenario,
    /// What answers.
    pub arm: Arm,
    /// Counted from 1; see [`Plan::seed_of`].
    pub repeat: u32,
}

impl Job {
    /// The name of the run and of its file.
    pub fn id(&self) -> String {
        let Arm { variant, configuration, .. } = &self.arm;
        format!("{}-{variant}-{configuration}-{}", self.scenario.name, self.repeat)
    }

    /// Its file in a results folder.
    fn path(&self, results: &Path) -> PathBuf {
        results.join(format!("{}.json", self.id()))
    }
}

/// One repeat of one scenario under every arm.
#[derive(Debug)]
pub struct Block {
    /// In the order in which they are run.
    pub jobs: Vec<Job>,
}

/// Every block of a plan: all scenarios of the first repeat, then the next repeat. A comparison
/// that ends early thus has the same number of pairs of everything.
pub fn blocks(plan: &Plan) -> Vec<Block> {
    let mut blocks = vec![];
    for repeat in 1..=plan.repeats {
        for scenario in &plan.scenarios {
            let arms = shuffled(&plan.arms, plan.seed_of(repeat), &scenario.name);
            let job = |arm| Job { scenario: scenario.clone(), arm, repeat };
            blocks.push(Block { jobs: arms.into_iter().map(job).collect() });
        }
    }
    blocks
}

/// The arms in an order that the seed draws: the same each time, so that a block is resumed in its
/// order.
fn shuffled(arms: &[Arm], seed: u64, scenario: &str) -> Vec<Arm> {
    let stream = scenario.bytes().fold(0_u128, |sum, byte| sum * 31 + u128::from(byte));
    let mut random = Pcg64::new(u128::from(seed), stream);
    let mut arms = arms.to_vec();
    // Fisher and Yates.
    for last in (1..arms.len()).rev() {
        arms.swap(last, (uniform(&mut random) * (last + 1) as f64) as usize);
    }
    arms
}

impl Block {
    /// The runs that have no results file yet.
    pub fn left(&self, results: &Path) -> Vec<Job> {
        let has_none = |job: &&Job| !job.path(results).exists();
        self.jobs.iter().filter(has_none).cloned().collect()
    }

    /// What is recorded of it, also of arms that the plan does not have.
    pub fn recorded(&self, results: &Path) -> Result<Vec<Run>> {
        let runs = files::read_runs_if_any(results)?;
        Ok(self.among(&runs).cloned().collect())
    }

    fn among<'a>(&self, runs: &'a [Run]) -> impl Iterator<Item = &'a Run> {
        let own = self.jobs.first().map(|job| (job.scenario.name.clone(), job.repeat));
        runs.iter().filter(move |run| {
            let of_block = own
                .as_ref()
                .is_some_and(|(scenario, repeat)| run.scenario == *scenario && run.repeat == *repeat);
            run.origin == Origin::Measured && of_block
        })
    }
}

/// Refuses a results folder in which the file of a planned run holds another run: it would count as
/// recorded. Files of older formats are read under the names of today's arms. Refuses a block that
/// was begun with another load, too: a run that continues it has the load of those before it.
pub fn ensure_own(plan: &Plan) -> Result<()> {
    const ELSEWHERE: &str =
        "choose another folder for this comparison (make compare RESULTS=folder, --results)";
    let recorded = files::read_runs_if_any(&plan.results)?;
    for block in blocks(plan) {
        let Some(first) = block.jobs.first() else { continue };
        let seed = plan.seed_of(first.repeat);
        let as_planned = |run: &&Run| {
            let draw = &run.draw;
            let same_load =
                plan.pod_load.map_or(draw.pod_load.is_none() && draw.scale == plan.scale, |load| {
                    draw.pod_load == Some(load)
                });
            draw.seed == seed && draw.stretch == plan.stretch && same_load
        };
        for job in &block.jobs {
            let (id, path) = (job.id(), job.path(&plan.results));
            ensure!(
                !path.exists() || recorded.iter().filter(as_planned).any(|run| run.id() == id),
                "{} holds a run of other settings or another load: {ELSEWHERE}",
                path.display()
            );
        }
        let other = block.among(&recorded).find(|run| !as_planned(run));
        if let Some(other) = other {
            let Draw { scale, pod_load, stretch, seed, .. } = &other.draw;
            let load =
                pod_load.map_or(format!("a rate of 1 is {scale}/s"), |load| format!("a pod load of {load}"));
            bail!(
                "{} is of the same block and was recorded with {load}, stretch {stretch} and seed {seed}: {ELSEWHERE}",
                other.id()
            );
        }
    }
    Ok(())
}

/// The plan of a comparison.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenarios, in this order.
    pub scenarios: Vec<Scenario>,
    /// The arms, of which each block has an order of its own.
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
    /// How long this session may take, in minutes.
    pub minutes: Option<f64>,
    /// Void what is recorded of a block that was begun on another machine, or at another speed, and
    /// begin it again.
    pub begin_again: bool,
    /// Pictures by kind.
    pub images: PathBuf,
    /// The folder of results.
    pub results: PathBuf,
    /// Threads of the load generator.
    pub threads: usize,
    /// Commit of this tool and the manifests, for the results.
    pub commit: String,
}

impl Plan {
    /// Every repeat has a seed of its own, the same for all arms.
    pub fn seed_of(&self, repeat: u32) -> u64 {
        self.seed.wrapping_add(u64::from(repeat) - 1)
    }

    /// Seconds of load, and of the wait for rest after it.
    pub fn parts_s(&self, scenario: &Scenario) -> (f64, f64) {
        let rest = match scenario.counted {
            Counted::UntilRest => self.tail_s.max(TO_REST_S),
            Counted::After(_) => 0.0,
        };
        (scenario.rate.duration() * self.stretch, rest)
    }

    /// How long a run takes, with what is between two.
    pub fn run_s(&self, scenario: &Scenario) -> f64 {
        let (load, rest) = self.parts_s(scenario);
        load + rest + BETWEEN_S
    }

    /// Whether a run that begins so many seconds after the session began ends within its time, and
    /// the check of the calibration after it too.
    pub fn fits(&self, begun_s: f64, scenario: &Scenario) -> bool {
        let check = if self.calibrate { RECALIBRATION_S } else { 0.0 };
        self.minutes.is_none_or(|minutes| begun_s + self.run_s(scenario) + check <= minutes * 60.0)
    }
}

/// What one session gets done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Session {
    /// Runs.
    pub runs: usize,
    /// Blocks that are complete at its end and were not before.
    pub blocks: usize,
    /// How long it takes.
    pub seconds: f64,
}

/// The sessions that a plan takes from where its results folder is: a single one without a limit.
/// `None` if the limit is too short for a run.
pub fn sessions(plan: &Plan) -> Option<Vec<Session>> {
    let calibration = |seconds: f64| if plan.calibrate { seconds } else { 0.0 };
    let begin = Session { runs: 0, blocks: 0, seconds: calibration(CALIBRATION_S) };
    let (mut sessions, mut now) = (vec![], begin);
    for block in blocks(plan) {
        let left = block.left(&plan.results);
        for (i, job) in left.iter().enumerate() {
            if !plan.fits(now.seconds, &job.scenario) {
                // A block that is interrupted is checked at the end of the session, too.
                now.seconds += if i > 0 { calibration(RECALIBRATION_S) } else { 0.0 };
                sessions.push(now);
                now = begin;
                if !plan.fits(now.seconds, &job.scenario) {
                    return None;
                }
            }
            now.seconds += plan.run_s(&job.scenario);
            now.runs += 1;
        }
        if !left.is_empty() {
            now.blocks += 1;
            now.seconds += calibration(RECALIBRATION_S);
        }
    }
    if now.runs > 0 {
        sessions.push(now);
    }
    Some(sessions)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    const ARMS: [&str; 4] = ["kpa", "hpa", "hpa-vpa", "keda"];

    #[test]
    fn a_block_has_every_arm_once_in_an_order_that_the_seed_draws() {
        let plan = plan(12, &ARMS);
        let orders: Vec<Vec<String>> =
            blocks(&plan).iter().map(|b| b.jobs.iter().map(|j| j.arm.name.clone()).collect()).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, ["hpa", "hpa-vpa", "keda", "kpa"]);
        }
        let again: Vec<Vec<String>> =
            blocks(&plan).iter().map(|b| b.jobs.iter().map(|j| j.arm.name.clone()).collect()).collect();
        assert_eq!(orders, again, "a resumed block has the same order");
        let firsts = |name: &str| orders.iter().filter(|order| order[0] == name).count();
        assert!(ARMS.iter().all(|name| firsts(name) > 0), "every arm is first in some block: {orders:?}");
    }

    #[test]
    fn all_scenarios_of_a_repeat_come_before_the_next_repeat() {
        let mut plan = plan(2, &ARMS);
        plan.scenarios.push(Scenario::shipped_named("azure-llm-code").expect("shipped"));
        let order: Vec<(String, u32)> =
            blocks(&plan).iter().map(|b| (b.jobs[0].scenario.name.clone(), b.jobs[0].repeat)).collect();
        let expected =
            [("spike-cycles", 1), ("azure-llm-code", 1), ("spike-cycles", 2), ("azure-llm-code", 2)];
        assert_eq!(order, expected.map(|(name, repeat)| (name.to_owned(), repeat)));
    }

    #[test]
    fn a_session_ends_before_the_run_that_would_not_fit_and_the_next_goes_on_there() {
        let mut plan = plan(3, &ARMS);
        let run_s = plan.run_s(&plan.scenarios[0]);
        // Room for six of the twelve runs: a block and a half.
        plan.minutes = Some((CALIBRATION_S + 6.0 * run_s + 2.0 * RECALIBRATION_S + 1.0) / 60.0);
        let found = sessions(&plan).expect("runs fit");
        let shape: Vec<(usize, usize)> = found.iter().map(|s| (s.runs, s.blocks)).collect();
        assert_eq!(shape, [(6, 1), (6, 2)]);
        assert!(found.iter().all(|s| s.seconds <= plan.minutes.expect("set") * 60.0), "{found:?}");
        plan.minutes = Some(run_s / 60.0);
        assert_eq!(sessions(&plan), None, "a calibration and a run do not fit");
        plan.minutes = None;
        assert_eq!(sessions(&plan).expect("one").len(), 1);
    }

    #[test]
    fn a_folder_whose_files_hold_other_runs_than_the_planned_is_refused() {
        let spike = |arm: &str, scale: f64| Plan {
            scenarios: vec![Scenario::shipped_named("spike").expect("shipped")],
            results: Path::new(env!("CARGO_MANIFEST_DIR")).join("../results"),
            scale,
            stretch: 0.5,
            ..plan(3, &[arm])
        };
        ensure_own(&spike("hpa-vpa", 12.0)).expect("these are recorded");
        ensure_own(&spike("keda", 12.0)).expect("there is no file of it");
        let error = ensure_own(&spike("keda", 5.0)).expect_err("its block has another load").to_string();
        assert!(error.contains("a rate of 1 is 12/s") && error.contains("RESULTS="), "{error}");
        let error = ensure_own(&spike("hpa-vpa", 5.0)).expect_err("another load").to_string();
        assert!(
            error.contains("spike-k8s-autoscalers-defaults-1.json") && error.contains("RESULTS="),
            "{error}"
        );
        // That file's KPA had a utilization of 100 %: an arm of another name today.
        let error = ensure_own(&spike("kpa", 12.0)).expect_err("another arm").to_string();
        assert!(error.contains("spike-knative-defaults-1.json"), "{error}");
    }
}
