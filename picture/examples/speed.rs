//! How long decoding JPEG takes, beside the image crate's decoder (zune-jpeg), in turns:
//! `cargo run --release -p picture --example speed -- FILE...`
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

use image::DynamicImage;
use image::codecs::jpeg::JpegDecoder;
use picture::jpeg::Jpeg;

/// Times that each is run.
const ROUNDS: usize = 61;

fn main() {
    println!("| file | ours | zune-jpeg | ratio |\n| --- | --: | --: | --: |");
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).expect("a file that can be read");
        let (mut ours, mut zune, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let a = timed(|| {
                black_box(Jpeg::new(&bytes).and_then(Jpeg::decode).expect("a JPEG"));
            });
            let b = timed(|| {
                let decoder = JpegDecoder::new(Cursor::new(&bytes)).expect("a JPEG");
                black_box(DynamicImage::from_decoder(decoder).expect("a JPEG"));
            });
            ours.push(a);
            zune.push(b);
            ratios.push(a.as_secs_f64() / b.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        let name = file.rsplit('/').next().unwrap_or_default();
        println!("| {name} | {:.2} ms | {:.2} ms | {:.2} |", median(ours), median(zune), ratios[ROUNDS / 2]);
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
