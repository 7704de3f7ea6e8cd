//! The pictures that are sent: a folder with one sub-folder a kind (`open/`, `closed/`, `no_eyes/`).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::schedule::{Arrival, Schedule};

/// One picture, ready to be posted.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What the file holds.
    pub bytes: Bytes,
    /// By the file's ending.
    pub content_type: &'static str,
}

/// Pictures by kind, in the order of [`Schedule::images`].
#[derive(Debug, Clone)]
pub struct Pictures(Vec<Vec<Picture>>);

impl Pictures {
    /// Reads the kinds that a schedule needs. Files are taken in the order of their names.
    pub fn read(folder: &Path, schedule: &Schedule) -> Result<Self> {
        schedule.images.iter().map(|kind| read_kind(&folder.join(kind))).collect::<Result<_>>().map(Self)
    }

    /// The same picture for everything: for tests of the load generator itself.
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
    let mut pictures = Vec::new();
    for path in &paths {
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
