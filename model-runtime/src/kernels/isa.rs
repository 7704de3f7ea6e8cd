//! The instruction set in use: detected once at run time, or forced.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::pool::Largest;
use super::portable;
use super::stem::StemKernel;
use super::tile::{PlanesKernel, TileKernel};
use super::transform::{InputTransform, OutputTransform};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Forces a kernel path by its name, for tests and for distinguishing a kernel's bug from a
/// model's.
const ENV_ISA: &str = "MODEL_RUNTIME_ISA";
/// AVX-512 with AMX for integers, as [`ENV_ISA`] takes it: `avx512` is AVX-512 alone.
const AMX: &str = "amx";

/// An instruction set with kernels of its own. All but plain Rust come from [`Self::available`] and
/// [`Self::current`] alone, which have detected them:
///
/// ```compile_fail
/// let undetected = model_runtime::kernels::Isa::Avx2;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
    /// Plain Rust.
    Portable,
}

/// The tile kernels of one instruction set.
pub(super) struct Tiles {
    /// `one[p - 1]`: p pixels × 16 output channels.
    pub(super) one: &'static [TileKernel],
    /// `two[p - 1]`: p pixels × 32; empty where there are too few registers.
    pub(super) two: &'static [TileKernel],
    /// `stem[p - 1]`: p pixels of the first layer on gray images; empty where there are too few
    /// registers.
    pub(super) stem: &'static [StemKernel],
    /// The same for the planes of Winograd's filtering.
    pub(super) one_planes: &'static [PlanesKernel],
    pub(super) two_planes: &'static [PlanesKernel],
    /// For 3 × 3 kernels of stride 1 and stride 2.
    pub(super) transform_input: [InputTransform; 2],
    pub(super) transform_output: [OutputTransform; 2],
    pub(super) largest: Largest,
}

impl Isa {
    /// The instruction sets that this machine supports, best first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                found.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self::Neon);
        }
        found.push(Self::Portable);
        found
    }

    /// The best one, unless [`ENV_ISA`] names another. Determined once per process.
    ///
    /// # Panics
    /// If the variable names one that this machine doesn't have.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let available = Self::available();
            match std::env::var(ENV_ISA) {
                #[cfg(target_arch = "x86_64")]
                Ok(name) if name == AMX && super::int8::has_amx() => Self::Avx512,
                Ok(name) => *available.iter().find(|isa| isa.name() == name).unwrap_or_else(|| {
                    let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                    panic!(
                        "{ENV_ISA}={name}: this machine has {}; name one of these or unset it",
                        names.join(", ")
                    )
                }),
                Err(_) => available[0],
            }
        })
    }

    /// Whether the integer kernels may use AMX where it is there: another path is not forced.
    pub(super) fn allows_amx() -> bool {
        std::env::var_os(ENV_ISA).is_none_or(|name| name == AMX)
    }

    /// Lower-case name, as [`ENV_ISA`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    pub(super) fn tiles(self) -> Tiles {
        macro_rules! tiles {
            ($isa:ident, $two:expr, $two_planes:expr, $stem:expr) => {
                Tiles {
                    one: &$isa::ONE,
                    two: $two,
                    stem: $stem,
                    one_planes: &$isa::ONE_PLANES,
                    two_planes: $two_planes,
                    transform_input: [$isa::transform_input, $isa::transform_input_two],
                    transform_output: [$isa::transform_output, $isa::transform_output_two],
                    largest: $isa::largest,
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => tiles!(avx512, &avx512::TWO, &avx512::TWO_PLANES, &avx512::STEM),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => tiles!(avx2, &[], &[], &[]),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => tiles!(neon, &[], &[], &[]),
            Self::Portable => tiles!(portable, &[], &[], &[]),
        }
    }
}
