//! Synthetic faces, as an infrared camera over a bed would see them: the samples, fixtures and
//! load-test input of a project that may hold no picture of a real person.
//!
//! # Layout
//!
//! - [`Recipe`] says what a picture is of; `Recipe::draw` puts the painters in order: bed, hair,
//!   face, eyes, covers, camera. Every painter maps a point to a brightness over what lies below
//!   it.
//! - [`Picture`] is the result with its ground truth, [`EyeTruth`].
//! - [`samples`] is the list of the committed samples.
//!
//! Nothing is learned or copied from a photograph.

mod bed;
mod camera;
mod cover;
mod eye;
mod face;
mod field;
mod hair;
pub mod samples;
mod scene;
mod truth;

pub use scene::{Kind, Picture, Recipe};
pub use truth::{BoundingBox, EyeTruth, State};

use image::ImageEncoder;

/// JPEG quality of what is written: what a network camera sends.
const JPEG_QUALITY: u8 = 85;

/// The picture could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("encoding the picture failed")]
pub struct EncodeError(#[from] image::ImageError);

impl Picture {
    /// The picture as a grayscale JPEG file.
    ///
    /// # Errors
    /// [`EncodeError`] when a side is longer than JPEG allows (65,535).
    pub fn jpeg(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
            &self.image,
            self.image.width(),
            self.image.height(),
            image::ExtendedColorType::L8,
        )?;
        Ok(bytes)
    }
}
