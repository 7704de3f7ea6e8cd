//! Any file that is not a usable YOLOv5 detection model fails with one message that says what it is
//! and what to do.

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

/// A message is one line, and says what to do.
fn one_line(error: &ImportError) {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 420, "{text}");
    assert!([";", "{"].iter().any(|mark| text.contains(mark)), "it says what to do: {text}");
}

/// Makes `names` the outputs, after what `build` adds; their shapes are not declared.
fn outputs(model: &mut ModelProto, names: &[&str], build: impl FnOnce(&mut Builder)) {
    append(model, build);
    model.graph.as_mut().unwrap().output = names.iter().map(|name| value(name, FLOAT, &[])).collect();
}

/// Adds a node of another kind that reads the image; its output is unused.
fn with_operator(model: &mut ModelProto, operator: &str, domain: &str) {
    append(model, |builder| {
        builder.node(operator, &["images"], &["other"], vec![]);
        builder.last_node().domain = domain.into();
    });
}

#[test]
fn a_missing_file_is_named() {
    let error = import("/nowhere/best.onnx".as_ref(), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/best.onnx"), "{error}");
}

#[test]
fn a_truncated_file_is_to_be_copied_again() {
    let bytes = tiny_yolov5(Tail::Split).write_to_bytes().unwrap();
    for part in [3, 10, 2] {
        let error = refusal_of(&bytes[..bytes.len() * part / 11]);
        // A cut between two parts of the graph leaves a shorter graph.
        let told = matches!(error, ImportError::Unreadable { .. } | ImportError::NotOnnx);
        assert!(told && error.to_string().contains("copy it again"), "{part}/11: {error}");
    }
}

#[test]
fn a_batch_is_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[8, 3, 64, 128]));
    assert!(matches!(error, ImportError::Batch { batch: 8, .. }), "{error}");
}

#[test]
fn one_channel_or_a_flat_input_is_refused() {
    for shape in [&[1, 1, 64, 128][..], &[1, 784]] {
        let error = refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, shape));
        assert!(matches!(error, ImportError::InputShape { .. }), "{error}");
    }
}

#[test]
fn a_size_off_the_stride_is_refused_with_one_that_works() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[1, 3, 60, 128]));
    assert!(error.to_string().contains("--imgsz 64 128"), "{error}");
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

