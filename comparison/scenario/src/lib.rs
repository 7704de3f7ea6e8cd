//! The shared part of load generator, simulator and runner: scenarios, schedules and the results
//! file.
//!
//! No I/O, no clock, no threads: the callers read the files.
//!
//! # Layout
//!
//! * [`Scenario`], [`rate`], [`sleep`], [`trace`], [`schedule`]: from the text of a scenario file
//!   to a seeded list of arrivals.
//! * [`Outcome`], [`RequestRecord`], [`summary`]: the outcome of the requests.
//! * [`arms`]: the arms and the pairs that are compared.
//! * [`quantity`]: numbers as Kubernetes writes them.
//! * [`recording`]: one run, as stored in its results file.

pub mod arms;
mod file;
pub mod joinable;
mod outcome;
pub mod quantity;
pub mod rate;
pub mod recording;
pub mod schedule;
pub mod sleep;
pub mod summary;
pub mod trace;

pub use file::{Counted, Scenario};
pub use outcome::{DEADLINE_EXCEEDED, Outcome, RequestRecord};
