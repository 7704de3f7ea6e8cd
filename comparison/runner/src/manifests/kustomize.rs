//! The part of kustomize that the manifests use: components within components, strategic merges of
//! maps and `$patch: delete`, JSON 6902 `add`, `replace` and `remove`, and replacements of one
//! field by another. `platforms/check` renders the same with kustomize itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

pub(super) fn yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not what is expected", path.display()))
}
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.pointer(path).and_then(Value::as_str).with_context(|| format!("no text at {path}"))
}
#[derive(Deserialize)]
struct Kustomization {
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    pub(super) patches: Vec<Patch>,
    #[serde(default)]
    replacements: Vec<Replacement>,
}

#[derive(Deserialize)]
pub(super) struct Patch {
    #[serde(default)]
    target: Target,
    #[serde(default)]
    patch: String,
}

#[derive(Deserialize, Default)]
struct Target {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Replacement {
    source: Source,
    targets: Vec<Destination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    kind: String,
    field_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    select: Target,
    field_paths: Vec<String>,
}

impl Patch {
    /// Whether it is of this kind: by its target, or without one by what it says itself.
    pub(super) fn names(&self, kind: &str) -> bool {
        match &*self.target.kind {
            "" => self.content().is_ok_and(|patch| patch["kind"] == kind),
            kinds => kinds.split('|').any(|k| k == kind),
        }
    }

    pub(super) fn content(&self) -> Result<Value> {
        serde_saphyr::from_str(&self.patch).context("a patch is no YAML")
    }
}

/// What components change, in their order.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) patches: Vec<Patch>,
    replacements: Vec<Replacement>,
    /// Where KEDA's object is, in settings that have one.
    pub(super) scaled_object: Option<PathBuf>,
}

impl Changes {
    pub(super) fn collect(&mut self, folder: &Path) -> Result<()> {
        let file: Kustomization = yaml(&folder.join("kustomization.yaml"))?;
        let inline = file.patches.iter().all(|p| !p.patch.is_empty());
        ensure!(inline, "{}: only patches that are written in place are understood", folder.display());
        // Routing and placement of pods are not simulated.
        let settings =
            |path: &&String| !path.ends_with("kourier-route") && !path.ends_with("topology-spread");
        file.components.iter().filter(settings).try_for_each(|path| self.collect(&folder.join(path)))?;
        self.patches.extend(file.patches);
        self.replacements.extend(file.replacements);
        let scaled_object = file.resources.iter().find(|r| *r == "scaled-object.yaml");
        self.scaled_object = scaled_object.map(|name| folder.join(name)).or(self.scaled_object.take());
        Ok(())
    }

    /// Copies the fields that the replacements name from one of `sources` into `object`.
    pub(super) fn replace(&self, sources: &[&Value], object: &mut Value) -> Result<()> {
        for Replacement { source, targets } in &self.replacements {
            let Some(from) = sources.iter().find(|s| s["kind"] == source.kind.as_str()) else { continue };
            let mut from = (*from).clone();
            let value = field(&mut from, &source.field_path)?.clone();
            for Destination { select, field_paths } in targets {
                let paths = field_paths.iter().filter(|_| object["kind"] == select.kind.as_str());
                for path in paths.collect::<Vec<_>>() {
                    *field(object, path)? = value.clone();
                }
            }
        }
        Ok(())
    }
}

/// A field by kustomize's notation: names and numbers between dots, `[key=value]` for an item of a
/// list.
fn field<'a>(object: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    path.split('.').try_fold(object, |at, part| {
        let found = match part.strip_prefix('[').and_then(|p| p.strip_suffix(']')?.split_once('=')) {
            Some((key, value)) => {
                at.as_array_mut().and_then(|items| items.iter_mut().find(|item| item[key] == value))
            }
            None => at.get_mut(part),
        };
        found.with_context(|| format!("no {part} in {path}"))
    })
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Value,
}

/// A list is JSON 6902, a map is merged. Deleted fields become null.
pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<()> {
    if patch["$patch"] == "delete" {
        *object = Value::Null;
        return Ok(());
    }
    if !patch.is_array() {
        merge(object, patch);
        return Ok(());
    }
    let operations: Vec<Operation> = serde_json::from_value(patch.clone())?;
    for Operation { op, path, value } in operations {
        ensure!(
            ["add", "replace", "remove"].contains(&&*op),
            "{op} {path}: only add, replace and remove are understood"
        );
        let (parent, key) = path.rsplit_once('/').with_context(|| format!("{path} is no path"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        match object.pointer_mut(parent) {
            Some(Value::Object(map)) if op == "remove" => drop(map.remove(&key)),
            Some(Value::Object(map)) => drop(map.insert(key, value)),
            _ => bail!("nothing at {parent}"),
        }
    }
    Ok(())
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            patch.iter().for_each(|(k, v)| merge(object.entry(k).or_insert(Value::Null), v));
        }
        (object, patch) => object.clone_from(patch),
    }
}
