//! Runs the rewritten graph of the built-in model's 8-bit form on the kernels and compares each
//! layer's output with ONNX Runtime's for the same levels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use model_runtime::kernels::conv::output_size;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::kernels::int8::Int8Isa;
use model_runtime::kernels::int8::conv::{Constants, Conv, Output, Residual, Source, Weight, conv2d};
use model_runtime::kernels::int8::pool::sppf;
use onnx_ir::{GraphProto, NodeProto};

use super::{CONV, POOL, TAKE_APART};
use crate::Options;
use crate::onnx::ints;

/// Name, type, channels, rows and columns of every map, and their values: what ONNX Runtime gives
/// for a picture in a small size (`make reference-int8`).
const REFERENCE: &str = include_str!("../../../reference/int8_maps.txt");
const VALUES: &[u8] = include_bytes!("../../../reference/int8_maps.bin");
const MODEL: &str = "weights/int8/eye-state-yolov5n-416.onnx";
/// Tolerated share of a layer's levels that differ, given ONNX Runtime's levels as input: values
/// close to the middle between two levels may round either way.
const SAME_LEVELS: f64 = 0.985;

/// A map of bytes, or a head's floats; `first` is the offset of its channels in a pixel.
#[derive(Clone, Default)]
struct Map {
    bytes: Vec<u8>,
    floats: Vec<f32>,
    size: [usize; 2],
    channels: usize,
    pitch: usize,
    first: usize,
}

impl Map {
    fn image(&self) -> Image<'_, u8> {
        let (height, width) = (self.size[0], self.size[1]);
        Image {
            data: &self.bytes[self.first..],
            height,
            width,
            channels: self.channels,
            row_pitch: width * self.pitch,
            pixel_pitch: self.pitch,
        }
    }

    /// One of ONNX's maps, which are stored channel by channel.
    fn planar(size: [usize; 2], channels: usize, value: impl Fn(usize) -> f32, floats: bool) -> Self {
        let cells = size[0] * size[1];
        let pitch = channels.next_multiple_of(16);
        let mut map = Self { size, channels, pitch, ..Self::default() };
        for at in 0..cells * pitch {
            let (cell, channel) = (at / pitch, at % pitch);
            let value = if channel < channels { value(channel * cells + cell) } else { 0.0 };
            if floats { map.floats.push(value) } else { map.bytes.push(value as u8) }
        }
        map
    }

    /// Value by value, in the same order for all maps.
    fn values(&self) -> impl Iterator<Item = f32> {
        let pixels = (0..self.size[0] * self.size[1]).map(|cell| cell * self.pitch + self.first);
        pixels.flat_map(|first| (first..first + self.channels).map(|at| self.at(at)))
    }

    fn at(&self, place: usize) -> f32 {
        if self.floats.is_empty() { self.bytes[place].into() } else { self.floats[place] }
    }
}

fn sizes(node: &NodeProto, name: &str) -> Vec<usize> {
    ints(node, name).expect("the attribute is there").into_iter().map(|value| value as usize).collect()
}

fn pair(node: &NodeProto, name: &str) -> [usize; 2] {
    sizes(node, name).try_into().expect("a pair")
}

