//! Scenario files and results files on disk.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use scenario::Scenario;
use scenario::recording::{Calibration, Origin, Run};
use serde::Deserialize;

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

/// Writes a results file atomically: an interrupted write leaves no partial result. A file of
/// another origin, or one that is no results file, is not replaced.
pub fn write_run(run: &Run, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(format!("{}.json", run.id()));
    if path.exists() && origin_of(&path)? != Some(run.origin) {
        bail!("{} is not a {} run: it is not overwritten", path.display(), named(run.origin));
    }
    write_to(run, path)
}

/// Writes a run as a whole or not at all, into a folder that it makes if need be.
fn write_to(run: &Run, path: PathBuf) -> Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_string(run)?)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, &path)?;
    Ok(path)
}

/// Writes a void run into the subfolder for them. It replaces none: a run may be void several
/// times.
pub fn write_void(run: &Run, results: &Path) -> Result<PathBuf> {
    let folder = results.join(VOID);
    let mut path = folder.join(format!("{}.json", run.id()));
    let mut times = 1;
    while path.exists() {
        times += 1;
        path = folder.join(format!("{}-void-{times}.json", run.id()));
    }
    write_to(run, path)
}

/// The origin of a results file; `None` if it is no results file.
fn origin_of(path: &Path) -> Result<Option<Origin>> {
    #[derive(Deserialize)]
    struct Labelled {
        origin: Origin,
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text).ok().map(|run: Labelled| run.origin))
}

fn named(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => "measured",
        Origin::Simulated => "simulated",
    }
}

/// Checks that a folder, which may not be there yet, has no runs of another origin. `option` is the
/// one that names the folder.
pub fn ensure_only(origin: Origin, folder: &Path, option: &str) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for path in json_files(folder)? {
        if let Some(other) = origin_of(&path)?.filter(|found| *found != origin) {
            let (wanted, other) = (named(origin), named(other));
            bail!(
                "{} has {other} runs ({}): {wanted} runs need a folder without them, for example \
                 {option} {}",
                folder.display(),
                path.file_name().unwrap_or_default().display(),
                folder.join(wanted).display()
            );
        }
    }
    Ok(())
}

/// Subfolder for void runs, which contain the reason.
pub const VOID: &str = "void";
/// File with the calibration before the first run.
pub const CALIBRATION: &str = "calibration.toml";

/// Moves a run out of the results and stores the reason in it.
pub fn make_void(path: &Path, reason: &str) -> Result<()> {
    let run = Run { void: Some(reason.to_owned()), ..read_run(path)? };
    write_void(&run, path.parent().unwrap_or(Path::new(".")))?;
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Adds to a run what one pod answered at most, before and after its block.
pub fn add_throughput(path: &Path, throughput: [f64; 2]) -> Result<()> {
    let run = Run { throughput: Some(throughput), ..read_run(path)? };
    write_run(&run, path.parent().unwrap_or(Path::new("."))).map(drop)
}

/// The calibration of this folder, if there is one.
pub fn read_calibration(folder: &Path) -> Result<Option<Calibration>> {
    let path = folder.join(CALIBRATION);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let found = toml::from_str(&text);
            found.map(Some).with_context(|| format!("{} is no calibration", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Stores the calibration.
pub fn write_calibration(folder: &Path, calibration: &Calibration) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    let path = folder.join(CALIBRATION);
    std::fs::write(&path, toml::to_string(calibration)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The same as [`read_runs`], but a folder that is not there yet has none. One that cannot be read
/// is an error, because new runs could not be compared with its content.
pub fn read_runs_if_any(folder: &Path) -> Result<Vec<Run>> {
    match folder.try_exists() {
        Ok(false) => Ok(vec![]),
        _ => read_runs(folder),
    }
}

/// Reads every results file of a folder, by name.
pub fn read_runs(folder: &Path) -> Result<Vec<Run>> {
    json_files(folder)?.iter().map(|p| read_run(p)).collect()
}

/// What may be results files, by name.
fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("no results: cannot read {}", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use scenario::recording::CalibrationStep;

    use super::*;

    #[test]
    fn what_one_pod_answered_around_a_run_is_added_to_its_file_and_nothing_else_changes() {
        let folder = std::env::temp_dir().join(format!("throughput-{}", std::process::id()));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/spike-knative-tuned-1.json");
        let run = read_run(&shipped).expect("a recording");
        let path = write_run(&run, &folder).expect("written");
        add_throughput(&path, [40.0, 39.0]).expect("added");
        let after = read_run(&path).expect("still a run");
        assert_eq!(after.throughput, Some([40.0, 39.0]));
        assert_eq!(Run { throughput: None, ..after }, run);
        std::fs::remove_dir_all(&folder).expect("cleaned");
    }

    #[test]
    fn a_run_that_is_void_twice_is_kept_twice() {
        let folder = std::env::temp_dir().join(format!("void-twice-{}", std::process::id()));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/spike-knative-tuned-1.json");
        let run = read_run(&shipped).expect("a recording");
        for reason in ["others took 30 %", "others took 29 %"] {
            let path = write_run(&run, &folder).expect("written");
            make_void(&path, reason).expect("moved");
        }
        let reason = |name: &str| read_run(&folder.join(VOID).join(name)).expect("kept").void;
        let name = run.id();
        assert_eq!(reason(&format!("{name}.json")).as_deref(), Some("others took 30 %"));
        assert_eq!(reason(&format!("{name}-void-2.json")).as_deref(), Some("others took 29 %"));
        assert!(read_runs(&folder).expect("none left").is_empty());
        std::fs::remove_dir_all(&folder).expect("cleaned");
    }

    #[test]
    fn a_calibration_comes_back_and_none_is_none() {
        let folder = std::env::temp_dir().join(format!("calibration-{}", std::process::id()));
        assert_eq!(read_calibration(&folder).expect("none"), None);
        let step = CalibrationStep { rate: 14.0, answered: 13.9, good: 0.995, in_flight: 1.6 };
        let found = Calibration {
            at: "2026-11-26T09:00:00Z".into(),
            slo_ms: 500,
            capacity: 14.0,
            saturated: 19.0,
            rate_at_one: None,
            steps: vec![step],
        };
        write_calibration(&folder, &found).expect("written");
        assert_eq!(read_calibration(&folder).expect("read"), Some(found));
        assert!(read_runs(&folder).expect("no runs in it").is_empty());
        std::fs::remove_dir_all(&folder).expect("cleaned");
    }

    #[test]
    fn a_results_folder_that_is_not_there_has_no_runs_and_one_that_cannot_be_read_is_an_error() {
        let folder = std::env::temp_dir().join(format!("unreadable-{}", std::process::id()));
        assert!(read_runs_if_any(&folder).expect("none").is_empty());
        // A file instead of the folder: root may read every folder.
        std::fs::write(&folder, "").expect("written");
        assert!(read_runs_if_any(&folder).is_err());
        std::fs::remove_file(&folder).expect("cleaned");
    }

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
