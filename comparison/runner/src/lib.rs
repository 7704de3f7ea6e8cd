//! The comparison: loads both variants with the same schedule, records what happens, analyses it
//! and reports.
//!
//! # Layout
//!
//! * [`files`]: scenario files and results files on disk.
//! * [`cluster`]: the runner; access to Kubernetes and Prometheus.
//! * [`analysis`]: from results files to measures; [`report`]: from measures to a page.
//! * [`manifests`], [`fit`]: the simulator's input, from the manifests and from recorded runs.
//! * [`explore`]: searches settings with the simulator.
//! * [`against`]: the simulator beside recorded runs.
//! * [`options`]: what numbers on the command line may be.
//! * [`replay`]: what recorded autoscalers saw through the simulator's decision code.

pub mod against;
pub mod analysis;
pub mod cluster;
pub mod explore;
pub mod files;
pub mod fit;
pub mod manifests;
pub mod options;
pub mod replay;
pub mod report;
