//! The compiled-in model, as model-import generated it (`MODEL=path/to/best.onnx` at build time).

#[allow(unreachable_pub, reason = "generated code does not know where it is included")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/eye_state_model.rs"));
}

pub use generated::{METADATA, Model};
