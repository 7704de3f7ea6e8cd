//! The command line: `comparison schedule` and the other subcommands, each a few lines over the
//! library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use comparison::against::{ablations, order};
use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::plan;
use comparison::cluster::rest::{FORGETS_AFTER_S, SLOWEST_CLOCK_S};
use comparison::cluster::runner::{calibrate, compare};
use comparison::fit::{Arms, Measured};
use comparison::report::picture::Picture;
use comparison::report::{cost, html, markdown, power, table};
use comparison::{against, explore, files, manifests, options, replay};
use load::client::{LoadClient, Target};
use load::images::Pictures;
use load::pace::send_schedule;
use scenario::Scenario;
use scenario::arms::{self, Arm};
use scenario::recording::{Origin, Run, joinable};
use scenario::schedule::Schedule;
use scenario::summary::LoadSummary;
use simulator::Drawn;

/// Least number of repeats of an arm in the tables of the documents.
const LEAST_REPEATS: usize = 3;

/// What to do with runs that cannot stand in one table.
const APART: &str = "these results do not belong together: give them folders of their own";

#[derive(Parser)]
#[command(name = "comparison", about = "KPA, HPA, VPA and KEDA: the same load, every arm, one report")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
struct ScheduleArgs {
    /// Name of a file in the scenario folder, without .toml
    #[arg(long)]
    scenario: String,
    #[command(flatten)]
    draw: DrawArgs,
}

#[derive(Args)]
struct LoadArgs {
    /// Where to send: http://ADDRESS:PORT/
    #[arg(long)]
    url: String,
    /// Host header, where a gateway routes by name
    #[arg(long)]
    host: Option<String>,
    /// Folder with pictures: sub-folders open, closed and no_eyes, or files and a samples.json
    #[arg(long, default_value = "function/samples")]
    images: PathBuf,
    /// Threads of the load generator, which do nothing else
    #[arg(long, default_value_t = 1, allow_negative_numbers = true, value_parser = options::threads)]
    threads: u32,
    /// Warn when requests left too late, instead of refusing the result: for demonstrations, not
    /// for measurements
    #[arg(long)]
    allow_late: bool,
    #[command(flatten)]
    schedule: ScheduleArgs,
}

#[derive(Args)]
struct PlanArgs {
    /// Scenarios, by name; all when not given
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Arms, by the names of comparison/arms.toml, with ablations after a plus sign (kpa+tbc-0);
    /// all that are not retired when not given
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// How often everything is repeated; each repeat has a seed of its own
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, value_parser = options::count)]
    repeats: u32,
    /// Seconds watched after the schedule has ended, at least; a run on a cluster goes on until the
    /// arm is at rest
    #[arg(long, default_value_t = 30.0, allow_negative_numbers = true, value_parser = options::seconds)]
    tail: f64,
    #[command(flatten)]
    draw: DrawArgs,
}

#[derive(Args)]
struct RunArgs {
    /// Folder for results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
    /// The description of the cluster
    #[arg(long, default_value = "comparison/cluster.toml")]
    cluster: PathBuf,
    /// The gateway as reached from here, http://ADDRESS:PORT, overriding that file
    #[arg(long)]
    gateway: Option<String>,
    /// The kubectl to use
    #[arg(long, default_value = "kubectl")]
    kubectl: String,
    /// Folder with pictures: sub-folders open, closed and no_eyes, or files and a samples.json
    #[arg(long, default_value = "function/samples")]
    images: PathBuf,
    /// Threads of the load generator, which do nothing else
    #[arg(long, default_value_t = 1, allow_negative_numbers = true, value_parser = options::threads)]
    threads: u32,
    /// Seconds that a variant may take to answer, and to get to rest
    #[arg(long, default_value_t = 600, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    patience: u64,
    /// Seconds that a run may go on after its tail until the arm is at rest
    #[arg(long, default_value_t = 600, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    longest_tail: u64,
    /// Seconds for the HPA's controller to drop the state of a removed HPA
    #[arg(long, default_value_t = FORGETS_AFTER_S, allow_negative_numbers = true, value_parser = options::whole_seconds)]
    forget: u64,
    /// Seconds over which the beginnings of runs are spread, so that they start at different phases
    /// of the autoscalers' periods
    #[arg(long, default_value_t = SLOWEST_CLOCK_S, allow_negative_numbers = true, value_parser = options::seconds)]
    spread: f64,
    /// A rate of 1.0 as a share of one pod's capacity (see calibrate), instead of --scale
    #[arg(long, allow_negative_numbers = true, value_parser = options::positive)]
    pod_load: Option<f64>,
    /// Do not measure the capacity of one pod before the runs and between repeats
    #[arg(long)]
    no_calibration: bool,
    /// Minutes that this session may take: no run is begun that would not end within them. The next
    /// session goes on with the next run
    #[arg(long, allow_negative_numbers = true, value_parser = options::positive)]
    minutes: Option<f64>,
    /// Where the machine's speed has changed since a block was begun: void what is recorded of the
    /// block and begin it again
    #[arg(long)]
    begin_again: bool,
    /// Use the variants as deployed: neither remove nor apply anything
    #[arg(long)]
    as_is: bool,
    /// Commit, for the results files
    #[arg(long, default_value = "unknown")]
    commit: String,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Args)]
