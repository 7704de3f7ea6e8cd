//! Properties that hold for any input, as functions that panic otherwise: the fuzz targets
//! (`targets/`) call them with inputs of libFuzzer, `tests/replay.rs` with the corpus.

#[cfg(feature = "function")]
pub mod function;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "pictures")]
pub mod pictures;
