//! Runs the rewritten graph of the built-in model's 8-bit form on the kernels and compares every
//! map with ONNX Runtime's (`make reference-int8` makes the reference).

use std::collections::HashMap;
use std::path::Path;

use model_runtime::kernels::conv::output_size;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::kernels::int8::Int8Isa;
use model_runtime::kernels::int8::conv::{Constants, Conv, Output, Residual, Source, Weight, conv2d};
use model_runtime::kernels::int8::pool::sppf;
use onnx_ir::{GraphProto, NodeProto};

use super::{CONV, POOL, TAKE_APART};
use crate::Options;
use crate::onnx::ints;

const REFERENCE: &str = include_str!("../../../reference/int8_maps.txt");
const MODEL: &str = "weights/int8/eye-state-yolov5n-416.onnx";

/// A map of bytes, or a head's floats; `first` is where its channels begin in a pixel.
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

    /// A value by its index in a map stored channel by channel.
    fn at(&self, index: usize) -> f32 {
        let cells = self.size[0] * self.size[1];
        let place = index % cells * self.pitch + self.first + index / cells;
        if self.floats.is_empty() { self.bytes[place].into() } else { self.floats[place] }
    }
}

fn sizes(node: &NodeProto, name: &str) -> Vec<usize> {
    ints(node, name).expect("the attribute is there").into_iter().map(|value| value as usize).collect()
}

fn pair(node: &NodeProto, name: &str) -> [usize; 2] {
    sizes(node, name).try_into().expect("a pair")
}

/// The network on the image, every map by its name.
fn run(graph: &GraphProto, image: Map, isa: Int8Isa) -> HashMap<String, Map> {
    let raw: HashMap<&str, &[u8]> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), &*tensor.raw_data)).collect();
    let words = |name: &str| -> Vec<[u8; 4]> { raw[name].as_chunks::<4>().0.to_vec() };
    let mut maps = HashMap::from([(graph.input[0].name.clone(), image)]);
    for node in &graph.node {
        match node.op_type.as_str() {
            CONV => {
                let upsampled = sizes(node, "upsampled");
                let (inputs, rest) = node.input.split_at(upsampled.len());
                let weight: Vec<i8> = raw[rest[0].as_str()].iter().map(|&byte| byte as i8).collect();
                let integers: Vec<i32> = words(&rest[1]).into_iter().map(i32::from_le_bytes).collect();
                let floats: Vec<f32> = words(&rest[2]).into_iter().map(f32::from_le_bytes).collect();
                let (bias, zero_point) = integers.split_at(integers.len() / 2);
                let (scale, inverse) = floats.split_at(floats.len() / 2);
                let gray: Vec<i16>;
                let one_channel = inputs.len() == 1 && maps[&inputs[0]].channels == 1;
                let conv = Conv {
                    kernel: pair(node, "kernel"),
                    stride: pair(node, "stride"),
                    padding: pair(node, "padding"),
                    weight: if one_channel {
                        let pairs = raw[rest[3].as_str()].as_chunks::<2>().0;
                        gray = pairs.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect();
                        Weight::Wide(&gray)
                    } else {
                        Weight::Bytes(&weight)
                    },
                    constants: Constants { bias, scale, inverse, zero_point },
                    input_zero_point: sizes(node, "input_zero_point")[0] as u8,
                    silu: sizes(node, "silu")[0] == 1,
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
                        [1, bits, zero_point] => Some(Residual {
                            image: maps[rest.last().expect("a residual")].image(),
                            scale: f32::from_bits(bits as u32),
                            zero_point: zero_point as i32,
                        }),
                        _ => None,
                    };
                    map.bytes = vec![0; len];
                    let mut out = ImageMut::dense(&mut map.bytes, size[0], size[1], pitch);
                    conv2d(isa, &sources, &conv, residual.as_ref(), Output::Bytes(&mut out));
                }
                maps.insert(node.output[0].clone(), map);
            }
            POOL => {
                let input = maps[&node.input[0]].clone();
                let (size, channels) = (input.size, 3 * input.channels);
                let mut map = Map { size, channels, pitch: channels, ..Map::default() };
                map.bytes = vec![0; size[0] * size[1] * channels];
                let mut out = ImageMut::dense(&mut map.bytes, size[0], size[1], channels);
                sppf(isa, &input.image(), sizes(node, "kernel")[0], &mut out);
                maps.insert(node.output[0].clone(), map);
            }
            TAKE_APART => {
                let whole = maps[&node.input[0]].clone();
                let mut first = 0;
                for (name, shape) in node.output.iter().zip(sizes(node, "shapes").chunks(3)) {
                    maps.insert(name.clone(), Map { channels: shape[0], first, ..whole.clone() });
                    first += shape[0];
                }
            }
            other => panic!("{other} is left in the graph"),
        }
    }
    maps
}

