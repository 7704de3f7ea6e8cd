//! What is made of results files.

use std::path::PathBuf;

use clap::Args;

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
}

#[derive(Args)]
pub(crate) struct PowerArgs {
    /// Folder with results files
    #[arg(long, default_value = "comparison/results")]
    pub(crate) results: PathBuf,
}
