//! The description of a YOLOv5 detection model, read from the file alone.

mod support;

use std::path::Path;

use model_import::{GENERATED_FILE, LICENSE_NOT_STATED, Options, StateClasses, import, inspect};
use onnx_ir::{AttributeProto, AttributeType, Message};
use support::*;

fn built_in() -> std::path::PathBuf {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let files = weights.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "onnx")).unwrap()
}

fn anchors(model: &model_import::Description) -> Vec<f32> {
    model.heads.iter().flat_map(|head| &head.anchors).flat_map(|&(width, height)| [width, height]).collect()
}

/// Checked against what the exporter's authors publish: 1.76 million parameters for YOLOv5n without
/// COCO's classes, 4.1 GFLOPs (2.05 GMAC) at 640 pixels, which is 2.37 times 416.
#[test]
fn the_built_in_model_is_read_as_yolov5n() {
    let model = inspect(&built_in(), &Options::default()).unwrap();
    assert_eq!(model.scale, "YOLOv5n");
    assert_eq!(model.layers.len(), 60);
    assert_eq!(model.heads.iter().map(|head| head.stride).collect::<Vec<_>>(), [8, 16, 32]);
    assert!(model.heads.iter().all(|head| head.anchors.len() == 3));
    assert_eq!(model.states(&Options::default()).unwrap(), StateClasses { open: vec![0], closed: vec![1] });
    assert!((1_755_000..1_775_000).contains(&model.parameters()), "{}", model.parameters());
    let at_640 = model.multiply_accumulates() as f64 * (640.0 * 640.0)
        / (model.input_width * model.input_height) as f64;
    assert!((2.0e9..2.1e9).contains(&at_640), "{at_640}");
}

#[test]
fn both_ways_of_writing_the_tail_give_the_same_anchors() {
    for tail in [Tail::Split, Tail::Slice] {
        let model = inspect(&save(&tiny_yolov5(tail)), &Options::default()).unwrap();
        assert_eq!(anchors(&model), ANCHORS.concat());
        assert_eq!((model.input_width, model.input_height), (WIDTH, HEIGHT));
        assert_eq!(model.heads[1].cells, [4, 8]);
        assert_eq!(model.class_names, ["eye_open", "eye_closed"]);
    }
}

#[test]
fn layers_are_counted_by_hand() {
    let model = inspect(&save(&tiny_yolov5(Tail::Split)), &Options::default()).unwrap();
    let stem = &model.layers[0];
    assert_eq!((stem.output, stem.kernel, stem.stride), ([4, 32, 64], [6, 6], [2, 2]));
    assert_eq!(stem.parameters, 4 * 3 * 36 + 4);
    assert_eq!(stem.multiply_accumulates, 32 * 64 * 4 * 3 * 36);
    assert_eq!(model.layers.len(), 8);
}

#[test]
fn names_given_by_hand_replace_the_metadata() {
    let mut model = tiny_yolov5(Tail::Split);
    model.metadata_props.clear();
    let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let options = Options {
        names: names(&["shut", "wide"]),
        open_classes: names(&["wide"]),
        closed_classes: names(&["shut"]),
        ..Options::default()
    };
    let imported = import(&save(&model), &options).unwrap();
    assert_eq!(imported.states, StateClasses { open: vec![1], closed: vec![0] });
}

/// What `onnxconverter_common.float16` writes: half-precision weights, casts at both ends.
#[test]
fn half_precision_weights_are_widened() {
    let mut model = tiny_yolov5(Tail::Split);
    let graph = model.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_type == FLOAT) {
        let halves = std::mem::take(&mut tensor.float_data).into_iter().map(half::f16::from_f32);
        tensor.raw_data = halves.flat_map(half::f16::to_le_bytes).collect::<Vec<u8>>().into();
        tensor.data_type = FLOAT16;
    }
    let cast = |from: &str, to: &str, element_type: i32| {
        let mut builder = Builder::default();
        builder.node("Cast", &[from], &[to], vec![int("to", element_type.into())]);
        builder.model.graph.node[0].clone()
    };
    // With --half the input is of half precision, too.
    graph.input[0] = value("images", FLOAT16, &[1, 3, HEIGHT as i64, WIDTH as i64]);
    graph.node[0].input[0] = "images.half".into();
    graph.node.last_mut().unwrap().output[0] = "output0.half".into();
    graph.node.insert(0, cast("images", "images.half", FLOAT16));
    graph.node.push(cast("output0.half", "output0", FLOAT));
    let model = inspect(&save(&model), &Options::default()).unwrap();
    assert_eq!(anchors(&model), ANCHORS.concat());
}