#[test]
fn files_that_are_no_onnx_are_called_what_they_are() {
    let files: [(&[u8], &str, &str); 12] = [
        (b"PK\x03\x04 archive/data.pkl models.yolo", "a PyTorch checkpoint", "make export WEIGHTS=best.pt"),
        (b"\x80\x02}q\x00", "a PyTorch checkpoint", "make export WEIGHTS=best.pt"),
        (
            b"PK\x03\x04 best/data.pkl cultralytics.nn.tasks\nDetectionModel",
            "YOLOv8 or later",
            "YOLOv5 models",
        ),
        (b"PK\x03\x04 best/code/__torch__.py", "TorchScript", "checkpoint"),
        (b"PK\x03\x04 photos/1.jpg", "a zip archive", "unpack"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page", "download the file itself"),
        (b"<?xml version=\"1.0\"?><net name=\"best\">", "OpenVINO", "checkpoint"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite", "checkpoint"),
        (b"ftrt\0\0", "a TensorRT engine", "checkpoint"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture", "ONNX"),
        (b"", "an empty file", "copy"),
    ];
    for (bytes, what, advice) in files {
        let error = refusal_of(bytes).to_string();
        assert!(error.contains(what) && error.contains(advice), "{error}");
    }
    for bytes in [&b"hello, world"[..], b"\x08\x07"] {
        let error = refusal_of(bytes);
        assert!(matches!(error, ImportError::Unreadable { .. } | ImportError::NotOnnx), "{bytes:?}: {error}");
    }
}

#[test]
fn a_classifier_is_refused() {
    let error = refusal(|model| {
        outputs(model, &["scores"], |builder| {
            let shape = builder.integers(&[1, -1]);
            builder.node("Reshape", &["p5", &shape], &["scores"], vec![]);
        });
    });
    assert!(matches!(&error, ImportError::Classifier { shape } if shape == "[1, 64]"), "{error}");
}

#[test]
fn a_segmentation_model_is_refused() {
    let error = refusal(|model| outputs(model, &["output0", "p2"], |_| ()));
    assert!(matches!(&error, ImportError::Segmentation { shape } if shape == "[1, 4, 16, 32]"), "{error}");
}

#[test]
fn raw_maps_beside_the_candidates_do_not_matter() {
    let mut model = tiny_yolov5(Tail::Split);
    outputs(&mut model, &["output0", "head0.moved", "head1.logits"], |_| ());
    import(&save(&model), &Options::default()).unwrap();
}

#[test]
fn a_yolov8_head_is_refused() {
    let error = refusal(|model| {
        outputs(model, &["turned"], |builder| {
            builder.node("Transpose", &["output0"], &["turned"], vec![ints("perm", &[0, 2, 1])]);
        });
    });
    assert!(matches!(error, ImportError::AnchorFree { .. }), "{error}");
}

#[test]
fn a_yolox_head_is_refused() {
    let error = refusal(|model| {
        outputs(model, &["rows"], |builder| {
            let shape = builder.integers(&[1, -1, 7]);
            for (name, channels) in [("box", 4), ("objectness", 1), ("classes", 2)] {
                builder.conv("p3", name, [8, channels], 1, 1);
            }
            builder.node("Concat", &["box", "objectness", "classes"], &["all"], vec![int("axis", 1)]);
            builder.node("Transpose", &["all"], &["moved"], vec![ints("perm", &[0, 2, 3, 1])]);
            builder.node("Exp", &["moved"], &["decoded"], vec![]);
            builder.node("Reshape", &["decoded", &shape], &["rows"], vec![]);
        });
    });
    assert!(matches!(error, ImportError::DecoupledHead { convolutions: 3, .. }), "{error}");
}

/// Five landmarks after the box are not probabilities: yolov5-face, and armour plates.
#[test]
fn landmarks_are_refused() {
    let error = refusal(|model| {
        let mut constants = Vec::new();
        let nodes = &mut model.graph.as_mut().unwrap().node;
        for at in 0..3 {
            let concat = nodes.iter_mut().find(|node| node.output[0] == format!("head{at}.boxes")).unwrap();
            let scores = std::mem::replace(&mut concat.input[2], format!("head{at}.other"));
            let place = nodes.iter().position(|node| node.output[0] == format!("head{at}.boxes")).unwrap();
            let mut builder = Builder::numbered_from(4000 + 10 * at);
            let factor = builder.floats(&[3], vec![1.0, 8.0, 8.0]);
            builder.node("Mul", &[&scores, &factor], &[&format!("head{at}.other")], vec![]);
            let added = builder.model.graph.take().unwrap();
            nodes.insert(place, added.node[0].clone());
            constants.extend(added.initializer);
        }
        model.graph.as_mut().unwrap().initializer.extend(constants);
    });
    assert!(matches!(error, ImportError::MoreThanBoxes { column: 5, columns: 7 }), "{error}");
}

#[test]
fn suppression_inside_the_graph_is_refused() {
    for (operator, domain) in [("NonMaxSuppression", ""), ("EfficientNMS_TRT", "TRT"), ("TopK", "")] {
        let error = refusal(|model| with_operator(model, operator, domain));
        assert!(matches!(error, ImportError::Postprocessing { .. }), "{error}");
    }
}

#[test]
fn int8_files_are_told_apart() {
    for (operator, domain, form) in [
        ("QLinearConv", "", "QOperator"),
        ("QLinearAdd", "com.microsoft", "QOperator"),
        ("ConvInteger", "", "dynamic"),
    ] {
        let error = refusal(|model| with_operator(model, operator, domain));
        assert!(
            matches!(error, ImportError::Quantized { .. }) && error.to_string().contains(form),
            "{error}"
        );
    }
}

#[test]
fn a_file_optimized_by_onnx_runtime_is_refused() {
    let error = refusal(|model| with_operator(model, "FusedConv", "com.microsoft"));
    assert!(matches!(error, ImportError::RuntimeOptimized { .. }), "{error}");
}

#[test]
fn undecoded_maps_are_refused() {
    let error = refusal(|model| outputs(model, &["head0.moved", "head1.moved", "head2.moved"], |_| ()));
    assert!(error.to_string().contains("--train"), "{error}");
}

/// YOLOv5 up to v5 took every second pixel four times and joined them.
#[test]
fn a_focus_stem_is_refused() {
    let error = refusal(|model| {
        let mut builder = Builder::numbered_from(4000);
        let (axes, two) = (builder.integers(&[2, 3]), builder.integers(&[2, 2]));
        let ends = builder.integers(&[i64::MAX, i64::MAX]);
        for (name, starts) in [("a", [0, 0]), ("b", [1, 0]), ("c", [0, 1]), ("d", [1, 1])] {
            let starts = builder.integers(&starts);
            builder.node("Slice", &["images", &starts, &ends, &axes, &two], &[name], vec![]);
        }
        builder.node("Concat", &["a", "b", "c", "d"], &["focus"], vec![int("axis", 1)]);
        builder.layer("focus", "p1", [12, 4], 3, 1);
        let added = builder.model.graph.take().unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.node.retain(|node| !node.output[0].starts_with("p1"));
        graph.node.splice(0..0, added.node);
        graph.initializer.extend(added.initializer);
    });
    assert!(matches!(error, ImportError::OldExport { .. }), "{error}");
}

#[test]
fn dynamic_axes_ask_for_a_size() {
    let dynamic = |shape: &[i64], options: &Options| {
        let mut model = tiny_yolov5(Tail::Split);
        model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, shape);
        import(&save(&model), options).expect_err("it must be refused")
    };
    let error = dynamic(&[-1, 3, -1, -1], &Options::default());
    assert!(error.to_string().contains("IMGSZ=416"), "{error}");
    let size = |height, width| Options { image_size: Some([height, width]), ..Options::default() };
    let error = dynamic(&[1, 3, -1, -1], &size(60, 128));
    assert!(error.to_string().contains("IMGSZ=\"64 128\""), "{error}");
    let error = dynamic(&[1, 3, 64, 128], &size(128, 128));
    assert!(matches!(error, ImportError::SizeIsFixed { width: 128, height: 64 }), "{error}");
}

#[test]
fn channels_last_are_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[1, 64, 128, 3]));
    assert!(matches!(error, ImportError::ChannelsLast { .. }), "{error}");
}

