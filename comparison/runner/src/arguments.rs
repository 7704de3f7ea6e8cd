//! The options of the subcommands, and what they name: scenarios, arms, a plan, a cluster.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use comparison::against::ablations;
use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::rest::{FORGETS_AFTER_S, SLOWEST_CLOCK_S};
use comparison::fit::{Arms, Measured};
use comparison::{files, manifests, options};
use scenario::Scenario;
use scenario::arms::{self, Arm};
use scenario::recording::Origin;
use scenario::schedule::Schedule;

#[derive(Parser)]
#[command(name = "comparison", about = "KPA, HPA, VPA and KEDA: the same load, every arm, one report")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the arrivals of a scenario as CSV
    Schedule(ScheduleArgs),
    /// Send a scenario to any URL and print the outcome (no cluster needed)
    Load(LoadArgs),
    /// Run scenarios on the current cluster, every arm, and write results files
    Run(RunArgs),
    /// Print the plan of `run` with the same options: its runs, their duration and what they could
    /// show
    Plan(RunArgs),
    /// Measure the capacity of one pod on the current cluster, and store it in the results folder
    Calibrate(RunArgs),
    /// Run scenarios through the simulator and write results files labelled simulated
    Simulate(SimulateArgs),
    /// Run the simulator on the schedules of recorded runs and print the distance between their
    /// pods
    Against(AgainstArgs),
    /// Put what recorded autoscalers saw through the simulator's decision code, and print what it
    /// decides otherwise
    Replay(ReplayArgs),
    /// Estimate the pod's parameters from recorded runs, and print them for --plant
    Fit(FitArgs),
    /// Search settings: the frontier of good answers against cost, as a table and a picture
    Explore(ExploreArgs),
    /// Make the HTML page and the Markdown table from results files
    Report(ReportArgs),
    /// Print how many pairs of runs it takes to show what recorded runs suggest
    Power(PowerArgs),
    /// Draw charts given as JSON on standard input (`report::picture::Picture`) as one SVG
    Draw,
}

#[derive(Args)]
pub(crate) struct ScheduleArgs {
    /// Name of a file in the scenario folder, without .toml
    #[arg(long)]
    pub(crate) scenario: String,
    #[command(flatten)]
    pub(crate) draw: DrawArgs,
}

// See `RecordedArgs`: no doc comment.
#[derive(Args)]
pub(crate) struct SenderArgs {
    /// Folder with pictures: sub-folders open, closed and no_eyes, or files and a samples.json
    #[arg(long, default_value = "function/samples")]
    pub(crate) images: PathBuf,
    /// Threads of the load generator, which do nothing else
    #[arg(long, default_value_t = 1, allow_negative_numbers = true, value_parser = options::threads)]
    pub(crate) threads: u32,
}

#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Where to send: http://ADDRESS:PORT/
    #[arg(long)]
    pub(crate) url: String,
    /// Host header, where a gateway routes by name
    #[arg(long)]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) sender: SenderArgs,
    /// Warn when requests left too late, instead of refusing the result: for demonstrations, not
    /// for measurements
    #[arg(long)]
    pub(crate) allow_late: bool,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Scenarios, by name; all when not given
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Arms, by the names of comparison/arms.toml, with ablations after a plus sign (kpa+tbc-0);
    /// all that are not retired when not given
    #[arg(long, value_delimiter = ',')]
    pub(crate) arms: Vec<String>,
    /// How often everything is repeated; each repeat has a seed of its own
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, value_parser = options::count)]
    pub(crate) repeats: u32,
    /// Seconds watched after the schedule has ended, at least; a run on a cluster goes on until the
    /// arm is at rest
    #[arg(long, default_value_t = 30.0, allow_negative_numbers = true, value_parser = options::seconds)]
    pub(crate) tail: f64,
    #[command(flatten)]
    pub(crate) draw: DrawArgs,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Folder for results files
    #[arg(long, default_value = "comparison/runs")]
    pub(crate) results: PathBuf,
    /// The description of the cluster
    #[arg(long, default_value = "comparison/cluster.toml")]
    pub(crate) cluster: PathBuf,
    /// The gateway as reached from here, http://ADDRESS:PORT, overriding that file
    #[arg(long)]
    pub(crate) gateway: Option<String>,
    /// The kubectl to use
    #[arg(long, default_value = "kubectl")]
    pub(crate) kubectl: String,
    #[command(flatten)]
    pub(crate) sender: SenderArgs,
    /// Seconds that a variant may take to answer, and to get to rest
    #[arg(long, default_value_t = 600, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    pub(crate) patience: u64,
    /// Seconds that a run may go on after its tail until the arm is at rest
    #[arg(long, default_value_t = 600, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    pub(crate) longest_tail: u64,
    /// Seconds for the HPA's controller to drop the state of a removed HPA
    #[arg(long, default_value_t = FORGETS_AFTER_S, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    pub(crate) forget: u64,
    /// Seconds over which the beginnings of runs are spread, so that they start at different phases
    /// of the autoscalers' periods
    #[arg(long, default_value_t = SLOWEST_CLOCK_S, allow_negative_numbers = true, value_parser = options::seconds)]
    pub(crate) spread: f64,
    /// A rate of 1.0 as a share of one pod's capacity (see calibrate), instead of --scale
    #[arg(long, allow_negative_numbers = true, value_parser = options::positive)]
    pub(crate) pod_load: Option<f64>,
    /// Do not measure the capacity of one pod before the runs and between repeats
    #[arg(long)]
    pub(crate) no_calibration: bool,
    /// Minutes that this session may take: no run is begun that would not end within them. The next
    /// session goes on with the next run
    #[arg(long, allow_negative_numbers = true, value_parser = options::positive)]
    pub(crate) minutes: Option<f64>,
    /// Where the machine's speed has changed since a block was begun: void what is recorded of the
    /// block and begin it again
    #[arg(long)]
    pub(crate) begin_again: bool,
    /// Use the variants as deployed: neither remove nor apply anything
    #[arg(long)]
    pub(crate) as_is: bool,
    /// Commit, for the results files
    #[arg(long, default_value = "unknown")]
    pub(crate) commit: String,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
}

