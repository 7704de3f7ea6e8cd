//! Scenario files and results files on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use scenario::Scenario;
use scenario::recording::Run;

/// Reads and checks one scenario file.
pub fn read_scenario(path: &Path) -> Result<Scenario> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read scenario {}", path.display()))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_stem().and_then(|s| s.to_str()).context("a scenario file needs a name")?;
    Scenario::parse(name, &read(path)?, |table| read(&folder.join(table)))
        .with_context(|| format!("scenario {}", path.display()))
}

/// Reads every scenario of a folder, or the named ones, in the order asked for (all: alphabetical).
pub fn read_scenarios(folder: &Path, names: &[String]) -> Result<Vec<Scenario>> {
    let mut available = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read folder {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            available.push(path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned());
        }
    }
    available.sort();
    if available.is_empty() {
        bail!("no scenario files in {}", folder.display());
    }
    if let Some(unknown) = names.iter().find(|n| !available.contains(n)) {
        bail!("no scenario {unknown:?}; there are {}", available.join(", "));
    }
    let wanted = if names.is_empty() { &available } else { names };
    wanted.iter().map(|name| read_scenario(&folder.join(format!("{name}.toml")))).collect()
}

/// Reads one results file.
pub fn read_run(path: &Path) -> Result<Run> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Run::parse(&text).with_context(|| path.display().to_string())
}

/// Writes a results file whole or not at all: an interrupted write leaves no file that looks like a
/// result.
pub fn write_run(run: &Run, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    let path = folder.join(format!("{}.json", run.id()));
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_string(run)?)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, &path)?;
    Ok(path)
}

/// Reads every results file of a folder, by name.
pub fn read_runs(folder: &Path) -> Result<Vec<Run>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("no results: cannot read {}", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths.iter().map(|p| read_run(p)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_scenarios_is_what_was_built_in_and_a_misspelt_name_lists_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let names = |scenarios: &[Scenario]| scenarios.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        let read = read_scenarios(&folder, &[]).expect("the shipped scenarios are valid");
        assert_eq!(names(&read), names(&Scenario::shipped()));
        assert!(read.iter().zip(Scenario::shipped()).all(|(a, b)| a.rate == b.rate));
        let error = read_scenarios(&folder, &["spiek".into()]).expect_err("misspelt");
        assert!(error.to_string().contains("there are azure-llm-code, idle-wake"), "{error}");
    }
}
