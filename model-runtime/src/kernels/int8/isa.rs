//! The instruction set of the integer kernels: the best one that the choice for the float kernels
//! allows.

use super::finish::FinishKernel;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable;
use super::tile::TileKernel;
#[cfg(target_arch = "x86_64")]
use super::{amx, avx2, avx512};
use crate::kernels::Isa;

/// An instruction set with integer kernels of its own. All but plain Rust come from
/// [`Self::available`] and [`Self::current`] alone, which have detected them and, for AMX, have
/// the system's permission:
///
/// ```compile_fail
/// let undetected = model_runtime::kernels::int8::Int8Isa::Avx2;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int8Isa {
    /// AMX for 8-bit integers, beside [`Self::Avx512Vnni`].
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Amx,
    /// AVX-512 (F, BW, VL) with VNNI.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512Vnni,
    /// AVX2 with AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    AvxVnni,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// Advanced SIMD with I8MM.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    NeonI8mm,
    /// Advanced SIMD with dot products.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    NeonDotprod,
    /// Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
    /// Plain Rust.
    Portable,
}

/// The fewest groups at once for which AMX is used.
#[cfg(target_arch = "x86_64")]
const FEWEST_AMX_GROUPS: usize = 4;

/// The kernels of one instruction set.
pub(super) struct Kernels {
    /// `one[p - 1]`: p pixels × 16 output channels.
    pub(super) one: &'static [TileKernel],
    /// `two[p - 1]`: p pixels × 32; empty where there are too few registers.
    pub(super) two: &'static [TileKernel],
    /// `wide[p - 1]`: p pixels × 16 output channels of 16-bit input.
    pub(super) wide: &'static [TileKernel],
    pub(super) finish: FinishKernel,
    pub(super) finish_floats: FinishKernel,
    pub(super) largest: fn(&mut [u8], &[u8]),
    pub(super) look_up: fn(&[u8; 256], &mut [u8]),
    /// Whether a tile may be of two rows.
    pub(super) has_lines: bool,
    /// Called by each thread after its last tile of a layer.
    pub(super) release: fn(),
}

impl Int8Isa {
    /// The instruction sets that this machine supports, best first.
    pub fn available() -> Vec<Self> {
        Self::detected(true)
    }

    /// The same; asks the system for AMX only `with_amx`, since the permission is the process' and
    /// stays: signal stacks have to be larger from then on.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "only AMX is asked for"))]
    fn detected(with_amx: bool) -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if with_amx && avx512 && amx::is_available() {
                found.push(Self::Amx);
            }
            if avx512 {
                found.push(Self::Avx512Vnni);
            }
            if is_x86_feature_detected!("avx2") {
                if is_x86_feature_detected!("avxvnni") {
                    found.push(Self::AvxVnni);
                }
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let found_by = [
                (Self::NeonI8mm, std::arch::is_aarch64_feature_detected!("i8mm")),
                (Self::NeonDotprod, std::arch::is_aarch64_feature_detected!("dotprod")),
                (Self::Neon, std::arch::is_aarch64_feature_detected!("neon")),
            ];
            found.extend(found_by.into_iter().filter_map(|(isa, there)| there.then_some(isa)));
        }
        found.push(Self::Portable);
        found
    }

    /// The best one among those that belong to [`Isa::current`]; AMX unless another is forced.
    pub fn current() -> Self {
        static CURRENT: std::sync::OnceLock<Int8Isa> = std::sync::OnceLock::new();
        *CURRENT.get_or_init(|| {
            let allowed = |int8: &Self| match Isa::current() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => true,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => !matches!(int8, Self::Amx | Self::Avx512Vnni),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => true,
                Isa::Portable => *int8 == Self::Portable,
            };
            Self::detected(Isa::allows_amx()).into_iter().find(allowed).unwrap_or(Self::Portable)
        })
    }

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => "neon+i8mm",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => "neon+dotprod",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// The set for a layer whose runs all are multiples of `step` groups: AMX multiplies as many at
    /// once, and with too few of them a register is hardly used.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "only AMX has a step"))]
    pub(super) fn for_step(self, step: usize) -> Self {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx if step < FEWEST_AMX_GROUPS => Self::Avx512Vnni,
            other => other,
        }
    }

    pub(super) fn kernels(self) -> Kernels {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Kernels {
                one: &amx::ONE,
                two: &amx::TWO,
                has_lines: true,
                release: amx::release,
                ..Self::Avx512Vnni.kernels()
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Kernels {
                one: &avx512::ONE,
                two: &avx512::TWO,
                wide: &avx512::WIDE,
                finish: avx512::finish,
                finish_floats: avx512::finish_floats,
                largest: avx512::largest,
                look_up: avx512::look_up,
                has_lines: false,
                release: portable::release,
            },
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Kernels { one: &avx2::VNNI, ..Self::Avx2.kernels() },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Kernels {
                one: &avx2::ONE,
                two: &[],
                wide: &avx2::WIDE,
                finish: avx2::finish,
                finish_floats: avx2::finish_floats,
                largest: avx2::largest,
                look_up: portable::look_up,
                has_lines: false,
                release: portable::release,
            },
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => Kernels { one: &neon::I8MM, ..Self::Neon.kernels() },
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => Kernels { one: &neon::DOTPROD, ..Self::Neon.kernels() },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Kernels {
                one: &neon::ONE,
                two: &[],
                wide: &neon::WIDE,
                finish: neon::finish,
                finish_floats: neon::finish_floats,
                largest: neon::largest,
                look_up: portable::look_up,
                has_lines: false,
                release: portable::release,
            },
            Self::Portable => Kernels {
                one: &portable::ONE,
                two: &[],
                wide: &portable::WIDE,
                finish: portable::finish,
                finish_floats: portable::finish_floats,
                largest: portable::largest,
                look_up: portable::look_up,
                has_lines: false,
                release: portable::release,
            },
        }
    }
}
