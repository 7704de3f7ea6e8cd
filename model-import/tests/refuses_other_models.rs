//! What is no YOLOv5 detection model for this function fails with one message that says what it is and
//! what to do.

mod support;

use model_import::{ImportError, Options, import};
use onnx_ir::{Message, ModelProto, TensorProto};
use support::*;

/// The error that a changed tiny model gives.
fn refusal(change: impl FnOnce(&mut ModelProto)) -> ImportError {
    let mut model = tiny_yolov5(Tail::Split);
    change(&mut model);
    let error = import(&save(&model), &Options::default()).expect_err("it must be refused");
    one_line(&error);
    error
}

fn refusal_of(bytes: &[u8]) -> ImportError {
    let error = import(&file("best.onnx", bytes), &Options::default()).expect_err("it must be refused");
    one_line(&error);
    error
}

/// A message is one line, and says more than what is wrong.
fn one_line(error: &ImportError) {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    assert!([";", "{"].iter().any(|mark| text.contains(mark)), "it says what to do: {text}");
}

/// Replaces the outputs by undecided ones of these shapes, the first under the tail's name.
fn outputs(model: &mut ModelProto, shapes: &[&[i64]]) {
    let graph = model.graph.as_mut().unwrap();
    graph.output = (shapes.iter().enumerate())
        .map(|(at, shape)| value(if at == 0 { "output0" } else { "head0.logits" }, FLOAT, shape))
        .collect();
}

#[test]
fn a_missing_file_is_named() {
    let error = import("/nowhere/best.onnx".as_ref(), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/best.onnx"), "{error}");
}

#[test]
fn a_truncated_file_is_unreadable() {
    let bytes = tiny_yolov5(Tail::Split).write_to_bytes().unwrap();
    for part in [3, 10, 2] {
        let error = refusal_of(&bytes[..bytes.len() * part / 11]);
        assert!(matches!(error, ImportError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn text_pictures_and_nothing_are_no_onnx() {
    let other: [&[u8]; 4] = [b"hello, world", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"", b"\x08\x07"];
    for bytes in other {
        let error = refusal_of(bytes);
        assert!(matches!(error, ImportError::Unreadable { .. } | ImportError::NotOnnx), "{bytes:?}: {error}");
    }
}

#[test]
fn a_pytorch_checkpoint_is_told_how_to_be_exported() {
    let error = refusal_of(b"PK\x03\x04 archive/data.pkl");
    assert!(matches!(error, ImportError::Checkpoint));
    assert!(error.to_string().contains("make export WEIGHTS=best.pt"), "{error}");
}

#[test]
fn a_classifier_is_refused() {
    let error = refusal(|model| outputs(model, &[&[1, 1000]]));
    assert!(matches!(&error, ImportError::Classifier { shape } if shape == "[1, 1000]"), "{error}");
}

#[test]
fn a_segmentation_model_is_refused() {
    let error = refusal(|model| outputs(model, &[&[1, 378, 39], &[1, 32, 16, 24]]));
    assert!(matches!(&error, ImportError::Segmentation { shape } if shape == "[1, 32, 16, 24]"), "{error}");
}

#[test]
fn a_yolov8_head_is_refused() {
    let error = refusal(|model| outputs(model, &[&[1, 6, 8400]]));
    assert!(matches!(error, ImportError::AnchorFree { .. }), "{error}");
}

#[test]
fn suppression_inside_the_graph_is_refused() {
    let error = refusal(|model| {
        let mut node = model.graph.node[0].clone();
        node.op_type = "NonMaxSuppression".into();
        node.output = vec!["kept".into()];
        model.graph.as_mut().unwrap().node.push(node);
    });
    assert!(matches!(error, ImportError::Postprocessing { .. }), "{error}");
}

#[test]
fn an_export_older_than_v6_is_refused() {
    let undecoded = refusal(|model| outputs(model, &[&[1, 3, 80, 80, 7]]));
    assert!(matches!(undecoded, ImportError::OldExport { .. }), "{undecoded}");
    let focus = refusal(|model| model.graph.as_mut().unwrap().node[1].op_type = "Slice".into());
    assert!(matches!(focus, ImportError::OldExport { .. }), "{focus}");
}

#[test]
fn dynamic_axes_are_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[-1, 3, 64, 96]));
    assert!(
        matches!(&error, ImportError::DynamicInput { shape } if shape == "[batch, 3, 64, 96]"),
        "{error}"
    );
}

#[test]
fn a_batch_is_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[8, 3, 64, 96]));
    assert!(matches!(error, ImportError::Batch { batch: 8, .. }), "{error}");
}

