//! Access to a cluster: Kubernetes through `kubectl proxy`, Prometheus, and watches during a run.

pub mod blocks;
pub mod calibrate;
pub mod cgroup;
pub mod clock;
pub mod config;
pub mod cost;
pub mod drift;
pub mod fitness;
pub mod http;
pub mod identity;
pub mod interrupt;
pub mod kube;
pub mod marker;
pub mod node;
pub mod node_cpu;
pub mod others;
pub mod plan;
pub mod pods;
pub mod prometheus;
pub mod quota;
pub mod recorder;
pub mod rest;
pub mod run;
pub mod runner;
pub mod usage;
