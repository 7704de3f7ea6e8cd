//! The comparison: loads both variants with the same schedule, records what happens, analyses it and reports.
//!
//! # Layout
//!
//! * [`scenario`], [`rate`], [`sleep`], [`schedule`]: from a scenario file to a seeded list of arrivals.
//! * [`load`]: the open-loop load generator and what it measures.
//! * [`cluster`]: the runner; everything that talks to Kubernetes and Prometheus.
//! * [`simulator`]: KPA, HPA and VPA over a model of pods, for when there is no cluster.
//! * [`recording`]: the results file that both of them write.
//! * [`analysis`]: from results files to measures; [`report`]: from measures to a page.

pub mod analysis;
pub mod cluster;
pub mod load;
pub mod rate;
pub mod recording;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod simulator;
pub mod sleep;