#[test]
fn a_half_precision_input_is_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT16, &[1, 3, 64, 96]));
    assert!(error.to_string().contains("without --half"), "{error}");
}

#[test]
fn one_channel_or_a_flat_input_is_refused() {
    for shape in [&[1, 1, 64, 96][..], &[1, 784]] {
        let error = refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, shape));
        assert!(matches!(error, ImportError::InputShape { .. }), "{error}");
    }
}

#[test]
fn a_size_off_the_stride_is_refused_with_one_that_works() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[1, 3, 60, 96]));
    assert!(error.to_string().contains("--imgsz 64 96"), "{error}");
}

#[test]
fn two_inputs_are_refused() {
    let error = refusal(|model| model.graph.as_mut().unwrap().input.push(value("mask", FLOAT, &[1])));
    assert!(matches!(error, ImportError::InputCount { found: 2 }), "{error}");
}

#[test]
fn missing_names_are_asked_for() {
    let error = refusal(|model| model.metadata_props.clear());
    assert!(error.to_string().contains("MODEL_NAMES"), "{error}");
}

#[test]
fn names_without_both_states_are_listed_with_what_to_set() {
    let error = refusal(|model| model.metadata_props[1].value = "{0: 'person', 1: 'bicycle'}".into());
    let text = error.to_string();
    assert!(text.contains(r#""person", "bicycle""#) && text.contains("OPEN_CLASSES="), "{text}");
}

#[test]
fn names_for_another_number_of_classes_are_refused() {
    let error = refusal(|model| model.metadata_props[1].value = "{0: 'eye_open'}".into());
    assert!(matches!(error, ImportError::NameCount { names: 1, classes: 2 }), "{error}");
}

#[test]
fn a_stride_that_the_graph_contradicts_is_refused() {
    let error = refusal(|model| model.metadata_props[0].value = "64".into());
    assert!(matches!(error, ImportError::StrideMismatch { graph: 32, .. }), "{error}");
}

#[test]
fn an_unknown_operator_is_named() {
    let error = refusal(|model| model.graph.as_mut().unwrap().node[4].op_type = "DeformConv".into());
    let ImportError::UnsupportedOperator { operator, count: 1, .. } = &error else { panic!("{error}") };
    assert_eq!(operator, "DeformConv");
}

#[test]
fn a_fourth_head_or_a_missing_one_is_refused() {
    let error = refusal(|model| {
        let last = model.graph.as_mut().unwrap().node.last_mut().unwrap();
        assert_eq!(last.op_type, "Concat");
        last.input.pop();
    });
    assert!(matches!(error, ImportError::HeadCount { found: 2 }), "{error}");
}

/// Whoever decodes otherwise has other anchors than the ones we would read.
#[test]
fn a_tail_that_decodes_otherwise_has_no_anchors() {
    let sizes_not_squared = refusal(|model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().filter(|node| node.op_type == "Pow").for_each(|node| node.op_type = "Mul".into());
    });
    let widths_swapped = refusal(|model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().find(|node| node.output[0] == "head1.moved").unwrap().attribute[0].ints =
            vec![0, 1, 4, 3, 2];
    });
    let unknown_operator = refusal(|model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().find(|node| node.op_type == "Pow").unwrap().op_type = "Exp".into();
    });
    for error in [sizes_not_squared, widths_swapped, unknown_operator] {
        assert!(matches!(error, ImportError::AnchorsNotFound { .. }), "{error}");
    }
}

#[test]
fn weights_in_another_file_are_refused() {
    let error = refusal(|model| {
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.float_data.clear();
        // Field 14, DataLocation.EXTERNAL = 1: the enum has no public name, its bytes have.
        tensor.data_location = TensorProto::parse_from_bytes(&[14 << 3, 1]).unwrap().data_location;
    });
    assert!(matches!(error, ImportError::ExternalData { .. }), "{error}");
}

#[test]
fn weights_that_do_not_fill_their_shape_are_refused() {
    let error = refusal(|model| {
        model.graph.as_mut().unwrap().initializer[0].float_data.pop();
    });
    assert!(matches!(error, ImportError::BrokenTensor { .. }), "{error}");
}

#[test]
fn a_graph_with_holes_is_refused() {
    let error = refusal(|model| {
        model.graph.as_mut().unwrap().node.remove(3);
    });
    assert!(matches!(error, ImportError::BrokenGraph { .. }), "{error}");
}
