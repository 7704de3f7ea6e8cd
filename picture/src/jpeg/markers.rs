//! The segments between the scans (T.81, annex B).

use model_runtime::kernels::idct::Quantization;

use super::JpegError;
use super::huffman::Definition;
use super::scan::Frame;

/// Where the coefficient that comes at each place of the file belongs in the block, row by row
/// (T.81, figure A.6).
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

const CUT_OFF: JpegError = JpegError::Broken("the JPEG has no end-of-image marker");
const SHORT_SEGMENT: JpegError = JpegError::Broken("a segment is shorter than what it must hold");

/// Markers for the caller; tables are kept by [`Segments`].
#[derive(Debug)]
pub(super) enum Marker {
    /// Start of frame.
    Frame(FrameHeader),
    /// Start of scan; its data follow.
    Scan(ScanHeader),
    /// End of image.
    EndOfImage,
}

/// A frame header (T.81, B.2.2) of a kind that is decoded.
#[derive(Debug)]
pub(super) struct FrameHeader {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<ComponentHeader>,
}

/// A component as the frame header describes it.
#[derive(Debug)]
pub(super) struct ComponentHeader {
    pub(super) id: u8,
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) quantization: usize,
}

/// A scan header (T.81, B.2.3).
#[derive(Debug)]
pub(super) struct ScanHeader {
    /// Identifier, DC table, AC table.
    pub(super) components: Vec<(u8, usize, usize)>,
    /// First and last coefficient.
    pub(super) spectrum: (usize, usize),
    /// Bit position of the scans before (0: none), and of this one.
    pub(super) approximation: (u32, u32),
}

/// How an Adobe segment says that colours were transformed: 0 not at all, 1 to YCbCr, 2 to YCCK.
pub(super) type ColourTransform = u8;

/// Walks over the file, and keeps the tables that are in force.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) quantization: [Option<Quantization>; 4],
    pub(super) dc: [Option<Definition>; 4],
    pub(super) ac: [Option<Definition>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    jfif: bool,
    adobe: Option<ColourTransform>,
    exif: Option<&'a [u8]>,
}

