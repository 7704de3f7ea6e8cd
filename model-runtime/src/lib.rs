//! Fused operators for burn's Flex CPU backend. Knows neither HTTP nor image files.

pub mod buffers;
pub mod detect;
#[cfg(feature = "burn")]
pub mod heads;
pub mod kernels;
mod metadata;
#[cfg(feature = "burn")]
pub mod ops;
pub mod pack;
pub mod threads;

pub use metadata::{HeadMetadata, ModelMetadata};
