//! AMX: an instruction multiplies a matrix of 16 pixels × 64 input bytes with one of 64 × 16 output
//! channels. Two groups of pixels × two blocks of channels fill four of the eight tile registers;
//! a group's input and a block's weights fill the others. All else is AVX-512's.
//!
//! The instructions are written as assembly, since Rust's functions for them are not stable.

use std::arch::asm;
use std::cell::Cell;

use super::conv::MAX_RUNS;
use super::tile::{Tile, TileKernel};
use super::{BLOCK, GROUP};

/// Rows of a tile register.
const ROWS: usize = 16;
/// Bytes of a group's weights for a block of output channels.
const GROUP_BYTES: usize = BLOCK * GROUP;

/// `ONE[p - 1]`: p pixels × 16 output channels.
pub(super) static ONE: [TileKernel; 2 * ROWS] = [tile::<1>; 2 * ROWS];
/// The same for 32 channels.
pub(super) static TWO: [TileKernel; 2 * ROWS] = [tile::<2>; 2 * ROWS];

/// The shapes of a thread's tile registers: the pixels of both groups, and the groups of input
/// channels at once.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    pixels: [usize; 2],
    groups: usize,
}

thread_local! {
    /// The shape that this thread has configured since the last [`release`].
    static SHAPE: Cell<Option<Shape>> = const { Cell::new(None) };
}

/// The operand of LDTILECFG (Intel 64 Architectures Software Developer's Manual, volume 1, 18.4).
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Gives the thread's tile registers a shape, if they have another.
///
/// # Safety
/// The CPU has AMX, and the process may use it.
unsafe fn configure(shape: Shape) {
    if SHAPE.get() == Some(shape) {
        return;
    }
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut register = |index: usize, rows: usize, bytes: usize| {
        configuration.rows[index] = rows as u8;
        // A register without rows is one that is not used: it must not have columns either.
        configuration.row_bytes[index] = if rows == 0 { 0 } else { bytes as u16 };
    };
    for group in 0..2 {
        for block in 0..2 {
            register(2 * group + block, shape.pixels[group], BLOCK * size_of::<i32>());
        }
        register(4 + group, shape.pixels[group], shape.groups * GROUP);
        register(6 + group, shape.groups, GROUP_BYTES);
    }
    // SAFETY: the caller guarantees that the instruction exists; the configuration is a valid one:
    // at most 16 rows of at most 64 bytes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) };
    SHAPE.set(Some(shape));
}

