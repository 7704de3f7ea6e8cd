//! Compiles the model in: see model-import.

fn main() {
    model_import::build_script();
}
