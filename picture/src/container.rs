//! What the first bytes say: the format, and variants that decoders take for something else.

use image::ImageFormat;

use super::DecodeError;

/// The accepted format that the bytes belong to.
pub(super) fn sniff(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if matches!(bytes, [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..]) {
        return Err(unsupported("BigTIFF"));
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::NotAnImage(other_kind(bytes)))?;
    match format {
        ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp => {}
        ImageFormat::Tiff => check_tiff(bytes)?,
        ImageFormat::Pnm => check_pam(bytes)?,
        _ => return Err(DecodeError::NotAnImage(other_kind(bytes))),
    }
    Ok(format)
}

fn unsupported(kind: &str) -> DecodeError {
    DecodeError::Unsupported(kind.into())
}

/// What was sent instead of an image, where its first bytes tell.
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

/// Refuses what the TIFF decoder reads wrongly, or not at all. Only the first image counts (TIFF
/// 6.0, section 2).
fn check_tiff(bytes: &[u8]) -> Result<(), DecodeError> {
    const COMPRESSION: u16 = 259;
    const FILL_ORDER: u16 = 266;
    const PLANAR_CONFIGURATION: u16 = 284;
    const TILE_WIDTH: u16 = 322;

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
        // A short value stands in the first half of its field. What is cut off is the decoder's to
        // report.
        let (Some(tag), Some(value)) = (u16_at(at), u16_at(at + 8)) else { break };
        match (tag, value) {
            (FILL_ORDER, 2) => return Err(unsupported("TIFF with its bits in reverse order, FillOrder 2")),
            // The decoder inside would fill what is missing with gray.
            (COMPRESSION, 6 | 7) => return Err(unsupported("JPEG inside of TIFF")),
            (PLANAR_CONFIGURATION, 2) => planar = true,
            (TILE_WIDTH, _) => tiled = true,
            _ => {}
        }
    }
    // The decoder writes past a plane whose height is no multiple of the tile's.
    if planar && tiled { Err(unsupported("TIFF in tiles with its colours apart")) } else { Ok(()) }
}

/// Refuses PAM of more than 8 bits that does not say what its samples are: they would be read as
/// of 8.
fn check_pam(bytes: &[u8]) -> Result<(), DecodeError> {
    if !bytes.starts_with(b"P7") {
        return Ok(());
    }
    let mut deep = false;
    for line in bytes.split(|byte| *byte == b'\n').skip(1) {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            Some(b"ENDHDR") => break,
            Some(b"TUPLTYPE") => return Ok(()),
            Some(b"MAXVAL") => {
                let level = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
                deep = level.is_some_and(|level| level > 255);
            }
            _ => {}
        }
    }
    if deep { Err(unsupported("PAM of more than 8 bits without a TUPLTYPE")) } else { Ok(()) }
}
