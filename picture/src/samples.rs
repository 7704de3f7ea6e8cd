//! From the samples of any file to 8-bit planes.

use image::{ColorType, DynamicImage};

use super::{BitDepth, DecodeError, Pixels};

/// 16-bit samples no brighter than this, the most of 12 bits, come from a camera with fewer bits:
/// unscaled they would be nearly black.
const BRIGHTEST_OF_12_BITS: u16 = u16::MAX >> 4;

/// Drops transparency and scales to 8 bits. `depth` is the client's statement about 16-bit samples.
pub(super) fn from_image(image: DynamicImage, depth: Option<BitDepth>) -> Result<Pixels, DecodeError> {
    let channels = usize::from(image.color().channel_count());
    let colour = if channels < 3 { 1 } else { 3 };
    let planes = match image.color() {
        ColorType::L8 => return Ok(Pixels::Gray(image.into_bytes())),
        ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            planes(image.as_bytes(), channels, colour, |level| level)
        }
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let samples = match &image {
                DynamicImage::ImageLuma16(image) => image.as_raw(),
                DynamicImage::ImageLumaA16(image) => image.as_raw(),
                DynamicImage::ImageRgb16(image) => image.as_raw(),
                DynamicImage::ImageRgba16(image) => image.as_raw(),
                _ => return Err(unsupported()),
            };
            let full_scale = match depth {
                Some(depth) => depth.full_scale(),
                None => full_scale(samples, channels, colour)?,
            };
            let (half, full_scale) = (u32::from(full_scale / 2), u32::from(full_scale));
            let scaled = |level: u16| ((u32::from(level).min(full_scale) * 255 + half) / full_scale) as u8;
            planes(samples, channels, colour, scaled)
        }
        _ => return Err(unsupported()),
    };
    Ok(pixels(planes, colour))
}

impl Pixels {
    /// From red, green and blue side by side, pixel by pixel.
    pub fn from_rgb(samples: &[u8]) -> Self {
        pixels(planes(samples, 3, 3, |level| level), 3)
    }
}

/// Planes, one after the other, as what they are.
fn pixels(mut planes: Vec<u8>, colour: usize) -> Pixels {
    if colour == 1 {
        return Pixels::Gray(planes);
    }
    let pixels = planes.len() / colour;
    let (red, rest) = planes.split_at(pixels);
    // Night-vision cameras mostly write gray as colour: one channel is a third of the work.
    if red == &rest[..pixels] && red == &rest[pixels..] {
        planes.truncate(pixels);
        return Pixels::Gray(planes);
    }
    Pixels::Rgb(planes)
}

fn unsupported() -> DecodeError {
    DecodeError::Unsupported("its samples are not whole numbers of 8 or 16 bits".into())
}

/// Full scale of 16-bit samples without a stated depth.
fn full_scale(samples: &[u16], channels: usize, colour: usize) -> Result<u16, DecodeError> {
    let pixels = samples.chunks_exact(channels);
    let brightest = pixels.flat_map(|pixel| &pixel[..colour]).copied().max().unwrap_or(u16::MAX);
    if brightest <= BRIGHTEST_OF_12_BITS {
        let bits = (u16::BITS - brightest.leading_zeros()).max(9);
        return Err(DecodeError::Unsupported(format!(
            "the brightest of its 16-bit samples is {brightest}, as of a camera with {bits} bits: add the query \
             parameter bit_depth={bits}, bit_depth=16 if the picture is that dark, or scale the samples"
        )));
    }
    Ok(u16::MAX)
}

/// The first `colour` of `channels` interleaved channels, one after the other.
fn planes<T: Copy>(samples: &[T], channels: usize, colour: usize, level: impl Fn(T) -> u8) -> Vec<u8> {
    let mut planes = Vec::with_capacity(samples.len() / channels * colour);
    for channel in 0..colour {
        planes.extend(samples.chunks_exact(channels).map(|pixel| level(pixel[channel])));
    }
    planes
}
