//! What the load generator, the simulator and the runner share: scenarios, schedules and the
//! results file.
//!
//! No I/O, no clock, no threads: the callers read the files.
//!
//! # Layout
//!
//! * [`Scenario`], [`rate`], [`sleep`], [`trace`], [`schedule`]: from the text of a scenario file
//!   to a seeded list of arrivals.
//! * [`Outcome`], [`RequestRecord`], [`summary`]: what became of the requests.
//! * [`arms`]: what is compared with what.
//! * [`recording`]: one run, as its results file keeps it.

pub mod arms;
mod file;
mod outcome;
pub mod rate;
pub mod recording;
pub mod schedule;
pub mod sleep;
pub mod summary;
pub mod trace;

pub use file::{Counted, Scenario};
pub use outcome::{DEADLINE_EXCEEDED, Outcome, RequestRecord};
