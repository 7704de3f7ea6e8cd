//! Recognizes the format by the first bytes, and variants that decoders misread.

use image::ImageFormat;

use super::{DecodeError, png};

/// Most bytes of an EXIF block. Cameras write up to 64 KiB, as JPEG has no room for more; it is
/// kept while the header is read.
const MAX_EXIF_BYTES: usize = 256 * 1024;

/// Most values of one field of a TIFF. A list of strips has one for each, so that 16,384 rows fit
/// in any case; the decoder takes 40 bytes for each value.
const MAX_TIFF_VALUES: u32 = 16_384;

/// Longest header of a PAM: seven short lines.
const MAX_PAM_HEADER_BYTES: usize = 4096;

/// The accepted format that the bytes belong to.
pub(super) fn sniff(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if matches!(bytes, [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..]) {
        return Err(unsupported("BigTIFF"));
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::NotAnImage(other_kind(bytes)))?;
    match format {
        ImageFormat::Jpeg | ImageFormat::Bmp => {}
        ImageFormat::Png => check_exif(png::chunks(bytes), *b"eXIf")?,
        ImageFormat::WebP => check_exif(riff_chunks(bytes), *b"EXIF")?,
        ImageFormat::Tiff => check_tiff(bytes)?,
        ImageFormat::Pnm => check_pam(bytes)?,
        _ => return Err(DecodeError::NotAnImage(other_kind(bytes))),
    }
    Ok(format)
}

fn unsupported(kind: &str) -> DecodeError {
    DecodeError::Unsupported(kind.into())
}

/// The kind of file that is not an image, if its first bytes show it.
fn other_kind(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'G', b'I', b'F', b'8', ..] => ", but GIF",
        [b'%', b'P', b'D', b'F', ..] => ", but PDF",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => ", but HEIF, AVIF or a video",
        [b'd', b'a', b't', b'a', b':', ..] => ", but a data URL: send the bytes that it holds",
        // How JPEG and PNG begin in base64.
        [b'/', b'9', b'j', b'/', ..] | [b'i', b'V', b'B', b'O', b'R', ..] => {
            ", but base64: send the bytes that it stands for"
        }
        [b'{' | b'[', ..] => ", but JSON: send the bytes of an image",
        _ => "",
    }
}

fn check_exif<'a>(
    mut chunks: impl Iterator<Item = ([u8; 4], &'a [u8])>,
    kind: [u8; 4],
) -> Result<(), DecodeError> {
    match chunks.find(|(this, content)| *this == kind && content.len() > MAX_EXIF_BYTES) {
        Some(_) => Err(unsupported("an EXIF block of more than 256 KiB: take it out")),
        None => Ok(()),
    }
}

/// Type and content of each chunk of a RIFF file; the content may be cut off.
fn riff_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    // `RIFF`, the file's length, `WEBP`.
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk()?;
        let (length, content) = after.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        // An odd length is padded.
        rest = content.get(length.saturating_add(length & 1)..).unwrap_or_default();
        Some((*kind, &content[..content.len().min(length)]))
    })
}

/// Refuses what the TIFF decoder reads wrongly, or not at all. Only the first image counts (TIFF
/// 6.0, section 2).
fn check_tiff(bytes: &[u8]) -> Result<(), DecodeError> {
    const COMPRESSION: u16 = 259;
    const FILL_ORDER: u16 = 266;
    const PLANAR_CONFIGURATION: u16 = 284;
    const TILE_WIDTH: u16 = 322;
    /// Fields whose values the decoder reads; it allocates for them before any limit applies.
    const READ: &[u16] = &[
        256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 530,
        700,
    ];

    let big_endian = bytes.starts_with(b"MM");
    let u16_at = |at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let Some(directory) = u32_at(4).and_then(|at| usize::try_from(at).ok()) else { return Ok(()) };
    let (mut planar, mut tiled) = (false, false);
    for entry in 0..usize::from(u16_at(directory).unwrap_or(0)) {
        let at = directory + 2 + 12 * entry;
        // A short value stands in the first half of its field. The decoder reports truncation.
        let (Some(tag), Some(count), Some(value)) = (u16_at(at), u32_at(at + 4), u16_at(at + 8)) else {
            break;
        };
        if count > MAX_TIFF_VALUES && READ.contains(&tag) {
            return Err(unsupported("TIFF with more than 16,384 strips, tiles or values of another field"));
        }
        match (tag, value) {
            (FILL_ORDER, 2) => return Err(unsupported("TIFF with its bits in reverse order, FillOrder 2")),
            // The decoder for JPEG in TIFF would fill missing data with gray.
            (COMPRESSION, 6 | 7) => return Err(unsupported("JPEG inside of TIFF")),
            (PLANAR_CONFIGURATION, 2) => planar = true,
            (TILE_WIDTH, _) => tiled = true,
            _ => {}
        }
    }
    // The decoder writes past a plane whose height is no multiple of the tile's.
    if planar && tiled { Err(unsupported("TIFF in tiles with its colours apart")) } else { Ok(()) }
}

/// Refuses PAM of more than 8 bits without a known tuple type: it would be read as 8 bits. Also
/// refuses long headers, of which the decoder keeps several copies.
fn check_pam(bytes: &[u8]) -> Result<(), DecodeError> {
    if !bytes.starts_with(b"P7") {
        return Ok(());
    }
    let header = &bytes[..bytes.len().min(MAX_PAM_HEADER_BYTES)];
    let (mut deep, mut described) = (false, false);
    for line in header.split(|byte| *byte == b'\n').skip(1) {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            Some(b"ENDHDR") if deep && !described => {
                return Err(unsupported("PAM of more than 8 bits without a TUPLTYPE"));
            }
            Some(b"ENDHDR") => return Ok(()),
            Some(b"TUPLTYPE") => described = true,
            Some(b"MAXVAL") => {
                let level = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
                deep = level.is_some_and(|level| level > 255);
            }
            _ => {}
        }
    }
    Err(DecodeError::Broken("the PAM header has no end within 4 KiB".into()))
}
