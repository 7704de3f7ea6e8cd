//! Which parts of a network become model-runtime's operators, and which must be left unchanged.
//! That both compute the same is tested in the function, where they can run.

mod support;

use std::path::Path;

use model_import::{GENERATED_FILE, Options, PLAIN_FILE, import};
use onnx_ir::ModelProto;
use support::*;

/// The generated code of a model: fused, and plain.
fn generate(path: &Path, options: &Options) -> (String, String) {
    let folder = path.parent().unwrap().join("generated");
    std::fs::create_dir_all(&folder).unwrap();
    import(path, options).unwrap().generate(&folder).unwrap();
    let read = |file| std::fs::read_to_string(folder.join(file)).unwrap();
    (read(GENERATED_FILE), read(PLAIN_FILE))
}

fn fused(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = tiny_yolov5(Tail::Split);
    change(&mut model);
    generate(&save(&model), &Options::default()).0
}

fn count(source: &str, call: &str) -> usize {
    source.matches(call).count()
}

/// YOLOv5n has 60 convolutions, 8 C3 blocks with two siblings each, 7 bottlenecks with a shortcut,
/// two upsamplings and one SPPF (its model file, yolov5n.yaml).
#[test]
fn all_of_the_built_in_model_is_fused() {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    let onnx = weights.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let onnx =
        onnx.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "onnx")).unwrap();
    let path = file("built-in.onnx", &std::fs::read(onnx).unwrap());
    let (fused, plain) = generate(&path, &Options::default());
    // The first three convolutions, from the image to the first C3; and the last of that C3 with
    // the next step down.
    assert_eq!(count(&fused, "ops::stem_weight("), 1);
    // Gray pictures are not expanded to three channels.
    assert_eq!((count(&fused, "images.expand("), count(&plain, "images.expand(")), (0, 1));
    assert_eq!(count(&fused, "ops::conv2d_chain("), 2);
    assert_eq!(count(&fused, "ops::ChainStage"), 3 + 2);
    assert_eq!(count(&fused, "ops::conv2d("), 60 - 8 - 3 - 2);
    assert_eq!(count(&fused, ".narrow("), 2 * 8);
    assert_eq!(count(&fused, "Some(custom"), 7);
    assert_eq!(count(&fused, "ConvInput::upsampled("), 2);
    assert_eq!(count(&fused, "ops::sppf_pool("), 1);
    for left in ["sigmoid", "Tensor::cat", "Conv2d", "MaxPool2d", "Interpolate2d"] {
        assert_eq!(count(&fused, left), 0, "{left}");
        assert!(plain.contains(left), "{left}");
    }
}

#[test]
fn plain_burn_can_be_asked_for() {
    let path = save(&tiny_yolov5(Tail::Split));
    let (chosen, plain) = generate(&path, &Options { plain: true, ..Options::default() });
    assert_eq!(chosen, plain);
    // Levels are converted to samples by an operator of model-runtime; the network itself uses
    // none.
    assert_eq!(count(&plain, "ops::int8::samples("), 1);
    assert_eq!(count(&plain, "ops::"), 1);
}

#[test]
fn a_convolution_whose_raw_result_is_also_read_keeps_its_activation_apart() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.layer("p2", "a", [4, 8], 3, 2);
            builder.node("Add", &["a", "a.conv"], &["p3"], vec![]);
        });
    });
    assert!(
        source.contains("sigmoid(") && source.contains("activation: model_runtime::ops::Activation::None")
    );
}

#[test]
fn a_concatenation_read_by_a_wide_convolution_is_made() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.layer("p2", "a", [4, 8], 1, 1);
            builder.node("Concat", &["a", "p2"], &["both"], vec![int("axis", 1)]);
            builder.layer("both", "p3", [12, 8], 3, 2);
        });
    });
    assert_eq!(count(&source, "Tensor::cat("), 1);
}

