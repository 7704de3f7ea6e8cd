//! The load generator: sends a schedule open loop, each request at its time whether or not earlier
//! ones were answered.
//!
//! Depends on HTTP and the clock; independent of Kubernetes, autoscalers and reports.

pub mod client;
pub mod images;
pub mod pace;
pub mod rehearsal;
pub mod threads;
