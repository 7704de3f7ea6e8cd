//! Nothing but tests lives here: see `tests/dispatch.rs`.
