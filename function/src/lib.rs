//! The eye-state function: library side.