struct SimulateArgs {
    /// Folder for results files; one with measured runs is refused
    #[arg(long, default_value = "comparison/results/simulated")]
    results: PathBuf,
    #[command(flatten)]
    plant: PlantArgs,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Args)]
struct AgainstArgs {
    /// Folder with recorded results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    scenarios: PathBuf,
    /// Repeats that are simulated again; all when not given
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = options::count)]
    repeats: Vec<u32>,
    /// How often each run is simulated, with other chances: starts, moments of clocks
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = options::count)]
    chances: u32,
    /// Parts of the model that are switched off
    #[arg(long, value_delimiter = ',', value_parser = ablations::names())]
    without: Vec<String>,
    /// Switch off each part by itself, and print what becomes of the distances
    #[arg(long)]
    ablate: bool,
    /// Where to write the mean distances for the calculator, as JSON
    /// (comparison/calculator/page/errors.json)
    #[arg(long)]
    errors: Option<PathBuf>,
    /// Begin each simulated run with the recorded run's own clocks and VPA, as they were when the
    /// load began, instead of those of the runs that --plant was fitted on
    #[arg(long)]
    own_begin: bool,
    /// Keep the simulated runs as results files in this folder, one below it for each chance
    #[arg(long)]
    keep: Option<PathBuf>,
    #[command(flatten)]
    plant: PlantArgs,
}

#[derive(Args)]
struct ReplayArgs {
    /// Folder with recorded results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
    /// Repeats that are looked at; all when not given
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = options::count)]
    repeats: Vec<u32>,
    #[command(flatten)]
    plant: PlantArgs,
}

#[derive(Args)]
struct FitArgs {
    /// Folder with recorded results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    scenarios: PathBuf,
    /// Repeats that are looked at; all when not given
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = options::count)]
    repeats: Vec<u32>,
}

#[derive(Args)]
struct ExploreArgs {
    /// Random settings to try for each autoscaler, and as many again near the best of them
    #[arg(long, default_value_t = 300, allow_negative_numbers = true, value_parser = options::count)]
    candidates: u32,
    /// Seeds that each is tried with; what is shown is tried with as many others
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, value_parser = options::count)]
    seeds: u32,
    /// Where the picture goes, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    plant: PlantArgs,
}

#[derive(Args)]
struct PlantArgs {
    /// The repository: the autoscalers' settings and the pod's size are read from its manifests
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// A folder of platforms/ whose changes to the manifests apply
    #[arg(long)]
    platform: Option<String>,
    /// Model of a pod, from `comparison fit`; without it, round numbers that were not measured
    #[arg(long)]
    plant: Option<PathBuf>,
}

#[derive(Args)]
struct ReportArgs {
    /// Folder with results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    scenarios: PathBuf,
    /// Folder for report.html and table.md; that of the results when not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// A Markdown file with markers, whose table is replaced
    #[arg(long)]
    table: Option<PathBuf>,
    /// Where to write the chart of good answers against cost, as an SVG file
    #[arg(long)]
    chart: Option<PathBuf>,
    /// Printed in the report: how to make the results again
    #[arg(long, default_value = "make compare report")]
    command: String,
}

