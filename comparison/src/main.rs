//! The command line: `comparison schedule`, and so on. Each subcommand is a few lines over the library.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use comparison::load::client::{LoadClient, Target};
use comparison::load::images::Pictures;
use comparison::load::pace::send_schedule;
use comparison::load::summary::LoadSummary;
use comparison::scenario::Scenario;
use comparison::schedule::Schedule;

#[derive(Parser)]
#[command(name = "comparison", about = "KPA against HPA + VPA: the same load, both variants, one report")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the arrivals of a scenario as CSV
    Schedule(ScheduleArgs),
    /// Send a scenario to any URL and print what came back (no cluster needed)
    Load(LoadArgs),
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
    /// Folder with one sub-folder of pictures a kind
    #[arg(long, default_value = "comparison/images")]
    images: PathBuf,
    /// Worker threads of the load generator
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(flatten)]
    schedule: ScheduleArgs,
}

#[derive(Args)]
struct DrawArgs {
    /// Folder with the scenario files
    #[arg(long, default_value = "comparison/scenarios")]
    scenarios: PathBuf,
    /// Requests a second that a rate of 1.0 in a scenario stands for
    #[arg(long, default_value_t = 5.0)]
    scale: f64,
    /// Multiplies the scenario's time (0.5: twice as fast). Autoscalers' own windows do not shrink with it
    #[arg(long, default_value_t = 1.0)]
    stretch: f64,
    /// The same seed gives the same schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Schedule(args) => print_schedule(&args),
        Command::Load(args) => load(&args),
    }
}

impl ScheduleArgs {
    fn read(&self) -> Result<(Scenario, Schedule)> {
        let scenario = Scenario::read(&self.draw.scenarios.join(format!("{}.toml", self.scenario)))?;
        let schedule = Schedule::draw(&scenario, self.draw.scale, self.draw.stretch, self.draw.seed);
        Ok((scenario, schedule))
    }
}

fn load(args: &LoadArgs) -> Result<()> {
    let (scenario, schedule) = args.schedule.read()?;
    let target = Target::new(&args.url, args.host.as_deref())?;
    let pictures = Arc::new(Pictures::read(&args.images, &schedule)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
    let _inside = runtime.enter();
    let client = LoadClient::new(target, Duration::from_millis(scenario.timeout_ms));
    let mut sent = send_schedule(runtime.handle(), &client, &schedule, &pictures);
    let steps = schedule.rate.steps_up();
    let summary =
        LoadSummary::new(&mut sent.records, sent.unsent, scenario.slo_ms, schedule.duration(), &steps);
    if let Some(fault) = summary.generator_fault() {
        anyhow::bail!("no result: the load generator is too slow here: {fault}");
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
