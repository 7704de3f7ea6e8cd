//! The licence of the weights: as set by the user, or else from the file beside the model.
//!
//! `platforms/image/metadata.sh` reads the same for the image's label; a test compares the two.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::{ImportError, Options};

/// Stands for a licence that nobody stated: an SPDX name of this project's own.
pub const LICENSE_NOT_STATED: &str = "LicenseRef-model-licence-not-stated";

/// What begins the licence's line in `MODEL.onnx.license`, as
/// [REUSE](https://reuse.software/spec-3.3/) has it.
const TAG: &str = "SPDX-License-Identifier:";

/// The licence of the model at `path`, if it is a file, an SPDX expression.
pub(crate) fn of(path: Option<&Path>, options: &Options) -> Result<String, ImportError> {
    let path = match (&options.license, path) {
        (Some(license), _) => return Ok(license.clone()),
        (None, Some(path)) => path,
        (None, None) => return Ok(LICENSE_NOT_STATED.to_owned()),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".license");
    let beside = Path::new(&beside);
    let text = match fs::read_to_string(beside) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ImportError::Read { path: beside.to_owned(), source }),
    };
    let stated = text.lines().find_map(|line| line.strip_prefix(TAG)).map_or("", str::trim);
    Ok(if stated.is_empty() { LICENSE_NOT_STATED } else { stated }.to_owned())
}