/// The network, every map by its name: those of `given` replace the computed ones.
fn run(graph: &GraphProto, given: HashMap<String, Map>, isa: Int8Isa) -> HashMap<String, Map> {
    let raw: HashMap<&str, &[u8]> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), &*tensor.raw_data)).collect();
    let words = |name: &str| -> Vec<[u8; 4]> { raw[name].as_chunks::<4>().0.to_vec() };
    let mut found = HashMap::new();
    let mut maps = given.clone();
    for node in &graph.node {
        match node.op_type.as_str() {
            CONV => {
                let upsampled = sizes(node, "upsampled");
                let (inputs, rest) = node.input.split_at(upsampled.len());
                let weight: Vec<i8> = raw[rest[0].as_str()].iter().map(|&byte| byte as i8).collect();
                let integers: Vec<i32> = words(&rest[1]).into_iter().map(i32::from_le_bytes).collect();
                let scale: Vec<f32> = words(&rest[2]).into_iter().map(f32::from_le_bytes).collect();
                let (bias, blocks) = integers.split_at(scale.len());
                let halves = |name: &str| -> Vec<i16> {
                    let pairs = raw[name].as_chunks::<2>().0;
                    pairs.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect()
                };
                let silu = sizes(node, "silu")[0];
                let tables = if silu == 1 { halves(&rest[3]) } else { Vec::new() };
                let gray: Vec<i16>;
                let one_channel = inputs.len() == 1 && maps[&inputs[0]].channels == 1;
                let conv = Conv {
                    kernel: pair(node, "kernel"),
                    stride: pair(node, "stride"),
                    padding: pair(node, "padding"),
                    weight: if one_channel {
                        gray = halves(&rest[3 + silu]);
                        Weight::Wide(&gray)
                    } else {
                        Weight::Bytes(&weight)
                    },
                    constants: Constants {
                        bias,
                        scale: &scale,
                        blocks: blocks.as_chunks().0,
                        tables: &tables,
                    },
                    input_zero_point: sizes(node, "input_zero_point")[0] as u8,
                    table: None,
                };
                let sources: Vec<Source<'_>> = (inputs.iter().zip(&upsampled))
                    .map(|(input, up)| Source { image: maps[input].image(), upsampled: *up == 1 })
                    .collect();
                let first = &sources[0].image;
                let size = [first.height, first.width].map(|side| side * (1 + upsampled[0]));
                let size = output_size(size, conv.kernel, conv.stride, conv.padding);
                let channels = sizes(node, "out_channels")[0];
                let pitch = channels.next_multiple_of(16);
                let mut map = Map { size, channels, pitch, ..Map::default() };
                let len = size[0] * size[1] * pitch;
                if sizes(node, "head")[0] == 1 {
                    map.floats = vec![f32::NAN; len];
                    let mut out = ImageMut::dense(&mut map.floats, size[0], size[1], pitch);
                    conv2d(isa, &sources, &conv, None, Output::Floats(&mut out));
                } else {
                    let residual = match sizes(node, "residual")[..] {
                        [1, multiplier, zero_point] => Some(Residual {
                            image: maps[rest.last().expect("a residual")].image(),
                            multiplier: multiplier as i16,
                            zero_point: zero_point as u8,
                        }),
                        _ => None,
                    };
                    map.bytes = vec![0; len];
                    let mut out = ImageMut::dense(&mut map.bytes, size[0], size[1], pitch);
                    conv2d(isa, &sources, &conv, residual.as_ref(), Output::Bytes(&mut out));
                }
                give(&mut maps, &mut found, &node.output[0], map);
            }
            POOL => {
                let input = maps[&node.input[0]].clone();
                let (size, channels) = (input.size, 3 * input.channels);
                let mut map = Map { size, channels, pitch: channels, ..Map::default() };
                map.bytes = vec![0; size[0] * size[1] * channels];
                let mut out = ImageMut::dense(&mut map.bytes, size[0], size[1], channels);
                sppf(isa, &input.image(), sizes(node, "kernel")[0], &mut out);
                give(&mut maps, &mut found, &node.output[0], map);
            }
            TAKE_APART => {
                let whole = maps[&node.input[0]].clone();
                let mut first = 0;
                for (name, shape) in node.output.iter().zip(sizes(node, "shapes").chunks(3)) {
                    give(&mut maps, &mut found, name, Map { channels: shape[0], first, ..whole.clone() });
                    first += shape[0];
                }
            }
            other => panic!("{other} is left in the graph"),
        }
    }
    found
}

/// Stores a node's output, and passes it on unless `given` has a replacement.
fn give(maps: &mut HashMap<String, Map>, found: &mut HashMap<String, Map>, name: &str, map: Map) {
    maps.entry(name.to_owned()).or_insert_with(|| map.clone());
    found.insert(name.to_owned(), map);
}

/// ONNX Runtime's maps.
fn reference(version: &str) -> HashMap<String, Map> {
    let mut maps = HashMap::new();
    let mut rest = VALUES;
    for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["version", of] = words[..] {
            assert_eq!(of, version, "another model's: make reference-int8");
            continue;
        }
        let [name, kind, axes @ ..] = &words[..] else { panic!("{line}") };
        let axes: Vec<usize> = axes.iter().map(|axis| axis.parse().expect("a number")).collect();
        let [channels, height, width] = axes[..] else { panic!("{line}") };
        let count = channels * height * width;
        let floats = *kind == "logits";
        let (values, after) = rest.split_at(if floats { 4 * count } else { count });
        rest = after;
        let value = |at: usize| {
            if floats { f32::from_le_bytes(values.as_chunks().0[at]) } else { values[at].into() }
        };
        maps.insert((*name).to_owned(), Map::planar([height, width], channels, value, floats));
    }
    assert!(rest.is_empty(), "values of no map");
    maps
}

fn built_in() -> crate::Imported {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    crate::import(&path, &Options::default()).expect("the built-in model's 8-bit form")
}

