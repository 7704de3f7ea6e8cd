//! CPU time of decoding JPEG here, in zune-jpeg (by the image crate) and in the system's
//! libjpeg-turbo, in turns:
//! `cargo run --release --manifest-path fuzz/targets/Cargo.toml --bin speed -- FILE...`

use std::hint::black_box;
use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageDecoder};
use picture::jpeg::Jpeg;
use rustix::time::{ClockId, clock_gettime};

/// Times that each is run.
const ROUNDS: usize = 61;

unsafe extern "C" {
    fn libjpeg_decode(bytes: *const u8, length: usize, pixels: *mut u8, room: usize) -> usize;
}

fn main() {
    println!("| file | ours | zune-jpeg | libjpeg-turbo | to zune-jpeg | to libjpeg-turbo |");
    println!("| --- | --: | --: | --: | --: | --: |");
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).expect("a file that can be read");
        let room = JpegDecoder::new(Cursor::new(&bytes)).expect("a JPEG").total_bytes() as usize;
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            times[0].push(timed(|| {
                black_box(Jpeg::new(&bytes).and_then(Jpeg::decode).expect("a JPEG"));
            }));
            times[1].push(timed(|| {
                let decoder = JpegDecoder::new(Cursor::new(&bytes)).expect("a JPEG");
                black_box(DynamicImage::from_decoder(decoder).expect("a JPEG"));
            }));
            times[2].push(timed(|| {
                let mut pixels = vec![0; room];
                // SAFETY: both ranges are what they are said to be, and the bytes are only read.
                let samples = unsafe { libjpeg_decode(bytes.as_ptr(), bytes.len(), pixels.as_mut_ptr(), room) };
                assert_eq!(samples, room, "{file}");
                black_box(pixels);
            }));
        }
        let ratio = |other: usize| median(times[0].iter().zip(&times[other]).map(|(ours, theirs)| ours / theirs));
        let [ours, zune, turbo] = [0, 1, 2].map(|which: usize| median(times[which].iter().copied()));
        let name = file.rsplit('/').next().unwrap_or_default();
        let (to_zune, to_turbo) = (ratio(1), ratio(2));
        println!("| {name} | {ours:.2} ms | {zune:.2} ms | {turbo:.2} ms | {to_zune:.2} | {to_turbo:.2} |");
    }
}

/// CPU time of this thread in milliseconds: other programs may take the CPU meanwhile.
fn timed(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    };
    let start = now();
    work();
    now() - start
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