#[test]
fn an_input_of_bytes_is_refused() {
    let error =
        refusal(|model| model.graph.as_mut().unwrap().input[0] = value("images", 2, &[1, 3, 64, 128]));
    assert!(error.to_string().contains("uint8"), "{error}");
}

/// A different decoding means that the anchors would be read wrongly.
#[test]
fn a_tail_that_decodes_otherwise_has_no_anchors() {
    let change = |change: fn(&mut onnx_ir::NodeProto)| {
        refusal(|model| model.graph.as_mut().unwrap().node.iter_mut().for_each(change))
    };
    let sizes_not_squared = change(|node| {
        if node.op_type == "Pow" {
            node.op_type = "Mul".into();
        }
    });
    let centres_and_sizes_swapped = change(|node| {
        if node.op_type == "Split" {
            node.output.swap(0, 1);
        }
    });
    let unknown_operator = change(|node| {
        if node.op_type == "Pow" {
            node.op_type = "Erf".into();
        }
    });
    for error in [sizes_not_squared, centres_and_sizes_swapped, unknown_operator] {
        assert!(matches!(error, ImportError::AnchorsNotFound { .. }), "{error}");
    }
}

/// Each was accepted before and computed with YOLOv5's attributes instead of its own.
#[test]
fn what_would_be_computed_otherwise_is_refused() {
    let resize = |attributes: &[(&str, &str)], scale: f32| {
        refusal(|model| {
            between_p2_and_p3(model, |builder| {
                builder.layer("p2", "a", [4, 8], 3, 2);
                let scales = builder.floats(&[4], vec![1.0, 1.0, scale, scale]);
                let attributes = attributes.iter().map(|(name, value)| text(name, value)).collect();
                builder.node("Resize", &["a", "", &scales], &["up"], attributes);
                builder.layer("up", "p3", [8, 8], 3, 2);
            });
        })
    };
    let asymmetric = ("coordinate_transformation_mode", "asymmetric");
    for error in [
        resize(&[asymmetric, ("nearest_mode", "ceil")], 2.0),
        resize(&[asymmetric, ("nearest_mode", "round_prefer_ceil")], 2.0),
        resize(&[("coordinate_transformation_mode", "align_corners"), ("nearest_mode", "floor")], 2.0),
        resize(&[asymmetric, ("nearest_mode", "floor")], 2.01),
        resize(&[("mode", "linear")], 2.0),
        resize(&[("mode", "cubic")], 2.0),
    ] {
        assert!(matches!(error, ImportError::UnsupportedForm { .. }), "{error}");
    }
    let pool = |attributes: fn() -> Vec<onnx_ir::AttributeProto>| {
        refusal(|model| {
            between_p2_and_p3(model, |builder| {
                builder.node("MaxPool", &["p2"], &["pooled"], attributes());
                builder.layer("pooled", "p3", [4, 8], 1, 1);
            });
        })
    };
    for error in [
        pool(|| vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)]),
        pool(|| {
            vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), text("auto_pad", "SAME_UPPER")]
        }),
    ] {
        assert!(matches!(error, ImportError::UnsupportedForm { .. }), "{error}");
    }
}