#[test]
fn every_layer_gives_onnx_runtimes_levels_or_those_beside_them() {
    let imported = built_in();
    let graph = &imported.fused.as_ref().expect("a network in integers").graph;
    let given = reference(&imported.description.version);
    let found = run(graph, given.clone(), Int8Isa::current());
    let (mut layers, mut all, mut same) = (0, 0, 0);
    for (name, expected) in &given {
        let Some(map) = found.get(name) else { continue };
        layers += 1;
        assert_eq!((map.size, map.channels), (expected.size, expected.channels), "{name}");
        let off: Vec<f32> = map.values().zip(expected.values()).map(|(a, b)| (a - b).abs()).collect();
        let worst = off.iter().fold(0.0_f32, |worst, off| worst.max(*off));
        if map.floats.is_empty() {
            let equal = off.iter().filter(|off| **off == 0.0).count();
            assert!(worst <= 1.0, "{name}: {worst} levels off");
            (all, same) = (all + off.len(), same + equal);
        } else {
            assert!(worst <= 0.002, "{name}: a logit {worst} off");
        }
    }
    // Siblings were merged, but each one's map is its own; two are rounded for a head once more.
    assert_eq!(layers, 62, "layers with a map of ONNX Runtime's");
    assert!(same as f64 >= SAME_LEVELS * all as f64, "{same} of {all} levels are the same");
}

#[test]
fn a_gray_image_gives_the_bits_that_its_three_equal_channels_give() {
    let imported = built_in();
    let graph = &imported.fused.as_ref().expect("a network in integers").graph;
    let colour = reference(&imported.description.version)["images"].clone();
    // The least of the three values in place of each.
    let gray = |at: usize| colour.bytes[at * colour.pitch..][..3].iter().copied().min().expect("three");
    let one = Map::planar(colour.size, 1, |at| gray(at).into(), false);
    let cells = colour.size[0] * colour.size[1];
    let three = Map::planar(colour.size, 3, |at| gray(at % cells).into(), false);
    let isa = Int8Isa::current();
    let [one, three] =
        [one, three].map(|image| run(graph, HashMap::from([("images".to_owned(), image)]), isa));
    for output in &graph.output {
        let bits = |map: &Map| map.values().map(f32::to_bits).collect::<Vec<_>>();
        assert!(bits(&one[&output.name]) == bits(&three[&output.name]), "{}", output.name);
    }
}

/// `raw_heads.py`'s image as levels.
fn computed_image(height: usize, width: usize) -> Map {
    let level = |at: usize| {
        let (c, y, x) = (at / (height * width), at / width % height, at % width);
        ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) as f32
    };
    Map::planar([height, width], 3, level, false)
}

/// Of a tiny model, or those in the folder that `QUANTIZERS` names (`make other-quantizers`).
#[test]
fn files_of_other_quantizers_give_nearly_what_onnx_runtime_computes_from_them() {
    let tiny = || Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/quantizers");
    let folder = std::env::var_os("QUANTIZERS").map_or_else(tiny, PathBuf::from);
    for name in ["onnxruntime", "onnxruntime-per-channel", "onnxruntime-signed", "nncf", "nncf-dark"] {
        let imported = crate::import(&folder.join(format!("{name}.onnx")), &Options::default());
        let imported = imported.unwrap_or_else(|error| panic!("{name}: {error}"));
        let graph = &imported.fused.as_ref().expect("a network in integers").graph;
        let [height, width] = [imported.description.input_height, imported.description.input_width];
        let image = HashMap::from([(graph.input[0].name.clone(), computed_image(height, width))]);
        let found = run(graph, image, Int8Isa::current());
        let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).expect("a reference");
        // Sums of squares: how far logits are from ONNX Runtime's, and those from the float
        // model's.
        let (mut off, mut its_own, mut count) = (0.0, 0.0, 0);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [head, index, logit, exact] = words[..] else { panic!("{line}") };
            let index: usize = index.parse().expect("an index");
            let [logit, exact]: [f32; 2] = [logit, exact].map(|value| value.parse().expect("a logit"));
            let map = &found[head];
            let cells = map.size[0] * map.size[1];
            let value = map.at(index % cells * map.pitch + index / cells);
            off += (value - logit).powi(2);
            its_own += (logit - exact).powi(2);
            count += 1;
        }
        assert!(count > 500, "{name}: {count} logits");
        let [off, its_own] = [off, its_own].map(|squares: f32| squares / count as f32);
        eprintln!("{name}: {off} from ONNX Runtime's, which is {its_own} from floats (mean squares)");
        // It rounds in more places than these operators do: two that round differently are as far
        // apart as both are from floats.
        assert!(off <= 2.0 * its_own, "{name}: {off} from ONNX Runtime's, which is {its_own} from floats");
    }
}