#[test]
fn the_version_is_the_files_sha_256() {
    let path = built_in();
    let model = inspect(&path, &Options::default()).unwrap();
    let sums = std::fs::read_to_string(path.with_file_name("SHA256SUMS")).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let line = sums.lines().find(|line| line.ends_with(file)).expect("the sum of the built-in model");
    assert!(line.starts_with(&model.version), "{line} {}", model.version);
}

#[test]
fn the_licence_is_the_users_or_that_of_the_file_beside_the_model_or_not_stated() {
    let path = save(&tiny_yolov5(Tail::Split));
    let license = |options: &Options| inspect(&path, options).unwrap().license;
    assert_eq!(license(&Options::default()), LICENSE_NOT_STATED);
    let text = "SPDX-FileCopyrightText: nobody\nSPDX-License-Identifier: MIT OR Apache-2.0\n";
    std::fs::write(path.with_extension("onnx.license"), text).unwrap();
    assert_eq!(license(&Options::default()), "MIT OR Apache-2.0");
    let given = Options { license: Some("CC-BY-4.0".into()), ..Options::default() };
    assert_eq!(license(&given), "CC-BY-4.0");
    assert_eq!(inspect(&built_in(), &Options::default()).unwrap().license, "AGPL-3.0-only");
}

#[test]
fn generated_code_holds_the_network_without_its_tail() {
    let path = save(&tiny_yolov5(Tail::Split));
    let folder = path.parent().unwrap();
    let generated = import(&path, &Options::default()).unwrap().generate(folder).unwrap();
    assert!(generated.ends_with(GENERATED_FILE));
    let source = std::fs::read_to_string(generated).unwrap();
    assert!(source.contains("pub static METADATA") && source.contains("(373.0, 326.0)"), "{source}");
    assert_eq!(source.matches("conv2d(").count(), 8, "all convolutions");
    assert!(!source.contains("permute") && !source.contains("reshape"), "no decoding");
    // Reading the rewritten model again would find no tail: the file that was imported is
    // untouched.
    assert_eq!(std::fs::read(&path).unwrap(), tiny_yolov5(Tail::Split).write_to_bytes().unwrap());
}

#[test]
fn any_number_of_heads_is_read() {
    for heads in 1..=4 {
        let path = save(&tiny_with_heads(Tail::Split, heads));
        let model = import(&path, &Options::default()).unwrap();
        let strides: Vec<usize> = model.description.heads.iter().map(|head| head.stride).collect();
        assert_eq!(strides, [8, 16, 32, 64][..heads]);
        let source = std::fs::read_to_string(model.generate(path.parent().unwrap()).unwrap()).unwrap();
        assert!(source.contains(&format!("-> [burn::prelude::Tensor<4>; {heads}]")), "{source}");
    }
}

/// v6.0 declared one shape and computed another; --dynamic declares none.
#[test]
fn shapes_are_computed_not_believed() {
    for shape in [&[-1, -1, -1][..], &[1, 5, 9], &[7], &[]] {
        let mut model = tiny_yolov5(Tail::Split);
        model.graph.as_mut().unwrap().output[0] = value("output0", FLOAT, shape);
        let model = inspect(&save(&model), &Options::default()).unwrap();
        assert_eq!(anchors(&model), ANCHORS.concat());
    }
}

#[test]
fn a_dynamic_model_takes_the_size_that_is_asked_for() {
    let size = Options { image_size: Some([HEIGHT, WIDTH]), ..Options::default() };
    for (shape, options) in [([-1, 3, -1, -1], &size), ([-1, 3, 64, 128], &Options::default())] {
        let mut model = tiny_yolov5(Tail::Split);
        model.graph.as_mut().unwrap().input[0] = value("images", FLOAT, &shape);
        let model = inspect(&save(&model), options).unwrap();
        assert_eq!((model.input_width, model.input_height), (WIDTH, HEIGHT));
    }
}