/// raw_heads.py's image as levels.
fn picture(channels: usize, [height, width]: [usize; 2]) -> Map {
    let level = |c: usize, y: usize, x: usize| ((c * 31 + y * 17 + x * 13 + x * y % 251) % 256) as u8;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let bytes = pixels.flat_map(|(y, x)| (0..channels).map(move |c| level(c, y, x))).collect();
    Map { bytes, size: [height, width], channels, pitch: channels, ..Map::default() }
}

#[test]
fn nearly_every_value_of_every_map_is_onnx_runtimes_or_a_level_off() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    let imported = crate::import(&path, &Options::default()).expect("the built-in model's 8-bit form");
    let graph = &imported.fused.as_ref().expect("a network in integers").graph;
    let size = [imported.description.input_height, imported.description.input_width];
    let maps = run(graph, picture(3, size), Int8Isa::current());
    let scale = |name: &str| if maps[name].floats.is_empty() { 1.0 } else { 0.0 };

    let (mut compared, mut same, mut near) = (0, 0, 0);
    let (mut worst, mut worst_logit) = (0.0_f32, 0.0_f32);
    for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["version", version] = words[..] {
            assert_eq!(version, imported.description.version, "another model's: make reference-int8");
            continue;
        }
        let [name, index, expected] = words[..] else { panic!("{line}") };
        // What only the next convolution reads in parts is no map of its own.
        let Some(map) = maps.get(name) else { continue };
        let (found, expected) = (map.at(index.parse().unwrap()), expected.parse::<f32>().unwrap());
        if scale(name) == 0.0 {
            worst_logit = worst_logit.max((found - expected).abs());
            continue;
        }
        let off = (found - expected).abs();
        worst = worst.max(off);
        near += usize::from(off <= 1.0);
        compared += 1;
        same += usize::from(found == expected);
    }
    assert!(compared > 50 * 40, "{compared} levels compared");
    // A value between two levels goes either way, and what follows it moves, most where the computed
    // image is unlike any picture.
    let found = format!("{same} same, {near} within a level, worst {worst}, a logit {worst_logit}");
    assert!(same * 100 >= compared * 70, "{found} of {compared}");
    assert!(near * 100 >= compared * 95, "{found} of {compared}");
    assert!(worst <= 6.0 && worst_logit < 1.5, "{found} of {compared}");
}

#[test]
fn a_gray_image_gives_the_bits_that_its_three_equal_channels_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    let imported = crate::import(&path, &Options::default()).expect("the built-in model's 8-bit form");
    let graph = &imported.fused.as_ref().expect("a network in integers").graph;
    let size = [imported.description.input_height, imported.description.input_width];
    let gray = picture(1, size);
    let bytes = gray.bytes.iter().flat_map(|&level| [level; 3]).collect();
    let colour = Map { bytes, channels: 3, pitch: 3, ..gray.clone() };
    let isa = Int8Isa::current();
    let (gray, colour) = (run(graph, gray, isa), run(graph, colour, isa));
    for output in &graph.output {
        let bits = |map: &Map| map.floats.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(&gray[&output.name]) == bits(&colour[&output.name]), "{}", output.name);
    }
}
