//! The network in 8-bit integers: unsigned activations with one scale per map, signed weights with
//! one scale per channel.
//!
//! Every path gives the same bits. Products are summed exactly, in 32-bit integers, so their order
//! doesn't matter. The conversion to levels is one multiplication in floats and then 16-bit
//! integers, in a fixed order ([`finish`]).
//!
//! A value is `scale · (q - zero_point)`. Zero points are folded into the bias (`pack`), and
//! borders hold the zero point.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod conv;
pub mod finish;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod pool;
mod portable;
mod tile;

pub use isa::Int8Isa;

/// Whether AMX is among the instruction sets of this machine.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_amx() -> bool {
    Int8Isa::available().contains(&Int8Isa::Amx)
}

/// Input channels that are multiplied together: an instruction takes four bytes per lane.
pub const GROUP: usize = 4;
/// Output channels of a block of packed weights.
pub const BLOCK: usize = 16;
