//! Imports every file of `accepted/`, or of the folder that `FORMS_FOLDER` names, each into a
//! folder of its own, and writes the list of them.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use model_import::{GENERATED_FILE, ImportError, Options, import};

/// Size of the tiny models' pictures, for files with dynamic axes (forms.py).
const HEIGHT: usize = 64;
const WIDTH: usize = 128;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FORMS_FOLDER");
    let accepted = env::var("FORMS_FOLDER").unwrap_or_else(|_| "accepted".to_owned());
    println!("cargo::rerun-if-changed={accepted}");
    let folder = Path::new(&accepted).read_dir().expect("the folder of accepted forms");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let (mut modules, mut list) = (String::new(), String::new());
    for (number, file) in files.iter().enumerate() {
        let name = file.file_stem().expect("files have names").to_string_lossy();
        let folder = out.join(format!("form{number}"));
        fs::create_dir_all(&folder).expect("OUT_DIR can be written");
        if let Err(error) = generate(file, &folder) {
            println!("cargo::error={name}: {error}");
            continue;
        }
        let source = folder.join(GENERATED_FILE);
        let reference = fs::canonicalize(file.with_extension("txt")).expect("forms.py wrote a reference");
        let _ =
            writeln!(modules, "#[allow(warnings, clippy::all)] mod form{number} {{ include!({source:?}); }}");
        let _ = writeln!(list, "    Form {{ name: {name:?}, reference: include_str!({reference:?}),");
        let _ = writeln!(
            list,
            "        run: |images| crate::raw_heads(form{number}::Model::from_embedded(&images.device()).forward(images)),"
        );
        let _ = writeln!(list, "        metadata: &form{number}::METADATA }},");
    }
    let source = format!("{modules}\n/// Every accepted form.\npub static FORMS: &[Form] = &[\n{list}];\n");
    fs::write(out.join("forms.rs"), source).expect("OUT_DIR can be written");
}

fn generate(file: &Path, folder: &Path) -> Result<(), ImportError> {
    let names = ["eye_open", "eye_closed"].map(str::to_owned).to_vec();
    // Options are set only for what the file does not state, as a user would set them.
    let mut options = Options::default();
    let imported = loop {
        match import(file, &options) {
            Err(ImportError::DynamicInput { .. }) if options.image_size.is_none() => {
                options.image_size = Some([HEIGHT, WIDTH]);
            }
            Err(ImportError::NamesMissing { .. }) if options.names.is_none() => {
                options.names = Some(names.clone())
            }
            result => break result?,
        }
    };
    imported.generate(folder).map(|_| ())
}
