//! Convolution, pooling and scaling kernels over plain slices; independent of burn.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod chain;
pub mod conv;
pub mod convolve;
mod direct;
pub mod idct;
pub mod image;
pub mod int8;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod pool;
mod portable;
pub mod resize;
mod silu;
mod stem;
mod tile;
mod transform;
mod view;
pub(crate) mod winograd;

pub use isa::Isa;
