//! Decodes images to 8-bit pixels; anything that cannot be decoded exactly is refused. Every limit
//! is checked in the header before anything is decoded.
//!
//! # Layout
//!
//! - [`container`]: the format, by the first bytes, and variants that decoders would read wrongly
//! - [`jpeg`]: a decoder of JPEG; the other formats are the image crate's
//! - [`png`]: the chunks of a PNG that are passed to its decoder
//! - [`samples`]: samples of any width to 8 bits; [`orient`]: upright, as EXIF says
//!
//! Independent of requests and of the model.

mod container;
pub mod jpeg;
mod orient;
mod png;
mod samples;

use std::io::Cursor;
use std::panic::AssertUnwindSafe;

use image::codecs::png::PngDecoder;
use image::error::{ImageError, ImageResult, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::jpeg::{Jpeg, JpegError, Planes};

/// Bytes that an image as its file stores it may take for each pixel allowed: gray, RGB and 8-bit
/// RGBA fit in full; 16-bit RGB at the very limit does not.
const STORED_BYTES_PER_PIXEL: u64 = 4;

/// What decoders may allocate beyond the pixels themselves (tables, rows, chunks).
const DECODER_OVERHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// Tables, rows, and what the allocator rounds up.
const OVERHEAD_BYTES: usize = 1024 * 1024;

/// Rows that png 0.18 holds beside the image: those that it inflated, in a vector that grows until
/// some rows are done with, the one before, and with Adam7 one more. It took up to 7.2 of them, and
/// of an image of few rows as many as it has and 1.2.
fn png_rows(height: usize) -> usize {
    const MOST: usize = 8;
    MOST.min(height + 2)
}

/// Why decoding failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are of no format that is accepted.
    #[error("not an image of a known format{0}")]
    NotAnImage(
        /// The kind of file, if recognized; begins with a comma.
        &'static str,
    ),
    /// The image ends before its last pixel or its data are corrupt.
    #[error("truncated or corrupt: {0}")]
    Broken(String),
    /// The image is of a known format, in a variant that is not read.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The image has more pixels than allowed.
    #[error("{width}×{height} are more than {limit} pixels")]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit in pixels.
        limit: u64,
    },
    /// The decoder of the image's format panicked: a defect of that decoder, on this file.
    #[error("the decoder failed")]
    DecoderFailed,
}

/// An upright image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixels.
    pub pixels: Pixels,
}

/// 8-bit samples, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// One plane; also what a colour file with three equal channels becomes.
    Gray(Vec<u8>),
    /// Three planes, one after the other: red, green, blue.
    Rgb(Vec<u8>),
}

impl Pixels {
    /// All planes, and how many they are.
    pub fn planes(&self) -> (&[u8], usize) {
        match self {
            Self::Gray(samples) => (samples, 1),
            Self::Rgb(samples) => (samples, 3),
        }
    }
}

/// How many bits of 16-bit samples a camera fills, from the lowest: 9 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitDepth(u32);

impl BitDepth {
    /// From 9 to 16.
    pub fn new(bits: u32) -> Option<Self> {
        (9..=16).contains(&bits).then_some(Self(bits))
    }

    /// The brightest level.
    fn full_scale(self) -> u16 {
        u16::MAX >> (16 - self.0)
    }
}

