//! Mutated files: each is imported or refused with one line, and nothing panics, aborts or hangs.
//! The seed is fixed, so that a failure is reproducible. `fuzz/` runs the same entry without a
//! limit.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use model_import::{Options, import_bytes};
use onnx_ir::{GraphProto, Message, ModelProto};
use support::*;

const SEED: u64 = 19;
const OF_BYTES: usize = 3000;
const OF_GRAPHS: usize = 3000;
/// Number of accepted files that code is generated from.
const GENERATED: usize = 40;

/// xorshift64* (Vigna, 2016): sufficient to choose mutations.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn number(&mut self) -> i64 {
        let numbers = [0, 1, -1, 2, 3, 7, 8, 64, 255, 1 << 20, 1 << 31, 1 << 40, i64::MAX, i64::MIN, -2, 4];
        numbers[self.below(numbers.len())]
    }
}

fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.insert(at, random.next() as u8),
            3 => drop(bytes.drain(at..(at + 1 + random.below(40)).min(bytes.len()))),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

fn mutate_graph(graph: &mut GraphProto, random: &mut Random) {
    let names: Vec<String> = graph.node.iter().flat_map(|node| node.output.clone()).collect();
    let operators = [
        "Slice",
        "Split",
        "Concat",
        "Reshape",
        "Transpose",
        "Gather",
        "ScatterND",
        "Expand",
        "Tile",
        "Range",
        "Shape",
        "ConstantOfShape",
        "Squeeze",
        "Unsqueeze",
        "Resize",
        "MaxPool",
        "Conv",
        "Cast",
        "Where",
        "NonZero",
        "ReduceSum",
        "Identity",
        "If",
        "Swish",
        "Upsample",
        "Flatten",
        "Mod",
        "Size",
    ];
    for _ in 0..=random.below(3) {
        let at = random.below(graph.node.len());
        let node = &mut graph.node[at];
        match random.below(9) {
            0 => node.op_type = operators[random.below(operators.len())].into(),
            1 if !node.input.is_empty() => {
                let input = random.below(node.input.len());
                node.input[input] = names[random.below(names.len())].clone();
            }
            2 => drop(node.input.pop()),
            3 => node.input.push(names[random.below(names.len())].clone()),
            4 => node.output.push(format!("new{}", random.below(9))),
            5 if !node.attribute.is_empty() => {
                let attribute = random.below(node.attribute.len());
                let attribute = &mut node.attribute[attribute];
                attribute.i = random.number();
                let count = random.below(5);
                attribute.ints = (0..count).map(|_| random.number()).collect();
                if let Some(tensor) = attribute.t.as_mut() {
                    tensor.int64_data.iter_mut().for_each(|value| *value = random.number());
                }
            }
            6 => drop(graph.node.remove(at)),
            7 if !graph.initializer.is_empty() => {
                let tensor = random.below(graph.initializer.len());
                let tensor = &mut graph.initializer[tensor];
                match random.below(3) {
                    0 => tensor.dims = (0..random.below(5)).map(|_| random.number()).collect(),
                    1 => tensor.data_type = random.below(20) as i32,
                    _ => tensor.float_data.truncate(1),
                }
            }
            _ => {
                let shape: Vec<i64> = (0..random.below(6)).map(|_| random.number()).collect();
                graph.input[0] = value("images", [FLOAT, FLOAT16, INT64][random.below(3)], &shape);
            }
        }
        if graph.node.is_empty() {
            return;
        }
    }
}

/// Imports a file and generates code from some accepted ones; every failure is one line.
fn try_out(bytes: &[u8], number: usize, accepted: &mut usize) {
    let sizes = [None, Some([HEIGHT, WIDTH])];
    let options = Options { image_size: sizes[number % 2], ..Options::default() };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let imported = import_bytes("mutated", bytes, &options)?;
        *accepted += 1;
        if (*accepted).is_multiple_of(10) && *accepted <= 10 * GENERATED { imported.check() } else { Ok(()) }
    }));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => assert!(!error.to_string().contains('\n'), "mutation {number}: {error}"),
        Err(_) => panic!("mutation {number} of seed {SEED} panics"),
    }
}

#[test]
fn mutated_bytes_never_panic() {
    let (mut random, mut accepted) = (Random(SEED), 0);
    let models = [Tail::Split, Tail::Slice].map(|tail| tiny_yolov5(tail).write_to_bytes().unwrap());
    for number in 0..OF_BYTES {
        let mut bytes = models[number % 2].clone();
        mutate_bytes(&mut bytes, &mut random);
        try_out(&bytes, number, &mut accepted);
    }
    assert!(accepted > 0, "some mutations do not matter");
}

#[test]
fn mutated_graphs_never_panic() {
    let (mut random, mut accepted) = (Random(SEED), 0);
    let models: [ModelProto; 2] = [tiny_yolov5(Tail::Split), tiny_with_heads(Tail::Slice, 4)];
    for number in 0..OF_GRAPHS {
        let mut model = models[number % 2].clone();
        mutate_graph(model.graph.as_mut().unwrap(), &mut random);
        try_out(&model.write_to_bytes().unwrap(), number, &mut accepted);
    }
    assert!(accepted > 0, "some mutations do not matter");
}
