//! Decoding a PNG of few and very long rows takes no more than was counted: the decoder holds rows
//! beside the image. Memory as the kernel counts it.

mod kernel;

use picture::{DecodeError, Undecoded};

const PIXELS: u32 = 4_000_000;

/// Gray with transparency in 16 bits, which takes most beside its pixels.
const PIXEL_BYTES: usize = 4;

/// What the allocator keeps.
const SLACK_KIB: usize = 1024;

/// Where the pixels of the passes of Adam7 begin, and how far apart they are: x, y (PNG, third
/// edition, section 8).
const PASSES: [[u32; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/// Zeros in blocks that are stored as they are (RFC 1950, RFC 1951, 3.2.4).
fn deflated(length: usize) -> Vec<u8> {
    let mut stream = b"\x78\x01".to_vec();
    let mut left = length;
    while left > 0 {
        let block = left.min(0xFFFF);
        left -= block;
        stream.push(u8::from(left == 0));
        stream.extend((block as u16).to_le_bytes());
        stream.extend((!(block as u16)).to_le_bytes());
        stream.resize(stream.len() + block, 0);
    }
    stream.extend(((length % 65_521) as u16).to_be_bytes());
    stream.extend(1_u16.to_be_bytes());
    stream
}

/// A chunk with its check sum (PNG, third edition, annex D).
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let table: Vec<u32> = (0..256)
        .map(|byte| (0..8).fold(byte, |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 }))
        .collect();
    let step = |sum: u32, byte: &u8| table[(sum as u8 ^ byte) as usize] ^ sum >> 8;
    let sum = kind.iter().chain(content).fold(u32::MAX, step);
    [&(content.len() as u32).to_be_bytes(), kind.as_slice(), content, &(!sum).to_be_bytes()].concat()
}

fn png(width: u32, height: u32, interlaced: bool) -> Vec<u8> {
    let rows = |width: u32, height: u32| match width {
        0 => 0,
        _ => height as usize * (1 + width as usize * PIXEL_BYTES),
    };
    let length = if interlaced {
        let pass = |[x, y, across, down]: [u32; 4]| {
            rows(width.saturating_sub(x).div_ceil(across), height.saturating_sub(y).div_ceil(down))
        };
        PASSES.into_iter().map(pass).sum()
    } else {
        rows(width, height)
    };
    let head = [width.to_be_bytes().as_slice(), &height.to_be_bytes(), &[16, 4, 0, 0, u8::from(interlaced)]]
        .concat();
    let chunks = [chunk(b"IHDR", &head), chunk(b"IDAT", &deflated(length)), chunk(b"IEND", b"")];
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunks.concat()].concat()
}

// One test: the kernel counts the process.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "procfs is Linux's")]
fn long_rows_take_what_was_counted() {
    for height in [1, 2, 3, 5, 8, 16, 64] {
        for interlaced in [false, true] {
            let file = png(PIXELS / height, height, interlaced);
            let undecoded = Undecoded::new(&file, u64::from(PIXELS)).expect("a picture");
            let counted = undecoded.memory() / 1024;
            let (outcome, took) = kernel::taken(|| undecoded.decode(None));
            // Zeros in 16 bits are too dark, which is seen in the pixels.
            assert!(!matches!(outcome, Err(DecodeError::Broken(_))), "{outcome:?}");
            let what = format!("{height} rows, interlaced {interlaced}");
            assert!(took <= counted + SLACK_KIB, "{what}: {took} KiB of {counted}");
        }
    }
}