/// An image whose header has been read.
pub struct Undecoded<'a> {
    width: u32,
    height: u32,
    orientation: Orientation,
    bytes: usize,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Jpeg(Box<Jpeg<'a>>),
    Other(ImageFormat, Box<dyn ImageDecoder + 'a>),
}

/// Reads the header of an image of any accepted format, and decodes it; see [`Undecoded`].
pub fn decode(bytes: &[u8], max_pixels: u64, depth: Option<BitDepth>) -> Result<Frame, DecodeError> {
    Undecoded::new(bytes, max_pixels)?.decode(depth)
}

impl<'a> Undecoded<'a> {
    /// The content decides about the format, not the declared type.
    pub fn new(bytes: &'a [u8], max_pixels: u64) -> Result<Self, DecodeError> {
        let format = container::sniff(bytes)?;
        let too_many = |width, height| DecodeError::TooManyPixels { width, height, limit: max_pixels };
        let check = |width: u32, height: u32| match u64::from(width) * u64::from(height) {
            0 => Err(DecodeError::Unsupported("it has no pixels".into())),
            pixels if pixels > max_pixels => Err(too_many(width, height)),
            _ => Ok(()),
        };
        if format == ImageFormat::Jpeg {
            let jpeg = Jpeg::new(bytes)?;
            let (width, height) = jpeg.dimensions();
            check(width, height)?;
            let orientation = jpeg.exif().and_then(Orientation::from_exif_chunk);
            let orientation = orientation.unwrap_or(Orientation::NoTransforms);
            return Ok(Self {
                width,
                height,
                orientation,
                bytes: bytes.len(),
                kind: Kind::Jpeg(Box::new(jpeg)),
            });
        }

        let stored = max_pixels.saturating_mul(STORED_BYTES_PER_PIXEL);
        let mut limits = Limits::default();
        limits.max_alloc = Some(stored.saturating_add(DECODER_OVERHEAD_BYTES));
        guarded(|| {
            let decoder = reader(bytes, format, limits);
            let mut decoder = decoder.map_err(|error| translate(error, too_many(0, 0)))?;
            let (width, height) = decoder.dimensions();
            check(width, height)?;
            if decoder.total_bytes() > stored {
                let limit = stored / u64::from(decoder.color_type().bytes_per_pixel());
                return Err(DecodeError::TooManyPixels { width, height, limit });
            }
            let orientation =
                decoder.orientation().map_err(|error| translate(error, too_many(width, height)))?;
            let kind = Kind::Other(format, decoder);
            Ok(Self { width, height, orientation, bytes: bytes.len(), kind })
        })
    }

    /// Peak memory of decoding in bytes, beside the encoded ones: the decoder's scratch memory, the
    /// pixels, a turned copy. The function's memory budget depends on it; `docs/hostile-input.md`
    /// has it measured.
    pub fn memory(&self) -> usize {
        let pixels = self.width as usize * self.height as usize;
        let (decoding, channels) = match &self.kind {
            Kind::Jpeg(jpeg) => (jpeg.memory(self.bytes), jpeg.channels()),
            Kind::Other(format, decoder) => {
                let stored = decoder.total_bytes() as usize;
                let row = stored / (self.height as usize).max(1);
                let colour = decoder.color_type();
                let channels = if colour.channel_count() < 3 { 1 } else { 3 };
                let working = match format {
                    // Both the decoder and what calls it hold the whole image.
                    ImageFormat::Tiff => 2 * stored,
                    // Lossy: luminance, chrominance and transparency, each more than once;
                    // lossless: a copy in 32 bits.
                    ImageFormat::WebP => stored + 7 * pixels,
                    ImageFormat::Png => stored + png_rows(self.height as usize) * row,
                    _ => stored,
                };
                let converted = if colour == ColorType::L8 { stored } else { stored + channels * pixels };
                (working.max(converted), channels)
            }
        };
        let turned = if self.orientation == Orientation::NoTransforms { 0 } else { 2 * channels * pixels };
        decoding.max(turned) + OVERHEAD_BYTES
    }

    /// Width and height in pixels, as stored.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Decodes. 16-bit samples are scaled to 8 bits, transparency is dropped, EXIF orientation is
    /// applied.
    pub fn decode(self, depth: Option<BitDepth>) -> Result<Frame, DecodeError> {
        let Self { width, height, orientation, kind, .. } = self;
        let too_many =
            DecodeError::TooManyPixels { width, height, limit: u64::from(width) * u64::from(height) };
        let pixels = guarded(|| match kind {
            Kind::Jpeg(jpeg) => Ok(match jpeg.decode()? {
                Planes::Gray(samples) => Pixels::Gray(samples),
                Planes::Rgb(samples) => Pixels::Rgb(samples),
            }),
            Kind::Other(format, decoder) => {
                let image =
                    DynamicImage::from_decoder(decoder).map_err(|error| translate(error, too_many))?;
                // PNM states its brightest level, and the decoder has scaled by it.
                let depth = if format == ImageFormat::Pnm { BitDepth::new(16) } else { depth };
                samples::from_image(image, depth)
            }
        })?;
        Ok(orient::upright(Frame { width, height, pixels }, orientation))
    }
}

/// The image crate's decoder.
fn reader(bytes: &[u8], format: ImageFormat, limits: Limits) -> ImageResult<Box<dyn ImageDecoder + '_>> {
    if format == ImageFormat::Png {
        let mut decoder = PngDecoder::with_limits(png::Reader::new(bytes), limits.clone())?;
        decoder.set_limits(limits)?;
        return Ok(Box::new(decoder));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    Ok(Box::new(reader.into_decoder()?))
}

/// A decoder that panics is a defect of that decoder, not of the thread that runs it or of the
/// service.
fn guarded<T>(decode: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    std::panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(DecodeError::DecoderFailed))
}

fn translate(error: ImageError, too_many_pixels: DecodeError) -> DecodeError {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory => too_many_pixels,
            _ => DecodeError::Unsupported("it asks for more than the decoder allows".into()),
        },
        ImageError::Unsupported(error) => DecodeError::Unsupported(error.to_string()),
        ImageError::Decoding(error) => DecodeError::Broken(error.to_string()),
        ImageError::IoError(error) => DecodeError::Broken(error.to_string()),
        error => DecodeError::Broken(error.to_string()),
    }
}

impl From<JpegError> for DecodeError {
    fn from(error: JpegError) -> Self {
        match error {
            JpegError::Broken(reason) => Self::Broken(reason.into()),
            JpegError::Unsupported(kind) => Self::Unsupported(kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_16_bit_colour_picture_is_refused_with_the_number_of_pixels_that_may_be() {
        let mut file = std::io::Cursor::new(vec![]);
        DynamicImage::new_rgb16(10, 10).write_to(&mut file, ImageFormat::Png).expect("encoded");
        let refused = DecodeError::TooManyPixels { width: 10, height: 10, limit: 66 };
        assert_eq!(decode(file.get_ref(), 100, None), Err(refused));
        let taken = decode(file.get_ref(), 150, BitDepth::new(16)).map(|frame| (frame.width, frame.height));
        assert_eq!(taken, Ok((10, 10)));
    }

    #[test]
    fn a_decoder_that_panics_is_a_refusal() {
        assert_eq!(guarded(|| Ok(7)), Ok(7));
        assert_eq!(guarded::<()>(|| panic!("an index out of range")), Err(DecodeError::DecoderFailed));
    }
}
