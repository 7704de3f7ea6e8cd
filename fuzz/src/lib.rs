//! What must hold for any input, as functions that panic where it does not: the fuzz targets
//! (`targets/`) call them with inputs of libFuzzer, `tests/replay.rs` with the inputs that are
//! kept.

#[cfg(feature = "function")]
pub mod function;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "pictures")]
pub mod pictures;
