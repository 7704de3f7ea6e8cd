//! What the simulator is asked: runs, comparisons with recorded ones, fits and searches.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use comparison::against::ablations;
use comparison::fit::{Arms, Measured};
use comparison::{manifests, options};

use super::cluster::PlanArgs;
use super::schedule::ScheduleArgs;

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
    #[arg(long, conflicts_with = "ablate")]
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
