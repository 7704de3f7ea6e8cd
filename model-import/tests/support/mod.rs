//! Small YOLOv5-like ONNX files, built in memory: the same operators and the same tail as the
//! official exporter writes, a few channels instead of many.

#![allow(dead_code, unreachable_pub, reason = "each test file compiles its own copy and uses a part of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use onnx_ir::{
    AttributeProto, AttributeType, Message, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

pub const FLOAT: i32 = 1;
pub const INT64: i32 = 7;
pub const FLOAT16: i32 = 10;

pub const HEIGHT: usize = 64;
pub const WIDTH: usize = 128;
pub const CLASSES: usize = 2;
/// Width and height of three anchors a head, COCO's by magnitude.
pub const ANCHORS: [[f32; 6]; 3] =
    [[10., 13., 16., 30., 33., 23.], [30., 61., 62., 45., 59., 119.], [116., 90., 156., 198., 373., 326.]];

/// How the exporter wrote the decode tail.
#[derive(Clone, Copy, PartialEq)]
pub enum Tail {
    /// v6.2 to v7: split, the grid holds the half.
    Split,
    /// v6.0 and v6.1: slices, the half subtracted in the graph.
    Slice,
}

/// Adds nodes and constants to a graph.
#[derive(Default)]
pub struct Builder {
    pub model: ModelProto,
    constants: usize,
}

impl Builder {
    /// A builder whose constants do not clash with those of another.
    pub fn numbered_from(constants: usize) -> Self {
        Self { constants, ..Self::default() }
    }

    pub fn last_node(&mut self) -> &mut NodeProto {
        self.model.graph.as_mut().unwrap().node.last_mut().unwrap()
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.model.graph.mut_or_insert_default().node.push(NodeProto {
            op_type: op.into(),
            name: format!("/{}", outputs[0]),
            input: names(inputs),
            output: names(outputs),
            attribute: attributes,
            ..Default::default()
        });
    }

