//! The command line: `comparison schedule` and the other subcommands, each a few lines over the
//! library.

mod arguments;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arguments::{
    AgainstArgs, Cli, Command, ExploreArgs, FitArgs, LoadArgs, PowerArgs, ReplayArgs, ReportArgs,
    ScheduleArgs, SimulateArgs,
};
use clap::Parser as _;
use comparison::against::{ablations, order, summary};
use comparison::cluster::runner::{calibrate, compare};
use comparison::cluster::{blocks, plan};
use comparison::fit::Measured;
use comparison::report::picture::Picture;
use comparison::report::{cost, html, markdown, power, table};
use comparison::{against, explore, files, replay};
use load::client::{LoadClient, Target};
use load::images::Pictures;
use load::pace::send_schedule;
use scenario::joinable::joinable;
use scenario::recording::{Origin, Run};
use scenario::summary::LoadSummary;
use simulator::Drawn;

/// Least number of repeats of an arm in the tables of the documents.
const LEAST_REPEATS: usize = 3;

/// What to do with runs that cannot stand in one table.
const APART: &str = "these results do not belong together: give them folders of their own";

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
            let plan = args.plan()?;
            blocks::ensure_own(&plan)?;
            write!(std::io::stdout(), "{}", plan::describe(&plan)).context("cannot write")
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
    let all = recorded(&args.recorded.results, &[])?;
    let runs = recorded(&args.recorded.results, &args.recorded.repeats)?;
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
        let text = serde_json::to_string_pretty(&summary::errors(&differences, &arms)?)?;
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
        summary::table(&differences, &against::repeats(&runs, &all), &itself),
        order::table(&differences, &all)
    );
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn replayed(args: &ReplayArgs) -> Result<()> {
    let runs = recorded(&args.recorded.results, &args.recorded.repeats)?;
    let text = replay::table(&runs, &args.plant.arms()?)?;
    write!(std::io::stdout(), "{text}").context("cannot write")
}

fn fit(args: &FitArgs) -> Result<()> {
    let runs = recorded(&args.recorded.results, &args.recorded.repeats)?;
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
    std::fs::write(out.join("report.html"), html::page(&runs, &scenarios))?;
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
    let pictures = Arc::new(Pictures::read(&args.sender.images, &schedule)?);
    let runtime = load::threads::runtime(args.sender.threads as usize)?;
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