#[derive(Args)]
pub(crate) struct SimulateArgs {
    /// Folder for results files; one with measured runs is refused
    #[arg(long, default_value = "comparison/results/simulated")]
    pub(crate) results: PathBuf,
    #[command(flatten)]
    pub(crate) plant: PlantArgs,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
}

// Not a doc comment: it would become the text of every command that has these options.
#[derive(Args)]
pub(crate) struct RecordedArgs {
    /// Folder with recorded results files
    #[arg(long, default_value = "comparison/results")]
    pub(crate) results: PathBuf,
    /// Repeats that are looked at; all when not given
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = options::count)]
    pub(crate) repeats: Vec<u32>,
}

#[derive(Args)]
pub(crate) struct AgainstArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    pub(crate) scenarios: PathBuf,
    /// How often each run is simulated, with other chances: starts, moments of clocks
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = options::count)]
    pub(crate) chances: u32,
    /// Parts of the model that are switched off
    #[arg(long, value_delimiter = ',', value_parser = ablations::names())]
    pub(crate) without: Vec<String>,
    /// Switch off each part by itself, and print what becomes of the distances
    #[arg(long)]
    pub(crate) ablate: bool,
    /// Where to write the mean distances for the calculator, as JSON
    /// (comparison/calculator/page/errors.json)
    #[arg(long)]
    pub(crate) errors: Option<PathBuf>,
    /// Begin each simulated run with the recorded run's own clocks and VPA, as they were when the
    /// load began, instead of those of the runs that --plant was fitted on
    #[arg(long)]
    pub(crate) own_begin: bool,
    /// Keep the simulated runs as results files in this folder, one below it for each chance
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) plant: PlantArgs,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    #[command(flatten)]
    pub(crate) plant: PlantArgs,
}

#[derive(Args)]
pub(crate) struct FitArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    pub(crate) scenarios: PathBuf,
}

#[derive(Args)]
pub(crate) struct ExploreArgs {
    /// Random settings to try for each autoscaler, and as many again near the best of them
    #[arg(long, default_value_t = 300, allow_negative_numbers = true, value_parser = options::count)]
    pub(crate) candidates: u32,
    /// Seeds that each is tried with; what is shown is tried with as many others
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, value_parser = options::count)]
    pub(crate) seeds: u32,
    /// Where the picture goes, as SVG
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    #[command(flatten)]
    pub(crate) plant: PlantArgs,
}

#[derive(Args)]
pub(crate) struct PlantArgs {
    /// The repository: the autoscalers' settings and the pod's size are read from its manifests
    #[arg(long, default_value = ".")]
    pub(crate) root: PathBuf,
    /// A folder of platforms/ whose changes to the manifests apply
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Model of a pod, from `comparison fit`; without it, round numbers that were not measured
    #[arg(long)]
    pub(crate) plant: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Folder with results files
    #[arg(long, default_value = "comparison/results")]
    pub(crate) results: PathBuf,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    pub(crate) scenarios: PathBuf,
    /// Folder for report.html and table.md; that of the results when not given
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// A Markdown file with markers, whose table is replaced
    #[arg(long)]
    pub(crate) table: Option<PathBuf>,
    /// Where to write the chart of good answers against cost, as an SVG file
    #[arg(long)]
    pub(crate) chart: Option<PathBuf>,
    /// Printed in the report: how to make the results again
    #[arg(long, default_value = "make compare report")]
    pub(crate) command: String,
}

