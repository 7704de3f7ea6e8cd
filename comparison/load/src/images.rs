//! The pictures that are sent: a folder with one sub-folder a kind (`open/`, `closed/`,
//! `no_eyes/`), or with a `samples.json` that tells each file's `state`, as `function/samples` has
//! one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use scenario::schedule::{Arrival, Schedule};

/// One picture, ready to be posted.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The file's content.
    pub bytes: Bytes,
    /// The media type, by the file's extension.
    pub content_type: &'static str,
}

/// Pictures by kind, in the order of [`Schedule::images`].
#[derive(Debug, Clone)]
pub struct Pictures(Vec<Vec<Picture>>);

impl Pictures {
    /// Reads the kinds that a schedule needs. Files are taken in the order of their names.
    pub fn read(folder: &Path, schedule: &Schedule) -> Result<Self> {
        let described = folder.join("samples.json");
        if !described.exists() {
            return schedule
                .images
                .iter()
                .map(|kind| read_kind(&folder.join(kind)))
                .collect::<Result<_>>()
                .map(Self);
        }
        let text = std::fs::read_to_string(&described)
            .with_context(|| format!("cannot read {}", described.display()))?;
        let samples: Vec<Sample> =
            serde_json::from_str(&text).with_context(|| format!("{}", described.display()))?;
        let of_kind = |kind: &String| {
            let files =
                samples.iter().filter(|s| s.state == *kind).map(|s| folder.join(&s.file)).collect::<Vec<_>>();
            read_files(&files, folder).with_context(|| format!("pictures with state {kind:?}"))
        };
        schedule.images.iter().map(of_kind).collect::<Result<_>>().map(Self)
    }

    /// The same picture for every arrival, for tests of the load generator.
    pub fn single(picture: Picture, schedule: &Schedule) -> Self {
        Self(schedule.images.iter().map(|_| vec![picture.clone()]).collect())
    }

    /// The picture of an arrival.
    pub fn of(&self, arrival: &Arrival) -> &Picture {
        let kind = &self.0[arrival.image];
        &kind[arrival.pick as usize % kind.len()]
    }
}

fn read_kind(folder: &Path) -> Result<Vec<Picture>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("no pictures: cannot read {} (see --images)", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    read_files(&paths, folder)
}

/// One entry of `samples.json`; other fields are ignored.
#[derive(serde::Deserialize)]
struct Sample {
    file: String,
    state: String,
}

fn read_files(paths: &[std::path::PathBuf], folder: &Path) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for path in paths {
        let Some(content_type) = content_type(path) else { continue };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        pictures.push(Picture { bytes: bytes.into(), content_type });
    }
    ensure!(!pictures.is_empty(), "no pictures in {} (png, jpg, webp, bmp, tiff or pgm)", folder.display());
    Ok(pictures)
}

fn content_type(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "bmp" => Some("image/bmp"),
        "tif" | "tiff" => Some("image/tiff"),
        "pgm" => Some("image/x-portable-graymap"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::Scenario;

    #[test]
    fn the_samples_of_the_repository_are_there_for_every_kind() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scenario = Scenario::shipped_named("soak").expect("shipped");
        let schedule = Schedule::draw(&scenario, 1.0, 0.1, 1);
        let pictures =
            Pictures::read(&room.join("../../function/samples"), &schedule).expect("samples of every kind");
        assert!(schedule.arrivals.iter().all(|a| pictures.of(a).content_type == "image/jpeg"));
    }

    #[test]
    fn a_folder_without_pictures_is_named() {
        let scenario = Scenario::shipped_named("soak").expect("shipped");
        let error = Pictures::read(Path::new("/nowhere"), &Schedule::draw(&scenario, 1.0, 0.1, 1))
            .expect_err("nothing there");
        assert!(error.to_string().contains("/nowhere/closed"), "{error}");
    }
}
