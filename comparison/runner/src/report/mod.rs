//! The report: one HTML page without any outside resource, and the Markdown table for the README.

pub mod chart;
pub mod claims;
pub mod cost;
pub mod findings;
pub mod html;
pub mod markdown;
pub mod picture;
pub mod power;
pub mod reproduce;
pub mod table;