/// Returns the thread's tile registers to their initial state, in which a switch of threads need
/// not save them.
pub(super) fn release() {
    if SHAPE.take().is_some() {
        // SAFETY: there is a shape, so the instruction set is there.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Whether the CPU has AMX for 8-bit integers and the system lets this process use it.
pub(super) fn is_available() -> bool {
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE.get_or_init(|| !cfg!(miri) && has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const AMX_TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    let leaves = std::arch::x86_64::__cpuid(0).eax;
    leaves >= 7 && std::arch::x86_64::__cpuid_count(7, 0).edx & AMX_TILE_AND_INT8 == AMX_TILE_AND_INT8
}

/// Asks for permission to use the tile registers, which Linux gives to a process that asks
/// (Documentation/arch/x86/xstate.rst). Other systems are not asked.
fn is_permitted() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_PRCTL: u64 = 158;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        const XFEATURE_XTILEDATA: u64 = 18;
        let result: i64;
        // SAFETY: a system call that touches no memory of this process.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XFEATURE_XTILEDATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
        result == 0
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// A run as the assembly reads it: the input of both groups of pixels, the weights of both blocks,
/// bytes from one pixel to the next, how many multiplications, and the bytes of one of them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Step {
    input: [*const u8; 2],
    weight: [*const i8; 2],
    pixel_bytes: usize,
    times: usize,
    input_bytes: usize,
    weight_bytes: usize,
}

// The assembly has the fields' offsets as numbers.
const _: () = assert!(size_of::<Step>() == 64);

const NO_STEP: Step = Step {
    input: [std::ptr::null(); 2],
    weight: [std::ptr::null(); 2],
    pixel_bytes: 0,
    times: 0,
    input_bytes: 0,
    weight_bytes: 0,
};

/// # Safety
/// See [`TileKernel`]; also AMX [is available](is_available), `tile.pixels` is at most 32, at most
/// [`MAX_RUNS`] runs, and `tile.step` divides the groups of every run.
unsafe fn tile<const NB: usize>(tile: &Tile<'_>) {
    let two = tile.pixels > ROWS || tile.below > 0;
    let first = if two { tile.pixels.div_ceil(2) } else { tile.pixels };
    let (mut steps, mut count) = ([NO_STEP; MAX_RUNS], 0);
    for run in tile.runs.iter().filter(|run| run.groups > 0) {
        let below = match (two, tile.below) {
            (false, _) => 0,
            (true, 0) => first * run.pixel_step,
            (true, below) => below,
        };
        // Of one block, the second's weights are not read.
        let weights = [0, (NB - 1) * tile.weight_block].map(|block| run.weight_offset + block);
        steps[count] = Step {
            input: [0, below].map(|offset| run.input.wrapping_add(offset)),
            weight: weights.map(|offset| tile.weight.wrapping_add(offset)),
            pixel_bytes: run.pixel_step,
            times: run.groups / tile.step,
            input_bytes: tile.step * GROUP,
            weight_bytes: tile.step * GROUP_BYTES,
        };
        count += 1;
    }
    // With a step of zero, every row of a register is loaded from the same place.
    let mut rows: [[i32; 2 * BLOCK]; 2 * ROWS];
    let (mut init, mut init_step) = (tile.init, 0);
    if tile.init_step != 0 {
        rows = [[0; 2 * BLOCK]; 2 * ROWS];
        for (pixel, row) in rows[..tile.pixels].iter_mut().enumerate() {
            // SAFETY: the caller guarantees the initial values of every pixel.
            unsafe {
                let from = tile.init.add((pixel + tile.init_phase) / 2 * tile.init_step);
                std::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), NB * BLOCK);
            }
        }
        (init, init_step) = (rows.as_ptr().cast(), 2 * BLOCK);
    }
    let of_second = if two { first } else { 0 };
    // One block of assembly from the first load to the last store: nothing is kept in a tile
    // register between two of them.
    macro_rules! compute {
        (load [$($load:literal),*], each [$($each:literal),*], store [$($store:literal),*]) => {
            asm!(
                $($load,)*
                "2:",
                "test {count}, {count}",
                "jz 4f",
                "mov {a}, [{steps}]",
                "mov {b}, [{steps} + 8]",
                "mov {w}, [{steps} + 16]",
                "mov {x}, [{steps} + 24]",
                "mov {pixel}, [{steps} + 32]",
                "mov {times}, [{steps} + 40]",
                "3:",
                $($each,)*
                "add {a}, [{steps} + 48]",
                "add {b}, [{steps} + 48]",
                "add {w}, [{steps} + 56]",
                "add {x}, [{steps} + 56]",
                "dec {times}",
                "jnz 3b",
                "add {steps}, 64",
                "dec {count}",
                "jmp 2b",
                "4: /* {below} */",
                $($store,)*
                a = inout(reg) init => _,
                b = inout(reg) init.wrapping_add(of_second * init_step) => _,
                pixel = inout(reg) init_step * size_of::<i32>() => _,
                w = out(reg) _,
                x = out(reg) _,
                times = out(reg) _,
                steps = inout(reg) steps.as_ptr() => _,
                count = inout(reg) count => _,
                row = in(reg) GROUP_BYTES,
                out = in(reg) tile.out,
                below = in(reg) tile.out.wrapping_add(of_second * tile.out_step),
                out_step = in(reg) tile.out_step * size_of::<i32>(),
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                out("tmm3") _,
                out("tmm4") _,
                out("tmm5") _,
                out("tmm6") _,
                out("tmm7") _,
                options(nostack)
            )
        };
    }
    // SAFETY: the caller guarantees the pointers for all pixels, whole blocks and all groups, which
    // is what the configured rows and columns cover: `times` loads of `step` groups are a run's.
    // The second block is read and written only if there are two, the second group of pixels only
    // if it has some.
    unsafe {
        configure(Shape { pixels: [first, tile.pixels - first], groups: tile.step });
        match (NB, two) {
            (1, false) => compute!(
                load ["tileloadd tmm0, [{a} + {pixel}*1]"],
                each [
                    "tileloadd tmm4, [{a} + {pixel}*1]",
                    "tileloadd tmm6, [{w} + {row}*1]",
                    "tdpbusd tmm0, tmm4, tmm6"
                ],
                store ["tilestored [{out} + {out_step}*1], tmm0"]
            ),
            (1, true) => compute!(
                load ["tileloadd tmm0, [{a} + {pixel}*1]", "tileloadd tmm2, [{b} + {pixel}*1]"],
                each [
                    "tileloadd tmm4, [{a} + {pixel}*1]",
                    "tileloadd tmm6, [{w} + {row}*1]",
                    "tileloadd tmm5, [{b} + {pixel}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm2, tmm5, tmm6"
                ],
                store ["tilestored [{out} + {out_step}*1], tmm0", "tilestored [{below} + {out_step}*1], tmm2"]
            ),
            (_, false) => compute!(
                load ["tileloadd tmm0, [{a} + {pixel}*1]", "tileloadd tmm1, [{a} + {pixel}*1 + 64]"],
                each [
                    "tileloadd tmm4, [{a} + {pixel}*1]",
                    "tileloadd tmm6, [{w} + {row}*1]",
                    "tileloadd tmm7, [{x} + {row}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm4, tmm7"
                ],
                store ["tilestored [{out} + {out_step}*1], tmm0", "tilestored [{out} + {out_step}*1 + 64], tmm1"]
            ),
            (_, true) => compute!(
                load [
                    "tileloadd tmm0, [{a} + {pixel}*1]",
                    "tileloadd tmm1, [{a} + {pixel}*1 + 64]",
                    "tileloadd tmm2, [{b} + {pixel}*1]",
                    "tileloadd tmm3, [{b} + {pixel}*1 + 64]"
                ],
                each [
                    "tileloadd tmm4, [{a} + {pixel}*1]",
                    "tileloadd tmm6, [{w} + {row}*1]",
                    "tileloadd tmm7, [{x} + {row}*1]",
                    "tileloadd tmm5, [{b} + {pixel}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm4, tmm7",
                    "tdpbusd tmm2, tmm5, tmm6",
                    "tdpbusd tmm3, tmm5, tmm7"
                ],
                store [
                    "tilestored [{out} + {out_step}*1], tmm0",
                    "tilestored [{out} + {out_step}*1 + 64], tmm1",
                    "tilestored [{below} + {out_step}*1], tmm2",
                    "tilestored [{below} + {out_step}*1 + 64], tmm3"
                ]
            ),
        }
    }
}
