//! The eye-state function: library side.

pub mod model;