#[test]
fn what_one_convolution_reads_is_not_made_whole_if_it_outgrows_the_cache() {
    // At p2, 528 channels of 16 × 32 are a little more than a megabyte, 384 less.
    let chains = |channels: usize, read_twice: bool| {
        let source = fused(|model| {
            between_p2_and_p3(model, |builder| {
                builder.layer("p2", "a", [4, channels], 1, 1);
                builder.layer("a", "b", [channels, 8], 3, 2);
                if read_twice {
                    builder.layer("a", "c", [channels, 8], 3, 2);
                    builder.node("Add", &["b", "c"], &["p3"], vec![]);
                } else {
                    builder.layer("b", "p3", [8, 8], 1, 1);
                }
            });
        });
        count(&source, "ops::conv2d_chain(")
    };
    assert_eq!((chains(528, false), chains(528, true), chains(384, false)), (1, 0, 0));
}

#[test]
fn siblings_that_do_not_fill_blocks_stay_apart() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.layer("p2", "a", [4, 8], 1, 1);
            builder.layer("p2", "b", [4, 8], 1, 1);
            builder.node("Concat", &["a", "b"], &["both"], vec![int("axis", 1)]);
            builder.layer("both", "c", [16, 8], 1, 1);
            builder.layer("c", "p3", [8, 8], 3, 2);
        });
    });
    assert_eq!((count(&source, ".narrow("), count(&source, "Tensor::cat(")), (0, 0));
}

#[test]
fn a_grouped_convolution_is_left_to_burn() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.conv("p2", "a", [2, 4], 3, 2);
            builder.last_node().attribute.push(int("group", 2));
            builder.layer("a", "p3", [4, 8], 1, 1);
        });
    });
    assert!(source.contains("Conv2dConfig") && source.contains("with_groups(2)"));
}

/// The sum of two convolutions is fused into one of them: the other must still output its result.
#[test]
fn what_a_residual_reads_is_still_computed() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.layer("p2", "a", [4, 8], 3, 2);
            builder.layer("p2", "b", [4, 8], 3, 2);
            builder.node("Add", &["a", "b.conv"], &["sum"], vec![]);
            builder.node("Mul", &["sum", "b"], &["p3"], vec![]);
        });
    });
    assert_eq!(count(&source, "Some(custom"), 1);
    assert!(source.contains("sigmoid("), "b's activation stays apart");
}

#[test]
fn a_pooling_that_somebody_else_reads_is_left_alone() {
    let pools = |model: &mut ModelProto, read_twice: bool| {
        between_p2_and_p3(model, |builder| {
            for (from, to) in [("p2", "m1"), ("m1", "m2"), ("m2", "m3")] {
                let window =
                    vec![ints("kernel_shape", &[5, 5]), ints("pads", &[2; 4]), ints("strides", &[1, 1])];
                builder.node("MaxPool", &[from], &[to], window);
            }
            builder.node("Concat", &["p2", "m1", "m2", "m3"], &["all"], vec![int("axis", 1)]);
            builder.layer("all", "a", [16, 8], 1, 1);
            builder.layer(if read_twice { "m1" } else { "p2" }, "b", [4, 8], 1, 1);
            builder.node("Add", &["a", "b"], &["c"], vec![]);
            builder.layer("c", "p3", [8, 8], 3, 2);
        });
    };
    assert_eq!(count(&fused(|model| pools(model, false)), "sppf_pool("), 1);
    let source = fused(|model| pools(model, true));
    assert_eq!(count(&source, "sppf_pool("), 0);
    assert!(source.contains("MaxPool2d"));
}