#[test]
fn weights_in_another_file_that_is_not_there_are_asked_for() {
    for location in ["best.onnx.data", "../best.onnx.data", "/etc/hostname", ""] {
        let error = refusal(|model| {
            let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
            tensor.float_data.clear();
            // Field 14, DataLocation.EXTERNAL = 1: the enum has no public name, its bytes have.
            tensor.data_location = TensorProto::parse_from_bytes(&[14 << 3, 1]).unwrap().data_location;
            tensor.external_data.resize_with(1, Default::default);
            (tensor.external_data[0].key, tensor.external_data[0].value) =
                ("location".into(), location.into());
        });
        assert!(matches!(error, ImportError::ExternalData { .. }), "{error}");
        assert!(error.to_string().contains("beside the model"), "{error}");
    }
}

/// Files that made the import panic, abort, run for minutes, or pass the check and fail the build.
#[test]
fn crafted_files_are_refused_with_one_message() {
    let empty_slice = refusal(|model| {
        append(model, |builder| {
            builder.floats(&[0, 4], vec![]);
            let (start, end) = (builder.integers(&[0]), builder.integers(&[3]));
            builder.node("Slice", &["constant_2001", &start, &end], &["sliced"], vec![]);
            builder.node("Concat", &["output0", "sliced"], &["joined"], vec![int("axis", 0)]);
        });
    });
    assert!(matches!(empty_slice, ImportError::BrokenGraph { .. }), "{empty_slice}");
    let overflowing_split = refusal(|model| {
        append(model, |builder| {
            let sizes = builder.integers(&[i64::MAX, i64::MAX, 9]);
            builder.node("Split", &["output0", &sizes], &["a", "b", "c"], vec![int("axis", 1)]);
        });
    });
    assert!(matches!(overflowing_split, ImportError::BrokenGraph { .. }), "{overflowing_split}");
    let huge = refusal(|model| {
        model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &[1, 3, 65536, 65536]);
    });
    assert!(matches!(huge, ImportError::InputTooLarge { .. }), "{huge}");
    let old = refusal(|model| model.opset_import[0].version = 6);
    assert!(matches!(old, ImportError::OldOpset { opset: 6, .. }), "{old}");
    let twice = refusal(|model| {
        append(model, |builder| builder.node("Identity", &["p1"], &["p2"], vec![]));
    });
    assert!(matches!(twice, ImportError::BrokenGraph { .. }), "{twice}");
    let enormous = refusal(|model| {
        between_p2_and_p3(model, |builder| {
            let scales = builder.floats(&[4], vec![1.0, 1.0, 1e8, 1.0]);
            builder.node("Resize", &["p2", "", &scales], &["p3"], vec![]);
        });
    });
    assert!(enormous.to_string().contains("more than 4096 pixels a side"), "{enormous}");
    // 432 weights would grow on both axes, to a billion.
    let padded = refusal(|model| {
        let node = &mut model.graph.as_mut().unwrap().node;
        let conv = node.iter_mut().find(|node| node.output[0] == "p1.conv").unwrap();
        conv.attribute.retain(|attribute| attribute.name != "pads");
        conv.attribute.push(ints("pads", &[0, 0, 9700, 9700]));
    });
    assert!(padded.to_string().contains("its window is too large"), "{padded}");
}

#[test]
fn a_graph_that_goes_in_a_circle_is_refused() {
    let error = refusal(|model| {
        append(model, |builder| {
            builder.node("Relu", &["b"], &["a"], vec![]);
            builder.node("Relu", &["a"], &["b"], vec![]);
        });
    });
    assert!(error.to_string().contains("depends on itself"), "{error}");
}

/// The build accepts every file that the check accepts.
#[test]
fn an_old_operator_set_is_accepted_by_the_check_and_by_the_build() {
    let mut model = tiny_yolov5(Tail::Slice);
    model.opset_import[0].version = 10;
    import(&save(&model), &Options::default()).unwrap().check().unwrap();
}
