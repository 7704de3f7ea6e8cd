//! Imports the models that models.py wrote: YOLOv5n and YOLOv5s, each for the kernels in floats and
//! in 8-bit integers, and for plain burn.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for (name, file) in [
        ("yolov5n", "yolov5n-416x416.onnx"),
        ("yolov5s", "yolov5s-416x416.onnx"),
        ("yolov5n-int8", "yolov5n-416x416-int8.onnx"),
        ("yolov5s-int8", "yolov5s-416x416-int8.onnx"),
    ] {
        let model = models.join(file);
        println!("cargo::rerun-if-changed={}", model.display());
        let folder = out.join(name);
        fs::create_dir_all(&folder).expect("OUT_DIR is writable");
        let imported = model_import::import(&model, &model_import::Options::default());
        if let Err(error) = imported.and_then(|imported| imported.generate(&folder)) {
            println!("cargo::error={error}");
        }
    }
}
