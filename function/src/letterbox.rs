//! YOLOv5's letterbox: scale to fit, centre, pad with gray (`augmentations.letterbox`,
//! `auto=False`).
//!
//! The scaling is OpenCV's `INTER_LINEAR` for 8-bit images, to the bit (fixed point, `resize.cpp`),
//! because the model was trained on, and is compared with, OpenCV's output.

use model_runtime::kernels::Isa;
use model_runtime::kernels::resize::{self, Columns};

use picture::Frame;

/// Gray of the padding (`color=(114, 114, 114)`).
const PADDING: u8 = 114;

/// The weights of two neighbours add up to this.
const WEIGHT_ONE: i16 = 1 << resize::WEIGHT_BITS;

/// The input type of a model: levels as numbers 0..1, or unchanged.
pub trait Sample: Copy {
    /// From a level, 0 to 255.
    fn from_level(level: u16) -> Self;

    /// Interpolates between two lines; see [`resize`].
    fn blend(isa: Isa, lines: [&[i16]; 2], weights: [i16; 2], samples: &mut [Self]);
}

/// u8 → f32 / 255, as `im /= 255` does.
impl Sample for f32 {
    fn from_level(level: u16) -> Self {
        Self::from(level) / 255.0
    }

    fn blend(isa: Isa, lines: [&[i16]; 2], weights: [i16; 2], samples: &mut [Self]) {
        resize::blend(isa, lines, weights, samples);
    }
}

impl Sample for u8 {
    fn from_level(level: u16) -> Self {
        level as Self
    }

    fn blend(isa: Isa, lines: [&[i16]; 2], weights: [i16; 2], samples: &mut [Self]) {
        resize::blend_levels(isa, lines, weights, samples);
    }
}

/// An image as the model's input, and the transform from its coordinates back to the image's.
#[derive(Clone, Debug)]
pub struct Letterboxed<S> {
    /// Samples channel by channel: `[channels, height, width]`.
    pub samples: Vec<S>,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// Maps boxes back.
    pub transform: Transform,
}

/// From the model's input back to the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Input pixels per image pixel.
    gain: f32,
    pad_x: f32,
    pad_y: f32,
    width: f32,
    height: f32,
}

impl Transform {
    fn new((width, height): (u32, u32), (input_width, input_height): (usize, usize)) -> Self {
        let gain = f64::min(input_width as f64 / f64::from(width), input_height as f64 / f64::from(height));
        Self {
            gain: gain as f32,
            pad_x: ((input_width as f64 - f64::from(width) * gain) / 2.0) as f32,
            pad_y: ((input_height as f64 - f64::from(height) * gain) / 2.0) as f32,
            width: width as f32,
            height: height as f32,
        }
    }

    /// Corners in input pixels to corners in image pixels, clipped to the image (`scale_boxes`,
    /// `clip_boxes`).
    pub fn to_image(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let x = |x: f32| ((x - self.pad_x) / self.gain).clamp(0.0, self.width);
        let y = |y: f32| ((y - self.pad_y) / self.gain).clamp(0.0, self.height);
        [x(x1), y(y1), x(x2), y(y2)]
    }
}

/// Fits `frame` into `width` × `height`.
pub fn letterbox<S: Sample>(frame: &Frame, width: usize, height: usize) -> Letterboxed<S> {
    let transform = Transform::new((frame.width, frame.height), (width, height));
    let gain = f64::min(width as f64 / f64::from(frame.width), height as f64 / f64::from(frame.height));
    // Python's round() is half to even; a very narrow image still gets one row or column.
    let fit =
        |length: u32, most: usize| ((f64::from(length) * gain).round_ties_even() as usize).clamp(1, most);
    let (fit_width, fit_height) = (fit(frame.width, width), fit(frame.height, height));
    let offset = |free: usize| (free as f64 / 2.0 - 0.1).round_ties_even().max(0.0) as usize;
    let (left, top) = (offset(width - fit_width), offset(height - fit_height));

    let (source, channels) = frame.pixels.planes();
    let image = (frame.width as usize, frame.height as usize);
    let mut samples = vec![S::from_level(PADDING.into()); channels * width * height];
    let sources = source.chunks_exact(image.0 * image.1);
    for (source, plane) in sources.zip(samples.chunks_exact_mut(width * height)) {
        let rows = plane[top * width..].chunks_exact_mut(width).take(fit_height);
        let fitted = rows.map(|row| &mut row[left..][..fit_width]);
        Plane { source, image }.fit((fit_width, fit_height), fitted);
    }
    Letterboxed { samples, channels, transform }
}

