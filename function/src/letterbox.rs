//! YOLOv5's letterbox: scale to fit, centre, pad with gray (`augmentations.letterbox`, `auto=False`).
//!
//! The scaling is OpenCV's `INTER_LINEAR` for 8-bit images, to the bit (fixed point, `resize.cpp`), because
//! the model was trained on and is compared with what OpenCV gives.

use crate::decode::{Frame, Pixels};

/// Gray that fills what the image does not (`color=(114, 114, 114)`).
const PADDING: u8 = 114;

/// Fraction bits of OpenCV's interpolation weights (`INTER_RESIZE_COEF_BITS`).
const WEIGHT_BITS: u32 = 11;
const WEIGHT_ONE: f32 = (1 << WEIGHT_BITS) as f32;

/// An image as the model wants it, and the way back.
#[derive(Clone, Debug)]
pub struct Letterboxed {
    /// Samples 0..1, channel by channel: `[channels, height, width]`.
    pub samples: Vec<f32>,
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

    /// Corners in input pixels to corners in image pixels, cut off at its edges (`scale_boxes`, `clip_boxes`).
    pub fn to_image(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let x = |x: f32| ((x - self.pad_x) / self.gain).clamp(0.0, self.width);
        let y = |y: f32| ((y - self.pad_y) / self.gain).clamp(0.0, self.height);
        [x(x1), y(y1), x(x2), y(y2)]
    }
}

/// Fits `frame` into `width` × `height`.
pub fn letterbox(frame: &Frame, width: usize, height: usize) -> Letterboxed {
    let transform = Transform::new((frame.width, frame.height), (width, height));
    let gain = f64::min(width as f64 / f64::from(frame.width), height as f64 / f64::from(frame.height));
    // Python's round() is half to even; a sliver of an image still gets one row or column.
    let fit =
        |length: u32, most: usize| ((f64::from(length) * gain).round_ties_even() as usize).clamp(1, most);
    let (fit_width, fit_height) = (fit(frame.width, width), fit(frame.height, height));
    let offset = |free: usize| (free as f64 / 2.0 - 0.1).round_ties_even().max(0.0) as usize;
    let (left, top) = (offset(width - fit_width), offset(height - fit_height));

    let (source, channels) = match &frame.pixels {
        Pixels::Gray(pixels) => (pixels, 1),
        Pixels::Rgb(pixels) => (pixels, 3),
    };
    let source_size = (frame.width as usize, frame.height as usize);
    let resized = resize_linear(source, channels, source_size, (fit_width, fit_height));

    // u8 → f32 / 255, as `im /= 255` does.
    let unit: [f32; 256] = std::array::from_fn(|value| value as f32 / 255.0);
    let mut samples = vec![unit[usize::from(PADDING)]; channels * width * height];
    for (channel, plane) in samples.chunks_exact_mut(width * height).enumerate() {
        for y in 0..fit_height {
            let from = &resized[y * fit_width * channels..][..fit_width * channels];
            let to = &mut plane[(top + y) * width + left..][..fit_width];
            for (sample, pixel) in to.iter_mut().zip(from.chunks_exact(channels)) {
                *sample = unit[usize::from(pixel[channel])];
            }
        }
    }
    Letterboxed { samples, channels, transform }
}

/// OpenCV's `cv::resize(…, INTER_LINEAR)` for interleaved 8-bit samples.
fn resize_linear(source: &[u8], channels: usize, from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    if from == to {
        return source.to_vec();
    }
    // OpenCV takes the mean of 2 × 2 when it halves exactly (linear and area are the same then).
    if from.0 == 2 * to.0 && from.1 == 2 * to.1 {
        return halve(source, channels, from.0, to);
    }
    let columns = taps(from.0, to.0, EdgeWeights::Reset);
    let rows = taps(from.1, to.1, EdgeWeights::Kept);
    let row_length = to.0 * channels;
    // Two horizontally interpolated source rows, kept while consecutive output rows share them.
    let mut lines = [(usize::MAX, vec![0i32; row_length]), (usize::MAX, vec![0i32; row_length])];
    let mut output = vec![0u8; row_length * to.1];
    for (row, tap) in output.chunks_exact_mut(row_length).zip(&rows) {
        if lines[1].0 == tap.first {
            lines.swap(0, 1);
        }
        for (line, wanted) in lines.iter_mut().zip([tap.first, tap.second]) {
            if line.0 != wanted {
                let source_row = &source[wanted * from.0 * channels..][..from.0 * channels];
                interpolate_row(source_row, channels, &columns, &mut line.1);
                line.0 = wanted;
            }
        }
        let [weight_a, weight_b] = tap.weights;
        for ((pixel, a), b) in row.iter_mut().zip(&lines[0].1).zip(&lines[1].1) {
            // VResizeLinear<uchar, int, short>: rounds in two steps, to stay within 32 bits.
            let sum = ((weight_a * (a >> 4)) >> 16) + ((weight_b * (b >> 4)) >> 16);
            *pixel = ((sum + 2) >> 2) as u8;
        }
    }
    output
}

