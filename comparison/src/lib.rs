//! The comparison: loads both variants with the same schedule, records what happens, analyses it and reports.
//!
//! # Layout
//!
//! * [`scenario`], [`rate`], [`sleep`], [`schedule`]: from a scenario file to a seeded list of arrivals.
//! * [`load`]: the open-loop load generator and what it measures.

pub mod load;
pub mod rate;
pub mod scenario;
pub mod schedule;
pub mod sleep;