#[derive(Args)]
pub(crate) struct PowerArgs {
    /// Folder with results files
    #[arg(long, default_value = "comparison/results")]
    pub(crate) results: PathBuf,
}

#[derive(Args)]
pub(crate) struct DrawArgs {
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    pub(crate) scenarios: PathBuf,
    /// Requests a second that a rate of 1.0 in a scenario stands for
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true, value_parser = options::positive)]
    pub(crate) scale: f64,
    /// Multiplies the scenario's time (0.5: twice as fast). Autoscalers' own windows do not shrink
    /// with it
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_parser = options::positive)]
    pub(crate) stretch: f64,
    /// The same seed gives the same schedule
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl DrawArgs {
    /// The named scenarios, all if there are no names; each can be drawn.
    pub(crate) fn read(&self, names: &[String]) -> Result<Vec<Scenario>> {
        let scenarios = files::read_scenarios(&self.scenarios, names)?;
        for scenario in &scenarios {
            Schedule::ensure_bounded(scenario, self.scale, self.stretch)
                .context("give less with --scale or --stretch")?;
        }
        Ok(scenarios)
    }
}

impl ScheduleArgs {
    pub(crate) fn scenario(&self) -> Result<Scenario> {
        let mut named = self.draw.read(std::slice::from_ref(&self.scenario))?;
        named.pop().context("no scenario")
    }

    pub(crate) fn read(&self) -> Result<(Scenario, Schedule)> {
        let scenario = self.scenario()?;
        let schedule = Schedule::draw(&scenario, self.draw.scale, self.draw.stretch, self.draw.seed);
        Ok((scenario, schedule))
    }
}

impl RunArgs {
    pub(crate) fn config(&self) -> Result<ClusterConfig> {
        let mut config = ClusterConfig::read(&self.cluster)?;
        if let Some(gateway) = &self.gateway {
            config.gateway = format!("{}/classify", gateway.trim_end_matches('/'));
        }
        Ok(config)
    }

    pub(crate) fn plan(&self) -> Result<Plan> {
        // A simulated run would count as recorded.
        files::ensure_only(Origin::Measured, &self.results, "--results")?;
        let PlanArgs { draw, .. } = &self.plan;
        Ok(Plan {
            scenarios: draw.read(&self.plan.only)?,
            arms: self.plan.arms()?,
            repeats: self.plan.repeats,
            scale: draw.scale,
            pod_load: self.pod_load,
            calibrate: !self.as_is && !self.no_calibration,
            stretch: draw.stretch,
            seed: draw.seed,
            tail_s: self.plan.tail,
            longest_tail: Duration::from_secs(self.longest_tail),
            patience: Duration::from_secs(self.patience),
            calm: Duration::from_secs(3),
            forget: Duration::from_secs(self.forget),
            spread_s: self.spread,
            as_is: self.as_is,
            minutes: self.minutes,
            begin_again: self.begin_again,
            images: self.sender.images.clone(),
            results: self.results.clone(),
            threads: self.sender.threads as usize,
            commit: self.commit.clone(),
        })
    }
}

impl PlanArgs {
    pub(crate) fn arms(&self) -> Result<Vec<Arm>> {
        if self.arms.is_empty() {
            return Ok(arms::all().iter().filter(|arm| !arm.retired).cloned().collect());
        }
        let named = |name: &String| {
            Arm::named(name).with_context(|| {
                let names = |of: Vec<&str>| of.join(", ");
                format!(
                    "no arm {name:?}; there are {}, and ablations {}",
                    names(arms::all().iter().map(|a| &*a.name).collect()),
                    names(arms::ablations().iter().map(|a| &*a.name).collect())
                )
            })
        };
        self.arms.iter().map(named).collect()
    }
}

impl PlantArgs {
    /// The arms of the comparison, and what their pods are like.
    pub(crate) fn arms(&self) -> Result<Arms> {
        manifests::ensure_there(&self.root, self.platform.as_deref())?;
        let measured = match &self.plant {
            Some(path) => Measured::read(path)?,
            None => Measured::default(),
        };
        Ok(Arms { root: self.root.clone(), platform: self.platform.clone(), measured })
    }
}