/// By scales or by sizes, by the older operator or with half-pixel coordinates: where each pixel is
/// repeated, it is read in place.
#[test]
fn every_way_of_doubling_pixels_is_fused() {
    let upsampled = |op: &str, sizes: bool, attributes: &[(&str, &str)]| {
        let source = fused(|model| {
            between_p2_and_p3(model, |builder| {
                builder.layer("p2", "a", [4, 8], 3, 2);
                let by = if sizes {
                    builder.integers(&[1, 8, 16, 32])
                } else {
                    builder.floats(&[4], vec![1.0, 1.0, 2.0, 2.0])
                };
                let inputs = match (op, sizes) {
                    ("Upsample", _) => vec!["a", &by],
                    (_, true) => vec!["a", "", "", &by],
                    (_, false) => vec!["a", "", &by],
                };
                let attributes = attributes.iter().map(|(name, value)| text(name, value)).collect();
                builder.node(op, &inputs, &["up"], attributes);
                builder.layer("up", "b", [8, 8], 1, 1);
                builder.layer("b", "p3", [8, 8], 3, 2);
            });
        });
        count(&source, "ConvInput::upsampled(")
    };
    let asymmetric = ("coordinate_transformation_mode", "asymmetric");
    assert_eq!(upsampled("Resize", false, &[asymmetric, ("nearest_mode", "floor")]), 1);
    assert_eq!(upsampled("Resize", true, &[asymmetric, ("nearest_mode", "floor")]), 1);
    assert_eq!(upsampled("Resize", false, &[asymmetric]), 1, "halves are rounded down");
    assert_eq!(upsampled("Resize", true, &[]), 1, "half-pixel coordinates");
    assert_eq!(upsampled("Upsample", false, &[]), 1);
}

/// Asymmetric pads, as Keras writes them, become a row of zero weights.
#[test]
fn padding_that_differs_from_side_to_side_is_computed_by_a_larger_window() {
    let source = |auto_pad: &str| {
        fused(|model| {
            let node = &mut model.graph.as_mut().unwrap().node;
            let conv = node.iter_mut().find(|node| node.output[0] == "p4.conv").unwrap();
            conv.attribute.retain(|attribute| attribute.name != "pads");
            conv.attribute.push(text("auto_pad", auto_pad));
        })
    };
    let usual = fused(|_| ());
    for auto_pad in ["SAME_UPPER", "SAME_LOWER"] {
        let source = source(auto_pad);
        assert_eq!(count(&source, "ops::conv2d("), count(&usual, "ops::conv2d("), "{auto_pad}");
        assert_eq!(count(&source, "kernel: [4usize, 4usize]"), 1, "{auto_pad}");
    }
}

/// Values that depend on shapes and constants only are folded and cost nothing at run time.
#[test]
fn sizes_computed_in_the_graph_are_folded() {
    let source = fused(|model| {
        between_p2_and_p3(model, |builder| {
            builder.layer("p2", "a", [4, 8], 3, 2);
            // What torch writes for an Upsample whose recompute_scale_factor is set.
            builder.node("Shape", &["a"], &["shape"], vec![]);
            let (start, channels, end) =
                (builder.integers(&[0]), builder.integers(&[2]), builder.integers(&[4]));
            builder.node("Slice", &["shape", &start, &channels], &["batch"], vec![]);
            builder.node("Slice", &["shape", &channels, &end], &["size"], vec![]);
            builder.node("Cast", &["size"], &["size.float"], vec![int("to", 1)]);
            let two = builder.floats(&[], vec![2.0]);
            builder.node("Mul", &["size.float", &two], &["doubled.float"], vec![]);
            builder.node("Floor", &["doubled.float"], &["floored"], vec![]);
            builder.node("Cast", &["floored"], &["doubled"], vec![int("to", 7)]);
            builder.node("Concat", &["batch", "doubled"], &["sizes"], vec![int("axis", 0)]);
            let modes =
                vec![text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")];
            builder.node("Resize", &["a", "", "", "sizes"], &["up"], modes);
            builder.layer("up", "b", [8, 8], 1, 1);
            builder.layer("b", "p3", [8, 8], 3, 2);
        });
    });
    assert_eq!(count(&source, "ConvInput::upsampled("), 1);
}
