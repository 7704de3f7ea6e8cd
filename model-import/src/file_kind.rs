//! Recognizes files that are not ONNX by their first bytes, with advice for the common mistakes.

use crate::ImportError;

/// Bytes that are searched: the list of classes of a checkpoint or the title of a page is within
/// them.
const HEAD: usize = 1 << 20;

const EXPORT: &str = "export it to ONNX: `make export WEIGHTS=best.pt`";
const EXPORT_FROM: &str = "use the checkpoint that it was exported from: `make export WEIGHTS=best.pt`";
const YOLOV5_ONLY: &str =
    "the function is built with YOLOv5 models: train one, and `make export WEIGHTS=best.pt`";

/// The kind of file, if it is known not to be ONNX.
pub(crate) fn check(bytes: &[u8]) -> Result<(), ImportError> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let other = |what: &'static str, advice: &'static str| Err(ImportError::OtherFile { what, advice });
    let has = |text: &str| contains(head, text.as_bytes());
    let text = head.trim_ascii_start();
    let starts =
        |mark: &str| text.len() >= mark.len() && text[..mark.len()].eq_ignore_ascii_case(mark.as_bytes());
    // `torch.save` writes zip archives (since 1.6) or pickles.
    let zip = bytes.starts_with(b"PK\x03\x04");
    let pickle = bytes.starts_with(b"\x80\x02") || (zip && has("data.pkl"));
    match () {
        () if bytes.is_empty() => other("an empty file", "copy it again"),
        () if zip && (has("/code/") || contains(bytes, b"constants.pkl")) => {
            other("a TorchScript export, not an ONNX file", EXPORT_FROM)
        }
        () if pickle && (has("ultralytics.nn") || has("ultralytics/nn")) => {
            other("a checkpoint of the ultralytics package (YOLOv8 or later, YOLOv5u)", YOLOV5_ONLY)
        }
        () if pickle => other("a PyTorch checkpoint, not an ONNX file", EXPORT),
        () if zip => other("a zip archive, not an ONNX file", "unpack it and give the ONNX file in it"),
        () if starts("version https://git-lfs") => other(
            "a Git LFS pointer, not the model itself",
            "fetch the file with `git lfs pull` in the repository that it comes from",
        ),
        () if starts("<!doctype html") || starts("<html") => {
            other("a web page, not a model", "download the file itself, not the page that shows it (\"raw\")")
        }
        () if starts("<?xml") || starts("<net") => other("an XML file (OpenVINO's, it seems)", EXPORT_FROM),
        () if bytes.get(4..8) == Some(b"TFL3") => other("a TensorFlow Lite model", EXPORT_FROM),
        () if bytes.starts_with(b"ftrt") || bytes.starts_with(b"ptrt") => {
            other("a TensorRT engine", EXPORT_FROM)
        }
        () if bytes.starts_with(b"\x89PNG") || bytes.starts_with(b"\xff\xd8\xff") => {
            other("a picture", "give the ONNX file of a YOLOv5 model")
        }
        () if bytes.starts_with(b"\x1f\x8b") => {
            other("a gzip archive", "unpack it and give the ONNX file in it")
        }
        () => Ok(()),
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
