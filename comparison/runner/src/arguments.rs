//! The options of the subcommands, and what they name: scenarios, arms, a plan, a cluster.

use clap::{Parser, Subcommand};

pub(crate) use cluster::RunArgs;
pub(crate) use report::{PowerArgs, ReportArgs};
pub(crate) use schedule::{LoadArgs, ScheduleArgs};
pub(crate) use simulator::{AgainstArgs, ExploreArgs, FitArgs, ReplayArgs, SimulateArgs};

mod cluster;
mod report;
mod schedule;
mod simulator;

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