fn interpolate_row(source: &[u8], channels: usize, columns: &[Tap], line: &mut [i32]) {
    for (samples, tap) in line.chunks_exact_mut(channels).zip(columns) {
        for (channel, sample) in samples.iter_mut().enumerate() {
            let a = i32::from(source[tap.first * channels + channel]);
            let b = i32::from(source[tap.second * channels + channel]);
            *sample = a * tap.weights[0] + b * tap.weights[1];
        }
    }
}

fn halve(source: &[u8], channels: usize, source_width: usize, to: (usize, usize)) -> Vec<u8> {
    let stride = source_width * channels;
    let mut output = Vec::with_capacity(to.0 * to.1 * channels);
    for y in 0..to.1 {
        let (upper, lower) = (&source[2 * y * stride..], &source[(2 * y + 1) * stride..]);
        for x in 0..to.0 {
            for channel in 0..channels {
                let (a, b) = (2 * x * channels + channel, (2 * x + 1) * channels + channel);
                let sum = [upper[a], upper[b], lower[a], lower[b]].map(u32::from).iter().sum::<u32>();
                output.push(((sum + 2) >> 2) as u8);
            }
        }
    }
    output
}

/// Two source samples and their weights in 1/2048.
struct Tap {
    first: usize,
    second: usize,
    weights: [i32; 2],
}

/// What becomes of the weights where both samples are the same one at the edge. OpenCV resets them along
/// rows and keeps them along columns, which differs in the last bit.
#[derive(Clone, Copy, PartialEq)]
enum EdgeWeights {
    Reset,
    Kept,
}

/// Where each output sample comes from along one axis.
fn taps(from: usize, to: usize, edge: EdgeWeights) -> Vec<Tap> {
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from - 1;
    (0..to)
        .map(|index| {
            let position = ((index as f64 + 0.5) * scale - 0.5) as f32;
            let floor = position.floor();
            let at_edge = floor < 0.0 || floor as usize >= last;
            let fraction = if at_edge && edge == EdgeWeights::Reset { 0.0 } else { position - floor };
            let sample = |offset: f32| ((floor + offset).max(0.0) as usize).min(last);
            let weight = |fraction: f32| (fraction * WEIGHT_ONE).round_ties_even() as i32;
            Tap {
                first: sample(0.0),
                second: sample(1.0),
                weights: [weight(1.0 - fraction), weight(fraction)],
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32) -> Frame {
        // A fixed pattern with detail in both directions.
        let pixels =
            (0..height).flat_map(|y| (0..width).map(move |x| (x * 7 + y * 13 + x * y % 11) as u8)).collect();
        Frame { width, height, pixels: Pixels::Gray(pixels) }
    }

    #[test]
    fn an_image_of_the_input_size_is_only_divided_by_255() {
        let boxed = letterbox(&gray(64, 64), 64, 64);
        assert_eq!(boxed.samples[0], 0.0);
        assert_eq!(boxed.samples[1], 7.0 / 255.0);
    }

    #[test]
    fn a_wide_image_is_padded_above_and_below_with_114() {
        let boxed = letterbox(&gray(64, 32), 64, 64);
        let gray_114 = 114.0 / 255.0;
        assert!(boxed.samples[..16 * 64].iter().all(|sample| *sample == gray_114));
        assert!(boxed.samples[48 * 64..].iter().all(|sample| *sample == gray_114));
        assert_eq!(boxed.samples[16 * 64], 0.0);
    }

    #[test]
    fn boxes_come_back_to_where_they_were() {
        let transform = letterbox(&gray(640, 480), 416, 416).transform;
        // (100, 50) of 640×480 is at 100·0.65, 50·0.65 + 52 of 416×416.
        let [x1, y1, x2, y2] = transform.to_image([65.0, 84.5, 416.0, 500.0]);
        assert!((x1 - 100.0).abs() < 1e-3 && (y1 - 50.0).abs() < 1e-3);
        assert_eq!([x2, y2], [640.0, 480.0]);
    }

    #[test]
    fn slivers_keep_at_least_one_row() {
        for (width, height) in [(10_000, 1), (1, 10_000), (1, 1)] {
            let boxed = letterbox(&gray(width, height), 64, 64);
            assert_eq!(boxed.samples.len(), 64 * 64, "{width}×{height}");
        }
    }

    #[test]
    fn gray_as_rgb_gives_the_same_samples_in_each_channel() {
        let frame = gray(50, 30);
        let Pixels::Gray(pixels) = &frame.pixels else { unreachable!() };
        let rgb = pixels.iter().flat_map(|pixel| [*pixel; 3]).collect();
        let colour = letterbox(&Frame { pixels: Pixels::Rgb(rgb), ..frame.clone() }, 64, 64);
        let single = letterbox(&frame, 64, 64);
        for plane in colour.samples.chunks_exact(64 * 64) {
            assert_eq!(plane, single.samples);
        }
    }
}
