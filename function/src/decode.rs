//! From bytes to pixels, with every limit checked in the header before anything is decoded.

use std::io::Cursor;

use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::RequestError;

/// Bytes a decoded image may take for each pixel allowed: gray, RGB and 8-bit RGBA fit in full;
/// 16-bit RGB at the very limit does not.
const DECODED_BYTES_PER_PIXEL: u64 = 4;

/// What decoders may allocate beyond the pixels themselves (tables, rows, chunks).
const DECODER_OVERHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// An upright image.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixels, row by row from the top left.
    pub pixels: Pixels,
}

/// 8-bit samples.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// One byte a pixel; also what a colour file with three equal channels becomes.
    Gray(Vec<u8>),
    /// Three bytes a pixel: red, green, blue.
    Rgb(Vec<u8>),
}

/// Decodes an image of any accepted format; the content decides, not the declared type.
///
/// 16-bit samples are scaled to 8 bits, transparency is dropped, EXIF orientation is applied.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Frame, RequestError> {
    if bytes.is_empty() {
        return Err(RequestError::EmptyBody);
    }
    let format = sniff(bytes).ok_or(RequestError::NotAnImage)?;
    let too_many = |width, height| RequestError::TooManyPixels { width, height, limit: max_pixels };
    // The crate's decoder fills what is missing of a JPEG with gray and says nothing.
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(RequestError::BrokenImage("the JPEG has no end-of-image marker".into()));
    }

    let budget = max_pixels.saturating_mul(DECODED_BYTES_PER_PIXEL);
    let mut limits = Limits::default();
    limits.max_alloc = Some(budget.saturating_add(DECODER_OVERHEAD_BYTES));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| translate(error, too_many(0, 0)))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(RequestError::UnsupportedImage("it has no pixels".into()));
    }
    if u64::from(width) * u64::from(height) > max_pixels || decoder.total_bytes() > budget {
        return Err(too_many(width, height));
    }
    let orientation = decoder.orientation().map_err(|error| translate(error, too_many(width, height)))?;
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|error| translate(error, too_many(width, height)))?;
    image.apply_orientation(orientation);
    Ok(into_frame(image))
}

fn into_frame(image: DynamicImage) -> Frame {
    let (width, height) = (image.width(), image.height());
    let gray = matches!(
        image,
        DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageLumaA16(_)
    );
    let pixels = if gray {
        Pixels::Gray(image.into_luma8().into_raw())
    } else {
        let rgb = image.into_rgb8().into_raw();
        // Night-vision cameras mostly write gray as colour: one channel is a third of the work.
        if rgb.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b) {
            Pixels::Gray(rgb.as_chunks::<3>().0.iter().map(|[r, _, _]| *r).collect())
        } else {
            Pixels::Rgb(rgb)
        }
    };
    Frame { width, height, pixels }
}

/// The accepted format that the first bytes belong to.
fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(bytes).ok()?;
    let accepted = matches!(
        format,
        ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Tiff
            | ImageFormat::Pnm
    );
    accepted.then_some(format)
}

fn translate(error: ImageError, too_many_pixels: RequestError) -> RequestError {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory => too_many_pixels,
            _ => RequestError::UnsupportedImage("it asks for more than the decoder allows".into()),
        },
        ImageError::Unsupported(error) => RequestError::UnsupportedImage(error.to_string()),
        ImageError::Decoding(error) => RequestError::BrokenImage(error.to_string()),
        ImageError::IoError(error) => RequestError::BrokenImage(error.to_string()),
        error => RequestError::BrokenImage(error.to_string()),
    }
}

/// Whether the end-of-image marker is there (ITU-T T.81, annex B), thumbnails inside segments
/// aside.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 2;
    loop {
        // To the next marker; entropy-coded data after a scan's header hold none (FF is stuffed
        // with 00).
        let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) else {
            return false;
        };
        at += step + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END_OF_IMAGE) => return true,
            // A fill byte: the marker may start here.
            Some(0xFF) => {}
            // Stuffing, restart markers, start of image, TEM: none of them carries a length.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            Some(_) => {
                let Some([high, low]) = bytes.get(at + 1..).and_then(|length| length.first_chunk()) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([*high, *low]));
            }
        }
    }
}