    pub fn floats(&mut self, shape: &[usize], values: Vec<f32>) -> String {
        let name = self.constant_name();
        self.initializer(TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: FLOAT,
            float_data: values,
            ..Default::default()
        });
        name
    }

    /// A `Constant` node, as the exporter writes sizes.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let name = self.constant_name();
        let tensor = TensorProto {
            dims: vec![values.len() as i64],
            data_type: INT64,
            int64_data: values.to_vec(),
            ..Default::default()
        };
        let value = AttributeProto { t: Some(tensor).into(), ..attribute("value", AttributeType::TENSOR) };
        self.node("Constant", &[], &[&name], vec![value]);
        name
    }

    pub fn conv(&mut self, input: &str, output: &str, channels: [usize; 2], kernel: usize, stride: usize) {
        let [from, to] = channels;
        let count = to * from * kernel * kernel;
        let weights = (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 400.0).collect();
        let weight = self.floats(&[to, from, kernel, kernel], weights);
        let bias = self.floats(&[to], (0..to).map(|at| at as f32 / 100.0).collect());
        let pad = (kernel - stride.min(kernel)).div_ceil(2).max(usize::from(kernel == 3)) as i64;
        let attributes = vec![
            ints("kernel_shape", &[kernel as i64; 2]),
            ints("pads", &[pad; 4]),
            ints("strides", &[stride as i64; 2]),
        ];
        self.node("Conv", &[input, &weight, &bias], &[output], attributes);
    }

    /// Convolution and SiLU.
    pub fn layer(&mut self, input: &str, output: &str, channels: [usize; 2], kernel: usize, stride: usize) {
        let (conv, sigmoid) = (format!("{output}.conv"), format!("{output}.sigmoid"));
        self.conv(input, &conv, channels, kernel, stride);
        self.node("Sigmoid", &[&conv], &[&sigmoid], vec![]);
        self.node("Mul", &[&conv, &sigmoid], &[output], vec![]);
    }

    pub fn input(&mut self, value: ValueInfoProto) {
        self.model.graph.mut_or_insert_default().input.push(value);
    }

    pub fn output(&mut self, value: ValueInfoProto) {
        self.model.graph.mut_or_insert_default().output.push(value);
    }

    pub fn metadata(&mut self, key: &str, value: &str) {
        let entries = &mut self.model.metadata_props;
        entries.resize_with(entries.len() + 1, Default::default);
        let entry = entries.last_mut().unwrap();
        (entry.key, entry.value) = (key.into(), value.into());
    }

    fn initializer(&mut self, tensor: TensorProto) {
        self.model.graph.mut_or_insert_default().initializer.push(tensor);
    }

    fn constant_name(&mut self) -> String {
        self.constants += 1;
        format!("constant_{}", self.constants)
    }

    /// One head's convolution and its decoding, to `output`: `[1, 3 * rows * cells, 7]`.
    fn head(&mut self, from: &str, channels: usize, at: usize, tail: Tail) -> String {
        let stride = 8 << at;
        let (rows, cells, columns) = (HEIGHT / stride, WIDTH / stride, 5 + CLASSES);
        let name = |what: &str| format!("head{at}.{what}");
        self.conv(from, &name("logits"), [channels, 3 * columns], 1, 1);
        let shape = self.integers(&[1, 3, columns as i64, rows as i64, cells as i64]);
        self.node("Reshape", &[&name("logits"), &shape], &[&name("reshaped")], vec![]);
        self.node("Transpose", &[&name("reshaped")], &[&name("moved")], vec![ints("perm", &[0, 1, 3, 4, 2])]);
        self.node("Sigmoid", &[&name("moved")], &[&name("y")], vec![]);
        let parts = [name("xy"), name("wh"), name("scores")];
        match tail {
            Tail::Split => {
                let sizes = self.integers(&[2, 2, 1 + CLASSES as i64]);
                let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.node("Split", &[&name("y"), &sizes], &outputs, vec![int("axis", 4)]);
            }
            Tail::Slice => {
                for (part, (start, end)) in parts.iter().zip([(0, 2), (2, 4), (4, i64::MAX)]) {
                    let bounds = [start, end, 4, 1].map(|value| self.integers(&[value]));
                    let inputs = [
                        name("y"),
                        bounds[0].clone(),
                        bounds[1].clone(),
                        bounds[2].clone(),
                        bounds[3].clone(),
                    ];
                    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                    self.node("Slice", &inputs, &[part], vec![]);
                }
            }
        }
        let (two, step) = (self.floats(&[], vec![2.0]), self.floats(&[], vec![stride as f32]));
        let half = if tail == Tail::Split { 0.5 } else { 0.0 };
        let grid: Vec<f32> = (0..3 * rows * cells)
            .flat_map(|at| [(at % cells) as f32 - half, (at / cells % rows) as f32 - half])
            .collect();
        let grid = self.floats(&[1, 3, rows, cells, 2], grid);
        let anchors = ANCHORS[at % 3].chunks(2).flat_map(|anchor| anchor.repeat(rows * cells)).collect();
        let anchors = self.floats(&[1, 3, rows, cells, 2], anchors);
        self.node("Mul", &[&name("xy"), &two], &[&name("xy2")], vec![]);
        let centred = if tail == Tail::Split {
            name("xy2")
        } else {
            let half = self.floats(&[], vec![0.5]);
            self.node("Sub", &[&name("xy2"), &half], &[&name("xy3")], vec![]);
            name("xy3")
        };
        self.node("Add", &[&centred, &grid], &[&name("xy4")], vec![]);
        self.node("Mul", &[&name("xy4"), &step], &[&name("centre")], vec![]);
        self.node("Mul", &[&name("wh"), &two], &[&name("wh2")], vec![]);
        self.node("Pow", &[&name("wh2"), &two], &[&name("wh3")], vec![]);
        self.node("Mul", &[&name("wh3"), &anchors], &[&name("size")], vec![]);
        self.node(
            "Concat",
            &[&name("centre"), &name("size"), &name("scores")],
            &[&name("boxes")],
            vec![int("axis", 4)],
        );
        let shape = self.integers(&[1, -1, columns as i64]);
        self.node("Reshape", &[&name("boxes"), &shape], &[&name("rows")], vec![]);
        name("rows")
    }
}

