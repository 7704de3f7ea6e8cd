//! What stands before the pixels takes hardly any memory, however long it is: nothing is reserved
//! for reading it. Memory as the kernel counts it.

mod kernel;

use std::io::Cursor;

use image::{GrayImage, ImageFormat};
use picture::{DecodeError, Frame, Pixels, decode};

const SIDE: u32 = 8;

/// The length of what is put before the pixels.
const LENGTH: usize = 9_000_000;

/// What reading any header may take, what the allocator keeps included.
const MOST_KIB: usize = 4096;

fn gray() -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| image::Luma([(10 * x + 20 * y) as u8]))
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    gray().write_to(&mut Cursor::new(&mut bytes), format).expect("encoded");
    bytes
}

/// A chunk of a PNG, with its check sum (PNG, third edition, annex D).
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let sum = kind.iter().chain(content).fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 },
        )
    });
    [&(content.len() as u32).to_be_bytes(), kind.as_slice(), content, &(!sum).to_be_bytes()].concat()
}

/// A PNG with more chunks behind its header.
fn png(chunks: &[u8]) -> Vec<u8> {
    let mut file = encoded(ImageFormat::Png);
    // The signature, and IHDR.
    file.splice(33..33, chunks.iter().copied());
    file
}

/// A TIFF of one strip, and a field of `LENGTH` bytes.
fn tiff(tag: u16) -> Vec<u8> {
    let side = SIDE;
    let mut fields =
        vec![(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)];
    // Behind ten fields at most.
    let data = 8 + 2 + 12 * 10 + 4;
    fields.extend([(273, 4, 1, data), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, side * side)]);
    fields.retain(|field| field.0 != tag);
    fields.push((tag, 1, LENGTH as u32, data));
    fields.sort_unstable();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in fields {
        file.extend([tag.to_le_bytes(), u16::to_le_bytes(kind)].as_flattened());
        file.extend([u32::to_le_bytes(count), value.to_le_bytes()].as_flattened());
    }
    file.resize(data as usize, 0);
    file.resize(data as usize + LENGTH, 1);
    file
}

/// Decodes, and checks what it took.
fn measured(what: &str, file: &[u8]) -> Result<Frame, DecodeError> {
    let (outcome, took) = kernel::taken(|| decode(file, 1 << 20, None));
    assert!(took <= MOST_KIB, "{what}: {took} KiB");
    outcome
}

// One test: the kernel counts the process.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "procfs is Linux's")]
fn long_headers_take_no_memory() {
    let right = Ok(Frame { width: SIDE, height: SIDE, pixels: Pixels::Gray(gray().into_raw()) });
    let text = [b"a\0".as_slice(), &vec![b'x'; LENGTH]].concat();
    assert_eq!(measured("a text", &png(&chunk(b"tEXt", &text))), right);
    let texts: Vec<u8> =
        (0..400_000).flat_map(|number: u32| chunk(b"tEXt", format!("{number}\0x").as_bytes())).collect();
    assert_eq!(measured("texts", &png(&texts)), right);
    // A profile in blocks that are stored as they are (RFC 1951, 3.2.4).
    let mut profile = b"a\0\0\x78\x01".to_vec();
    for _ in 0..LENGTH / 0xFFFF {
        profile.extend(b"\0\xff\xff\0\0");
        profile.extend([0; 0xFFFF]);
    }
    assert_eq!(measured("a profile", &png(&chunk(b"iCCP", &profile))), right);

    let refused = |what: &str, file: &[u8]| match measured(what, file) {
        Err(DecodeError::Unsupported(_) | DecodeError::Broken(_)) => {}
        other => panic!("{what}: {other:?}"),
    };
    refused("EXIF in PNG", &png(&chunk(b"eXIf", &vec![0; LENGTH])));
    let mut webp = encoded(ImageFormat::WebP);
    webp.extend([b"EXIF".as_slice(), &(LENGTH as u32).to_le_bytes(), &vec![0; LENGTH]].concat());
    refused("EXIF in WebP", &webp);
    for tag in [258, 273, 278, 279, 339] {
        refused(&format!("TIFF field {tag}"), &tiff(tag));
    }
    let pam = [
        b"P7\nWIDTH 8\nHEIGHT 8\nDEPTH 1\nMAXVAL 255\nTUPLTYPE ".as_slice(),
        &vec![b'x'; LENGTH],
        b"\nENDHDR\n",
    ];
    refused("PAM", &pam.concat());
}
