//! Tells from a night-vision (near-infrared) image of a face whether the eyes are open, closed, or not there.

pub mod annotate;
pub mod classifier;
pub mod config;
pub mod cpu;
pub mod decode;
pub mod detection;
pub mod error;
pub mod letterbox;
pub mod model;
pub mod pool;
pub mod telemetry;
pub mod verdict;