/// A whole small detector: strides 8, 16, 32, two classes, [`HEIGHT`] x [`WIDTH`].
pub fn tiny_yolov5(tail: Tail) -> ModelProto {
    tiny_with_heads(tail, 3)
}

/// The same with as many heads, the last one of stride 4 · 2^heads.
pub fn tiny_with_heads(tail: Tail, heads: usize) -> ModelProto {
    let mut builder = Builder::default();
    builder.model.ir_version = 8;
    builder.model.producer_name = "pytorch".into();
    builder.model.opset_import.resize_with(1, Default::default);
    builder.model.opset_import[0].version = 17;
    builder.input(value("images", FLOAT, &[1, 3, HEIGHT as i64, WIDTH as i64]));
    builder.layer("images", "p1", [3, 4], 6, 2);
    builder.layer("p1", "p2", [4, 4], 3, 2);
    builder.layer("p2", "p3", [4, 8], 3, 2);
    for at in 3..2 + heads {
        builder.layer(&format!("p{at}"), &format!("p{}", at + 1), [8, 8], 3, 2);
    }
    let rows: Vec<String> = (0..heads).map(|at| builder.head(&format!("p{}", at + 3), 8, at, tail)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    builder.node("Concat", &rows, &["output0"], vec![int("axis", 1)]);
    let cells = |at: usize| (HEIGHT >> at) * (WIDTH >> at);
    let rows = (3..3 + heads).map(|at| 3 * cells(at)).sum::<usize>();
    builder.output(value("output0", FLOAT, &[1, rows as i64, 7]));
    builder.metadata("stride", &(4 << heads).to_string());
    builder.metadata("names", "{0: 'eye_open', 1: 'eye_closed'}");
    builder.model
}

pub fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: kind.into(), ..Default::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::INT) }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::INTS) }
}

/// An input or output; an axis of -1 is written as a name, as `--dynamic` does.
pub fn value(name: &str, element_type: i32, shape: &[i64]) -> ValueInfoProto {
    let mut axes = TensorShapeProto::default();
    axes.dim.resize_with(shape.len(), Default::default);
    for (axis, &size) in axes.dim.iter_mut().zip(shape) {
        if size < 0 { axis.set_dim_param("batch".into()) } else { axis.set_dim_value(size) }
    }
    let mut declared = TypeProto::default();
    declared.mut_tensor_type().elem_type = element_type;
    declared.mut_tensor_type().shape = Some(axes).into();
    ValueInfoProto { name: name.into(), type_: Some(declared).into(), ..Default::default() }
}

pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.as_bytes().to_vec().into(), ..attribute(name, AttributeType::STRING) }
}

/// Replaces the nodes from `p2` to `p3` by what `build` adds, with the builder's constants.
pub fn between_p2_and_p3(model: &mut ModelProto, build: impl FnOnce(&mut Builder)) {
    let mut builder = Builder::numbered_from(1000);
    build(&mut builder);
    let added = builder.model.graph.take().unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node.retain(|node| !node.output[0].starts_with("p3"));
    let at = 1 + graph.node.iter().position(|node| node.output[0] == "p2").unwrap();
    graph.node.splice(at..at, added.node);
    graph.initializer.extend(added.initializer);
}

/// Appends what `build` adds to the graph.
pub fn append(model: &mut ModelProto, build: impl FnOnce(&mut Builder)) {
    let mut builder = Builder::numbered_from(2000);
    build(&mut builder);
    let added = builder.model.graph.take().unwrap_or_default();
    let graph = model.graph.as_mut().unwrap();
    graph.node.extend(added.node);
    graph.initializer.extend(added.initializer);
}

/// Writes `bytes` to a new file of its own.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(FILES.fetch_add(1, Ordering::Relaxed).to_string());
    // A licence file from an earlier run must not be found.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

pub fn save(model: &ModelProto) -> PathBuf {
    file("tiny.onnx", &model.write_to_bytes().unwrap())
}