/// One channel of an image.
struct Plane<'a> {
    source: &'a [u8],
    /// Width and height.
    image: (usize, usize),
}

impl Plane<'_> {
    /// A row; at least two samples, in `scratch` where the image has one.
    fn row<'r>(&'r self, y: usize, scratch: &'r mut Vec<u8>) -> &'r [u8] {
        let row = &self.source[y * self.image.0..][..self.image.0];
        let [only] = *row else { return row };
        *scratch = vec![only, only];
        scratch
    }

    /// OpenCV's `cv::resize(…, INTER_LINEAR)` to the size of `to`, whose `rows` take the samples.
    fn fit<'r, S: Sample + 'r>(&self, to: (usize, usize), rows: impl Iterator<Item = &'r mut [S]>) {
        let (mut scratch, mut below) = (Vec::new(), Vec::new());
        if self.image == to {
            for (y, row) in rows.enumerate() {
                for (sample, level) in row.iter_mut().zip(self.row(y, &mut scratch)) {
                    *sample = S::from_level((*level).into());
                }
            }
        } else if self.image == (2 * to.0, 2 * to.1) {
            // OpenCV takes the mean of 2 × 2 when it halves exactly (linear and area are the same
            // then).
            for (y, row) in rows.enumerate() {
                let upper = self.row(2 * y, &mut scratch).as_chunks::<2>().0;
                let lower = self.row(2 * y + 1, &mut below).as_chunks::<2>().0;
                for ((sample, [a, b]), [c, d]) in row.iter_mut().zip(upper).zip(lower) {
                    let sum = [a, b, c, d].map(|level| u16::from(*level)).iter().sum::<u16>();
                    *sample = S::from_level((sum + 2) >> 2);
                }
            }
        } else {
            self.interpolate(to, rows, &mut scratch);
        }
    }

    fn interpolate<'r, S: Sample + 'r>(
        &self,
        to: (usize, usize),
        rows: impl Iterator<Item = &'r mut [S]>,
        scratch: &mut Vec<u8>,
    ) {
        let isa = Isa::current();
        let columns = taps(self.image.0, to.0).map(Tap::inside);
        let columns = Columns::new(isa, self.image.0.max(2), columns);
        // Two horizontally interpolated source rows, kept while consecutive output rows share them.
        let mut lines = [(usize::MAX, vec![0; to.0]), (usize::MAX, vec![0; to.0])];
        for (row, tap) in rows.zip(taps(self.image.1, to.1)) {
            if lines[1].0 == tap.first {
                lines.swap(0, 1);
            }
            for (line, wanted) in lines.iter_mut().zip([tap.first, tap.second]) {
                if line.0 != wanted {
                    columns.interpolate(self.row(wanted, scratch), &mut line.1);
                    line.0 = wanted;
                }
            }
            S::blend(isa, [&lines[0].1, &lines[1].1], tap.weights, row);
        }
    }
}

/// Two source samples and their weights in 1/2048.
struct Tap {
    first: usize,
    second: usize,
    weights: [i16; 2],
}

impl Tap {
    /// The left one of two neighbours, and the weights. At the edges both samples are the same one;
    /// along rows OpenCV resets the weights there (along columns it keeps them, which differs in
    /// the last bit), and so the neighbour inside gets none.
    fn inside(self) -> (u32, [i16; 2]) {
        if self.first != self.second {
            (self.first as u32, self.weights)
        } else if self.first == 0 {
            (0, [WEIGHT_ONE, 0])
        } else {
            (self.first as u32 - 1, [0, WEIGHT_ONE])
        }
    }
}

