//! The build script of the function: reads the variables that choose the model and the meaning of
//! its classes, and generates the code.

#![expect(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

use std::env;
use std::path::{Path, PathBuf};

use crate::{ImportError, Options};

/// The model to build: a path, relative to the repository; default: the one in [`DEFAULT_FOLDER`].
const ENV_MODEL: &str = "MODEL";
/// Holds the default model, in this crate's folder: the 8-bit form of the one in `weights`.
const DEFAULT_FOLDER: &str = "weights/int8";
/// All class names in order, comma-separated; default: the file's metadata.
const ENV_NAMES: &str = "MODEL_NAMES";
/// Names of the classes that mean an open eye, comma-separated; default: `eye_open` and its
/// synonyms.
const ENV_OPEN_CLASSES: &str = "OPEN_CLASSES";
/// Names of the classes that mean a closed eye, comma-separated; default: `eye_closed` and its
/// synonyms.
const ENV_CLOSED_CLASSES: &str = "CLOSED_CLASSES";
/// The licence of the weights, an SPDX expression; default: what `MODEL.onnx.license` says.
const ENV_LICENSE: &str = "MODEL_LICENSE";
/// Height and width in pixels ("384 640"), or one number for both, for a model with dynamic axes;
/// default: not set.
const ENV_SIZE: &str = "IMGSZ";
/// If set, the network uses burn's own operators: slow, for comparison; default: not set.
const ENV_PLAIN: &str = "PLAIN_BURN";

impl Options {
    /// Reads `MODEL_NAMES`, `OPEN_CLASSES`, `CLOSED_CLASSES`, `MODEL_LICENSE`, `IMGSZ` and
    /// `PLAIN_BURN`; empty is the same as not set.
    pub fn from_env() -> Result<Self, ImportError> {
        Ok(Self {
            names: list(ENV_NAMES),
            open_classes: list(ENV_OPEN_CLASSES),
            closed_classes: list(ENV_CLOSED_CLASSES),
            license: env::var(ENV_LICENSE).ok().filter(|license| !license.trim().is_empty()),
            image_size: size(&env::var(ENV_SIZE).unwrap_or_default())?,
            plain: env::var_os(ENV_PLAIN).is_some_and(|value| !value.is_empty()),
        })
    }
}

/// Height and width, or one number for both.
fn size(text: &str) -> Result<Option<[usize; 2]>, ImportError> {
    let unreadable = || ImportError::SizeUnreadable { value: text.to_owned() };
    let words = text.split([' ', ',', 'x']).filter(|word| !word.is_empty());
    let sizes = words.map(|word| word.parse::<usize>().ok().filter(|&size| size > 0));
    match sizes.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?[..] {
        [] => Ok(None),
        [side] => Ok(Some([side, side])),
        [height, width] => Ok(Some([height, width])),
        _ => Err(unreadable()),
    }
}

fn list(variable: &str) -> Option<Vec<String>> {
    let names: Vec<String> = (env::var(variable).unwrap_or_default().split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    (!names.is_empty()).then_some(names)
}

/// Generates the function's model into `OUT_DIR`, or fails the build with one message.
pub fn build_script() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in
        [ENV_MODEL, ENV_NAMES, ENV_OPEN_CLASSES, ENV_CLOSED_CLASSES, ENV_LICENSE, ENV_SIZE, ENV_PLAIN]
    {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(error) = run() {
        // This directive alone makes cargo stop; a failing exit status would also print the
        // script's whole output.
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), ImportError> {
    let model = chosen_model()?;
    println!("cargo::rerun-if-changed={}", model.display());
    // Cargo treats a missing file as changed and would run the script on every build.
    let license = PathBuf::from(format!("{}.license", model.display()));
    if license.exists() {
        println!("cargo::rerun-if-changed={}", license.display());
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let imported = crate::import(&model, &Options::from_env()?)?;
    for file in &imported.external {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    imported.generate(&folder)?;
    Ok(())
}

fn chosen_model() -> Result<PathBuf, ImportError> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    match env::var_os(ENV_MODEL).filter(|path| !path.is_empty()) {
        // Cargo runs build scripts in the package's folder; users give paths relative to the folder
        // in which they run make.
        Some(path) => Ok(room.parent().unwrap_or(room).join(path)),
        None => default_model(&room.join(DEFAULT_FOLDER)),
    }
}

/// The one ONNX file in `folder`.
fn default_model(folder: &Path) -> Result<PathBuf, ImportError> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries =
        folder.read_dir().map_err(|source| ImportError::Read { path: folder.to_owned(), source })?;
    let mut models: Vec<PathBuf> = (entries.flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    match (models.pop(), models.len()) {
        (Some(model), 0) => Ok(model),
        (last, others) => Err(ImportError::NoDefaultModel {
            folder: folder.to_owned(),
            found: others + usize::from(last.is_some()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_is_one_number_or_height_and_width() {
        assert_eq!(size("").unwrap(), None);
        assert_eq!(size("416").unwrap(), Some([416, 416]));
        assert_eq!(size("384 640").unwrap(), Some([384, 640]));
        for text in ["wide", "0", "-1", "1 2 3"] {
            assert!(size(text).unwrap_err().to_string().contains(text));
        }
    }
}