#[derive(Args)]
struct PowerArgs {
    /// Folder with results files
    #[arg(long, default_value = "comparison/results")]
    results: PathBuf,
}

#[derive(Args)]
struct DrawArgs {
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    scenarios: PathBuf,
    /// Requests a second that a rate of 1.0 in a scenario stands for
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true, value_parser = options::positive)]
    scale: f64,
    /// Multiplies the scenario's time (0.5: twice as fast). Autoscalers' own windows do not shrink
    /// with it
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_parser = options::positive)]
    stretch: f64,
    /// The same seed gives the same schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The causes alone: most errors are the user's, to whom a backtrace says nothing.
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Schedule(args) => print_schedule(&args),
        Command::Load(args) => load(&args),
        Command::Run(args) => compare(&args.plan()?, &args.config()?, &args.kubectl),
        Command::Plan(args) => {
            write!(std::io::stdout(), "{}", plan::describe(&args.plan()?)).context("cannot write")
        }
        Command::Calibrate(args) => calibrate(&args.plan()?, &args.config()?, &args.kubectl),
        Command::Simulate(args) => simulate(&args),
        Command::Against(args) => against(&args),
        Command::Replay(args) => replayed(&args),
        Command::Fit(args) => fit(&args),
        Command::Explore(args) => explore(&args),
        Command::Report(args) => report(&args),
        Command::Power(args) => power(&args),
        Command::Draw => draw(),
    }
}

impl DrawArgs {
    /// The named scenarios, all if there are no names; each can be drawn.
    fn read(&self, names: &[String]) -> Result<Vec<Scenario>> {
        let scenarios = files::read_scenarios(&self.scenarios, names)?;
        for scenario in &scenarios {
            Schedule::ensure_bounded(scenario, self.scale, self.stretch)
                .context("give less with --scale or --stretch")?;
        }
        Ok(scenarios)
    }
}

impl ScheduleArgs {
    fn scenario(&self) -> Result<Scenario> {
        let mut named = self.draw.read(std::slice::from_ref(&self.scenario))?;
        named.pop().context("no scenario")
    }

    fn read(&self) -> Result<(Scenario, Schedule)> {
        let scenario = self.scenario()?;
        let schedule = Schedule::draw(&scenario, self.draw.scale, self.draw.stretch, self.draw.seed);
        Ok((scenario, schedule))
    }
}

impl RunArgs {
    fn config(&self) -> Result<ClusterConfig> {
        let mut config = ClusterConfig::read(&self.cluster)?;
        if let Some(gateway) = &self.gateway {
            config.gateway = format!("{}/classify", gateway.trim_end_matches('/'));
        }
        Ok(config)
    }

    fn plan(&self) -> Result<Plan> {
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
            images: self.images.clone(),
            results: self.results.clone(),
            threads: self.threads as usize,
            commit: self.commit.clone(),
        })
    }
}