/// The source of each output sample along one axis.
fn taps(from: usize, to: usize) -> impl Iterator<Item = Tap> {
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from - 1;
    (0..to).map(move |index| {
        let position = ((index as f64 + 0.5) * scale - 0.5) as f32;
        let floor = position.floor();
        let fraction = position - floor;
        let sample = |offset: f32| ((floor + offset).max(0.0) as usize).min(last);
        let weight = |fraction: f32| (fraction * f32::from(WEIGHT_ONE)).round_ties_even() as i16;
        Tap { first: sample(0.0), second: sample(1.0), weights: [weight(1.0 - fraction), weight(fraction)] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use picture::Pixels;

    fn gray(width: u32, height: u32) -> Frame {
        // A fixed pattern with detail in both directions.
        let pixels =
            (0..height).flat_map(|y| (0..width).map(move |x| (x * 7 + y * 13 + x * y % 11) as u8)).collect();
        Frame { width, height, pixels: Pixels::Gray(pixels) }
    }

    #[test]
    fn an_image_of_the_input_size_is_only_divided_by_255() {
        let boxed = letterbox::<f32>(&gray(64, 64), 64, 64);
        assert_eq!(boxed.samples[0], 0.0);
        assert_eq!(boxed.samples[1], 7.0 / 255.0);
    }

    #[test]
    fn a_wide_image_is_padded_above_and_below_with_114() {
        let boxed = letterbox::<f32>(&gray(64, 32), 64, 64);
        let gray_114 = 114.0 / 255.0;
        assert!(boxed.samples[..16 * 64].iter().all(|sample| *sample == gray_114));
        assert!(boxed.samples[48 * 64..].iter().all(|sample| *sample == gray_114));
        assert_eq!(boxed.samples[16 * 64], 0.0);
    }

    #[test]
    fn boxes_come_back_to_where_they_were() {
        let transform = letterbox::<f32>(&gray(640, 480), 416, 416).transform;
        // (100, 50) of 640×480 is at 100·0.65, 50·0.65 + 52 of 416×416.
        let [x1, y1, x2, y2] = transform.to_image([65.0, 84.5, 416.0, 500.0]);
        assert!((x1 - 100.0).abs() < 1e-3 && (y1 - 50.0).abs() < 1e-3);
        assert_eq!([x2, y2], [640.0, 480.0]);
    }

    #[test]
    fn levels_are_what_the_samples_are_of() {
        for (width, height) in [(64, 64), (128, 128), (200, 90), (17, 300)] {
            let frame = gray(width, height);
            let (samples, levels) = (letterbox::<f32>(&frame, 64, 64), letterbox::<u8>(&frame, 64, 64));
            assert!(levels.samples.iter().zip(samples.samples).all(|(l, s)| f32::from(*l) / 255.0 == s));
        }
    }

    #[test]
    fn slivers_keep_at_least_one_row() {
        for (width, height) in [(10_000, 1), (1, 10_000), (1, 1)] {
            let boxed = letterbox::<f32>(&gray(width, height), 64, 64);
            assert_eq!(boxed.samples.len(), 64 * 64, "{width}×{height}");
        }
    }

    #[test]
    fn gray_as_rgb_gives_the_same_samples_in_each_channel() {
        let frame = gray(50, 30);
        let Pixels::Gray(pixels) = &frame.pixels else { unreachable!() };
        let rgb = pixels.repeat(3);
        let colour = letterbox::<f32>(&Frame { pixels: Pixels::Rgb(rgb), ..frame.clone() }, 64, 64);
        let single = letterbox::<f32>(&frame, 64, 64);
        for plane in colour.samples.chunks_exact(64 * 64) {
            assert_eq!(plane, single.samples);
        }
    }
}
