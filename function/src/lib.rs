//! Tells from a night-vision (near-infrared) image of a face whether the eyes are open, closed, or
//! not there.
//!
//! # Layout
//!
//! - [`config`]: environment variables, all parsed at once
//! - [`picture`]: bytes to pixels; [`letterbox`]: pixels to the model's input, as YOLOv5 does
//! - [`model`]: the code generated from the ONNX at build time; [`classifier`]: pixels in, eyes out
//! - [`detection`]: boxes and NMS; [`verdict`]: from eyes to one answer; [`annotate`]: the picture
//!   with boxes
//! - [`pool`]: inference threads, bounded queue, deadlines; [`cpu`]: the allotment they follow
//! - [`memory`]: one budget for all requests; [`body`]: the bytes of an image, within it
//! - [`app`]: what all requests share; [`http`]: routes; [`server`]: connections and graceful
//!   shutdown
//! - [`telemetry`]: metrics, traces, logs; [`error`]: the one table from error to status and
//!   message

// clippy.toml names what blocks a thread.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod annotate;
pub mod app;
pub mod body;
pub mod classifier;
pub mod config;
pub mod cpu;
pub mod detection;
pub mod error;
pub mod http;
pub mod letterbox;
pub mod memory;
pub mod model;
pub mod pool;
pub mod server;
pub mod telemetry;
pub mod verdict;