impl PlanArgs {
    fn arms(&self) -> Result<Vec<Arm>> {
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
    fn arms(&self) -> Result<Arms> {
        manifests::ensure_there(&self.root, self.platform.as_deref())?;
        let measured = match &self.plant {
            Some(path) => Measured::read(path)?,
            None => Measured::default(),
        };
        Ok(Arms { root: self.root.clone(), platform: self.platform.clone(), measured })
    }
}

fn simulate(args: &SimulateArgs) -> Result<()> {
    let plan = &args.plan;
    files::ensure_only(Origin::Simulated, &args.results, "--results")?;
    let scenarios = plan.draw.read(&plan.only)?;
    let arms = args.plant.arms()?;
    let mut simulated = 0;
    for listed in plan.arms()? {
        let arm = match arms.arm(&listed.variant, &listed.configuration) {
            Err(error) if plan.arms.is_empty() => {
                writeln!(std::io::stderr(), "{} is left out: {error:#}", listed.name)?;
                continue;
            }
            arm => arm?,
        };
        simulated += 1;
        for repeat in 1..=plan.repeats {
            for scenario in &scenarios {
                let drawn = Drawn {
                    scale: plan.draw.scale,
                    stretch: plan.draw.stretch,
                    seed: plan.draw.seed.wrapping_add(u64::from(repeat) - 1),
                    chance: 0,
                };
                // Watched after a simulated load: longer than any autoscaler keeps pods that it no
                // longer needs.
                let run = arm.run(scenario, repeat, drawn, plan.tail.max(explore::TAIL_S));
                files::write_run(&run, &args.results)?;
            }
        }
    }
    anyhow::ensure!(simulated > 0, "no arm can be simulated");
    Ok(())
}

/// The recorded runs of these repeats; of all when none is named.
fn recorded(folder: &Path, repeats: &[u32]) -> Result<Vec<Run>> {
    let mut runs = files::read_runs(folder)?;
    runs.retain(|r| r.origin == Origin::Measured);
    anyhow::ensure!(!runs.is_empty(), "no recorded runs in {}", folder.display());
    runs.retain(|r| repeats.is_empty() || repeats.contains(&r.repeat));
    anyhow::ensure!(!runs.is_empty(), "no recorded runs of --repeats {repeats:?} in {}", folder.display());
    Ok(runs)
}

fn against(args: &AgainstArgs) -> Result<()> {
    let all = recorded(&args.results, &[])?;
    let runs = recorded(&args.results, &args.repeats)?;
    let scenarios = files::read_scenarios(&args.scenarios, &[])?;
    let arms = args.plant.arms()?;
    for chance in 0..args.chances {
        if let Some(keep) = &args.keep {
            let folder = against::kept_in(keep, chance as usize);
            files::ensure_only(Origin::Simulated, &folder, "--keep")?;
        }
    }
    let compared = |without: &[String]| {
        let trial = against::Trial {
            chances: args.chances,
            without,
            own_begin: args.own_begin,
            keep: args.keep.as_deref(),
        };
        against::differences(&runs, &scenarios, &arms, trial)
    };
    let differences = compared(&args.without)?;
    if args.ablate {
        let text = ablations::table(&differences, compared)?;
        return write!(std::io::stdout(), "{text}").context("cannot write");
    }
    if let Some(file) = &args.errors {
        let text = serde_json::to_string_pretty(&against::errors(&differences, &arms)?)?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let trial = against::Trial {
        chances: args.chances,
        without: &args.without,
        own_begin: args.own_begin,
        keep: None,
    };
    let itself = against::itself(&runs, &scenarios, &arms, trial)?;
    let text = format!(
        "{}\n{}",
        against::table(&differences, &against::repeats(&runs, &all), &itself),
        order::table(&differences, &all)
    );
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn replayed(args: &ReplayArgs) -> Result<()> {
    let runs = recorded(&args.results, &args.repeats)?;
    let text = replay::table(&runs, &args.plant.arms()?)?;
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn fit(args: &FitArgs) -> Result<()> {
    let runs = recorded(&args.results, &args.repeats)?;
    let scenarios = files::read_scenarios(&args.scenarios, &[])?;
    let measured = Measured::of(&runs, &scenarios)?;
    write!(std::io::stdout(), "{}", measured.to_toml()?).context("cannot write")
}

fn explore(args: &ExploreArgs) -> Result<()> {
    let draw = &args.schedule.draw;
    let scenario = args.schedule.scenario()?;
    let drawn = Drawn { scale: draw.scale, stretch: draw.stretch, seed: draw.seed, chance: 0 };
    let effort = explore::Effort { candidates: args.candidates, seeds: args.seeds };
    let points = explore::explore(&args.plant.arms()?, &scenario, drawn, effort)?;
    if let Some(file) = &args.svg {
        std::fs::write(file, explore::svg(&points, &scenario.title))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    write!(std::io::stdout(), "{}", explore::table(&points)).context("cannot write")
}

fn report(args: &ReportArgs) -> Result<()> {
    let runs = files::read_runs(&args.results)?;
    anyhow::ensure!(!runs.is_empty(), "no results files in {}: make compare first", args.results.display());
    joinable(&runs).context(APART)?;
    let scenarios = files::read_scenarios(&args.scenarios, &[])?;
    let out = args.out.as_ref().unwrap_or(&args.results);
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("report.html"), html::page(&runs, &scenarios, &args.command))?;
    let arms = table::arm_runs(&runs);
    let origins = [(Origin::Measured, ""), (Origin::Simulated, "Simulated, not measured:\n\n")];
    let text: String = origins
        .iter()
        .map(|(origin, label)| (label, markdown::table(&arms, *origin, 0)))
        .filter(|(_, table)| !table.is_empty())
        .map(|(label, table)| format!("{label}{table}\n"))
        .collect();
    std::fs::write(out.join("table.md"), &text)?;
    if let Some(path) = &args.table {
        let document = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let table = markdown::table(&arms, Origin::Measured, LEAST_REPEATS);
        let filled = markdown::fill(&document, &table).with_context(|| path.display().to_string())?;
        std::fs::write(path, filled)?;
    }
    if let Some(path) = &args.chart {
        let chart = cost::svg(&arms, Origin::Measured);
        anyhow::ensure!(!chart.is_empty(), "no measured scenario has runs of two arms: nothing to draw");
        std::fs::write(path, chart).with_context(|| path.display().to_string())?;
    }
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn power(args: &PowerArgs) -> Result<()> {
    let runs = files::read_runs(&args.results)?;
    anyhow::ensure!(!runs.is_empty(), "no results files in {}: make compare first", args.results.display());
    joinable(&runs).context(APART)?;
    let arms = table::arm_runs(&runs);
    let text = power::table(&table::groups(&arms));
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn draw() -> Result<()> {
    let picture: Picture =
        serde_json::from_reader(std::io::stdin().lock()).context("standard input is no picture to draw")?;
    write!(std::io::stdout(), "{}", picture.svg()).context("cannot write")
}

fn load(args: &LoadArgs) -> Result<()> {
    let (scenario, schedule) = args.schedule.read()?;
    let target = Target::new(&args.url, args.host.as_deref())?;
    let pictures = Arc::new(Pictures::read(&args.images, &schedule)?);
    let runtime = load::threads::runtime(args.threads as usize)?;
    let _inside = runtime.enter();
    let client = LoadClient::new(target, Duration::from_millis(scenario.timeout_ms));
    let mut sent = send_schedule(runtime.handle(), &client, &schedule, &pictures);
    let steps = schedule.rate.steps_up();
    let summary =
        LoadSummary::new(&mut sent.records, sent.unsent, scenario.slo_ms, schedule.duration(), &steps);
    match summary.generator_fault() {
        Some(fault) if args.allow_late => {
            writeln!(std::io::stderr(), "not a measurement: the load generator is too slow here: {fault}")?;
        }
        Some(fault) => anyhow::bail!("no result: the load generator is too slow here: {fault}"),
        None => {}
    }
    let ms = |q| summary.latency_ms(q).map_or("-".into(), |ms| format!("{ms:.2}"));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "sent      {} requests, {:.2}/s (schedule: {:.2}/s)",
        summary.sent, summary.offered_rate, summary.planned_rate
    )?;
    writeln!(
        out,
        "late      p50 {} µs, p99 {} µs, max {} µs",
        summary.lateness_us[0], summary.lateness_us[1], summary.lateness_us[2]
    )?;
    writeln!(out, "outcomes  {}", serde_json::to_string(&summary.outcomes)?)?;
    writeln!(
        out,
        "latency   p50 {} ms, p90 {}, p99 {}, p99.9 {}, max {}",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ms(1.0)
    )?;
    writeln!(out, "objective {} of {} within {} ms", summary.within_slo, summary.planned, scenario.slo_ms)?;
    out.flush().context("cannot write")
}

fn print_schedule(args: &ScheduleArgs) -> Result<()> {
    let (_, schedule) = args.read()?;
    std::io::stdout().write_all(schedule.to_csv().as_bytes())?;
    Ok(())
}
