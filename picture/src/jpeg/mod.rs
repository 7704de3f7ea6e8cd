//! A JPEG decoder that gives libjpeg-turbo's pixels, to the bit, or says why not (ITU-T T.81; the
//! arithmetic is libjpeg's).
//!
//! # Layout
//!
//! - [`markers`]: the segments between the scans: tables, frame header, scan headers
//! - [`bits`]: the bits of one restart interval, with its end
//! - [`huffman`]: codes to symbols
//! - [`scan`]: sequential scans straight to samples, and what all scans share; the transform is a
//!   kernel of `model-runtime`
//! - [`progressive`]: scans to coefficients, and those to samples
//! - [`upsample`]: chroma to full size
//! - [`colour`]: YCbCr and CMYK to RGB
//!
//! Sequential and progressive Huffman-coded frames of 8 bits are decoded. Every block that the
//! frame header declares must be in the file: decoders for viewing fill missing blocks with gray,
//! which a classifier would then judge. The reasons for a decoder of our own are in
//! `docs/decoding.md`.

mod bits;
mod colour;
mod huffman;
mod markers;
mod progressive;
mod scan;
mod upsample;

use markers::{Marker, Segments};
use progressive::Coefficients;
use scan::{Component, Frame, Scan};

/// Most scans of one image. Encoders write about ten; each costs a pass over all blocks, however
/// few bytes it has.
const MAX_SCANS: usize = 64;

/// Why decoding failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// The file is cut off or corrupt.
    #[error("{0}")]
    Broken(&'static str),
    /// The file seems complete, and is of a kind that is not supported.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// Samples of a decoded image, plane by plane, each row by row without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planes {
    /// One plane.
    Gray(Vec<u8>),
    /// Red, then green, then blue, in one vector.
    Rgb(Vec<u8>),
}

/// A JPEG whose headers have been read.
#[derive(Debug)]
pub struct Jpeg<'a> {
    segments: Segments<'a>,
    frame: Frame,
    scan: Scan,
}

impl<'a> Jpeg<'a> {
    /// Reads up to the first scan.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        let mut segments = Segments::new(bytes)?;
        let mut frame = None;
        loop {
            match segments.next()? {
                Marker::Frame(header) if frame.is_none() => frame = Some(Frame::new(header)?),
                Marker::Frame(_) => return Err(JpegError::Broken("it has two frame headers")),
                Marker::Scan(header) => {
                    let frame = frame.ok_or(JpegError::Broken("a scan comes before the frame header"))?;
                    let scan = Scan::new(header, &frame)?;
                    return Ok(Self { segments, frame, scan });
                }
                Marker::EndOfImage => return Err(JpegError::Broken("it has no scan")),
            }
        }
    }

    /// Width and height in pixels, as stored.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.frame.width as u32, self.frame.height as u32)
    }

    /// The EXIF block, without its `Exif\0\0`.
    pub fn exif(&self) -> Option<&'a [u8]> {
        self.segments.exif()
    }

    /// Planes of the decoded image, at most.
    pub fn channels(&self) -> usize {
        if self.frame.components.len() == 1 { 1 } else { 3 }
    }

    /// Peak memory of decoding in bytes, including the resulting planes. `bytes` is the length of
    /// the file.
    pub fn memory(&self, bytes: usize) -> usize {
        let frame = &self.frame;
        let planes: Vec<usize> = frame.components.iter().map(Component::plane_len).collect();
        let samples: usize = planes.iter().sum();
        // Coefficients become samples component by component, and are freed on the way.
        let decoding = if frame.progressive {
            let coefficients = |at: usize| planes[at..].iter().sum::<usize>() * size_of::<i16>();
            let held = |at: usize| coefficients(at) + planes[..=at].iter().sum::<usize>();
            (0..planes.len()).map(held).max().unwrap_or(0)
        } else {
            samples
        };
        let colour = match planes.len() {
            1 => samples,
            components => samples + components * frame.width * frame.height,
        };
        // One restart interval without its stuffed bytes may be the whole file.
        (bytes + decoding).max(colour)
    }

    /// Decodes all scans.
    pub fn decode(self) -> Result<Planes, JpegError> {
        let Self { mut segments, mut frame, mut scan } = self;
        let mut coefficients = frame.progressive.then(|| Coefficients::new(&frame));
        let mut scans = 1;
        loop {
            match &mut coefficients {
                Some(coefficients) => coefficients.decode(&mut frame, &scan, &mut segments)?,
                None => frame.decode_sequential(&scan, &mut segments)?,
            }
            match segments.next()? {
                Marker::Scan(header) => scan = Scan::new(header, &frame)?,
                Marker::Frame(_) => return Err(JpegError::Broken("it has two frame headers")),
                Marker::EndOfImage => break,
            }
            scans += 1;
            if scans > MAX_SCANS {
                return Err(JpegError::Unsupported("it has more than 64 scans"));
            }
        }
        if let Some(coefficients) = coefficients {
            coefficients.finish(&mut frame)?;
        }
        if frame.components.iter().any(|component| !component.complete) {
            return Err(JpegError::Broken("the scans of a component are missing"));
        }
        let space = segments.colour_space(&frame);
        Ok(colour::planes(frame, space))
    }
}
