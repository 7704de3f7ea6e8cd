//! Networks of one tiny model, each imported from the file of another exporter, simplifier or
//! converter (see `exporters.py` and `forms.py`).

use burn::tensor::Tensor;
use model_runtime::ModelMetadata;

/// An accepted form.
pub struct Form {
    /// The file's stem: the exporter and its options.
    pub name: &'static str,
    /// Reference values from ONNX Runtime: lines of head, index into its flat map, value.
    pub reference: &'static str,
    /// From a picture `[1, 3, height, width]` to the heads' raw maps, smallest stride first, each
    /// flat.
    pub run: fn(Tensor<4>) -> Vec<Vec<f32>>,
    /// The description that the import returned.
    pub metadata: &'static ModelMetadata,
}

include!(concat!(env!("OUT_DIR"), "/forms.rs"));

fn raw_heads<const HEADS: usize>(maps: [Tensor<4>; HEADS]) -> Vec<Vec<f32>> {
    maps.map(|map| map.into_data().convert::<f32>().try_to_vec::<f32>().expect("floats")).into()
}
