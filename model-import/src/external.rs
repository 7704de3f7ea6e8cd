//! Weights that are stored in a file beside the ONNX file
//! (<https://onnx.ai/onnx/repo-docs/ExternalData.html>).

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use onnx_ir::{GraphProto, TensorProto};
use sha2::{Digest, Sha256};

use crate::ImportError;

/// TensorProto.DataLocation.EXTERNAL; the enum has no public name.
const EXTERNAL: i32 = 1;

/// Loads the data of every external tensor into the graph, adds the whole files to `digest`, and
/// returns their paths.
pub(crate) fn load(
    graph: &mut GraphProto,
    folder: Option<&Path>,
    digest: &mut Sha256,
) -> Result<Vec<PathBuf>, ImportError> {
    let mut files: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    let mut order = Vec::new();
    let constants = graph.node.iter_mut().filter(|node| node.op_type == "Constant");
    let constants = constants.flat_map(|node| &mut node.attribute).filter_map(|value| value.t.as_mut());
    for tensor in graph.initializer.iter_mut().chain(constants) {
        if tensor.data_location.value() != EXTERNAL {
            continue;
        }
        let entry =
            |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|e| e.value.as_str());
        let location = entry("location").unwrap_or_default().to_owned();
        let broken = |reason: String| ImportError::ExternalData {
            tensor: tensor.name.clone(),
            file: location.clone(),
            reason,
        };
        // Only files in the model's folder or below are read.
        let inside = Path::new(&location).components().all(|part| matches!(part, Component::Normal(_)));
        let folder = folder.filter(|_| inside && !location.is_empty());
        let path = folder.map(|folder| folder.join(&location));
        let path = path.ok_or_else(|| broken("it is not beside the model".into()))?;
        if !files.contains_key(&path) {
            let bytes = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
            digest.update(&bytes);
            files.insert(path.clone(), bytes);
            order.push(path.clone());
        }
        let number = |key: &str| entry(key).map(str::parse::<usize>).transpose();
        let range = number("offset").ok().zip(number("length").ok());
        let (offset, length) = range.ok_or_else(|| broken("its place in it is not a number".into()))?;
        let rest = files[&path].get(offset.unwrap_or(0)..);
        let bytes = rest.and_then(|rest| rest.get(..length.unwrap_or(rest.len())));
        let bytes = bytes.ok_or_else(|| broken("it is too short".into()))?.to_vec();
        *tensor = TensorProto {
            name: std::mem::take(&mut tensor.name),
            dims: std::mem::take(&mut tensor.dims),
            data_type: tensor.data_type,
            raw_data: bytes.into(),
            ..TensorProto::default()
        };
    }
    Ok(order)
}
