//! The JSON of a request as it is parsed: `request` compares its values with each other and with
//! the bytes that came.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::answer::Wanted;
use super::data::SentData;
use crate::http::json::{Few, Only};

/// Dimensions that a shape may have; four are wanted.
const MAX_DIMENSIONS: usize = 8;

#[derive(Deserialize)]
#[serde(expecting = "a request, which is an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::http) struct Document<'a> {
    /// Comes back in the answer; up to 1024 bytes.
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<RequestParameters>,
    #[serde(borrow)]
    #[cfg_attr(test, schemars(with = "[SentTensor<'a>; 1]"))]
    pub(super) inputs: Only<SentTensor<'a>>,
    /// All where it is empty or missing.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<Vec<AskedTensor>>"))]
    pub(super) outputs: Option<Few<AskedTensor, { Wanted::ALL.len() }>>,
}

/// Parameters that mean something here; others are for other servers.
#[derive(Default, Deserialize)]
#[serde(expecting = "parameters, which are an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RequestParameters {
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub(super) confidence_threshold: Option<f32>,
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub(super) iou_threshold: Option<f32>,
    #[cfg_attr(test, schemars(range(min = 9, max = 16)))]
    pub(super) bit_depth: Option<u32>,
    /// Whether all outputs come as bytes behind the JSON.
    pub(super) binary_data_output: Option<bool>,
}

#[derive(Deserialize)]
#[serde(expecting = "an input, which is an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct SentTensor<'a> {
    /// `image` or `pixels`.
    pub(super) name: String,
    /// `BYTES` or `UINT8`.
    pub(super) datatype: String,
    /// `[1]` or `[1, height, width, 1 or 3]`.
    #[cfg_attr(test, schemars(with = "Vec<u64>"))]
    pub(super) shape: Few<u64, MAX_DIMENSIONS>,
    #[serde(default)]
    pub(super) parameters: Option<SentParameters>,
    /// The image file in base64, or samples from 0 to 255.
    #[serde(borrow, default)]
    #[cfg_attr(test, schemars(with = "Option<Vec<serde_json::Value>>"))]
    pub(super) data: Option<SentData<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(expecting = "parameters, which are an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct SentParameters {
    /// How many bytes behind the JSON are this tensor's.
    pub(super) binary_data_size: Option<u64>,
    #[cfg_attr(test, schemars(skip))]
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(expecting = "an output, which is an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct AskedTensor {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: Option<AskedParameters>,
}

#[derive(Default, Deserialize)]
#[serde(expecting = "parameters, which are an object")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct AskedParameters {
    /// Whether it comes as bytes behind the JSON.
    pub(super) binary_data: Option<bool>,
    #[cfg_attr(test, schemars(skip))]
    pub(super) classification: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(skip))]
    pub(super) shared_memory_region: Option<IgnoredAny>,
}
