//! Imports the models that models.py wrote: YOLOv5n and YOLOv5s, each for the kernels and for plain
//! burn.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for scale in ["yolov5n", "yolov5s"] {
        let model = models.join(format!("{scale}-416x416.onnx"));
        println!("cargo::rerun-if-changed={}", model.display());
        let folder = out.join(scale);
        fs::create_dir_all(&folder).expect("OUT_DIR is writable");
        let imported = model_import::import(&model, &model_import::Options::default());
        if let Err(error) = imported.and_then(|imported| imported.generate(&folder)) {
            println!("cargo::error={error}");
        }
    }
}
