//! Fused operators for burn's Flex CPU backend. No HTTP, no images.

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
