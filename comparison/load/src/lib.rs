//! The load generator: sends a schedule open loop, each request at its time whether or not earlier
//! ones were answered.
//!
//! Knows HTTP and the clock; nothing of Kubernetes, autoscalers or reports.

pub mod client;
pub mod images;
pub mod pace;
pub mod rehearsal;
pub mod threads;
