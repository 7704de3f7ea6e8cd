//! Draws the boxes onto the image, for `Accept: image/png` and `image/jpeg`.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, Rgb, RgbImage};

use crate::detection::{Detection, EyeState};
use crate::error::RequestError;
use picture::{Frame, Pixels};

/// Orange and blue of Okabe and Ito's palette: distinguishable with colour blindness.
const OPEN_COLOUR: Rgb<u8> = Rgb([230, 159, 0]);
const CLOSED_COLOUR: Rgb<u8> = Rgb([86, 180, 233]);
const LABEL_TEXT: Rgb<u8> = Rgb([0, 0, 0]);

/// Quality of annotated JPEGs: no visible artefacts around the lines.
const JPEG_QUALITY: u8 = 90;

/// Lines are one pixel for each this many pixels of the longer side, so that they are visible at
/// any size.
const PIXELS_PER_LINE_WIDTH: u32 = 320;

/// Width and height of a glyph in dots, and the dots from one to the next.
const GLYPH: (u32, u32) = (5, 7);
const GLYPH_ADVANCE: u32 = 6;

/// Formats of an annotated image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Lossless.
    Png,
    /// Small.
    Jpeg,
}

impl PictureFormat {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// Longest side of an annotated image: the most that JPEG has room for (ITU-T T.81, B.2.2). Each
/// row of a PNG costs time however short it is: 16,777,216 rows of one pixel took 13 seconds.
pub const MAX_SIDE: u32 = 65_535;

/// Refuses an image that is too long to be drawn, which is known before it is decoded.
pub fn check((width, height): (u32, u32)) -> Result<(), RequestError> {
    let side = width.max(height);
    if side > MAX_SIDE { Err(RequestError::TooLongToDraw { side, limit: MAX_SIDE }) } else { Ok(()) }
}

/// Rows that the encoder of PNG holds.
const ENCODER_ROWS: usize = 4;

/// Most bytes that drawing and encoding an image of this size takes beside its own pixels: a copy
/// in colour, and the encoded bytes, which may be as many and are in a vector that doubles. The
/// encoder of PNG holds some rows besides, as they are and filtered.
pub fn memory((width, height): (u32, u32), format: PictureFormat) -> usize {
    let copies = match format {
        PictureFormat::Png => 3,
        PictureFormat::Jpeg => 2,
    };
    let rows = match format {
        PictureFormat::Png => ENCODER_ROWS,
        PictureFormat::Jpeg => 0,
    };
    let row = 3 * width as usize;
    copies * row * height as usize + rows * row
}

/// Draws the boxes with state and confidence onto the image and encodes it.
pub fn annotate(frame: &Frame, eyes: &[Detection], format: PictureFormat) -> Result<Vec<u8>, RequestError> {
    let samples = match &frame.pixels {
        Pixels::Gray(pixels) => pixels.iter().flat_map(|pixel| [*pixel; 3]).collect(),
        Pixels::Rgb(planes) => interleaved(planes),
    };
    let mut canvas =
        RgbImage::from_raw(frame.width, frame.height, samples).expect("a frame has width × height pixels");
    let line = (frame.width.max(frame.height) / PIXELS_PER_LINE_WIDTH).max(1);
    for eye in eyes {
        draw(&mut canvas, eye, line);
    }
    let mut encoded = Vec::new();
    let written = match format {
        PictureFormat::Png => canvas.write_to(&mut Cursor::new(&mut encoded), ImageFormat::Png),
        PictureFormat::Jpeg => {
            canvas.write_with_encoder(JpegEncoder::new_with_quality(&mut encoded, JPEG_QUALITY))
        }
    };
    written
        .map_err(|error| RequestError::UnsupportedImage(format!("the picture cannot be drawn: {error}")))?;
    Ok(encoded)
}

/// Converts planar samples to interleaved ones.
fn interleaved(planes: &[u8]) -> Vec<u8> {
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(red.len());
    red.iter().zip(green).zip(blue).flat_map(|((red, green), blue)| [*red, *green, *blue]).collect()
}

fn draw(canvas: &mut RgbImage, eye: &Detection, line: u32) {
    let (colour, name) = match eye.state {
        EyeState::Open => (OPEN_COLOUR, "OPEN"),
        EyeState::Closed => (CLOSED_COLOUR, "CLOSED"),
    };
    let edge = |position: f32| position.round().max(0.0) as u32;
    let bounds = eye.bounding_box;
    let (x1, y1) = (edge(bounds.x), edge(bounds.y));
    let (x2, y2) = (edge(bounds.x + bounds.width).max(x1 + 1), edge(bounds.y + bounds.height).max(y1 + 1));
    fill(canvas, (x1, y1), (x2, y1 + line), colour);
    fill(canvas, (x1, y2.saturating_sub(line)), (x2, y2), colour);
    fill(canvas, (x1, y1), (x1 + line, y2), colour);
    fill(canvas, (x2.saturating_sub(line), y1), (x2, y2), colour);

    let text = format!("{name} {:.2}", eye.confidence);
    let height = (GLYPH.1 + 2) * line;
    let width = (text.len() as u32 * GLYPH_ADVANCE + 1) * line;
    // Above the box, or below it where there is no room.
    let top = if y1 >= height { y1 - height } else { y2 };
    let left = x1.min(canvas.width().saturating_sub(width));
    fill(canvas, (left, top), (left + width, top + height), colour);
    for (index, letter) in text.chars().enumerate() {
        let origin = (left + (1 + index as u32 * GLYPH_ADVANCE) * line, top + line);
        for (row, bits) in glyph(letter).into_iter().enumerate() {
            for column in (0..GLYPH.0).filter(|column| bits >> (GLYPH.0 - 1 - column) & 1 == 1) {
                let dot = (origin.0 + column * line, origin.1 + row as u32 * line);
                fill(canvas, dot, (dot.0 + line, dot.1 + line), LABEL_TEXT);
            }
        }
    }
}

/// Fills from `from` up to but excluding `to`, clipped to the canvas.
fn fill(canvas: &mut RgbImage, from: (u32, u32), to: (u32, u32), colour: Rgb<u8>) {
    for y in from.1..to.1.min(canvas.height()) {
        for x in from.0..to.0.min(canvas.width()) {
            canvas.put_pixel(x, y, colour);
        }
    }
}

/// Rows of a 5×7 dot letter, the leftmost dot in bit 4. Only the characters of labels.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        'C' => [14, 17, 16, 16, 16, 17, 14],
        'D' => [30, 17, 17, 17, 17, 17, 30],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'L' => [16, 16, 16, 16, 16, 16, 31],
        'N' => [17, 25, 21, 19, 17, 17, 17],
        'O' | '0' => [14, 17, 17, 17, 17, 17, 14],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 2, 4, 8, 31],
        '3' => [30, 1, 1, 14, 1, 1, 30],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;

    #[test]
    fn the_box_is_drawn_where_the_eye_is_and_the_rest_stays() {
        let frame = Frame { width: 64, height: 64, pixels: Pixels::Gray(vec![50; 64 * 64]) };
        let eye = Detection {
            state: EyeState::Open,
            confidence: 0.9,
            bounding_box: BoundingBox { x: 10.0, y: 30.0, width: 20.0, height: 10.0 },
        };
        let png = annotate(&frame, &[eye], PictureFormat::Png).expect("encodes");
        let picture = image::load_from_memory(&png).expect("is a PNG").into_rgb8();
        assert_eq!(picture.get_pixel(10, 35), &OPEN_COLOUR);
        assert_eq!(picture.get_pixel(29, 35), &OPEN_COLOUR);
        assert_eq!(picture.get_pixel(20, 35), &Rgb([50; 3]));
        assert_eq!(picture.get_pixel(60, 60), &Rgb([50; 3]));
    }

    #[test]
    fn boxes_at_and_over_the_edge_do_no_harm() {
        let frame = Frame { width: 8, height: 8, pixels: Pixels::Gray(vec![0; 64]) };
        let eye = Detection {
            state: EyeState::Closed,
            confidence: 1.0,
            bounding_box: BoundingBox { x: 7.9, y: 7.9, width: 0.1, height: 50.0 },
        };
        annotate(&frame, &[eye], PictureFormat::Jpeg).expect("encodes");
    }
}