/// The colours that the components stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColourSpace {
    Gray,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return Err(JpegError::Broken("it does not begin with a start-of-image marker"));
        }
        Ok(Self {
            bytes,
            at: 2,
            quantization: [const { None }; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe: None,
            exif: None,
        })
    }

    pub(super) fn exif(&self) -> Option<&'a [u8]> {
        self.exif
    }

    /// The colour space that libjpeg assumes (`default_decompress_parms`).
    pub(super) fn colour_space(&self, frame: &Frame) -> ColourSpace {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => ColourSpace::Gray,
            ([_, _, _], _) if self.jfif => ColourSpace::YCbCr,
            ([_, _, _], Some(transform)) => match transform {
                0 => ColourSpace::Rgb,
                _ => ColourSpace::YCbCr,
            },
            ([b'R', b'G', b'B'], None) => ColourSpace::Rgb,
            ([_, _, _], None) => ColourSpace::YCbCr,
            (_, None | Some(0)) => ColourSpace::Cmyk,
            _ => ColourSpace::Ycck,
        }
    }

    /// Reads on to the next marker that the caller has to act on.
    pub(super) fn next(&mut self) -> Result<Marker, JpegError> {
        loop {
            let marker = self.marker()?;
            match marker {
                0xD9 => return Ok(Marker::EndOfImage),
                0xD8 => return Err(JpegError::Broken("another image begins before this one has ended")),
                // TEM, and restart markers after the last interval: nothing belongs to them.
                0x01 | 0xD0..=0xD7 => {}
                _ => {
                    let segment = self.segment()?;
                    match marker {
                        0xC0..=0xC2 => return frame(marker == 0xC2, segment).map(Marker::Frame),
                        0xC4 => self.huffman_tables(segment)?,
                        0xC3 => return Err(JpegError::Unsupported("lossless JPEG")),
                        0xC5..=0xC7 | 0xDE | 0xDF => return Err(JpegError::Unsupported("hierarchical JPEG")),
                        0xC9..=0xCB | 0xCD..=0xCF => {
                            return Err(JpegError::Unsupported("arithmetic-coded JPEG"));
                        }
                        0xF7 => return Err(JpegError::Unsupported("JPEG-LS")),
                        0xDA => return scan(segment).map(Marker::Scan),
                        0xDB => self.quantization_tables(segment)?,
                        0xDC => {
                            return Err(JpegError::Unsupported(
                                "a JPEG that tells its height after the scan",
                            ));
                        }
                        0xDD => {
                            let interval = segment.first_chunk().ok_or(SHORT_SEGMENT)?;
                            self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                        }
                        0xE0 if segment.starts_with(b"JFIF\0") => self.jfif = true,
                        0xE1 => self.exif = self.exif.or(segment.strip_prefix(b"Exif\0\0")),
                        0xEE if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
                        // Other applications' segments, comments, and reserved markers.
                        _ => {}
                    }
                }
            }
        }
    }

    /// The entropy-coded bytes up to the next marker.
    pub(super) fn interval(&mut self) -> Result<&'a [u8], JpegError> {
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let at = self.at + memchr::memchr(0xFF, rest).ok_or(CUT_OFF)?;
            match self.bytes.get(at + 1) {
                None => return Err(CUT_OFF),
                Some(0) => self.at = at + 2,
                Some(_) => {
                    self.at = at;
                    return Ok(&self.bytes[start..at]);
                }
            }
        }
    }

    /// Reads the restart marker that comes now.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), JpegError> {
        match self.marker()? {
            marker if marker == 0xD0 + number => Ok(()),
            _ => Err(JpegError::Broken("a restart marker is missing")),
        }
    }

    /// The next marker's code. Bytes before it are skipped, as in libjpeg.
    fn marker(&mut self) -> Result<u8, JpegError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr::memchr(0xFF, rest).ok_or(CUT_OFF)? + 1;
            match self.bytes.get(self.at) {
                None => return Err(CUT_OFF),
                // A fill byte: the marker may start here.
                Some(0xFF) => {}
                Some(0) => self.at += 1,
                Some(code) => {
                    self.at += 1;
                    return Ok(*code);
                }
            }
        }
    }

    fn segment(&mut self) -> Result<&'a [u8], JpegError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or(CUT_OFF)?));
        let content = rest.get(2..length.max(2)).ok_or(CUT_OFF)?;
        if length < 2 {
            return Err(SHORT_SEGMENT);
        }
        self.at += length;
        Ok(content)
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), JpegError> {
        while let Some((class, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(SHORT_SEGMENT)?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or(SHORT_SEGMENT)?;
            let tables = match class >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(JpegError::Broken("a Huffman table is of no class")),
            };
            let table = tables
                .get_mut(usize::from(class & 15))
                .ok_or(JpegError::Broken("there are four Huffman tables"))?;
            *table = Some(Definition::new(*counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    fn quantization_tables(&mut self, mut segment: &[u8]) -> Result<(), JpegError> {
        while let Some((head, rest)) = segment.split_first() {
            let wide = head >> 4 != 0;
            let (steps, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or(SHORT_SEGMENT)?;
            let table = self
                .quantization
                .get_mut(usize::from(head & 15))
                .ok_or(JpegError::Broken("there are four quantization tables"))?
                .insert([0; 64]);
            for (at, place) in ZIGZAG.into_iter().enumerate() {
                table[usize::from(place)] = if wide {
                    u16::from_be_bytes([steps[2 * at], steps[2 * at + 1]])
                } else {
                    steps[at].into()
                };
            }
            segment = rest;
        }
        Ok(())
    }
}

fn frame(progressive: bool, segment: &[u8]) -> Result<FrameHeader, JpegError> {
    let ([precision, y1, y0, x1, x0, count], components) =
        segment.split_first_chunk::<6>().ok_or(SHORT_SEGMENT)?;
    if *precision != 8 {
        return Err(JpegError::Unsupported("a JPEG of more than 8 bits a sample"));
    }
    let (components, rest) = components.as_chunks::<3>();
    if components.len() != usize::from(*count) || !rest.is_empty() {
        return Err(JpegError::Broken("the frame header is not as long as it must be"));
    }
    let component = |[id, sampling, quantization]: &[u8; 3]| ComponentHeader {
        id: *id,
        horizontal: usize::from(sampling >> 4),
        vertical: usize::from(sampling & 15),
        quantization: usize::from(*quantization),
    };
    Ok(FrameHeader {
        progressive,
        width: usize::from(u16::from_be_bytes([*x1, *x0])),
        height: usize::from(u16::from_be_bytes([*y1, *y0])),
        components: components.iter().map(component).collect(),
    })
}

fn scan(segment: &[u8]) -> Result<ScanHeader, JpegError> {
    let (count, rest) = segment.split_first().ok_or(SHORT_SEGMENT)?;
    let (components, end) = rest.split_at_checked(2 * usize::from(*count)).ok_or(SHORT_SEGMENT)?;
    let [first, last, approximation] = end else {
        return Err(JpegError::Broken("a scan header is not as long as it must be"));
    };
    let component = |[id, tables]: &[u8; 2]| (*id, usize::from(tables >> 4), usize::from(tables & 15));
    Ok(ScanHeader {
        components: components.as_chunks().0.iter().map(component).collect(),
        spectrum: ((*first).into(), (*last).into()),
        approximation: ((approximation >> 4).into(), (approximation & 15).into()),
    })
}