/// v6.0 to v6.2 with --inplace: boxes are written over a slice of the scores, at indices that the
/// graph computes.
#[test]
fn boxes_written_in_place_are_read() {
    let mut model = tiny_yolov5(Tail::Split);
    append(&mut model, |builder| {
        builder.node("Shape", &["output0.before"], &["shape"], vec![]);
        let (zero, one) = (builder.integers(&[0]), builder.integers(&[1]));
        builder.node("Gather", &["shape", &one], &["rows"], vec![int("axis", 0)]);
        builder.node("Squeeze", &["rows", &zero], &["rows.scalar"], vec![]);
        let (start, step) = (builder.integers(&[0]), builder.integers(&[1]));
        builder.node("Squeeze", &[&start, &zero], &["start"], vec![]);
        builder.node("Squeeze", &[&step, &zero], &["step"], vec![]);
        builder.node("Range", &["start", "rows.scalar", "step"], &["numbers"], vec![]);
        let last = builder.integers(&[-1]);
        builder.node("Unsqueeze", &["numbers", &last], &["indices"], vec![]);
        builder.node("Squeeze", &["output0.before", &zero], &["flat"], vec![]);
        builder.node("ScatterND", &["flat", "indices", "flat"], &["written"], vec![]);
        builder.node("Unsqueeze", &["written", &zero], &["output0"], vec![]);
    });
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type == "Concat" && node.output[0] == "output0" {
            node.output[0] = "output0.before".into();
        }
    }
    let model = inspect(&save(&model), &Options::default()).unwrap();
    assert_eq!(anchors(&model), ANCHORS.concat());
}

#[test]
fn a_branch_that_is_always_taken_is_read() {
    let mut model = tiny_yolov5(Tail::Split);
    let mut branch = Builder::numbered_from(3000);
    branch.node("Identity", &["output0.before"], &["taken"], vec![]);
    branch.output(value("taken", FLOAT, &[1]));
    let branch = branch.model.graph.take().unwrap();
    append(&mut model, |builder| {
        builder.node("Shape", &["output0.before"], &["shape"], vec![]);
        builder.node("Equal", &["shape", "shape"], &["same"], vec![]);
        let zero = builder.integers(&[0]);
        builder.node("Gather", &["same", &zero], &["condition"], vec![int("axis", 0)]);
        let then = |name: &str| AttributeProto {
            g: Some(branch.clone()).into(),
            ..attribute(name, AttributeType::GRAPH)
        };
        builder.node("If", &["condition"], &["output0"], vec![then("then_branch")]);
    });
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type == "Concat" && node.output[0] == "output0" {
            node.output[0] = "output0.before".into();
        }
    }
    assert_eq!(anchors(&inspect(&save(&model), &Options::default()).unwrap()), ANCHORS.concat());
}

#[test]
fn weights_beside_the_file_are_read_and_are_part_of_the_version() {
    let mut model = tiny_yolov5(Tail::Split);
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    let bytes: Vec<u8> =
        std::mem::take(&mut tensor.float_data).iter().flat_map(|value| value.to_le_bytes()).collect();
    // Field 14, DataLocation.EXTERNAL = 1: the enum has no public name, its bytes have.
    tensor.data_location = onnx_ir::TensorProto::parse_from_bytes(&[14 << 3, 1]).unwrap().data_location;
    for (key, value) in
        [("location", "best.onnx.data"), ("offset", "3"), ("length", &bytes.len().to_string())]
    {
        tensor.external_data.resize_with(tensor.external_data.len() + 1, Default::default);
        let entry = tensor.external_data.last_mut().unwrap();
        (entry.key, entry.value) = (key.into(), value.into());
    }
    let path = save(&model);
    let data = path.with_file_name("best.onnx.data");
    let write = |first: u8| std::fs::write(&data, [&[first, 0, 0][..], &bytes].concat()).unwrap();
    write(0);
    let version = inspect(&path, &Options::default()).unwrap().version;
    assert_eq!(import(&path, &Options::default()).unwrap().external, std::slice::from_ref(&data));
    write(1);
    assert_ne!(inspect(&path, &Options::default()).unwrap().version, version);
}

#[test]
fn metadata_is_read_as_json_and_as_lists_too() {
    let mut model = tiny_yolov5(Tail::Split);
    model.metadata_props[0].value = "[8, 16, 32]".into();
    model.metadata_props[1].value = r#"{"0": "eye\u005fopen", "1": "eye_closed"}"#.into();
    let model = inspect(&save(&model), &Options::default()).unwrap();
    assert_eq!(model.class_names, ["eye_open", "eye_closed"]);
}

/// Converters append nodes wherever they like.
#[test]
fn the_order_of_the_nodes_does_not_matter() {
    let mut model = tiny_yolov5(Tail::Split);
    model.graph.as_mut().unwrap().node.reverse();
    assert_eq!(anchors(&inspect(&save(&model), &Options::default()).unwrap()), ANCHORS.concat());
}
