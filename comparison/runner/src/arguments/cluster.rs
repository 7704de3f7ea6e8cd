//! What is compared on a cluster, and how a run is made.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use comparison::cluster::blocks::Plan;
use comparison::cluster::config::ClusterConfig;
use comparison::cluster::rest::{FORGETS_AFTER_S, SLOWEST_CLOCK_S};
use comparison::{files, options};
use scenario::arms::{self, Arm};
use scenario::recording::Origin;

use super::schedule::{DrawArgs, SenderArgs, once};

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
    /// Where a block was begun on another machine, or at another speed: void what is recorded of it
    /// and begin it again
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
        once("--arms", &self.arms)?;
        self.arms.iter().map(named).collect()
    }
}
