//! What is sent: a scenario, how it is drawn, and who sends it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use comparison::{files, options};
use scenario::Scenario;
use scenario::schedule::Schedule;

#[derive(Args)]
pub(crate) struct ScheduleArgs {
    /// Name of a file in the scenario folder, without .toml
    #[arg(long)]
    pub(crate) scenario: String,
    #[command(flatten)]
    pub(crate) draw: DrawArgs,
}

// Not a doc comment: it would become the text of every command that has these options.
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
        once("--only", names)?;
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

/// Refuses a name that is there twice: its run would be made twice, and the second would replace
/// the first.
pub(super) fn once(option: &str, names: &[String]) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        anyhow::ensure!(!names[..i].contains(name), "{option} names {name} twice");
    }
    Ok(())
}
