//! ONNX files.

use model_import::{Options, import_bytes};

/// Any bytes are imported, or refused with an error that has a message.
pub fn onnx(bytes: &[u8]) {
    // For files without class names or with dynamic axes.
    let options = Options { image_size: Some([64, 128]), ..Options::default() };
    for options in [Options::default(), options] {
        match import_bytes("fuzz", bytes, &options) {
            Ok(imported) => {
                let description = imported.description;
                assert!(!description.heads.is_empty());
                assert!(description.input_width > 0 && description.input_height > 0);
                assert!(!description.class_names.is_empty());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
